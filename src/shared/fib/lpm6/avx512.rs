//! Sixteen addresses a vector through the tables; then one after the other through the blocks, whose
//! lines are searched by one comparison.

#![allow(
    unsafe_code,
    reason = "vector instructions, and loads without bounds checks"
)]

use std::arch::x86_64::*;

use super::walk::{Bits, PASSES};
use super::{LINE, LINE_MASK, LINE_SHIFT, SPLIT, Shape, TABLE, ZERO_BLOCK};
use crate::shared::fib::GroupId;
use crate::shared::fib::compile::Structure;
use crate::shared::fib::fetch::{LANES, Lanes};
use crate::shared::fib::path::Avx512;
use crate::shared::fib::root::{BLOCK, Root};
use crate::shared::fib::vector::{WIDTH, blocks, by_chunk, finish, load, set, slots, store};

/// Looks up as many addresses as both slices have; one by one if the root never was a table's.
pub(super) fn lookup_burst(_here: Avx512, root: &Root, addresses: &[u128], groups: &mut [GroupId]) {
    if root.live == 0 {
        return u128::lookup_each(root, addresses, groups);
    }
    for (addresses, groups) in addresses.chunks(LANES).zip(groups.chunks_mut(LANES)) {
        let count = addresses.len().min(groups.len());
        let (addresses, groups) = (&addresses[..count], &mut groups[..count]);
        // SAFETY: an Avx512 exists only where its instructions are.
        unsafe {
            match (count.div_ceil(WIDTH), root.wide) {
                (1, false) => burst::<1, 16, false>(root, addresses, groups),
                (2, false) => burst::<2, 32, false>(root, addresses, groups),
                (3, false) => burst::<3, 48, false>(root, addresses, groups),
                (_, false) => burst::<4, 64, false>(root, addresses, groups),
                (_, true) => burst::<4, 64, true>(root, addresses, groups),
            }
        }
    }
}

/// Where each address of a burst has come to.
struct Walk<const V: usize> {
    /// Entries, in the end leaf codes.
    entry: [__m512i; V],
    /// The first 32 bits of the address.
    first: [__m512i; V],
    /// The 64 bits of the address that come next.
    next: [__m512i; V],
    after: [__m512i; V],
}

/// Up to `N` addresses in `V` vectors, at least one.
#[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
fn burst<const V: usize, const N: usize, const WIDE: bool>(
    root: &Root,
    addresses: &[u128],
    groups: &mut [GroupId],
) {
    let base = root.arena.words().as_ptr().cast::<u32>();
    let mut padded;
    let full: &[u128] = if addresses.len() == N {
        addresses
    } else {
        padded = [0; N];
        padded[..addresses.len()].copy_from_slice(addresses);
        &padded
    };
    let mut walk = start::<V>(root, full);
    loop {
        // SAFETY: the entries are this root's.
        let further =
            unsafe { pass_tables(base, &mut walk) || search::<V, N, WIDE>(base, &mut walk) };
        if !further {
            break;
        }
        refill(full, &mut walk);
    }
    finish(root, walk.entry, walk.first, groups);
}

/// At the slots of the addresses.
#[inline]
#[target_feature(enable = "avx512f")]
fn start<const V: usize>(root: &Root, addresses: &[u128]) -> Walk<V> {
    // Of four addresses and four more: all their words of one kind, then all of another.
    let third_second =
        _mm512_setr_epi32(3, 7, 11, 15, 19, 23, 27, 31, 2, 6, 10, 14, 18, 22, 26, 30);
    let first = _mm512_setr_epi32(1, 5, 9, 13, 17, 21, 25, 29, 1, 5, 9, 13, 17, 21, 25, 29);
    let chunks = by_chunk(&root.chunks);
    let base = root.arena.words().as_ptr().cast();
    let mut walk = Walk {
        entry: [_mm512_setzero_si512(); V],
        first: [_mm512_setzero_si512(); V],
        next: [_mm512_setzero_si512(); V],
        after: [_mm512_setzero_si512(); V],
    };
    for v in 0..V {
        let from = addresses[v * WIDTH..][..WIDTH].as_ptr();
        // SAFETY: sixteen addresses, four to a load.
        let part = |i: usize| unsafe { _mm512_loadu_si512(from.add(4 * i).cast()) };
        let (a, b, c, d) = (part(0), part(1), part(2), part(3));
        let low = _mm512_permutex2var_epi32(a, third_second, b);
        let high = _mm512_permutex2var_epi32(c, third_second, d);
        let third = _mm512_shuffle_i64x2::<0x44>(low, high);
        let second = _mm512_shuffle_i64x2::<0xee>(low, high);
        let low = _mm512_permutex2var_epi32(a, first, b);
        let high = _mm512_permutex2var_epi32(c, first, d);
        let first = _mm512_shuffle_i64x2::<0x44>(low, high);
        walk.first[v] = third;
        walk.next[v] = join::<16, 16>(third, second);
        walk.after[v] = join::<16, 16>(second, first);
        // SAFETY: a root's chunks lie in its arena.
        walk.entry[v] = unsafe { _mm512_i32gather_epi32::<4>(slots(chunks, third), base) };
    }
    walk
}

/// Passes up to four tables; true when some lane is at a table still.
///
/// # Safety
///
/// The entries are from the arena that starts at `base`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn pass_tables<const V: usize>(base: *const u32, walk: &mut Walk<V>) -> bool {
    for _ in 0..PASSES {
        if !at_tables(walk) {
            return false;
        }
        // Tables are few and hot: gathering beats a stage of loads.
        for v in 0..V {
            let (entry, next, after) = (walk.entry[v], walk.next[v], walk.after[v]);
            let table = tables(entry);
            let at = _mm512_add_epi32(start_of(entry), _mm512_srli_epi32::<24>(next));
            // SAFETY: a table has 256 entries.
            walk.entry[v] =
                unsafe { _mm512_mask_i32gather_epi32::<4>(entry, table, at, base.cast()) };
            walk.next[v] = _mm512_mask_mov_epi32(next, table, join::<8, 24>(next, after));
            walk.after[v] = _mm512_mask_slli_epi32::<8>(after, table, after);
        }
    }
    at_tables(walk)
}

/// Takes the lanes that are at a block to its leaf, or to the entry that the leaf refers to; true
/// when there is such an entry.
///
/// # Safety
///
/// The entries are leaf codes, or refer to blocks of the arena that starts at `base`.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
unsafe fn search<const V: usize, const N: usize, const WIDE: bool>(
    base: *const u32,
    walk: &mut Walk<V>,
) -> bool {
    let shape = Shape::of(WIDE);
    let (mut line, mut key) = (Lanes::ZERO, Lanes::ZERO);
    for v in 0..V {
        // The lanes that are at a leaf already go by zeros.
        let block = _mm512_mask_mov_epi32(set(ZERO_BLOCK), blocks(walk.entry[v]), walk.entry[v]);
        store(&mut line, v, start_of(block));
        store(&mut key, v, _mm512_xor_si512(walk.next[v], set(1 << 31)));
    }
    let mut above = Lanes([0; LANES]);
    // SAFETY: a block starts with a line.
    unsafe { exceeded::<N>(base, &line, &key, &mut above) };
    for v in 0..V {
        let split = _mm512_and_si512(walk.entry[v], set(BLOCK | SPLIT));
        let split = _mm512_cmpeq_epi32_mask(split, set(BLOCK | SPLIT));
        let lines = _mm512_add_epi32(rank(&above, v), set(1));
        let start = load(&line, v);
        let within = _mm512_add_epi32(start, _mm512_slli_epi32::<LINE_SHIFT>(lines));
        store(&mut line, v, _mm512_mask_mov_epi32(start, split, within));
    }
    let mut leaf = key;
    // SAFETY: a split block has one line more than its bounds say; all others have one.
    unsafe { leaves::<N, WIDE>(base, &line, &key, &mut leaf) };
    let mut further = false;
    for v in 0..V {
        let (entry, leaf) = (walk.entry[v], load(&leaf, v));
        walk.entry[v] = _mm512_mask_mov_epi32(entry, blocks(entry), leaf);
        let reference = _mm512_test_epi32_mask(leaf, set(shape.deep));
        if reference != 0 {
            let words = _mm512_andnot_si512(set(shape.deep), leaf);
            let at = _mm512_add_epi32(start_of(entry), words);
            // SAFETY: a block has the words that its leaves refer to.
            walk.entry[v] = unsafe {
                _mm512_mask_i32gather_epi32::<4>(walk.entry[v], reference, at, base.cast())
            };
            further = true;
        }
    }
    further
}

/// For each lane a bit for each of the line's sixteen words that its key exceeds.
///
/// # Safety
///
/// There are lines so many words from `base`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn exceeded<const N: usize>(
    base: *const u32,
    line: &Lanes<u32>,
    key: &Lanes<u32>,
    out: &mut Lanes<u16>,
) {
    for lane in 0..N {
        // SAFETY: the caller's promise.
        let bounds = unsafe { _mm512_loadu_si512(base.add(line.0[lane] as usize).cast()) };
        out.0[lane] = _mm512_cmpgt_epi32_mask(set(key.0[lane]), bounds);
    }
}

/// How many bits each lane has.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn rank(bits: &Lanes<u16>, v: usize) -> __m512i {
    let bits: &[u16; WIDTH] = &bits.0.as_chunks().0[v];
    // SAFETY: sixteen halves.
    let bits = unsafe { _mm256_loadu_si256(bits.as_ptr().cast()) };
    _mm512_popcnt_epi32(_mm512_cvtepu16_epi32(bits))
}

/// For each lane the leaf of the range that its key is in, among those of a line.
///
/// # Safety
///
/// There are lines so many words from `base`.
#[inline]
#[target_feature(enable = "avx512f,popcnt")]
unsafe fn leaves<const N: usize, const WIDE: bool>(
    base: *const u32,
    line: &Lanes<u32>,
    key: &Lanes<u32>,
    out: &mut Lanes<u32>,
) {
    let shape = Shape::of(WIDE);
    let bounds = u16::MAX >> (LINE - shape.bounds);
    // Four at a time: the loop's own instructions would be a quarter of all.
    for first in (0..N).step_by(4) {
        for lane in first..first + 4 {
            // SAFETY: the caller's promise, and a line has one leaf more than bounds.
            out.0[lane] = unsafe {
                let line = base.add(line.0[lane] as usize);
                let words = _mm512_loadu_si512(line.cast());
                let above = _mm512_mask_cmpgt_epi32_mask(bounds, set(key.0[lane]), words);
                let leaf = shape.leaves + above.count_ones() as usize;
                match WIDE {
                    true => line.add(leaf).read(),
                    false => line.cast::<u16>().add(leaf).read().into(),
                }
            };
        }
    }
}

/// Fetches the next bits of the lanes that are at a table or block.
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn refill<const V: usize>(addresses: &[u128], walk: &mut Walk<V>) {
    let (mut entries, mut bits) = (Lanes::ZERO, Bits::ZERO);
    for v in 0..V {
        store(&mut entries, v, walk.entry[v]);
    }
    bits.fill(addresses, &entries);
    for v in 0..V {
        walk.next[v] = load(&bits.next, v);
        walk.after[v] = load(&bits.after, v);
    }
}

/// Whether some lane is at a table.
#[inline]
#[target_feature(enable = "avx512f")]
fn at_tables<const V: usize>(walk: &Walk<V>) -> bool {
    walk.entry.iter().fold(0, |all, entry| all | tables(*entry)) != 0
}

/// The lanes whose entry refers to a table.
#[inline]
#[target_feature(enable = "avx512f")]
fn tables(entry: __m512i) -> __mmask16 {
    _mm512_cmpge_epu32_mask(entry, set(BLOCK | TABLE))
}

/// The first word of what entries refer to.
#[inline]
#[target_feature(enable = "avx512f")]
fn start_of(entry: __m512i) -> __m512i {
    _mm512_slli_epi32::<LINE_SHIFT>(_mm512_and_si512(entry, set(LINE_MASK)))
}

/// Words moved on by `LEFT` bits, filled from the words behind; `RIGHT` is what is left of 32.
#[inline]
#[target_feature(enable = "avx512f")]
fn join<const LEFT: u32, const RIGHT: u32>(word: __m512i, behind: __m512i) -> __m512i {
    _mm512_or_si512(
        _mm512_slli_epi32::<LEFT>(word),
        _mm512_srli_epi32::<RIGHT>(behind),
    )
}
