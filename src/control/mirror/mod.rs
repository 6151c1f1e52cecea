//! The kernel's state as the kernel tells it: links, addresses, routes, neighbours. Nothing here is
//! derived; `resolve` reads these tables and compiles them.
//!
//! Tables are keyed as the kernel keys them: links by ifindex, routes by (table, prefix) with the
//! kernel's ordered list behind each key, next-hop objects by id, neighbours by (ifindex, address).
//! `apply` follows one event, `lists` places a route among those of its key, `nexthops` knows which
//! objects end with others, `kinds` what blackholes among them do to routes, `replace` swaps in a fresh
//! dump.

mod apply;
mod kinds;
mod lists;
mod netconf;
mod nexthops;
mod replace;
mod routes;
mod rules;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;

use self::routes::Routes;
pub use apply::Doubt;
pub use netconf::Netconf;
pub use rules::{OddRule, Rule, Rules};
pub use types::{
    Address, Changes, Event, Link, Neighbour, NeighbourFlags, NeighbourState, NextHopObject, Part,
    Path, Paths, Placement, Preference, Route, RouteKey, RouteKind,
};

/// The kernel's tables.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Mirror {
    links: BTreeMap<u32, Link>,
    addresses: BTreeSet<Address>,
    routes: Routes,
    nexthops: BTreeMap<u32, NextHopObject>,
    /// Every member of a group, with that group.
    memberships: BTreeSet<(u32, u32)>,
    /// Objects that are gone, and maybe routes through them not yet.
    ended: BTreeSet<u32>,
    neighbours: BTreeMap<(u32, IpAddr), Neighbour>,
    /// The neighbours again, by address: what lies within a prefix.
    neighbours_by_address: BTreeSet<(IpAddr, u32)>,
    rules: Rules,
    /// By family (true for IPv6) and ifindex.
    netconf: BTreeMap<(bool, i32), Netconf>,
    /// When the kernel changes something without a word.
    silent_changes: BTreeSet<Instant>,
    /// IPv6 routes that end, of each key the last that was told of.
    ends: BTreeMap<RouteKey, Instant>,
    /// Of IPv6 routes that have ended, and that the kernel has not forgotten yet: it may give them
    /// another end without a word.
    expired: BTreeSet<RouteKey>,
}

impl Mirror {
    /// To be filled by a dump, rules included; a mirror that nobody fills has the default ones.
    pub fn blank() -> Mirror {
        Mirror {
            rules: Rules::none(),
            ..Mirror::default()
        }
    }

    /// When the kernel next changes something without a word; a dump after that finds it.
    pub fn silent_change(&self) -> Option<Instant> {
        self.silent_changes.first().copied()
    }

    /// The time of those before `now` has come, and a dump is on its way.
    pub fn forget_silent_changes(&mut self, now: Instant) {
        self.silent_changes = self.silent_changes.split_off(&now);
    }

    /// When IPv6 routes end, as far as was told; some may have gone.
    pub fn ends(&self) -> &BTreeMap<RouteKey, Instant> {
        &self.ends
    }

    /// Where a dump told of a route that has ended, and nothing of its deletion came since.
    pub fn expired(&self) -> &BTreeSet<RouteKey> {
        &self.expired
    }

    /// Every interface's settings, by family (true for IPv6) and ifindex.
    pub fn all_netconf(&self) -> impl ExactSizeIterator<Item = (&(bool, i32), &Netconf)> {
        self.netconf.iter()
    }

    /// Which tables the kernel asks.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

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
        self.routes.get(key)
    }

    /// Keys that have routes.
    pub fn route_count(&self) -> usize {
        self.routes.len()
    }

    /// Every key with its routes, IPv4 first, by table and prefix. No list is empty. Sorts a copy of a
    /// table's keys.
    pub fn all_routes(&self) -> impl Iterator<Item = (RouteKey, &[Route])> {
        self.routes.iter()
    }

    /// The prefixes of a table, in no order.
    pub fn prefixes(&self, table: u32) -> impl Iterator<Item = IpNet> {
        self.routes.prefixes(table)
    }

    /// The prefixes of a table in order, IPv4 first. Sorts a copy of them.
    pub fn sorted_prefixes(&self, table: u32) -> impl Iterator<Item = IpNet> {
        self.routes.sorted(table)
    }

    /// The keys that have a route of which `is_meant` is true, in no order; it is asked but once for all
    /// that are alike.
    pub fn routes_with<'a>(
        &'a self,
        is_meant: &dyn Fn(&Route) -> bool,
    ) -> impl Iterator<Item = RouteKey> + use<'a> {
        self.routes.with(is_meant)
    }

    /// The prefixes that hold an address and may have a route in some table, the longest first.
    pub fn prefixes_around(&self, address: IpAddr) -> impl Iterator<Item = IpNet> {
        self.routes.lengths(address)
    }

    /// The next-hop object of an id.
    pub fn nexthop(&self, id: u32) -> Option<&NextHopObject> {
        self.nexthops.get(&id)
    }

    /// Every next-hop object, by id.
    pub fn nexthops(&self) -> impl ExactSizeIterator<Item = (u32, &NextHopObject)> {
        self.nexthops.iter().map(|(id, object)| (*id, object))
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
