//! The neighbours that forwarding depends on: what keeping them fresh starts from.

use std::net::IpAddr;

use super::Resolver;
use super::tables::NextHop;
use crate::shared::fib::AdjacencyId;

/// A neighbour behind a port that packets may be sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UsedNeighbour {
    /// What workers mark when a packet leaves this way.
    pub adjacency: AdjacencyId,
    pub ifindex: u32,
    pub address: IpAddr,
    /// Routes go through it.
    pub gateway: bool,
}

impl Resolver {
    /// Every neighbour behind a port that a route goes through or that is in the FIB itself; one that
    /// is both comes twice.
    pub fn used_neighbours(&self) -> impl Iterator<Item = UsedNeighbour> {
        let slots = (0..).map(AdjacencyId::new);
        let next_hops = slots.zip(self.adjacencies.next_hops());
        next_hops.filter_map(|(adjacency, next_hop)| {
            let next_hop = next_hop?;
            let ifindex = next_hop.ifindex();
            self.ports.get(&ifindex)?;
            Some(UsedNeighbour {
                adjacency,
                ifindex,
                address: next_hop.address()?,
                gateway: matches!(next_hop, NextHop::Gateway { .. }),
            })
        })
    }
}
