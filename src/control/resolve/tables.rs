//! Groups and adjacencies, each kept once and counted by its users.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use crate::shared::fib::{Action, Adjacency, AdjacencyId, Buckets, Group, GroupId};
use crate::shared::reason::{DropReason, PuntReason};

/// Where a leg of a route leads, in the kernel's terms. Sorted: the order in which legs are hashed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum NextHop {
    /// A neighbour that routes go through.
    Gateway { ifindex: u32, address: IpAddr },
    /// A neighbour as the destination: the end of its own host route.
    Host { ifindex: u32, address: IpAddr },
    /// Whoever the packet is for, behind an interface.
    OnLink { ifindex: u32 },
}

impl NextHop {
    pub(super) fn ifindex(self) -> u32 {
        match self {
            NextHop::Gateway { ifindex, .. }
            | NextHop::Host { ifindex, .. }
            | NextHop::OnLink { ifindex } => ifindex,
        }
    }

    /// The neighbour that it is, if it is one.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            NextHop::Gateway { address, .. } | NextHop::Host { address, .. } => Some(address),
            NextHop::OnLink { .. } => None,
        }
    }
}

/// What a group does, before its next hops have slots.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum SpecAction {
    /// Legs with weights, sorted.
    Forward(Vec<(NextHop, u16)>),
    Punt(PuntReason),
    Drop(DropReason),
}

/// A group's identity: routes with equal specs share one group.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Spec {
    pub(super) action: SpecAction,
    /// `u16::MAX` when only the egress interface limits.
    pub(super) mtu: u16,
}

impl Spec {
    /// One next hop.
    pub(super) fn to(next_hop: NextHop, mtu: u16) -> Spec {
        Spec {
            action: SpecAction::Forward(vec![(next_hop, 1)]),
            mtu,
        }
    }

    pub(super) fn legs(&self) -> &[(NextHop, u16)] {
        match &self.action {
            SpecAction::Forward(legs) => legs,
            SpecAction::Punt(_) | SpecAction::Drop(_) => &[],
        }
    }
}

/// Dense slots for values that are shared by key and counted.
#[derive(Debug)]
struct Slots<K> {
    by_key: HashMap<K, u32>,
    /// By slot: the key and how many users it has; absent for a free slot.
    taken: Vec<Option<(K, u32)>>,
    free: Vec<u32>,
}

impl<K: Clone + Eq + Hash> Slots<K> {
    /// `first` slots are never handed out.
    fn new(first: usize) -> Slots<K> {
        Slots {
            by_key: HashMap::new(),
            taken: vec![None; first],
            free: Vec::new(),
        }
    }

    /// Counts one more user of a key that has a slot.
    fn share(&mut self, key: &K) -> Option<u32> {
        let slot = *self.by_key.get(key)?;
        if let Some(Some((_, users))) = self.taken.get_mut(slot as usize) {
            *users += 1;
        }
        Some(slot)
    }

    /// A slot for a new key with one user.
    fn take(&mut self, key: K) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.taken.push(None);
            u32::try_from(self.taken.len() - 1).unwrap_or(u32::MAX)
        });
        self.by_key.insert(key.clone(), slot);
        self.taken[slot as usize] = Some((key, 1));
        slot
    }

    /// Counts one user less; returns the key when it was the last, and the slot is free again.
    fn release(&mut self, slot: u32) -> Option<K> {
        let entry = self.taken.get_mut(slot as usize)?;
        let (_, users) = entry.as_mut()?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        let (key, _) = entry.take()?;
        self.by_key.remove(&key);
        self.free.push(slot);
        Some(key)
    }

    fn key(&self, slot: usize) -> Option<&K> {
        self.taken.get(slot)?.as_ref().map(|(key, _)| key)
    }
}

/// The groups of all routes. Slot 0 is "no route".
#[derive(Debug)]
pub(super) struct Groups {
    slots: Slots<Spec>,
    values: Arc<Vec<Group>>,
}

impl Default for Groups {
    fn default() -> Self {
        let no_route = Group {
            action: Action::Punt(PuntReason::NoRoute),
            mtu: u16::MAX,
        };
        Groups {
            slots: Slots::new(1),
            values: Arc::new(vec![no_route]),
        }
    }
}

impl Groups {
    pub(super) fn snapshot(&self) -> Arc<Vec<Group>> {
        Arc::clone(&self.values)
    }

    pub(super) fn in_use(&self) -> usize {
        self.slots.by_key.len()
    }

    /// The group of a spec, made on first use from the slots of its next hops.
    pub(super) fn acquire(
        &mut self,
        spec: Spec,
        mut slot_of: impl FnMut(NextHop) -> AdjacencyId,
    ) -> GroupId {
        if let Some(slot) = self.slots.share(&spec) {
            return GroupId::new(slot);
        }
        let action = match &spec.action {
            SpecAction::Punt(reason) => Action::Punt(*reason),
            SpecAction::Drop(reason) => Action::Drop(*reason),
            SpecAction::Forward(legs) => {
                let legs: Vec<_> = legs
                    .iter()
                    .map(|(hop, weight)| (slot_of(*hop), *weight))
                    .collect();
                match (legs.as_slice(), Buckets::new(&legs)) {
                    ([(only, _)], _) => Action::Forward(*only),
                    (_, Some(buckets)) => Action::Spread(buckets),
                    // No legs, or more than a group holds.
                    (_, None) => Action::Punt(PuntReason::KernelRoute),
                }
            }
        };
        let group = Group {
            action,
            mtu: spec.mtu,
        };
        let slot = self.slots.take(spec);
        put(Arc::make_mut(&mut self.values), slot, group);
        GroupId::new(slot)
    }

    /// One user less; the spec when it was the last.
    pub(super) fn release(&mut self, id: GroupId) -> Option<Spec> {
        self.slots.release(u32::try_from(id.index()).ok()?)
    }
}

/// The next hops of all groups.
#[derive(Debug)]
pub(super) struct Adjacencies {
    slots: Slots<NextHop>,
    values: Arc<Vec<Adjacency>>,
}

impl Default for Adjacencies {
    fn default() -> Self {
        Adjacencies {
            slots: Slots::new(0),
            values: Arc::default(),
        }
    }
}

impl Adjacencies {
    pub(super) fn snapshot(&self) -> Arc<Vec<Adjacency>> {
        Arc::clone(&self.values)
    }

    pub(super) fn in_use(&self) -> usize {
        self.slots.by_key.len()
    }

    pub(super) fn contains(&self, next_hop: NextHop) -> bool {
        self.slots.by_key.contains_key(&next_hop)
    }

    /// The next hops behind an interface.
    pub(super) fn behind(&self, ifindex: u32) -> Vec<NextHop> {
        self.slots
            .by_key
            .keys()
            .filter(|hop| hop.ifindex() == ifindex)
            .copied()
            .collect()
    }

    /// The next hop of every slot; `None` where a slot is free.
    pub(super) fn next_hops(&self) -> Vec<Option<NextHop>> {
        let slots = self.slots.taken.iter();
        slots
            .map(|slot| slot.as_ref().map(|(next_hop, _)| *next_hop))
            .collect()
    }

    pub(super) fn next_hop(&self, id: AdjacencyId) -> Option<NextHop> {
        self.slots.key(id.index()).copied()
    }

    /// The slot of a next hop, with the value given on first use.
    pub(super) fn acquire(
        &mut self,
        next_hop: NextHop,
        value: impl FnOnce() -> Adjacency,
    ) -> AdjacencyId {
        if let Some(slot) = self.slots.share(&next_hop) {
            return AdjacencyId::new(slot);
        }
        let slot = self.slots.take(next_hop);
        put(Arc::make_mut(&mut self.values), slot, value());
        AdjacencyId::new(slot)
    }

    /// Changes the value of a next hop that has a slot; a table that workers share is copied first.
    pub(super) fn set(&mut self, next_hop: NextHop, value: Adjacency) {
        if let Some(slot) = self.slots.by_key.get(&next_hop)
            && self.values.get(*slot as usize) != Some(&value)
        {
            put(Arc::make_mut(&mut self.values), *slot, value);
        }
    }

    pub(super) fn release(&mut self, next_hop: NextHop) {
        if let Some(slot) = self.slots.by_key.get(&next_hop) {
            self.slots.release(*slot);
        }
    }
}

/// Writes a slot that exists or is the next one.
fn put<T>(values: &mut Vec<T>, slot: u32, value: T) {
    match values.get_mut(slot as usize) {
        Some(old) => *old = value,
        None => values.push(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_specs_share_a_group_until_the_last_user_goes() {
        let mut groups = Groups::default();
        let spec = Spec::to(NextHop::OnLink { ifindex: 1 }, u16::MAX);
        let first = groups.acquire(spec.clone(), |_| AdjacencyId::new(0));
        let second = groups.acquire(spec.clone(), |_| panic!("made twice"));
        assert_eq!(first, second);
        assert_ne!(first, GroupId::NO_ROUTE);
        assert_eq!(groups.release(first), None);
        assert_eq!(groups.release(first), Some(spec));
        assert_eq!(groups.in_use(), 0);
        assert_eq!(groups.release(GroupId::NO_ROUTE), None, "slot 0 stays");
    }

    #[test]
    fn a_freed_slot_is_used_again_and_old_snapshots_keep_their_values() {
        let mut table = Adjacencies::default();
        let hops = [1, 2].map(|ifindex| NextHop::OnLink { ifindex });
        let slot = table.acquire(hops[0], || Adjacency::Foreign);
        let before = table.snapshot();
        table.release(hops[0]);
        let port = crate::shared::port::PortId::new(3).unwrap();
        assert_eq!(table.acquire(hops[1], || Adjacency::Unresolved(port)), slot);
        assert_eq!(before[slot.index()], Adjacency::Foreign);
        assert_eq!(table.snapshot()[slot.index()], Adjacency::Unresolved(port));
    }
}
