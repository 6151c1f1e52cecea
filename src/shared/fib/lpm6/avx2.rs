//! Lines searched by two comparisons of eight bounds, for machines without AVX-512.

#![allow(
    unsafe_code,
    reason = "vector instructions, and loads without bounds checks"
)]

use std::arch::x86_64::*;

use super::walk::Walk;
use super::{LINE, Shape};
use crate::shared::fib::GroupId;
use crate::shared::fib::fetch::LANES;
use crate::shared::fib::root::Root;

/// Looks up as many addresses as both slices have. The machine has AVX2 and POPCNT, and the root is
/// a committed one.
pub(super) fn lookup_burst(root: &Root, addresses: &[u128], groups: &mut [GroupId]) {
    for (addresses, groups) in addresses.chunks(LANES).zip(groups.chunks_mut(LANES)) {
        let count = addresses.len().min(groups.len());
        let (addresses, groups) = (&addresses[..count], &mut groups[..count]);
        // SAFETY: the caller has made sure of the instructions.
        unsafe {
            match root.wide {
                true => burst::<true>(root, addresses, groups),
                false => burst::<false>(root, addresses, groups),
            }
        }
    }
}

#[target_feature(enable = "avx2,bmi2,popcnt")]
fn burst<const WIDE: bool>(root: &Root, addresses: &[u128], groups: &mut [GroupId]) {
    let base = root.arena.words().as_ptr().cast::<u32>();
    let mut walk = Walk::start(root, addresses);
    loop {
        let tables = walk.pass_tables(base, addresses.len());
        // SAFETY: the entries are this root's.
        let deeper = !tables && unsafe { search::<WIDE>(base, &mut walk, addresses.len()) };
        if !tables && !deeper {
            break;
        }
        walk.refill(addresses);
    }
    walk.finish(root, groups);
}

/// Takes the lanes that are at a block to its leaf, or to the entry that the leaf refers to; true
/// when there is such an entry.
///
/// # Safety
///
/// The lanes' entries are leaf codes, or refer to blocks of the arena that starts at `base`.
#[inline]
#[target_feature(enable = "avx2,bmi2,popcnt")]
unsafe fn search<const WIDE: bool>(base: *const u32, walk: &mut Walk, count: usize) -> bool {
    let mut deeper = false;
    for lane in 0..count {
        let (at, key) = walk.block(lane);
        let key = _mm256_set1_epi32(key);
        // SAFETY: a split block has one line more than its bounds say; all others have one.
        unsafe {
            let first = base.add(at.start);
            let lines = exceeded(first, key) + exceeded(first.add(8), key);
            let line = at.start
                + if at.split {
                    (1 + lines as usize) * LINE
                } else {
                    0
                };
            let bounds = base.add(line);
            let low = mask(bounds, key);
            let all = low | mask(bounds.add(8), key) << 8;
            let rank = (all & ((1 << Shape::of(WIDE).bounds) - 1)).count_ones() as usize;
            deeper |= walk.settle::<WIDE>(lane, base, line, rank);
        }
    }
    deeper
}

/// A bit for each of eight bounds that the key exceeds.
///
/// # Safety
///
/// Eight words may be read from `bounds` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn mask(bounds: *const u32, key: __m256i) -> u32 {
    // SAFETY: the caller's promise.
    let bounds = unsafe { _mm256_loadu_si256(bounds.cast()) };
    let exceeded = _mm256_castsi256_ps(_mm256_cmpgt_epi32(key, bounds));
    _mm256_movemask_ps(exceeded).cast_unsigned()
}

/// How many of eight bounds the key exceeds.
///
/// # Safety
///
/// Eight words may be read from `bounds` on.
#[inline]
#[target_feature(enable = "avx2,popcnt")]
unsafe fn exceeded(bounds: *const u32, key: __m256i) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { mask(bounds, key) }.count_ones()
}
