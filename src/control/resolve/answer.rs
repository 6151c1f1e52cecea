//! Where would a packet go? What `ixmapctl route` tells.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::tables::NextHop;
use super::{Entry, Resolver};
use crate::control::mirror::RouteKind;
use crate::shared::fib::{Action, Adjacency, AdjacencyId, GroupId, World};

/// The way of an address through a world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The kernel's prefix that matched.
    pub prefix: IpNet,
    pub kind: RouteKind,
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
    /// without a route.
    pub fn route(&self, address: IpAddr, world: &World) -> Option<Answer> {
        let (prefix, entry) = self.longest(address)?;
        let id = match address {
            IpAddr::V4(address) => world.ipv4.lookup(u32::from(address)),
            IpAddr::V6(address) => world.ipv6.lookup(u128::from(address)),
        };
        let next_hop = |id| self.adjacencies.next_hop(id);
        Some(describe(prefix, entry, id, world, Some(address), next_hop))
    }

    /// Every route that `within` holds (or every one), as the kernel has them, in order. Described
    /// one by one as they are asked for, from a copy of what is known now.
    pub fn routes(
        &self,
        within: Option<IpNet>,
        world: Arc<World>,
    ) -> impl Iterator<Item = Answer> + Send + use<> {
        let holds = move |prefix: &IpNet| within.is_none_or(|outer| outer.contains(prefix));
        let ipv4 = self
            .rib4
            .iter()
            .map(|(prefix, entry)| (IpNet::V4(prefix), *entry));
        let ipv6 = self
            .rib6
            .iter()
            .map(|(prefix, entry)| (IpNet::V6(prefix), *entry));
        let found = ipv4.chain(ipv6).filter(|(prefix, _)| holds(prefix));
        let found: Vec<(IpNet, Entry)> = found.collect();
        let next_hops = self.adjacencies.next_hops();
        found.into_iter().map(move |(prefix, entry)| {
            let next_hop = |id: AdjacencyId| next_hops.get(id.index()).copied().flatten();
            describe(prefix, entry, entry.group, &world, None, next_hop)
        })
    }

    pub(super) fn longest(&self, address: IpAddr) -> Option<(IpNet, Entry)> {
        match address {
            IpAddr::V4(address) => {
                let found = self.rib4.get_lpm(&Ipv4Net::from(address));
                found.map(|(prefix, entry)| (IpNet::V4(prefix), *entry))
            }
            IpAddr::V6(address) => {
                let found = self.rib6.get_lpm(&Ipv6Net::from(address));
                found.map(|(prefix, entry)| (IpNet::V6(prefix), *entry))
            }
        }
    }
}

fn describe(
    prefix: IpNet,
    entry: Entry,
    group: GroupId,
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
    let action = world.group(group).action.clone();
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
        prefix,
        kind: entry.kind,
        group: group.index(),
        action,
        legs,
    }
}
