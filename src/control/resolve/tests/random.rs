//! Random histories over a small universe of nested prefixes: after every step the resolver that
//! followed the changes answers as a fresh one does, and as the naive model.

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::select;

use super::model::{ModelPorts, normal};
use super::*;
use crate::control::mirror::Placement;

const PREFIXES: [&str; 14] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/30",
    "10.0.0.0/31",
    "10.0.0.1/32",
    "10.0.0.2/32",
    "10.0.0.3/32",
    "::/0",
    "2001:db8::/32",
    "2001:db8::/126",
    "2001:db8::/127",
    "2001:db8::1/128",
    "2001:db8::2/128",
    "fe80::/64",
];
const NEIGHBOURS: [&str; 7] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8::3",
    "fe80::1",
];
/// Every address that some prefix tells from the others.
const PROBES: [&str; 14] = [
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "192.0.2.1",
    "2001:db8::",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8::3",
    "2001:db8::4",
    "2001:db9::1",
    "2001::1",
    "::1",
];

/// Links 1 to 3 may be ports, 4 is none. The first two meet the most.
fn ifindexes() -> impl Strategy<Value = u32> + Clone {
    select(vec![1u32, 1, 1, 2, 2, 3, 4])
}

#[derive(Clone, Debug)]
enum Step {
    /// Events that arrive in one batch.
    Events(Vec<Op>),
    AddPort(u32),
    RemovePort(u32),
    /// A dump shows the kernel as it was at an earlier step.
    Resync(usize),
}

#[derive(Clone, Debug)]
enum Op {
    Event(Event),
    /// Deletes one of the routes that are there.
    Delete(usize),
}

fn routes() -> impl Strategy<Value = Event> {
    use RouteKind::*;
    let kind = prop_oneof![
        10 => Just(Unicast),
        1 => Just(Local),
        1 => select(vec![Broadcast, Anycast, Multicast, Blackhole, Unreachable, Prohibit, Throw, Other(99)]),
    ];
    let gateway = prop_oneof![2 => Just(None), 3 => select(NEIGHBOURS.to_vec()).prop_map(Some)];
    let path = (ifindexes(), gateway, 1u16..4, prop::bool::weighted(0.1));
    let paths = prop_oneof![
        3 => prop::collection::vec(path.clone(), 1),
        1 => prop::collection::vec(path, 0..4),
    ];
    let special = prop_oneof![9 => Just(0u8), 2 => 1u8..9];
    let table = prop_oneof![6 => Just(MAIN), 1 => Just(LOCAL), 1 => Just(LAST), 1 => Just(100u32)];
    let mtu = prop::option::weighted(0.2, Just(1400u32));
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.3));
    let what = (kind, paths, special, mtu, 0u32..3);
    (select(PREFIXES.to_vec()), table, what, flags).prop_map(|(prefix, table, what, flags)| {
        let key = key(table, prefix);
        let (replace, append, exclusive) = flags;
        Event::RouteSet {
            key,
            route: built(key, what),
            place: Placement {
                replace,
                append,
                exclusive,
            },
        }
    })
}

type What = (
    RouteKind,
    Vec<(u32, Option<&'static str>, u16, bool)>,
    u8,
    Option<u32>,
    u32,
);

fn built(key: RouteKey, (kind, paths, special, mtu, metric): What) -> Route {
    let v4 = key.prefix.addr().is_ipv4();
    let legs = paths.into_iter().map(|(ifindex, gateway, weight, dead)| {
        // IPv4 may go through IPv6, but not the other way round.
        let gateway = gateway.filter(|gateway| v4 || ip(gateway).is_ipv6());
        Path {
            dead,
            ..leg(ifindex, gateway, weight)
        }
    });
    let mut route = Route {
        mtu,
        metric,
        ..route(kind, legs.collect())
    };
    match special {
        1 if v4 => route.tos = 8,
        1 | 2 if !v4 => route.source = Some("2001:db8:f::/48".parse::<IpNet>().unwrap()),
        3 => route.encapsulated = true,
        8 => route.lapsed = true,
        4..8 => {
            route.nexthop_id = Some(u32::from(special) - 3);
            route.paths.clear();
        }
        _ => {}
    }
    route
}

fn neighbours() -> impl Strategy<Value = Event> {
    use NeighbourState::*;
    let state = select(vec![
        None, Incomplete, Reachable, Reachable, Stale, Delay, Probe, Failed, NoArp, Permanent,
    ]);
    (ifindexes(), select(NEIGHBOURS.to_vec()), state, 0u8..4).prop_map(
        |(ifindex, address, state, mac)| {
            let mac = Some(MacAddr([2, 1, 1, 1, 1, mac])).filter(|_| mac != 0);
            Event::NeighbourSet(Neighbour {
                mac,
                ..neighbour(ifindex, address, state)
            })
        },
    )
}

/// Objects 1 to 3, of which 3 may be a group.
fn nexthops() -> impl Strategy<Value = Event> {
    let gateway = prop::option::weighted(0.8, select(NEIGHBOURS.to_vec()));
    let leg = (ifindexes(), gateway).prop_map(|(ifindex, gateway)| leg(ifindex, gateway, 1));
    let object = prop_oneof![
        6 => leg.prop_map(NextHopObject::Leg),
        1 => Just(NextHopObject::Blackhole),
        1 => Just(NextHopObject::Foreign),
    ];
    let members = prop::collection::vec((1u32..3, 1u16..4), 1..3);
    let group = (3u32..5, members.prop_map(NextHopObject::Group));
    prop_oneof![(1u32..4, object), group].prop_map(|(id, object)| Event::NextHopSet { id, object })
}

fn links() -> impl Strategy<Value = Event> {
    let mac = prop::option::weighted(0.9, 1u8..3);
    let mtu = select(vec![1500u32, 9000]);
    (ifindexes(), prop::bool::weighted(0.75), mac, mtu).prop_map(|(index, up, mac, mtu)| {
        let mac = mac.map(|mac| MacAddr([2, 0, 0, 0, mac, 0]));
        Event::LinkSet(Link {
            up,
            mac,
            mtu,
            ..link(index)
        })
    })
}

fn addresses() -> impl Strategy<Value = Event> {
    let own = select(vec!["10.0.0.1/30", "10.0.0.2/31", "2001:db8::1/126"]);
    (ifindexes(), own, any::<bool>()).prop_map(|(ifindex, own, set)| {
        let address = Address {
            ifindex,
            address: own.parse().unwrap(),
            peer: None,
        };
        if set {
            Event::AddressSet(address)
        } else {
            Event::AddressGone(address)
        }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let neighbour_gone =
        (ifindexes(), select(NEIGHBOURS.to_vec())).prop_map(|(ifindex, address)| {
            Event::NeighbourGone {
                ifindex,
                address: ip(address),
            }
        });
    let event = prop_oneof![
        8 => routes(),
        5 => neighbours(),
        2 => neighbour_gone,
        3 => links(),
        1 => (1u32..=4).prop_map(|index| Event::LinkGone { index }),
        1 => addresses(),
        3 => nexthops(),
        1 => (1u32..5).prop_map(|id| Event::NextHopGone { id }),
    ];
    let op = prop_oneof![
        4 => event.prop_map(Op::Event),
        1 => any::<usize>().prop_map(Op::Delete),
    ];
    let step = prop_oneof![
        20 => prop::collection::vec(op, 1..4).prop_map(Step::Events),
        3 => (1u32..=3).prop_map(Step::AddPort),
        3 => (1u32..=3).prop_map(Step::RemovePort),
        1 => any::<usize>().prop_map(Step::Resync),
    ];
    prop::collection::vec(step, 1..40)
}

/// A resolver that follows, and what it is told.
#[derive(Default)]
struct History {
    mirror: Mirror,
    resolver: Resolver,
    ports: ModelPorts,
    earlier: Vec<Mirror>,
}

impl History {
    /// Links 1 to 4 up, ports behind the first two.
    fn new() -> History {
        let mut history = History::default();
        let up = (1..=4).map(|index| Op::Event(Event::LinkSet(link(index))));
        history.step(Step::Events(up.collect()));
        history.step(Step::AddPort(1));
        history.step(Step::AddPort(2));
        history
    }

    fn step(&mut self, step: Step) {
        let mut changes = Changes::default();
        match step {
            Step::AddPort(ifindex) => {
                self.ports.insert(ifindex);
                self.resolver
                    .set_port(port(ifindex), facts(ifindex), &self.mirror);
            }
            Step::RemovePort(ifindex) => {
                self.ports.remove(&ifindex);
                self.resolver.remove_port(ifindex, &self.mirror);
            }
            Step::Resync(n) => {
                let fresh = self.earlier[n % self.earlier.len()].clone();
                changes = self.mirror.replace_with(fresh);
            }
            Step::Events(ops) => ops.into_iter().for_each(|op| self.op(op, &mut changes)),
        }
        self.resolver.apply(&self.mirror, &changes);
        self.earlier.push(self.mirror.clone());
    }

    fn op(&mut self, op: Op, changes: &mut Changes) {
        let event = match op {
            Op::Event(event) => Some(event),
            Op::Delete(n) => {
                let all = self.mirror.all_routes();
                let all: Vec<_> = all
                    .flat_map(|(key, list)| list.iter().map(move |r| (key, r)))
                    .collect();
                let found = (!all.is_empty()).then(|| all[n % all.len()]);
                found.map(|(key, route)| Event::RouteGone {
                    key,
                    route: route.clone(),
                })
            }
        };
        event.map(|event| self.mirror.apply(event, changes));
    }

    /// A resolver that sees the mirror for the first time.
    fn fresh(&self) -> Resolver {
        let mut fresh = Resolver::default();
        for ifindex in &self.ports {
            fresh.set_port(port(*ifindex), facts(*ifindex), &Mirror::default());
        }
        fresh.apply(&self.mirror, &everything());
        fresh
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let (world, mut fresh) = (self.resolver.world().unwrap(), self.fresh());
        let other = fresh.world().unwrap();
        for address in PROBES.map(ip) {
            let found = way(&world, address);
            // Else an id could be taken for free while this world leads to its port.
            if let Way::To { legs, .. } = &found {
                for (adjacency, _) in legs {
                    let known = |port| world.interfaces.get(port).is_some();
                    let astray = matches!(adjacency, Adjacency::Resolved(to) if !known(to.port));
                    prop_assert!(!astray, "{:?}", adjacency);
                }
            }
            prop_assert_eq!(
                &found,
                &way(&other, address),
                "{} against a fresh one",
                address
            );
            let expected = model::way(&self.mirror, &self.ports, address);
            prop_assert_eq!(
                normal(found),
                normal(expected),
                "{} against the model",
                address
            );
            let told = |resolver: &Resolver, world| {
                let answer = resolver.route(address, world, &self.mirror);
                answer.map(
                    |Answer {
                         prefix, kind, legs, ..
                     }| (prefix, kind, legs),
                )
            };
            prop_assert_eq!(told(&self.resolver, &world), told(&fresh, &other));
        }
        prop_assert_eq!(self.resolver.next_hop_counts(), fresh.next_hop_counts());
        prop_assert_eq!(self.resolver.route_counts(), fresh.route_counts());
        prop_assert_eq!(world.ipv4.routes(), other.ipv4.routes());
        prop_assert_eq!(world.ipv6.routes(), other.ipv6.routes());
        prop_assert_eq!(&world.interfaces, &other.interfaces);
        prop_assert_eq!(&world.locals, &other.locals);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn following_changes_is_the_same_as_starting_anew(steps in steps()) {
        let mut history = History::new();
        for step in steps {
            history.step(step);
            history.check()?;
        }
        let nothing = history.mirror.replace_with(Mirror::default());
        history.resolver.apply(&history.mirror, &nothing);
        history.check()?;
        let world = history.resolver.world().unwrap();
        prop_assert_eq!(history.resolver.next_hop_counts(), (0, 0));
        prop_assert_eq!((world.ipv4.routes(), world.ipv6.routes()), (0, 0));
    }
}
