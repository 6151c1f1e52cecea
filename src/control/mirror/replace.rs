//! Swapping in a fresh dump, and telling exactly what differs.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Mirror;
use super::lists::Outcome;
use super::types::{Changes, Neighbour, NeighbourState, RouteKey};

/// A dump tells the last tick before a route's end (10 ms) as no end at all, and the mirror looks
/// again two ticks after the end: what is due this soon, the dump may have left out.
const UNTOLD: Duration = Duration::from_millis(50);

impl Mirror {
    /// Takes over the first tables: all of them is news, which need not be told prefix by prefix.
    pub fn begin_with(&mut self, first: Mirror) -> Changes {
        *self = first;
        Changes {
            everything: true,
            links: self.links.keys().copied().collect(),
            addresses: true,
            rules: true,
            settings: true,
            ..Changes::default()
        }
    }

    /// Takes over the tables of `fresh` and returns what is not as it was.
    pub fn replace_with(&mut self, mut fresh: Mirror) -> Changes {
        let soon = Instant::now() + UNTOLD;
        let untold = self.silent_changes.range(..soon);
        fresh.silent_changes.extend(untold);
        // Of several legs a dump tells the first one's end only.
        let joined = |key| fresh.routes.get(key).iter().any(|r| r.paths.len() > 1);
        let ends = self.ends.iter().filter(|(key, _)| joined(key));
        for (key, end) in ends {
            fresh.ends.entry(*key).or_insert(*end);
        }
        let mut changes = self.differences(&fresh);
        for id in changes.nexthops.clone() {
            fresh.note_nexthop(id, &mut changes);
        }
        *self = fresh;
        changes
    }

    /// Takes the IPv6 routes over that `known` has for a key and this mirror has not, where `is_kept`;
    /// returns their keys.
    pub fn keep_ipv6(
        &mut self,
        known: &Mirror,
        is_kept: impl Fn(&RouteKey) -> bool,
    ) -> BTreeSet<RouteKey> {
        let mut kept = BTreeSet::new();
        for (key, routes) in known.routes.ipv6() {
            if self.routes(&key).is_empty() && is_kept(&key) {
                self.routes.edit(key, |list| {
                    list.extend_from_slice(routes);
                    Outcome::Changed
                });
                kept.insert(key);
            }
        }
        kept
    }

    /// The entries that are not the same in `fresh`.
    pub fn differences(&self, fresh: &Mirror) -> Changes {
        let mut changes = Changes {
            addresses: self.addresses != fresh.addresses,
            rules: self.rules != fresh.rules,
            settings: self.netconf != fresh.netconf,
            ..Changes::default()
        };
        differences(&self.links, &fresh.links, PartialEq::eq, |index| {
            changes.links.insert(*index);
        });
        changes.add_prefixes(self.routes.differences(&fresh.routes));
        differences(&self.nexthops, &fresh.nexthops, PartialEq::eq, |id| {
            changes.nexthops.insert(*id);
        });
        differences(&self.neighbours, &fresh.neighbours, PartialEq::eq, |key| {
            changes.neighbours.insert(*key);
        });
        changes
    }

    /// The neighbours that are not reached as they are by `fresh`: the kernel does not announce
    /// every state, but it does announce these; all but those that need no resolution, which come
    /// without a word (0.0.0.0 behind lo, groups and broadcast addresses).
    pub fn moved_neighbours(&self, fresh: &Mirror) -> BTreeSet<(u32, IpAddr)> {
        let reached = |entry: &Neighbour| entry.mac.filter(|_| entry.state.is_valid());
        let mut moved = BTreeSet::new();
        differences(&self.neighbours, &fresh.neighbours, PartialEq::eq, |key| {
            let [old, new] = [self, fresh].map(|mirror| mirror.neighbours.get(key));
            let comes_silently =
                old.is_none() && new.is_some_and(|new| new.state == NeighbourState::NoArp);
            if old.and_then(reached) != new.and_then(reached) && !comes_silently {
                moved.insert(*key);
            }
        });
        moved
    }
}

/// Calls `differs` with each key whose value is only in one of the maps or not the `same` in both.
fn differences<K: Ord, V>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
    mut differs: impl FnMut(&K),
) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        match (before, after) {
            (Some((_, a)), Some((_, b))) if same(a, b) => {}
            (Some((key, _)), _) | (None, Some((key, _))) => differs(key),
            (None, None) => return,
        }
    }
}
