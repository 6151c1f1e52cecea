//! The kernel's state as the kernel tells it: links, addresses, routes, neighbours. Nothing here is
//! derived; `resolve` reads these tables and compiles them.
//!
//! Tables are keyed as the kernel keys them: links by ifindex, routes by (table, prefix) with the
//! kernel's ordered list behind each key, neighbours by (ifindex, address). `apply` follows one
//! event, `lists` places a route among those of its key, `replace` swaps in a fresh dump.

mod apply;
mod lists;
mod replace;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

pub use apply::Doubt;
pub use types::{
    Address, Changes, Event, Link, Neighbour, NeighbourFlags, NeighbourState, Path, Placement,
    Route, RouteKey, RouteKind,
};

/// The kernel's tables.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Mirror {
    links: BTreeMap<u32, Link>,
    addresses: BTreeSet<Address>,
    routes: BTreeMap<RouteKey, Vec<Route>>,
    neighbours: BTreeMap<(u32, IpAddr), Neighbour>,
    /// The neighbours again, by address: what lies within a prefix.
    neighbours_by_address: BTreeSet<(IpAddr, u32)>,
}

impl Mirror {
    /// The link of an ifindex.
    pub fn link(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    /// Every link, by ifindex.
    pub fn links(&self) -> impl ExactSizeIterator<Item = &Link> {
        self.links.values()
    }

    /// Every interface address.
    pub fn addresses(&self) -> &BTreeSet<Address> {
        &self.addresses
    }

    /// The routes of a key in the kernel's order (for IPv6, by metric); empty when there are none.
    pub fn routes(&self, key: &RouteKey) -> &[Route] {
        self.routes.get(key).map_or(&[], Vec::as_slice)
    }

    /// Every key with its routes, by table and prefix. No list is empty.
    pub fn all_routes(&self) -> impl ExactSizeIterator<Item = (&RouteKey, &[Route])> {
        self.routes.iter().map(|(key, list)| (key, list.as_slice()))
    }

    /// The prefixes of a table that lie within `prefix`, itself included.
    pub fn prefixes_within(&self, table: u32, prefix: IpNet) -> impl Iterator<Item = IpNet> {
        let last = IpNet::from(prefix.broadcast());
        let [first, last] = [prefix, last].map(|prefix| RouteKey { table, prefix });
        self.routes.range(first..=last).map(|(key, _)| key.prefix)
    }

    /// The neighbour entry of an address on an interface.
    pub fn neighbour(&self, ifindex: u32, address: IpAddr) -> Option<&Neighbour> {
        self.neighbours.get(&(ifindex, address))
    }

    /// Every neighbour, by ifindex and address.
    pub fn neighbours(&self) -> impl ExactSizeIterator<Item = &Neighbour> {
        self.neighbours.values()
    }

    /// The neighbours whose address lies within `prefix`, by address.
    pub fn neighbours_within(&self, prefix: IpNet) -> impl Iterator<Item = &Neighbour> {
        self.neighbours_by_address
            .range((prefix.network(), 0)..=(prefix.broadcast(), u32::MAX))
            .filter_map(|&(address, ifindex)| self.neighbour(ifindex, address))
    }
}

#[cfg(test)]
mod tests;
