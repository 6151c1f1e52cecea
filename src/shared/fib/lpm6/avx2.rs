//! Lines searched by two comparisons of eight bounds, for machines without AVX-512.

#![allow(
    unsafe_code,
    reason = "vector instructions, and loads without bounds checks"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "addresses are cut to the bits that come next"
)]

use std::arch::x86_64::*;

use super::walk::{Bits, PASSES};
use super::{LINE, LINE_MASK, SPLIT, Shape, TABLE, bound};
use crate::shared::fib::GroupId;
use crate::shared::fib::compile::Structure;
use crate::shared::fib::fetch::{self, LANES, Lanes};
use crate::shared::fib::path::Avx2;
use crate::shared::fib::root::{BLOCK, Root};

/// Looks up as many addresses as both slices have; one by one if the root never was a table's.
pub(super) fn lookup_burst(_here: Avx2, root: &Root, addresses: &[u128], groups: &mut [GroupId]) {
    if root.live == 0 {
        return u128::lookup_each(root, addresses, groups);
    }
    for (addresses, groups) in addresses.chunks(LANES).zip(groups.chunks_mut(LANES)) {
        let count = addresses.len().min(groups.len());
        let (addresses, groups) = (&addresses[..count], &mut groups[..count]);
        // SAFETY: an Avx2 exists only where its instructions are.
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
    let count = addresses.len();
    let mut bits = Bits::ZERO;
    let mut entries = Lanes::ZERO;
    // SAFETY: the entries are this root's.
    unsafe {
        start(root, base, addresses, &mut bits, &mut entries);
        loop {
            let tables = pass_tables(base, count, &mut bits, &mut entries);
            if !tables && !search::<WIDE>(base, count, &bits, &mut entries) {
                break;
            }
            bits.fill(addresses, &entries);
        }
    }
    for ((group, leaf), address) in groups.iter_mut().zip(entries.0).zip(addresses) {
        *group = root.group(leaf, *address);
    }
}

/// Fetches the entries of the slots, and the 64 bits that come after.
///
/// # Safety
///
/// The root's arena starts at `base`.
#[inline]
#[target_feature(enable = "avx2,bmi2,popcnt")]
unsafe fn start(
    root: &Root,
    base: *const u32,
    addresses: &[u128],
    bits: &mut Bits,
    entries: &mut Lanes<u32>,
) {
    let mut index = Lanes::ZERO;
    for (lane, address) in addresses.iter().enumerate() {
        let top = (address >> 112) as u32;
        index.0[lane] = root.chunks[(top >> 12) as usize] + (top & 0xfff);
        bits.next.0[lane] = (address >> 80) as u32;
        bits.after.0[lane] = (address >> 48) as u32;
    }
    // SAFETY: a root's chunks lie in its arena; unused lanes read its first word.
    unsafe { fetch::words::<LANES>(base, &index, entries) };
}

/// Passes up to four tables; true when some lane is at a table still.
///
/// # Safety
///
/// The entries are from the arena that starts at `base`.
#[inline]
#[target_feature(enable = "avx2,bmi2,popcnt")]
unsafe fn pass_tables(
    base: *const u32,
    count: usize,
    bits: &mut Bits,
    entries: &mut Lanes<u32>,
) -> bool {
    let at_tables = |entries: &Lanes<u32>| {
        let tables = entries.0[..count].iter().map(|entry| is_table(*entry));
        tables.fold(0, |all, table| all | table) != 0
    };
    let (mut index, mut found) = (Lanes::ZERO, Lanes::ZERO);
    for _ in 0..PASSES {
        if !at_tables(entries) {
            return false;
        }
        // Masks instead of branches, which would be mispredicted for half the lanes.
        for lane in 0..count {
            let table = is_table(entries.0[lane]);
            let (next, after) = (bits.next.0[lane], bits.after.0[lane]);
            let start = (entries.0[lane] & LINE_MASK) * LINE as u32;
            index.0[lane] = (start + (next >> 24)) & table;
            bits.next.0[lane] = next & !table | (next << 8 | after >> 24) & table;
            bits.after.0[lane] = after & !table | (after << 8) & table;
        }
        // SAFETY: a table has 256 entries; the other lanes read the arena's first word.
        unsafe { fetch::words::<LANES>(base, &index, &mut found) };
        for lane in 0..count {
            let entry = entries.0[lane];
            let table = is_table(entry);
            entries.0[lane] = entry & !table | found.0[lane] & table;
        }
    }
    at_tables(entries)
}

/// All bits when an entry refers to a table, else none.
#[inline]
fn is_table(entry: u32) -> u32 {
    u32::from(entry >= BLOCK | TABLE).wrapping_neg()
}

/// Takes the lanes that are at a block to its leaf, or to the entry that the leaf refers to; true
/// when there is such an entry.
///
/// # Safety
///
/// The entries are leaf codes, or refer to blocks of the arena that starts at `base`.
#[inline]
#[target_feature(enable = "avx2,bmi2,popcnt")]
unsafe fn search<const WIDE: bool>(
    base: *const u32,
    count: usize,
    bits: &Bits,
    entries: &mut Lanes<u32>,
) -> bool {
    let shape = Shape::of(WIDE);
    let mut line = Lanes::ZERO;
    for lane in 0..count {
        // A lane that is at a leaf already searches zeros.
        let entry = entries.0[lane] & (entries.0[lane].cast_signed() >> 31).cast_unsigned();
        let start = (entry & LINE_MASK) * LINE as u32;
        let split = u32::from(entry & SPLIT != 0).wrapping_neg();
        let key = bound(bits.next.0[lane]);
        // SAFETY: a block starts with a line.
        let lines = unsafe { exceeded(base.add(start as usize), key) }.count_ones() + 1;
        line.0[lane] = start + ((lines * LINE as u32) & split);
    }
    let mut further = 0;
    for (lane, line) in line.0.iter().enumerate().take(count) {
        let start = *line as usize;
        // SAFETY: a split block has one line more than its bounds say; all others have one. A line
        // has one leaf more than bounds.
        let leaf = unsafe {
            let all = exceeded(base.add(start), bound(bits.next.0[lane]));
            let rank = (all & ((1 << shape.bounds) - 1)).count_ones() as usize;
            match WIDE {
                true => base.add(start + shape.leaves + rank).read(),
                false => u32::from(
                    base.cast::<u16>()
                        .add(2 * start + shape.leaves + rank)
                        .read(),
                ),
            }
        };
        let entry = &mut entries.0[lane];
        if leaf & shape.deep != 0 {
            let at = (*entry & LINE_MASK) as usize * LINE + (leaf & !shape.deep) as usize;
            // SAFETY: a block has the words that its leaves refer to.
            *entry = unsafe { base.add(at).read() };
        } else {
            let block = (entry.cast_signed() >> 31).cast_unsigned();
            *entry = *entry & !block | leaf & block;
        }
        further |= leaf & shape.deep;
    }
    further != 0
}

/// A bit for each of sixteen bounds that the key exceeds.
///
/// # Safety
///
/// Sixteen words may be read from `bounds` on.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn exceeded(bounds: *const u32, key: i32) -> u32 {
    let key = _mm256_set1_epi32(key);
    let half = |bounds: *const u32| {
        // SAFETY: the caller's promise.
        let bounds = unsafe { _mm256_loadu_si256(bounds.cast()) };
        let exceeded = _mm256_castsi256_ps(_mm256_cmpgt_epi32(key, bounds));
        _mm256_movemask_ps(exceeded).cast_unsigned()
    };
    half(bounds) | half(bounds.wrapping_add(8)) << 8
}
