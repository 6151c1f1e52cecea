//! Frames of a burst by slot, and the addresses that are looked up for them.

use super::heads::Mask;
use crate::dataplane::port::BURST;
use crate::shared::fib::{Fib, GroupId, Lpm};

/// The slots of a mask, in order.
pub(super) fn slots(mut mask: Mask) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = mask.trailing_zeros();
        mask &= mask.checked_sub(1)?;
        usize::try_from(slot).ok()
    })
}

/// Addresses to look up together, and what they lead to, by slot.
#[derive(Debug)]
pub(super) struct Keys<A> {
    pub(super) addresses: [A; BURST],
    groups: [GroupId; BURST],
}

impl<A: Lpm + Default> Default for Keys<A> {
    fn default() -> Self {
        Keys {
            addresses: [A::default(); BURST],
            groups: [GroupId::NO_ROUTE; BURST],
        }
    }
}

impl<A: Lpm> Keys<A> {
    /// Looks the addresses of a mask up, and those that lie between them: the slots of a mask mostly
    /// follow each other, and what was there before does no harm.
    #[inline]
    pub(super) fn look_up(&mut self, mask: Mask, fib: &Fib<A>) {
        look_up(mask, &self.addresses, &mut self.groups, fib);
    }

    /// As [`Self::look_up`], with addresses that lie elsewhere.
    #[inline]
    pub(super) fn look_up_of(&mut self, mask: Mask, addresses: &[A; BURST], fib: &Fib<A>) {
        look_up(mask, addresses, &mut self.groups, fib);
    }

    /// The groups that they led to; others where nothing was looked up.
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

#[inline]
fn look_up<A: Lpm>(
    mask: Mask,
    addresses: &[A; BURST],
    groups: &mut [GroupId; BURST],
    fib: &Fib<A>,
) {
    let first = mask.trailing_zeros() as usize;
    let end = BURST - mask.leading_zeros() as usize;
    if let (Some(addresses), Some(groups)) = (addresses.get(first..end), groups.get_mut(first..end))
    {
        fib.lookup_burst(addresses, groups);
    }
}
