//! Lists of frames of a burst, made without branches: what is in a mixed burst cannot be guessed.

use super::{Verdict, Verdicts};
use crate::dataplane::port::BURST;
use crate::shared::fib::{Fib, GroupId, Lpm};
use crate::shared::port::PortId;

/// Frames of a burst, by slot.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    slots: [u8; BURST],
    len: usize,
}

impl Slots {
    pub(super) const NONE: Slots = Slots {
        slots: [0; BURST],
        len: 0,
    };

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

/// Destinations to look up together, with the frames that they belong to.
#[derive(Debug)]
pub(super) struct Keys<A> {
    slots: Slots,
    addresses: [A; BURST],
    groups: [GroupId; BURST],
    /// How many of them, from the first on, may go the short way.
    short: usize,
}

impl<A: Lpm + Default> Default for Keys<A> {
    fn default() -> Self {
        Keys {
            slots: Slots::NONE,
            addresses: [A::default(); BURST],
            groups: [GroupId::NO_ROUTE; BURST],
            short: 0,
        }
    }
}

impl<A: Lpm> Keys<A> {
    pub(super) fn clear(&mut self) {
        self.slots.len = 0;
        self.short = 0;
    }

    #[inline]
    pub(super) fn push_if(&mut self, condition: bool, slot: u8, address: A) {
        self.addresses[self.slots.len % BURST] = address;
        self.slots.push_if(condition, slot);
    }

    /// Those until now may go the short way, if it is open.
    pub(super) fn may_be_short(&mut self, is_open: bool) {
        self.short = if is_open { self.slots.len } else { 0 };
    }

    /// Looks all of them up and decides on each: those that may go the short way by `short`, and by
    /// `long` the rest and what it does not know the way of. Returns how many are to be forwarded.
    #[inline]
    pub(super) fn decide(
        &mut self,
        fib: &Fib<A>,
        frames: &mut [&mut [u8]],
        verdicts: &mut Verdicts,
        mut short: impl FnMut(u8, GroupId, &mut [u8]) -> Option<(PortId, u16)>,
        mut long: impl FnMut(GroupId, &mut [u8]) -> Verdict,
    ) -> u64 {
        let slots = self.slots.as_slice();
        let groups = &mut self.groups[..slots.len()];
        fib.lookup_burst(&self.addresses[..slots.len()], groups);
        let mut forwarded = 0;
        for (at, (slot, group)) in slots.iter().zip(groups).enumerate() {
            let frame = &mut *frames[usize::from(*slot)];
            let verdict = &mut verdicts[usize::from(*slot)];
            if at < self.short
                && let Some((port, len)) = short(*slot, *group, frame)
            {
                *verdict = Verdict::Forward { port, len };
                forwarded += 1;
                continue;
            }
            *verdict = long(*group, frame);
            forwarded += u64::from(matches!(verdict, Verdict::Forward { .. }));
        }
        forwarded
    }
}
