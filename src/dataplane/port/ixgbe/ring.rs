//! A ring of descriptors in memory that the device reads and writes: the one place where the
//! driver touches it.
//!
//! Every access is a volatile one of an aligned 64-bit word, which the device sees, and writes, as
//! a whole. What is read may be anything: it is a number to judge, never an index into something.

#![allow(unsafe_code, reason = "reads and writes memory shared with the device")]

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::descriptor::Descriptor;
use crate::dataplane::mem::Region;

/// Bytes of a descriptor.
const DESCRIPTOR: usize = 16;
/// The most descriptors that a ring has; its bytes then stay within one piece of a `DmaMap`.
pub const MAX_ENTRIES: u32 = 4096;
/// The least: ring lengths are multiples of 128 bytes.
const MIN_ENTRIES: u32 = 8;

/// A power of two of descriptors that nothing else in this process touches.
#[derive(Debug)]
pub struct Ring {
    region: Arc<Region>,
    /// Bytes from the region's start to the ring's: a multiple of its length.
    start: usize,
    mask: u32,
}

impl Ring {
    /// Bytes of memory that rings of these sizes need.
    pub fn bytes(sizes: &[u32]) -> usize {
        // Each begins at a multiple of its own length, at most that far behind the one before.
        sizes.iter().map(|size| 2 * length(*size)).sum()
    }

    /// Cuts a region into rings; `None` when a size is none of a ring (a power of two from 8 to
    /// 4096), or they do not fit. The region is taken whole: no two rings share memory, nor does
    /// anyone else.
    pub fn carve(region: Region, sizes: &[u32]) -> Option<(Arc<Region>, Vec<Ring>)> {
        let region = Arc::new(region);
        let mut end = 0;
        let mut rings = Vec::with_capacity(sizes.len());
        for size in sizes {
            if !size.is_power_of_two() || !(MIN_ENTRIES..=MAX_ENTRIES).contains(size) {
                return None;
            }
            let start = usize::next_multiple_of(end, length(*size));
            end = start + length(*size);
            if end > region.len() {
                return None;
            }
            rings.push(Ring {
                region: Arc::clone(&region),
                start,
                mask: size - 1,
            });
        }
        Some((region, rings))
    }

    /// Descriptors in the ring.
    pub fn size(&self) -> u32 {
        self.mask + 1
    }

    /// Bytes that the ring takes.
    pub(super) fn len(&self) -> u32 {
        self.size() * 16
    }

    /// Where the ring begins in its region: what a `DmaMap` of it translates.
    pub fn offset(&self) -> u64 {
        self.start as u64
    }

    /// The place of a free-running index.
    #[inline]
    pub(super) fn slot(&self, index: u32) -> u32 {
        index & self.mask
    }

    /// Writes descriptors from a free-running index on. Not for the device to see before
    /// [`publish`] and the write of the tail that follows.
    #[inline(always)]
    pub(super) fn write(&mut self, index: u32, descriptors: impl Iterator<Item = Descriptor>) {
        let mut places = self.places(index);
        for descriptor in descriptors {
            let at = places();
            // SAFETY: `at` is the first of two words within the ring (see `places`). The device writes
            // there too, at any time if it is broken, which is why both are volatile and no
            // reference is made.
            unsafe {
                at.write_volatile(descriptor.0.to_le());
                at.add(1).write_volatile(descriptor.1.to_le());
            }
        }
    }

    /// The second word of the descriptor of a free-running index, whatever the device made of it.
    /// What it says about other memory holds only after [`observe`].
    #[inline]
    pub(super) fn status(&self, index: u32) -> u64 {
        let [status] = self.statuses(index);
        status
    }

    /// As [`Self::status`], of consecutive indices.
    #[inline(always)]
    pub(super) fn statuses<const N: usize>(&self, index: u32) -> [u64; N] {
        let mut places = self.places(index);
        [(); N].map(|()| {
            let at = places();
            // SAFETY: the second of the two words at `at`, as in `write`.
            u64::from_le(unsafe { at.add(1).read_volatile() })
        })
    }

    /// Zeroes all descriptors: nothing that an earlier user left counts as done.
    pub(super) fn clear(&mut self) {
        let size = self.size() as usize;
        self.write(0, std::iter::repeat_n(Descriptor(0, 0), size));
    }

    /// The first words of one descriptor after the other, from a free-running index on.
    #[inline(always)]
    fn places(&self, index: u32) -> impl FnMut() -> *mut u64 + use<> {
        // SAFETY: `carve` found `start` within the region, which `self.region` keeps mapped. It is a
        // multiple of 128 and the base one of a page, so the pointer is aligned to 16.
        let first: *mut u64 = unsafe { self.region.base().add(self.start).cast() };
        let (mut index, mask) = (index, self.mask);
        move || {
            let words = (index & mask) as usize * (DESCRIPTOR / 8);
            index = index.wrapping_add(1);
            // SAFETY: the masked index is below the ring's size, and `carve` found that many
            // descriptors from `start` on within the region.
            unsafe { first.add(words) }
        }
    }
}

fn length(size: u32) -> usize {
    size as usize * DESCRIPTOR
}

/// Orders the load of a descriptor's DD before all loads of what the device wrote before it: the
/// frame's bytes.
#[inline]
pub(super) fn observe() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier; `fence` would only order against other CPUs, not against devices.
    unsafe {
        std::arch::asm!("dmb oshld", options(nostack, preserves_flags));
    }
    // x86 keeps loads in order, also against devices: only the compiler has to be told.
    fence(Ordering::Acquire);
}

/// Orders all stores, to frames and descriptors, before the write of a tail that follows.
#[inline]
pub(super) fn publish() {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier, as in `observe`.
    unsafe {
        std::arch::asm!("dmb oshst", options(nostack, preserves_flags));
    }
    // x86 keeps stores in order, to uncached memory too.
    fence(Ordering::Release);
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "the order of memory accesses that devices see is known for x86-64 and AArch64 only"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::mem::HUGE_PAGE;

    fn region(bytes: usize) -> Region {
        Region::new(bytes).unwrap().0
    }

    #[test]
    fn rings_of_a_region_are_aligned_and_apart() {
        let sizes = [8, 4096, 512, 8, 1024];
        let (region, mut rings) = Ring::carve(region(Ring::bytes(&sizes)), &sizes).unwrap();
        assert!(Ring::bytes(&sizes) <= HUGE_PAGE && region.len() >= HUGE_PAGE);
        for (n, ring) in (1..).zip(&mut rings) {
            assert_eq!(ring.offset() % u64::from(ring.len()), 0);
            for index in 0..ring.size() {
                ring.write(
                    index,
                    [Descriptor(n, n << 32 | u64::from(index))].into_iter(),
                );
            }
        }
        for (n, (ring, size)) in (1..).zip(rings.iter().zip(sizes)) {
            assert_eq!(ring.size(), size);
            for index in 0..size {
                assert_eq!(ring.status(index), n << 32 | u64::from(index));
            }
        }
    }

    #[test]
    fn an_index_runs_freely_over_the_ring() {
        let (_, mut rings) = Ring::carve(region(1), &[8]).unwrap();
        let descriptors = [Descriptor(1, 77), Descriptor(2, 78), Descriptor(3, 79)];
        rings[0].write(u32::MAX, descriptors.into_iter());
        assert_eq!(rings[0].status(7), 77);
        assert_eq!(rings[0].status(15), 77);
        assert_eq!(rings[0].statuses(u32::MAX), [77, 78, 79, 0]);
        rings[0].clear();
        assert_eq!(rings[0].status(7), 0);
    }

    #[test]
    fn sizes_that_no_ring_has_are_refused() {
        for sizes in [[8, 4], [8, 0], [8, 8192], [8, 24]] {
            assert!(Ring::carve(region(1), &sizes).is_none(), "{sizes:?}");
        }
        let sizes = [4096; 33];
        assert!(Ring::carve(region(HUGE_PAGE), &sizes).is_none());
        assert!(Ring::carve(region(HUGE_PAGE), &sizes[..32]).is_some());
    }
}
