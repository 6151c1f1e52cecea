//! Routes by table and prefix.
//!
//! A full table has a million prefixes, and a few thousand ways to go: what lies behind a prefix, an
//! ordered list of routes, is kept once for all prefixes that have the same. So a prefix costs a few
//! tens of bytes, and what an interface's end does to all routes is worked out once a list.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::lists::Outcome;
use super::replace::differences;
use super::types::{Route, RouteKey};
use crate::control::slots::Slots;

/// Prefix lengths of both families: 0 to 128.
const LENGTHS: usize = 129;

/// All routes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Routes {
    ipv4: Family<Ipv4Net>,
    ipv6: Family<Ipv6Net>,
}

impl Routes {
    pub(super) fn len(&self) -> usize {
        self.ipv4.prefixes.len() + self.ipv6.prefixes.len()
    }

    pub(super) fn get(&self, key: &RouteKey) -> &[Route] {
        match key.prefix {
            IpNet::V4(net) => self.ipv4.get(key.table, net),
            IpNet::V6(net) => self.ipv6.get(key.table, net),
        }
    }

    /// Every key with its routes, IPv4 first, by table and prefix.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RouteKey, &[Route])> {
        self.ipv4.iter().chain(self.ipv6.iter())
    }

    /// The keys that have a route of which `is_meant` is true.
    pub(super) fn with<'a>(
        &'a self,
        is_meant: &dyn Fn(&Route) -> bool,
    ) -> impl Iterator<Item = RouteKey> + use<'a> {
        self.ipv4.with(is_meant).chain(self.ipv6.with(is_meant))
    }

    /// The prefixes of a table within `prefix`, itself included.
    pub(super) fn within(&self, table: u32, prefix: IpNet) -> Box<dyn Iterator<Item = IpNet> + '_> {
        match prefix {
            IpNet::V4(net) => Box::new(self.ipv4.within(table, net, net.broadcast().into())),
            IpNet::V6(net) => Box::new(self.ipv6.within(table, net, net.broadcast().into())),
        }
    }

    /// Prefixes that hold an address, the longest first, of the lengths that some route has.
    pub(super) fn lengths(&self, address: IpAddr) -> impl Iterator<Item = IpNet> {
        let (used, longest) = match address {
            IpAddr::V4(_) => (&self.ipv4.lengths, 32u8),
            IpAddr::V6(_) => (&self.ipv6.lengths, 128),
        };
        let lengths = (0..=longest).rev();
        let lengths = lengths.filter(|length| used.0[usize::from(*length)] > 0);
        lengths.filter_map(move |length| Some(IpNet::new(address, length).ok()?.trunc()))
    }

    /// Changes the list of a key; an empty list takes the key along.
    pub(super) fn edit(
        &mut self,
        key: RouteKey,
        edit: impl FnOnce(&mut Vec<Route>) -> Outcome,
    ) -> Outcome {
        match key.prefix {
            IpNet::V4(net) => self.ipv4.edit((key.table, net), edit),
            IpNet::V6(net) => self.ipv6.edit((key.table, net), edit),
        }
    }

    /// Changes lists that have a route of which `is_meant` is true. `edit` is told whether a list is
    /// one of IPv6, and answers whether it changed it; `touched` hears of the prefixes.
    pub(super) fn edit_all(
        &mut self,
        is_meant: impl Fn(&Route) -> bool,
        edit: impl Fn(&mut Vec<Route>, bool) -> bool,
        mut touched: impl FnMut(IpNet),
    ) {
        let edit4 = |list: &mut Vec<Route>| edit(list, false);
        let edit6 = |list: &mut Vec<Route>| edit(list, true);
        self.ipv4
            .edit_all(&is_meant, edit4, |net| touched(net.into()));
        self.ipv6
            .edit_all(&is_meant, edit6, |net| touched(net.into()));
    }

    /// Removes the routes of which `is_meant` is true; `touched` hears of their prefixes.
    pub(super) fn remove(&mut self, is_meant: impl Fn(&Route) -> bool, touched: impl FnMut(IpNet)) {
        let edit = |list: &mut Vec<Route>, _| {
            let before = list.len();
            list.retain(|route| !is_meant(route));
            list.len() != before
        };
        self.edit_all(&is_meant, edit, touched);
    }

    /// Forgets all routes of a family.
    pub(super) fn clear(&mut self, ipv6: bool) {
        match ipv6 {
            false => self.ipv4 = Family::default(),
            true => self.ipv6 = Family::default(),
        }
    }

    /// Calls `differs` with every prefix that does not have the same routes in `other`.
    pub(super) fn differences(&self, other: &Routes, mut differs: impl FnMut(IpNet)) {
        self.ipv4
            .differences(&other.ipv4, |(_, net)| differs((*net).into()));
        self.ipv6
            .differences(&other.ipv6, |(_, net)| differs((*net).into()));
    }
}

/// How many keys have a prefix of each length.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lengths([u32; LENGTHS]);

impl Default for Lengths {
    fn default() -> Self {
        Lengths([0; LENGTHS])
    }
}

/// The routes of a family, which has prefixes of type `N`.
#[derive(Clone, Debug)]
struct Family<N> {
    /// By table and prefix: the slot of its list, which is not empty.
    prefixes: BTreeMap<(u32, N), u32>,
    lists: Slots<Arc<[Route]>>,
    lengths: Lengths,
}

impl<N> Default for Family<N> {
    fn default() -> Self {
        Family {
            prefixes: BTreeMap::new(),
            lists: Slots::default(),
            lengths: Lengths::default(),
        }
    }
}

impl<N: Copy + Ord + Into<IpNet>> Family<N> {
    fn list(&self, slot: u32) -> &[Route] {
        self.lists.get(slot).map_or(&[], |list| list)
    }

    fn get(&self, table: u32, prefix: N) -> &[Route] {
        let slot = self.prefixes.get(&(table, prefix));
        slot.map_or(&[], |slot| self.list(*slot))
    }

    fn iter(&self) -> impl Iterator<Item = (RouteKey, &[Route])> {
        let prefixes = self.prefixes.iter();
        prefixes.map(|(key, slot)| (route_key(key), self.list(*slot)))
    }

    fn with<'a>(
        &'a self,
        is_meant: &dyn Fn(&Route) -> bool,
    ) -> impl Iterator<Item = RouteKey> + use<'a, N> {
        let lists = self.lists.iter();
        let meant = lists.filter(|(_, list)| list.iter().any(is_meant));
        let slots: HashSet<u32> = meant.map(|(slot, _)| slot).collect();
        // Without such a list, prefixes are not looked at.
        let prefixes = (!slots.is_empty()).then_some(&self.prefixes);
        let prefixes = prefixes.into_iter().flatten();
        prefixes
            .filter(move |(_, slot)| slots.contains(slot))
            .map(|(key, _)| route_key(key))
    }

    fn within(&self, table: u32, first: N, last: N) -> impl Iterator<Item = IpNet> {
        let range = self.prefixes.range((table, first)..=(table, last));
        range.map(|((_, prefix), _)| (*prefix).into())
    }

    fn edit(&mut self, key: (u32, N), edit: impl FnOnce(&mut Vec<Route>) -> Outcome) -> Outcome {
        let old = self.prefixes.get(&key).copied();
        let mut list = old.map_or_else(Vec::new, |slot| self.list(slot).to_vec());
        let outcome = edit(&mut list);
        if outcome == Outcome::Unchanged {
            return outcome;
        }
        let length = usize::from(key.1.into().prefix_len());
        match (list.is_empty(), old) {
            (true, None) => {}
            (true, Some(_)) => {
                self.prefixes.remove(&key);
                self.lengths.0[length] -= 1;
            }
            (false, _) => {
                let slot = self.slot_of(&list);
                self.prefixes.insert(key, slot);
                self.lengths.0[length] += u32::from(old.is_none());
            }
        }
        if let Some(old) = old {
            self.lists.release(old);
        }
        outcome
    }

    fn slot_of(&mut self, list: &[Route]) -> u32 {
        let known = self.lists.share(list);
        known.unwrap_or_else(|| self.lists.take(list.into()))
    }

    fn edit_all(
        &mut self,
        is_meant: impl Fn(&Route) -> bool,
        edit: impl Fn(&mut Vec<Route>) -> bool,
        mut touched: impl FnMut(N),
    ) {
        let mut changed = HashMap::new();
        let lists = self.lists.iter();
        for (slot, list) in lists.filter(|(_, list)| list.iter().any(&is_meant)) {
            let mut list = list.to_vec();
            if edit(&mut list) {
                changed.insert(slot, list);
            }
        }
        if changed.is_empty() {
            return;
        }
        // Each new list counts one user here until all prefixes have theirs.
        let changed: HashMap<u32, Option<u32>> = changed
            .into_iter()
            .map(|(slot, list)| (slot, (!list.is_empty()).then(|| self.slot_of(&list))))
            .collect();
        let Family {
            prefixes,
            lists,
            lengths,
        } = self;
        prefixes.retain(|(_, prefix), slot| {
            let Some(new) = changed.get(slot) else {
                return true;
            };
            touched(*prefix);
            lists.release(*slot);
            match new {
                Some(new) => {
                    lists.share_slot(*new);
                    *slot = *new;
                }
                None => lengths.0[usize::from((*prefix).into().prefix_len())] -= 1,
            }
            new.is_some()
        });
        for new in changed.into_values().flatten() {
            lists.release(new);
        }
    }

    /// Calls `differs` with each key whose list is only in one of the two or not the same in both.
    fn differences(&self, other: &Family<N>, differs: impl FnMut(&(u32, N))) {
        // Slots differ though lists are equal: what is `other`'s called here?
        let slots = other.lists.slots();
        let ours: Vec<Option<u32>> = slots.map(|list| self.lists.find(list?.as_ref())).collect();
        let same = |own: &u32, others: &u32| ours.get(*others as usize) == Some(&Some(*own));
        differences(&self.prefixes, &other.prefixes, same, differs);
    }
}

impl<N: Copy + Ord + Into<IpNet>> PartialEq for Family<N> {
    fn eq(&self, other: &Self) -> bool {
        let mut same = true;
        self.differences(other, |_| same = false);
        same
    }
}

impl<N: Copy + Ord + Into<IpNet>> Eq for Family<N> {}

fn route_key<N: Copy + Into<IpNet>>((table, prefix): &(u32, N)) -> RouteKey {
    RouteKey {
        table: *table,
        prefix: (*prefix).into(),
    }
}
