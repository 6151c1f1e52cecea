//! Lists of frames of a burst, made without branches: what is in a mixed burst cannot be guessed.

use super::heads::Mask;
use crate::dataplane::port::BURST;
use crate::shared::fib::{Fib, GroupId, Lpm};

/// Frames of a burst, by slot.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    slots: [u8; BURST],
    len: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Slots {
            slots: [0; BURST],
            len: 0,
        }
    }
}

impl Slots {
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// The first `count` slots.
    #[inline]
    fn first(count: u32) -> Slots {
        const ALL: [u8; BURST] = {
            let mut all = [0; BURST];
            let mut slot = 0u8;
            while (slot as usize) < BURST {
                all[slot as usize] = slot;
                slot += 1;
            }
            all
        };
        Slots {
            slots: ALL,
            len: usize::try_from(count).unwrap_or(0),
        }
    }

    /// Adds a slot or not. Every slot is offered once at most, so there is room.
    #[inline]
    pub(super) fn push_if(&mut self, condition: bool, slot: u8) {
        self.slots[self.len % BURST] = slot;
        self.len += usize::from(condition);
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.slots[..self.len.min(BURST)]
    }
}

/// The slots of a mask, in order.
pub(super) fn slots(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        usize::try_from(slot).ok()
    })
}

/// Destinations to look up together, with the frames that they belong to and what they led to.
#[derive(Debug)]
pub(super) struct Keys<A> {
    slots: Slots,
    /// The same slots.
    mask: Mask,
    addresses: [A; BURST],
    /// By slot.
    groups: [GroupId; BURST],
}

impl<A: Lpm + Default> Default for Keys<A> {
    fn default() -> Self {
        Keys {
            slots: Slots::default(),
            mask: 0,
            addresses: [A::default(); BURST],
            groups: [GroupId::NO_ROUTE; BURST],
        }
    }
}

impl<A: Lpm> Keys<A> {
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.mask = 0;
    }

    #[inline]
    pub(super) fn push_if(&mut self, condition: bool, slot: u8, address: A) {
        self.addresses[self.slots.len % BURST] = address;
        self.mask |= Mask::from(condition) << slot;
        self.slots.push_if(condition, slot);
    }

    /// Makes the list anew: the frames of a mask, with their addresses, which are given by slot.
    #[inline(always)]
    pub(super) fn fill(&mut self, mask: Mask, addresses: &[A; BURST]) {
        self.addresses = *addresses;
        self.select(mask);
    }

    /// As [`Self::fill`], with addresses that were written where [`Self::by_slot`] has them.
    #[inline(always)]
    pub(super) fn select(&mut self, mask: Mask) {
        if is_dense(mask) {
            self.slots = Slots::first(mask.count_ones());
            self.mask = mask;
            return;
        }
        self.clear();
        for slot in 0..BURST {
            // Written no later than it is read: a place in the list is never behind its slot.
            let (wanted, address) = (mask >> slot & 1 != 0, self.addresses[slot]);
            self.push_if(wanted, u8::try_from(slot).unwrap_or(0), address);
        }
    }

    #[inline(always)]
    pub(super) fn by_slot(&mut self) -> &mut [A; BURST] {
        &mut self.addresses
    }

    /// Looks all of them up.
    #[inline]
    pub(super) fn look_up(&mut self, fib: &Fib<A>) {
        let slots = self.slots.as_slice();
        let count = slots.len();
        fib.lookup_burst(&self.addresses[..count], &mut self.groups[..count]);
        if !is_dense(self.mask) {
            // A slot is never before its place in the list.
            for (place, slot) in slots.iter().enumerate().rev() {
                self.groups[usize::from(*slot)] = self.groups[place];
            }
        }
    }

    #[inline]
    pub(super) fn mask(&self) -> Mask {
        self.mask
    }

    /// The groups that they led to, by slot; others where nothing was looked up.
    #[inline]
    pub(super) fn groups(&self) -> &[GroupId; BURST] {
        &self.groups
    }

    /// Slots of `mask` with the groups that they led to.
    #[inline]
    pub(super) fn found(&self, mask: Mask) -> impl Iterator<Item = (usize, GroupId)> {
        slots(mask).map(|slot| (slot, self.groups[slot]))
    }
}

/// Whether these are the first frames, all of them: the rule.
#[inline]
fn is_dense(mask: Mask) -> bool {
    mask & mask.wrapping_add(1) == 0
}
