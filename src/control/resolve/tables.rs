//! Groups and adjacencies, each kept once and counted by its users.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::control::slots::Slots;
use crate::shared::fib::{Action, Adjacency, AdjacencyId, Buckets, Group, GroupId, PackedTable};
use crate::shared::port::PortId;
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
    /// What the next-hop object of this id does at the moment.
    Object(u32),
}

impl SpecAction {
    pub(super) fn legs(&self) -> &[(NextHop, u16)] {
        match self {
            SpecAction::Forward(legs) => legs,
            SpecAction::Punt(_) | SpecAction::Drop(_) | SpecAction::Object(_) => &[],
        }
    }

    /// The interface, when every destination is a neighbour there.
    pub(super) fn on_link(&self) -> Option<u32> {
        match self.legs() {
            [(NextHop::OnLink { ifindex }, _)] => Some(*ifindex),
            _ => None,
        }
    }
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
}

/// The groups of all routes. Slot 0 is "no route".
#[derive(Debug)]
pub(super) struct Groups {
    slots: Slots<Spec>,
    /// By object and slot: what the groups of next-hop objects were last found to do.
    by_object: BTreeMap<(u32, u32), SpecAction>,
    /// Slots of the groups that have more legs than can be spread over.
    oversized: BTreeSet<u32>,
    values: Arc<PackedTable<Group>>,
}

impl Default for Groups {
    fn default() -> Self {
        let no_route = Group {
            action: Action::Punt(PuntReason::NoRoute),
            mtu: u16::MAX,
        };
        Groups {
            slots: Slots::after(1),
            by_object: BTreeMap::new(),
            oversized: BTreeSet::new(),
            values: Arc::new([no_route].into_iter().collect()),
        }
    }
}

impl Groups {
    pub(super) fn snapshot(&self) -> Arc<PackedTable<Group>> {
        Arc::clone(&self.values)
    }

    pub(super) fn in_use(&self) -> usize {
        self.slots.len()
    }

    /// Groups that are left to the kernel, since they have more than [`Buckets::MAX_LEGS`].
    pub(super) fn oversized(&self) -> usize {
        self.oversized.len()
    }

    /// The group of a spec that has one.
    pub(super) fn share(&mut self, spec: &Spec) -> Option<GroupId> {
        self.slots.share(spec).map(GroupId::new)
    }

    /// A group for a new spec, of which `does` is what it does (its own action, or its object's).
    pub(super) fn add(
        &mut self,
        spec: Spec,
        does: SpecAction,
        slot_of: impl FnMut(NextHop) -> AdjacencyId,
    ) -> GroupId {
        let group = group(&does, spec.mtu, slot_of);
        let object = match spec.action {
            SpecAction::Object(id) => Some(id),
            _ => None,
        };
        let slot = self.slots.take(spec);
        self.put(slot, group, &does);
        if let Some(id) = object {
            self.by_object.insert((id, slot), does);
        }
        GroupId::new(slot)
    }

    fn put(&mut self, slot: u32, group: Group, does: &SpecAction) {
        match does.legs().len() > Buckets::MAX_LEGS {
            true => self.oversized.insert(slot),
            false => self.oversized.remove(&slot),
        };
        Arc::make_mut(&mut self.values).put(slot as usize, group);
    }

    /// One user less. After the last, what the group did.
    pub(super) fn release(&mut self, id: GroupId) -> Option<SpecAction> {
        let slot = u32::try_from(id.index()).ok()?;
        let action = self.slots.retire(slot)?.action;
        self.oversized.remove(&slot);
        match action {
            SpecAction::Object(id) => self.by_object.remove(&(id, slot)),
            action => Some(action),
        }
    }

    /// The world that is made now leads nowhere by the groups that were released before.
    pub(super) fn settle(&mut self) {
        self.slots.settle();
    }

    /// The next-hop objects that groups have.
    pub(super) fn objects(&self) -> BTreeSet<u32> {
        self.by_object.keys().map(|(id, _)| *id).collect()
    }

    /// The groups of a next-hop object that do not do as `does` yet.
    pub(super) fn outdated(&self, object: u32, does: &SpecAction) -> Vec<GroupId> {
        let groups = self.by_object.range((object, 0)..=(object, u32::MAX));
        let outdated = groups.filter(|(_, known)| *known != does);
        outdated.map(|((_, slot), _)| GroupId::new(*slot)).collect()
    }

    /// Has the group of a next-hop object do something else; what it did.
    pub(super) fn update(
        &mut self,
        id: GroupId,
        does: SpecAction,
        slot_of: impl FnMut(NextHop) -> AdjacencyId,
    ) -> Option<SpecAction> {
        let slot = u32::try_from(id.index()).ok()?;
        let spec = self.slots.get(slot)?;
        let SpecAction::Object(object) = spec.action else {
            return None;
        };
        let group = group(&does, spec.mtu, slot_of);
        self.put(slot, group, &does);
        self.by_object.insert((object, slot), does)
    }
}

fn group(does: &SpecAction, mtu: u16, mut slot_of: impl FnMut(NextHop) -> AdjacencyId) -> Group {
    let action = match does {
        SpecAction::Punt(reason) => Action::Punt(*reason),
        SpecAction::Drop(reason) => Action::Drop(*reason),
        SpecAction::Object(_) => Action::Punt(PuntReason::KernelRoute),
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
    Group { action, mtu }
}

/// The next hops of all groups.
#[derive(Default, Debug)]
pub(super) struct Adjacencies {
    slots: Slots<NextHop>,
    values: Arc<PackedTable<Adjacency>>,
}

impl Adjacencies {
    pub(super) fn snapshot(&self) -> Arc<PackedTable<Adjacency>> {
        Arc::clone(&self.values)
    }

    pub(super) fn in_use(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn contains(&self, next_hop: NextHop) -> bool {
        self.slots.find(&next_hop).is_some()
    }

    /// The next hops behind an interface.
    pub(super) fn behind(&self, ifindex: u32) -> Vec<NextHop> {
        let hops = self.slots.iter().map(|(_, hop)| *hop);
        hops.filter(|hop| hop.ifindex() == ifindex).collect()
    }

    /// The next hop of every slot; `None` where a slot is free.
    pub(super) fn next_hops(&self) -> Vec<Option<NextHop>> {
        self.slots.slots().map(Option::<&NextHop>::copied).collect()
    }

    pub(super) fn next_hop(&self, id: AdjacencyId) -> Option<NextHop> {
        self.slots.get(u32::try_from(id.index()).ok()?).copied()
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
        Arc::make_mut(&mut self.values).put(slot as usize, value());
        AdjacencyId::new(slot)
    }

    /// Changes the value of a next hop that has a slot; a table that workers share is copied first.
    pub(super) fn set(&mut self, next_hop: NextHop, value: Adjacency) {
        if let Some(slot) = self.slots.find(&next_hop)
            && self.values.get(slot as usize) != Some(&value)
        {
            Arc::make_mut(&mut self.values).put(slot as usize, value);
        }
    }

    pub(super) fn release(&mut self, next_hop: NextHop) {
        if let Some(slot) = self.slots.find(&next_hop) {
            self.slots.retire(slot);
        }
    }

    /// As [`Groups::settle`].
    pub(super) fn settle(&mut self) {
        self.slots.settle();
    }

    /// Whether a next hop that was released, but not settled, is behind a port.
    pub(super) fn resting_behind(&self, port: PortId) -> bool {
        let slots = self.slots.resting().iter();
        let mut values = slots.filter_map(|slot| self.values.get(*slot as usize));
        values.any(|adjacency| adjacency.port() == Some(port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_specs_share_a_group_until_the_last_user_goes() {
        let mut groups = Groups::default();
        let spec = Spec::to(NextHop::OnLink { ifindex: 1 }, u16::MAX);
        assert_eq!(groups.share(&spec), None);
        let first = groups.add(spec.clone(), spec.action.clone(), |_| AdjacencyId::new(0));
        assert_eq!(groups.share(&spec), Some(first));
        assert_ne!(first, GroupId::NO_ROUTE);
        assert_eq!(groups.release(first), None);
        assert_eq!(groups.release(first), Some(spec.action));
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
        table.settle();
        let port = PortId::new(3).unwrap();
        assert_eq!(table.acquire(hops[1], || Adjacency::Unresolved(port)), slot);
        assert_eq!(before.get(slot.index()), Some(&Adjacency::Foreign));
        let after = table.snapshot();
        assert_eq!(after.get(slot.index()), Some(&Adjacency::Unresolved(port)));
    }
}
