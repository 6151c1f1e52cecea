//! Routes by table and prefix.
//!
//! A full table has a million prefixes, and a few thousand ways to go: what lies behind a prefix, an
//! ordered list of routes, is kept once for all prefixes that have the same. So a prefix costs a few
//! tens of bytes, and what an interface's end does to all routes is worked out once a list.
//!
//! Prefixes are hashed: a routing daemon sets them in disorder, and every step down a tree of a million
//! waits for memory. Where their order matters, they are sorted.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::lists::Outcome;
use super::types::{Route, RouteKey};
use crate::control::slots::Slots;

/// Prefix lengths of both families: 0 to 128.
const LENGTHS: usize = 129;

/// The same for all maps: two of the same prefixes have them in much the same order, so that to compare
/// them takes no walk all over memory. For the same reason none is filled in another one's order: as long
/// as it is the smaller, all would fall into its first places.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// All routes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Routes {
    ipv4: Family<Prefix4>,
    ipv6: Family<Ipv6Net>,
}

impl Routes {
    pub(super) fn len(&self) -> usize {
        self.ipv4.len() + self.ipv6.len()
    }

    pub(super) fn get(&self, key: &RouteKey) -> &[Route] {
        match key.prefix {
            IpNet::V4(net) => self.ipv4.get(key.table, net.into()),
            IpNet::V6(net) => self.ipv6.get(key.table, net),
        }
    }

    /// Reads what a change of a key is about to read: many keys are waited for at once.
    pub(super) fn warm(&self, key: &RouteKey) {
        match key.prefix {
            IpNet::V4(net) => self.ipv4.warm(key.table, net.into()),
            IpNet::V6(net) => self.ipv6.warm(key.table, net),
        }
    }

    /// Every key with its routes, IPv4 first, by table and prefix.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RouteKey, &[Route])> {
        self.ipv4.iter().chain(self.ipv6.iter())
    }

    /// As [`Self::iter`], IPv6 only.
    pub(super) fn ipv6(&self) -> impl Iterator<Item = (RouteKey, &[Route])> {
        self.ipv6.iter()
    }

    /// The prefixes of a table, in no order.
    pub(super) fn prefixes(&self, table: u32) -> impl Iterator<Item = IpNet> {
        self.ipv4.prefixes(table).chain(self.ipv6.prefixes(table))
    }

    /// The prefixes of a table in order, IPv4 first.
    pub(super) fn sorted(&self, table: u32) -> impl Iterator<Item = IpNet> {
        self.ipv4.sorted(table).chain(self.ipv6.sorted(table))
    }

    /// The keys that have a route of which `is_meant` is true, in no order.
    pub(super) fn with<'a>(
        &'a self,
        is_meant: &dyn Fn(&Route) -> bool,
    ) -> impl Iterator<Item = RouteKey> + use<'a> {
        self.ipv4.with(is_meant).chain(self.ipv6.with(is_meant))
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
            IpNet::V4(net) => self.ipv4.edit(key.table, net.into(), edit),
            IpNet::V6(net) => self.ipv6.edit(key.table, net, edit),
        }
    }

    /// Changes lists that have a route of which `is_meant` is true; returns the prefixes of those that
    /// changed, a table's in order. `edit` is told whether a list is one of IPv6, and answers whether
    /// it changed it.
    pub(super) fn edit_all(
        &mut self,
        is_meant: impl Fn(&Route) -> bool,
        edit: impl Fn(&mut Vec<Route>, bool) -> bool,
    ) -> Vec<IpNet> {
        let edit4 = |list: &mut Vec<Route>| edit(list, false);
        let edit6 = |list: &mut Vec<Route>| edit(list, true);
        let mut edited = self.ipv4.edit_all(&is_meant, edit4);
        edited.extend(self.ipv6.edit_all(&is_meant, edit6));
        edited
    }

    /// Removes the routes of which `is_meant` is true; returns their prefixes, a table's in order.
    pub(super) fn remove(&mut self, is_meant: impl Fn(&Route) -> bool) -> Vec<IpNet> {
        let edit = |list: &mut Vec<Route>, _| {
            let before = list.len();
            list.retain(|route| !is_meant(route));
            list.len() != before
        };
        self.edit_all(&is_meant, edit)
    }

    /// Forgets all routes of a family.
    pub(super) fn clear(&mut self, ipv6: bool) {
        match ipv6 {
            false => self.ipv4 = Family::default(),
            true => self.ipv6 = Family::default(),
        }
    }

    /// The prefixes that do not have the same routes in `other`, a table's in order.
    pub(super) fn differences(&self, other: &Routes) -> Vec<IpNet> {
        let mut different = self.ipv4.differences(&other.ipv4);
        different.extend(self.ipv6.differences(&other.ipv6));
        different
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

/// By prefix: the slot of its list, which is not empty.
type Table<P> = HashMap<P, u32, RandomState>;

/// The routes of a family, whose prefixes are told apart as `P`.
#[derive(Clone, Debug)]
struct Family<P> {
    /// By table; none is empty.
    tables: BTreeMap<u32, Table<P>>,
    lists: Slots<Arc<[Route]>>,
    lengths: Lengths,
    /// Room for the list that is edited.
    spare: Vec<Route>,
}

impl<P> Default for Family<P> {
    fn default() -> Self {
        Family {
            tables: BTreeMap::new(),
            lists: Slots::default(),
            lengths: Lengths::default(),
            spare: Vec::new(),
        }
    }
}

impl<P: Prefix> Family<P> {
    fn len(&self) -> usize {
        self.tables.values().map(HashMap::len).sum()
    }

    fn list(&self, slot: u32) -> &[Route] {
        self.lists.get(slot).map_or(&[], |list| list)
    }

    fn get(&self, table: u32, prefix: P) -> &[Route] {
        let prefixes = self.tables.get(&table);
        let slot = prefixes.and_then(|prefixes| prefixes.get(&prefix));
        slot.map_or(&[], |slot| self.list(*slot))
    }

    fn warm(&self, table: u32, prefix: P) {
        let prefixes = self.tables.get(&table);
        black_box(prefixes.is_some_and(|prefixes| prefixes.contains_key(&prefix)));
    }

    fn iter(&self) -> impl Iterator<Item = (RouteKey, &[Route])> {
        self.tables.iter().flat_map(|(table, prefixes)| {
            let mut sorted: Vec<(P, u32)> = prefixes.iter().map(|(p, slot)| (*p, *slot)).collect();
            sorted.sort_unstable();
            let lists = sorted.into_iter();
            lists.map(|(prefix, slot)| (prefix.key(*table), self.list(slot)))
        })
    }

    fn prefixes(&self, table: u32) -> impl Iterator<Item = IpNet> {
        let prefixes = self.tables.get(&table).into_iter();
        prefixes.flat_map(HashMap::keys).map(|prefix| prefix.net())
    }

    fn sorted(&self, table: u32) -> impl Iterator<Item = IpNet> {
        let prefixes = self.tables.get(&table).into_iter();
        prefixes.flat_map(|prefixes| in_order(prefixes.keys().copied().collect()))
    }

    fn with<'a>(
        &'a self,
        is_meant: &dyn Fn(&Route) -> bool,
    ) -> impl Iterator<Item = RouteKey> + use<'a, P> {
        let lists = self.lists.iter();
        let meant = lists.filter(|(_, list)| list.iter().any(is_meant));
        let meant: HashSet<u32, RandomState> = meant.map(|(slot, _)| slot).collect();
        // Without such a list, prefixes are not looked at.
        let tables = (!meant.is_empty()).then_some(&self.tables);
        let all = tables.into_iter().flatten().flat_map(|(table, prefixes)| {
            prefixes
                .iter()
                .map(move |(prefix, slot)| (prefix.key(*table), slot))
        });
        all.filter(move |(_, slot)| meant.contains(slot))
            .map(|(key, _)| key)
    }

    fn edit(
        &mut self,
        table: u32,
        prefix: P,
        edit: impl FnOnce(&mut Vec<Route>) -> Outcome,
    ) -> Outcome {
        let prefixes = self.tables.entry(table);
        let prefixes = prefixes.or_insert_with(|| Table::with_hasher(HASHER.clone()));
        let entry = prefixes.entry(prefix);
        let old = match &entry {
            Entry::Occupied(slot) => Some(*slot.get()),
            Entry::Vacant(_) => None,
        };
        let known = old.and_then(|slot| self.lists.get(slot));
        let list = &mut self.spare;
        list.clear();
        list.extend_from_slice(known.map_or(&[], |list| list));
        let outcome = edit(list);
        if outcome != Outcome::Unchanged {
            let length = &mut self.lengths.0[usize::from(prefix.net().prefix_len())];
            let new = (!list.is_empty()).then(|| slot_of(&mut self.lists, list));
            match (entry, new) {
                (Entry::Occupied(mut slot), Some(new)) => drop(slot.insert(new)),
                (Entry::Vacant(slot), Some(new)) => {
                    slot.insert(new);
                    *length += 1;
                }
                (Entry::Occupied(slot), None) => {
                    slot.remove();
                    *length -= 1;
                }
                (Entry::Vacant(_), None) => {}
            }
            if let Some(old) = old {
                self.lists.release(old);
            }
        }
        if prefixes.is_empty() {
            self.tables.remove(&table);
        }
        outcome
    }

    fn edit_all(
        &mut self,
        is_meant: impl Fn(&Route) -> bool,
        edit: impl Fn(&mut Vec<Route>) -> bool,
    ) -> Vec<IpNet> {
        let mut all = Vec::new();
        let mut changed = Vec::new();
        let lists = self.lists.iter();
        for (slot, list) in lists.filter(|(_, list)| list.iter().any(&is_meant)) {
            let mut list = list.to_vec();
            if edit(&mut list) {
                changed.push((slot, list));
            }
        }
        if changed.is_empty() {
            return all;
        }
        // Each new list counts one user here until all prefixes have theirs.
        let changed: HashMap<u32, Option<u32>, RandomState> = changed
            .into_iter()
            .map(|(slot, list)| {
                let new = (!list.is_empty()).then(|| slot_of(&mut self.lists, &list));
                (slot, new)
            })
            .collect();
        let Family {
            tables,
            lists,
            lengths,
            ..
        } = self;
        for prefixes in tables.values_mut() {
            let mut edited: Vec<P> = Vec::new();
            prefixes.retain(|prefix, slot| {
                let Some(new) = changed.get(slot) else {
                    return true;
                };
                edited.push(*prefix);
                lists.release(*slot);
                match new {
                    Some(new) => {
                        lists.share_slot(*new);
                        *slot = *new;
                    }
                    None => lengths.0[usize::from(prefix.net().prefix_len())] -= 1,
                }
                new.is_some()
            });
            all.extend(in_order(edited));
        }
        tables.retain(|_, prefixes| !prefixes.is_empty());
        for new in changed.into_values().flatten() {
            lists.release(new);
        }
        all
    }

    /// The prefixes whose lists are only in one of the two or not the same in both.
    fn differences(&self, other: &Family<P>) -> Vec<IpNet> {
        let mut all = Vec::new();
        // Slots differ though lists are equal: what is `other`'s called here?
        let slots = other.lists.slots();
        let slots: Vec<Option<u32>> = slots.map(|list| self.lists.find(list?.as_ref())).collect();
        let ours = |others: &u32| slots.get(*others as usize).copied().flatten();
        let none = Table::with_hasher(HASHER.clone());
        let tables: BTreeSet<&u32> = self.tables.keys().chain(other.tables.keys()).collect();
        for table in tables {
            let [own, others] =
                [self, other].map(|family| family.tables.get(table).unwrap_or(&none));
            let differs =
                |(prefix, slot): &(&P, &u32)| others.get(*prefix).and_then(ours) != Some(**slot);
            let changed = own.iter().filter(differs).map(|(prefix, _)| *prefix);
            let is_new = |prefix: &P| !own.contains_key(prefix);
            let new = others.keys().copied().filter(is_new);
            all.extend(in_order(changed.chain(new).collect()));
        }
        all
    }
}

impl<P: Prefix> PartialEq for Family<P> {
    fn eq(&self, other: &Self) -> bool {
        self.differences(other).is_empty()
    }
}

impl<P: Prefix> Eq for Family<P> {}

fn slot_of(lists: &mut Slots<Arc<[Route]>>, list: &[Route]) -> u32 {
    let known = lists.share(list);
    known.unwrap_or_else(|| lists.take(list.into()))
}

/// Prefixes of a table sorted.
fn in_order<P: Prefix>(mut prefixes: Vec<P>) -> impl Iterator<Item = IpNet> {
    prefixes.sort_unstable();
    prefixes.into_iter().map(P::net)
}

/// A prefix in a form that is small and quick to compare, by address and then by length.
trait Prefix: Copy + Ord + Hash {
    fn net(self) -> IpNet;

    fn key(self, table: u32) -> RouteKey {
        let prefix = self.net();
        RouteKey { table, prefix }
    }
}

/// An IPv4 prefix: the address, and the length in the lowest eight bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Prefix4(u64);

impl From<Ipv4Net> for Prefix4 {
    fn from(net: Ipv4Net) -> Prefix4 {
        let address = u32::from(net.addr());
        Prefix4(u64::from(address) << 8 | u64::from(net.prefix_len()))
    }
}

impl Prefix for Prefix4 {
    fn net(self) -> IpNet {
        let [.., a, b, c, d, length] = self.0.to_be_bytes();
        Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length).into()
    }
}

impl Prefix for Ipv6Net {
    fn net(self) -> IpNet {
        self.into()
    }
}
