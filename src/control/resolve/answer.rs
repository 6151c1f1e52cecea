//! Where would a packet go? What `ixmapctl route` tells.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::tables::NextHop;
use super::{Resolver, route};
use crate::control::mirror::{Mirror, Route, RouteKind};
use crate::shared::fib::{Action, Adjacency, AdjacencyId, GroupId, World};
use crate::shared::reason::PuntReason;

/// The way of an address through a world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The kernel's prefix that matched, and the type of its route; absent when the kernel no longer
    /// has a route that leads there, and the world does.
    pub prefix: Option<IpNet>,
    pub kind: Option<RouteKind>,
    /// The group that the world's FIB leads to.
    pub group: usize,
    pub action: Action,
    /// Next hops with their share of the group's buckets; empty unless forwarded.
    pub legs: Vec<AnswerLeg>,
}

/// One next hop of an [`Answer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnswerLeg {
    pub ifindex: Option<u32>,
    /// The gateway; `None` when the destination itself is the neighbour.
    pub via: Option<IpAddr>,
    pub adjacency: Adjacency,
    pub weight: usize,
}

impl Resolver {
    /// The longest match for `address`, as `world` (the one that workers have) answers. `None`
    /// when it has none.
    pub fn route(&self, address: IpAddr, world: &World, mirror: &Mirror) -> Option<Answer> {
        let group = match address {
            IpAddr::V4(address) => world.ipv4.lookup(u32::from(address)),
            IpAddr::V6(address) => world.ipv6.lookup(u128::from(address)),
        };
        if group == GroupId::NO_ROUTE {
            return None;
        }
        // A neighbour's host route stands for the prefix around it.
        let is_host = self.host(address) == Some(group);
        let mut routes = self.routes_around(address, mirror);
        let named = routes.find(|(prefix, _)| is_host || self.placed(*prefix) == Some(group));
        let next_hop = |id| self.adjacencies.next_hop(id);
        let found = Found {
            ipv6: address.is_ipv6(),
            route: named.map(|(prefix, route)| (prefix, route.kind)),
            group,
        };
        Some(self.with_ports(describe(found, world, Some(address), next_hop)))
    }

    /// A next hop that nobody has any more but the workers is known by its port.
    fn with_ports(&self, mut answer: Answer) -> Answer {
        for leg in &mut answer.legs {
            let port = leg.adjacency.port();
            let mut ports = self.ports.iter();
            let known = ports.find(|(_, (id, _))| Some(*id) == port);
            leg.ifindex = leg.ifindex.or(known.map(|(ifindex, _)| *ifindex));
        }
        answer
    }

    /// Every route that `within` holds (or every one), as the kernel has them, in order. Described
    /// one by one as they are asked for, from a copy of what is known now.
    pub fn routes(
        &self,
        within: Option<IpNet>,
        world: Arc<World>,
        mirror: &Mirror,
    ) -> impl Iterator<Item = Answer> + Send + use<> {
        let holds = |prefix: &IpNet| within.is_none_or(|outer| outer.contains(prefix));
        let tables = [route::LOCAL, route::MAIN, route::DEFAULT].into_iter();
        let prefixes = tables.flat_map(|table| mirror.prefixes(table));
        let mut found: Vec<Found> = prefixes
            .filter(holds)
            .filter_map(|prefix| {
                let route = self.best(prefix, mirror)?;
                Some(Found {
                    ipv6: prefix.addr().is_ipv6(),
                    route: Some((prefix, route.kind)),
                    group: self.placed(prefix)?,
                })
            })
            .collect();
        // A prefix may be in several tables.
        found.sort_unstable_by_key(Found::prefix);
        found.dedup_by_key(|found| found.prefix());
        let next_hops = self.adjacencies.next_hops();
        found.into_iter().map(move |found| {
            let next_hop = |id: AdjacencyId| next_hops.get(id.index()).copied().flatten();
            describe(found, &world, None, next_hop)
        })
    }

    /// The route that the kernel would use for an address, and its prefix.
    pub(super) fn longest<'a>(
        &self,
        address: IpAddr,
        mirror: &'a Mirror,
    ) -> Option<(IpNet, &'a Route)> {
        self.routes_around(address, mirror).next()
    }

    /// The routes of all prefixes around an address, the longest first.
    fn routes_around<'a>(
        &self,
        address: IpAddr,
        mirror: &'a Mirror,
    ) -> impl Iterator<Item = (IpNet, &'a Route)> {
        let prefixes = mirror.prefixes_around(address);
        prefixes.filter_map(|prefix| Some((prefix, self.best(prefix, mirror)?)))
    }

    /// The group of a neighbour's host route.
    fn host(&self, address: IpAddr) -> Option<GroupId> {
        match address {
            IpAddr::V4(address) => self.fib4.host(u32::from(address)),
            IpAddr::V6(address) => self.fib6.host(u128::from(address)),
        }
    }

    /// The group that a prefix's route has.
    fn placed(&self, prefix: IpNet) -> Option<GroupId> {
        match prefix {
            IpNet::V4(net) => self.fib4.route(u32::from(net.network()), net.prefix_len()),
            IpNet::V6(net) => self.fib6.route(u128::from(net.network()), net.prefix_len()),
        }
    }
}

/// A group, with the prefix and the kind of the route that leads there.
struct Found {
    ipv6: bool,
    route: Option<(IpNet, RouteKind)>,
    group: GroupId,
}

impl Found {
    fn prefix(&self) -> Option<IpNet> {
        self.route.map(|(prefix, _)| prefix)
    }
}

fn describe(
    found: Found,
    world: &World,
    destination: Option<IpAddr>,
    next_hop: impl Fn(AdjacencyId) -> Option<NextHop>,
) -> Answer {
    let leg = |id: AdjacencyId, weight| {
        let next_hop = next_hop(id);
        let via = match next_hop {
            Some(NextHop::Gateway { address, .. }) => Some(address),
            Some(NextHop::Host { .. } | NextHop::OnLink { .. }) | None => None,
        };
        AnswerLeg {
            ifindex: next_hop.map(NextHop::ifindex),
            via: via.filter(|via| Some(*via) != destination),
            adjacency: world.adjacency(id),
            weight,
        }
    };
    let kernel_only = match found.ipv6 {
        false => world.kernel_only.ipv4,
        true => world.kernel_only.ipv6,
    };
    let action = match &world.group(found.group).action {
        local @ Action::Punt(PuntReason::Local) => local.clone(),
        _ if kernel_only => Action::Punt(PuntReason::KernelRoute),
        action => action.clone(),
    };
    let legs = match &action {
        Action::Forward(id) => vec![leg(*id, 1)],
        Action::Spread(buckets) => buckets
            .legs()
            .into_iter()
            .map(|(id, share)| leg(id, share))
            .collect(),
        Action::Punt(_) | Action::Drop(_) => Vec::new(),
    };
    Answer {
        prefix: found.prefix(),
        kind: found.route.map(|(_, kind)| kind),
        group: found.group.index(),
        action,
        legs,
    }
}
