//! Frames of a burst by slot, and what the addresses that are looked up for them lead to.

use super::heads::{LANES, Mask};
use crate::dataplane::port::BURST;
use crate::shared::fib::{Fib, GroupId, Lpm, Path};

/// The slots of a mask, in order.
pub(super) fn slots(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        usize::try_from(slot).ok()
    })
}

/// Acts on those of sixteen slots, from `first` on, that are in a mask. As a rule all are, which takes
/// fewer instructions a slot.
#[inline(always)]
pub(super) fn for_each_of_sixteen(mask: Mask, first: usize, act: impl FnMut(usize)) {
    let those = mask >> first & Mask::from(u16::MAX);
    if those == Mask::from(u16::MAX) {
        (first..first + LANES).for_each(act);
    } else {
        slots(those << first).for_each(act);
    }
}

/// The slots of a mask that pass a test. It is given the first of sixteen and answers for all of them; not
/// for those of which none is in the mask.
#[inline(always)]
pub(super) fn by_sixteen(mask: Mask, mut test: impl FnMut(usize) -> u16) -> Mask {
    let mut passing = 0;
    for first in (0..BURST).step_by(LANES) {
        if mask >> first & Mask::from(u16::MAX) != 0 {
            passing |= Mask::from(test(first)) << first;
        }
    }
    mask & passing
}

/// What addresses of a burst lead to, by slot.
#[derive(Debug)]
pub(super) struct Answers([GroupId; BURST]);

impl Default for Answers {
    fn default() -> Self {
        Answers([GroupId::NO_ROUTE; BURST])
    }
}

impl Answers {
    /// Looks the addresses of a mask up, and those that lie between them: the slots of a mask mostly
    /// follow each other, and what was there before does no harm.
    #[inline]
    pub(super) fn look_up<A: Lpm>(
        &mut self,
        path: Path,
        mask: Mask,
        addresses: &[A; BURST],
        fib: &Fib<A>,
    ) {
        let first = mask.trailing_zeros() as usize;
        let end = BURST - mask.leading_zeros() as usize;
        if let Some(addresses) = addresses.get(first..end)
            && let Some(groups) = self.0.get_mut(first..end)
        {
            fib.lookup_burst_by(path, addresses, groups);
        }
    }

    /// The groups that they led to; others where nothing was looked up.
    #[inline]
    pub(super) fn groups(&self) -> &[GroupId; BURST] {
        &self.0
    }

    /// Slots of `mask` with the groups that they led to.
    #[inline]
    pub(super) fn of(&self, mask: Mask) -> impl Iterator<Item = (usize, GroupId)> {
        slots(mask).map(|slot| (slot, self.0[slot]))
    }
}
