//! Sixteen addresses a vector: arithmetic by AVX-512, loads a stage at a time.

#![allow(
    unsafe_code,
    reason = "vector instructions, and loads without bounds checks"
)]

use std::arch::x86_64::*;

use super::{PLACES, ZERO_BLOCK, deep, scalar};
use crate::shared::fib::GroupId;
use crate::shared::fib::compile::Structure;
use crate::shared::fib::fetch::{self, LANES, Lanes};
use crate::shared::fib::path::Avx512;
use crate::shared::fib::root::Root;
use crate::shared::fib::vector::{WIDTH, blocks, by_chunk, finish, lanes, load, set, slots, store};

/// Looks up as many addresses as both slices have; one by one if the root never was a table's.
pub(super) fn lookup_burst(_here: Avx512, root: &Root, addresses: &[u32], groups: &mut [GroupId]) {
    if root.live == 0 {
        return u32::lookup_each(root, addresses, groups);
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

/// Up to `N` addresses in `V` vectors, at least one.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,bmi2,popcnt")]
fn burst<const V: usize, const N: usize, const WIDE: bool>(
    root: &Root,
    addresses: &[u32],
    groups: &mut [GroupId],
) {
    let mut address = [set(addresses[0]); V];
    for (address, from) in address.iter_mut().zip(addresses.chunks(WIDTH)) {
        // SAFETY: the mask has a bit for each word there is.
        *address = unsafe { _mm512_mask_loadu_epi32(*address, lanes(from), from.as_ptr().cast()) };
    }
    if let Some(leaf) = common(root, &address, addresses[0]) {
        groups.fill(root.group(leaf, addresses[0]));
        return;
    }
    let base = root.arena.words().as_ptr().cast::<u32>();
    let chunks = by_chunk(&root.chunks);
    let (mut index, mut found) = (Lanes::ZERO, Lanes::ZERO);
    for (v, address) in address.iter().enumerate() {
        store(&mut index, v, slots(chunks, *address));
    }
    // SAFETY: a root's chunks lie in its arena.
    unsafe { fetch::words::<N>(base, &index, &mut found) };
    let mut entry = [_mm512_setzero_si512(); V];
    for (v, entry) in entry.iter_mut().enumerate() {
        *entry = load(&found, v);
    }
    let mut shift = 8;
    // SAFETY: the entries are a root's.
    while unsafe { step::<V, N, WIDE>(base, &mut entry, &address, shift, &mut index, &mut found) } {
        shift = 0;
    }
    finish(root, entry, address, groups);
}

/// The leaf code that all addresses share because they are in one /24 that nothing divides.
#[inline]
#[target_feature(enable = "avx512f")]
fn common<const V: usize>(root: &Root, address: &[__m512i; V], first: u32) -> Option<u32> {
    let first_lanes = set(first);
    let differ = address.iter().fold(_mm512_setzero_si512(), |all, address| {
        _mm512_or_si512(all, _mm512_xor_si512(*address, first_lanes))
    });
    let apart = _mm512_test_epi32_mask(differ, set(!0xff));
    if apart != 0 {
        return None;
    }
    scalar::lookup24(root, first)
}

/// Replaces entries that refer to blocks by what is at their place, the byte that starts `shift`
/// bits from the address's end: a leaf code, or the next entry. True when there is a next one.
///
/// # Safety
///
/// The entries that refer to blocks are from the arena that starts at `base`.
#[inline(always)]
unsafe fn step<const V: usize, const N: usize, const WIDE: bool>(
    base: *const u32,
    entry: &mut [__m512i; V],
    address: &[__m512i; V],
    shift: u32,
    index: &mut Lanes<u32>,
    found: &mut Lanes<u32>,
) -> bool {
    // SAFETY: inlined where the instructions are enabled. A block's words and leaves lie in the arena,
    // and so do the words that its leaves refer to; the other lanes read zeros.
    unsafe {
        let mut offset = [_mm512_setzero_si512(); V];
        let mut drop = offset;
        for v in 0..V {
            // The lanes that are at a leaf already go by zeros.
            let block = _mm512_mask_mov_epi32(set(ZERO_BLOCK), blocks(entry[v]), entry[v]);
            offset[v] = _mm512_srli_epi32::<4>(_mm512_slli_epi32::<1>(block));
            let byte = _mm512_srlv_epi32(address[v], set(shift));
            let byte = _mm512_and_si512(byte, set(0xff));
            let place = _mm512_srlv_epi32(byte, _mm512_and_si512(block, set(7)));
            let word = _mm512_srli_epi32::<12>(_mm512_mullo_epi16(place, set(171)));
            let bit = _mm512_sub_epi32(place, _mm512_mullo_epi16(word, set(PLACES)));
            drop[v] = _mm512_sub_epi32(set(31), bit);
            store(index, v, _mm512_add_epi32(offset[v], word));
        }
        fetch::words::<N>(base, index, found);
        for v in 0..V {
            let word = load(found, v);
            let runs = _mm512_popcnt_epi32(_mm512_sllv_epi32(word, drop[v]));
            let rank = _mm512_add_epi32(_mm512_srli_epi32::<24>(word), runs);
            let end = if WIDE {
                offset[v]
            } else {
                _mm512_slli_epi32::<1>(offset[v])
            };
            store(index, v, _mm512_sub_epi32(end, rank));
        }
        match WIDE {
            true => fetch::words::<N>(base, index, found),
            false => fetch::halves::<N>(base.cast(), index, found),
        };
        let mut further = 0;
        for (v, entry) in entry.iter_mut().enumerate() {
            let leaf = load(found, v);
            *entry = _mm512_mask_mov_epi32(*entry, blocks(*entry), leaf);
            further |= _mm512_test_epi32_mask(leaf, set(deep(WIDE)));
        }
        if further == 0 {
            return false;
        }
        for (v, offset) in offset.into_iter().enumerate() {
            let leaf = load(found, v);
            let reference = _mm512_test_epi32_mask(leaf, set(deep(WIDE)));
            let words = _mm512_andnot_si512(set(deep(WIDE)), leaf);
            store(index, v, _mm512_maskz_add_epi32(reference, offset, words));
        }
        fetch::words::<N>(base, index, found);
        for (v, entry) in entry.iter_mut().enumerate() {
            let reference = _mm512_test_epi32_mask(load(index, v), load(index, v));
            *entry = _mm512_mask_mov_epi32(*entry, reference, load(found, v));
        }
        true
    }
}
