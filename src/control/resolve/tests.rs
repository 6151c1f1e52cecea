//! The resolver against the kernel's rules: named cases by subject, and random ones against a naive
//! model. Here is what they share: a mirror fed with events, and the answer of a world in terms that
//! do not depend on slots.

mod exhausted;
mod model;
mod neighbours;
mod nexthops;
mod ports;
mod random;
mod routes;
mod rules;
mod sharing;

use super::*;
use crate::control::mirror::{
    Address, Event, Link, Neighbour, NeighbourFlags, NeighbourState, NextHopObject, Path,
    Placement, Route, RouteKey, RouteKind,
};
use crate::shared::fib::Action;
use crate::shared::reason::{DropReason, PuntReason};

const MAIN: u32 = 254;
const LOCAL: u32 = 255;
const LAST: u32 = 253;

/// What a world does with an address. Legs in the order of their buckets.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Way {
    Punt(PuntReason),
    Drop(DropReason),
    To {
        legs: Vec<(Adjacency, usize)>,
        mtu: u16,
    },
}

fn way(world: &World, address: IpAddr) -> Way {
    let group = world.group(group_id(world, address));
    let legs = match &group.action {
        Action::Punt(reason) => return Way::Punt(*reason),
        Action::Drop(reason) => return Way::Drop(*reason),
        Action::Forward(id) => vec![(*id, 1)],
        Action::Spread(buckets) => buckets.legs(),
    };
    let legs = legs
        .into_iter()
        .map(|(id, share)| (world.adjacency(id), share));
    Way::To {
        legs: legs.collect(),
        mtu: group.mtu,
    }
}

fn group_id(world: &World, address: IpAddr) -> GroupId {
    match address {
        IpAddr::V4(address) => world.ipv4.lookup(u32::from(address)),
        IpAddr::V6(address) => world.ipv6.lookup(u128::from(address)),
    }
}

/// Two ports, behind ifindex 1 and 2, a link that is no port, 3, and a connected prefix on each, of
/// both families: `10.0.N.0/24`, `2001:db8:N::/64`.
struct Lab {
    mirror: Mirror,
    resolver: Resolver,
    world: World,
}

impl Lab {
    fn new() -> Lab {
        let mut lab = Lab::empty();
        for index in 1..=3 {
            lab.event(Event::LinkSet(link(index)));
            lab.set(&format!("10.0.{index}.0/24"), on_link(index));
            lab.set(&format!("2001:db8:{index}::/64"), on_link(index));
        }
        lab.add_port(1);
        lab.add_port(2);
        lab
    }

    fn empty() -> Lab {
        let mut resolver = Resolver::default();
        let world = resolver.world().unwrap();
        Lab {
            mirror: Mirror::default(),
            resolver,
            world,
        }
    }

    fn add_port(&mut self, ifindex: u32) {
        self.resolver
            .set_port(port(ifindex), facts(ifindex), &self.mirror);
        self.world = self.resolver.world().unwrap();
    }

    fn remove_port(&mut self, ifindex: u32) {
        self.resolver.remove_port(ifindex, &self.mirror);
        self.world = self.resolver.world().unwrap();
    }

    fn event(&mut self, event: Event) {
        let mut changes = Changes::default();
        self.mirror.apply(event, &mut changes);
        self.resolver.apply(&self.mirror, &changes);
        self.world = self.resolver.world().unwrap();
    }

    /// Adds a route to the main table, before others of its metric.
    fn set(&mut self, prefix: &str, route: Route) {
        self.set_in(MAIN, prefix, route);
    }

    fn set_in(&mut self, table: u32, prefix: &str, route: Route) {
        self.event(set_event(key(table, prefix), route));
    }

    fn gone(&mut self, prefix: &str, route: Route) {
        let key = key(MAIN, prefix);
        self.event(Event::RouteGone { key, route });
    }

    fn neighbour(&mut self, ifindex: u32, address: &str, state: NeighbourState) {
        self.event(Event::NeighbourSet(neighbour(ifindex, address, state)));
    }

    fn way(&self, address: &str) -> Way {
        way(&self.world, ip(address))
    }

    fn group(&self, address: &str) -> GroupId {
        group_id(&self.world, ip(address))
    }

    fn answer(&self, address: &str) -> Answer {
        self.resolver
            .route(ip(address), &self.world, &self.mirror)
            .unwrap()
    }

    /// The prefix that answers, as `ixmapctl route` shows it.
    fn prefix(&self, address: &str) -> String {
        self.answer(address).prefix.unwrap().to_string()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(table: u32, prefix: &str) -> RouteKey {
    let prefix = prefix.parse().unwrap();
    RouteKey { table, prefix }
}

fn set_event(key: RouteKey, route: Route) -> Event {
    Event::RouteSet {
        key,
        route,
        place: Placement::default(),
    }
}

/// The changes of a first dump.
fn everything() -> Changes {
    Changes {
        everything: true,
        ..Changes::default()
    }
}

/// A port's slot differs from its ifindex, so that no test confuses them.
fn port(ifindex: u32) -> PortId {
    PortId::new(usize::try_from(ifindex).unwrap() + 10).unwrap()
}

fn facts(ifindex: u32) -> PortFacts {
    PortFacts {
        ifindex,
        forward_ipv4: true,
        forward_ipv6: false,
        reverse_path: ReversePath::Off,
    }
}

fn link(index: u32) -> Link {
    Link {
        index,
        name: format!("e{index}"),
        mac: Some(link_mac(index)),
        mtu: 1500,
        up: true,
        carrier: true,
        running: true,
    }
}

fn link_mac(index: u32) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, u8::try_from(index).unwrap()])
}

/// The MAC that [`neighbour`] gives to everyone.
const THEIRS: MacAddr = MacAddr([2, 1, 1, 1, 1, 1]);

fn neighbour(ifindex: u32, address: &str, state: NeighbourState) -> Neighbour {
    Neighbour {
        ifindex,
        address: ip(address),
        mac: state.is_valid().then_some(THEIRS),
        state,
        flags: NeighbourFlags::default(),
    }
}

fn route(kind: RouteKind, paths: Vec<Path>) -> Route {
    Route::ordinary(kind, paths)
}

fn leg(ifindex: u32, via: Option<&str>, weight: u16) -> Path {
    Path {
        ifindex: Some(ifindex),
        via: via.map(ip),
        weight,
        onlink: false,
        dead: false,
    }
}

fn on_link(ifindex: u32) -> Route {
    route(RouteKind::Unicast, vec![leg(ifindex, None, 1)])
}

fn via(ifindex: u32, gateway: &str) -> Route {
    route(RouteKind::Unicast, vec![leg(ifindex, Some(gateway), 1)])
}

fn multipath(legs: &[(u32, &str, u16)]) -> Route {
    let legs = legs
        .iter()
        .map(|&(ifindex, gateway, weight)| leg(ifindex, Some(gateway), weight));
    route(RouteKind::Unicast, legs.collect())
}

/// Resolved behind a port, with the MACs that [`link`] and [`neighbour`] give.
fn resolved(ifindex: u32) -> Adjacency {
    resolved_to(ifindex, THEIRS)
}

fn resolved_to(ifindex: u32, destination: MacAddr) -> Adjacency {
    Adjacency::Resolved(Rewrite {
        port: port(ifindex),
        destination,
        source: link_mac(ifindex),
        mtu: 1500,
    })
}

/// Where each destination is a neighbour of its own.
fn connected(ifindex: u32) -> Adjacency {
    Adjacency::Connected(port(ifindex))
}

fn unresolved(ifindex: u32) -> Adjacency {
    Adjacency::Unresolved(port(ifindex))
}

/// One leg, limited by its interface only.
fn to(adjacency: Adjacency) -> Way {
    Way::To {
        legs: vec![(adjacency, 1)],
        mtu: u16::MAX,
    }
}
