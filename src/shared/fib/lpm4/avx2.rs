//! Eight addresses a vector, for machines without AVX-512; see the wider one beside.

#![allow(
    unsafe_code,
    reason = "vector instructions, and loads without bounds checks"
)]

use std::arch::x86_64::*;

use super::{PLACES, ZERO_BLOCK, deep, scalar};
use crate::shared::fib::GroupId;
use crate::shared::fib::compile::Structure;
use crate::shared::fib::fetch::{self, LANES, Lanes};
use crate::shared::fib::path::Avx2;
use crate::shared::fib::root::Root;

/// Addresses of a vector.
const WIDTH: usize = 8;

/// Looks up as many addresses as both slices have; one by one if the root never was a table's.
pub(super) fn lookup_burst(_here: Avx2, root: &Root, addresses: &[u32], groups: &mut [GroupId]) {
    if root.live == 0 {
        return u32::lookup_each(root, addresses, groups);
    }
    for (addresses, groups) in addresses.chunks(LANES).zip(groups.chunks_mut(LANES)) {
        let count = addresses.len().min(groups.len());
        // SAFETY: an Avx2 exists only where its instructions are.
        unsafe { burst(root, &addresses[..count], &mut groups[..count]) };
    }
}

#[target_feature(enable = "avx2,bmi2,popcnt")]
fn burst(root: &Root, addresses: &[u32], groups: &mut [GroupId]) {
    let first = addresses[0];
    if addresses
        .iter()
        .fold(0, |all, address| all | address ^ first)
        <= 0xff
        && let Some(leaf) = scalar::lookup24(root, first)
    {
        groups.fill(root.group(leaf, first));
        return;
    }
    let vectors = addresses.len().div_ceil(WIDTH);
    let mut lanes = Lanes([first; LANES]);
    lanes.0[..addresses.len()].copy_from_slice(addresses);
    let mut entries = Lanes::ZERO;
    for (lane, entry) in lanes.0.iter().zip(&mut entries.0).take(vectors * WIDTH) {
        *entry = root.chunks[(*lane >> 28) as usize] + (*lane >> 16 & 0xfff);
    }
    let index = entries;
    // SAFETY: a root's chunks lie in its arena, and from here on all entries are a root's.
    unsafe {
        let base = root.arena.words().as_ptr().cast::<u32>();
        fetch::words::<LANES>(base, &index, &mut entries);
        let step = if root.wide {
            step::<true>
        } else {
            step::<false>
        };
        if step(base, vectors, &mut entries, &lanes, 8) {
            step(base, vectors, &mut entries, &lanes, 0);
        }
    }
    for ((group, leaf), address) in groups.iter_mut().zip(entries.0).zip(addresses) {
        *group = root.group(leaf, *address);
    }
}

/// Replaces entries that refer to blocks by what is at their place, the byte that starts `shift`
/// bits from the address's end: a leaf code, or the next entry. True when there is a next one.
///
/// # Safety
///
/// The entries that refer to blocks are from the arena that starts at `base`.
#[inline]
#[target_feature(enable = "avx2,bmi2,popcnt")]
unsafe fn step<const WIDE: bool>(
    base: *const u32,
    vectors: usize,
    entries: &mut Lanes<u32>,
    addresses: &Lanes<u32>,
    shift: u32,
) -> bool {
    let (mut index, mut found) = (Lanes::ZERO, Lanes::ZERO);
    let (mut offset, mut drop) = (Lanes::ZERO, Lanes::ZERO);
    let count = vectors * WIDTH;
    for v in 0..vectors {
        let entry = load(entries, v);
        // The lanes that are at a leaf already go by zeros.
        let block = blend(set(ZERO_BLOCK), entry, blocks(entry));
        let at = _mm256_srli_epi32::<4>(_mm256_slli_epi32::<1>(block));
        let place = _mm256_srlv_epi32(load(addresses, v), set(shift));
        let place = _mm256_and_si256(place, set(0xff));
        let place = _mm256_srlv_epi32(place, _mm256_and_si256(block, set(7)));
        let word = _mm256_srli_epi32::<12>(_mm256_mullo_epi16(place, set(171)));
        let bit = _mm256_sub_epi32(place, _mm256_mullo_epi16(word, set(PLACES)));
        store(&mut drop, v, _mm256_sub_epi32(set(31), bit));
        store(&mut offset, v, at);
        store(&mut index, v, _mm256_add_epi32(at, word));
    }
    // SAFETY: a block's words lie in the arena, and so do the zeros.
    unsafe { fetch::words::<LANES>(base, &index, &mut found) };
    for v in 0..vectors {
        let word = load(&found, v);
        let runs = popcnt(_mm256_sllv_epi32(word, load(&drop, v)));
        let rank = _mm256_add_epi32(_mm256_srli_epi32::<24>(word), runs);
        let at = load(&offset, v);
        let end = if WIDE { at } else { _mm256_slli_epi32::<1>(at) };
        store(&mut index, v, _mm256_sub_epi32(end, rank));
    }
    // SAFETY: a block has a leaf for each of its runs before its words.
    unsafe {
        match WIDE {
            true => fetch::words::<LANES>(base, &index, &mut found),
            false => fetch::halves::<LANES>(base.cast(), &index, &mut found),
        }
    }
    let mut further = 0;
    for v in 0..vectors {
        let entry = load(entries, v);
        store(entries, v, blend(entry, load(&found, v), blocks(entry)));
    }
    for leaf in &found.0[..count] {
        further |= leaf & deep(WIDE);
    }
    if further == 0 {
        return false;
    }
    for ((entry, leaf), offset) in entries
        .0
        .iter_mut()
        .zip(&found.0)
        .zip(&offset.0)
        .take(count)
    {
        if leaf & deep(WIDE) != 0 {
            let at = offset + (leaf & !deep(WIDE));
            // SAFETY: a block has the words that its leaves refer to.
            *entry = unsafe { base.add(at as usize).read() };
        }
    }
    true
}

/// All bits of the lanes whose entry refers to a block.
#[inline]
#[target_feature(enable = "avx2")]
fn blocks(entry: __m256i) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_setzero_si256(), entry)
}

/// `yes` in the lanes of `mask`, `no` in the others.
#[inline]
#[target_feature(enable = "avx2")]
fn blend(no: __m256i, yes: __m256i, mask: __m256i) -> __m256i {
    _mm256_blendv_epi8(no, yes, mask)
}

/// Bits set in each lane: four at a time by table, then summed.
#[inline]
#[target_feature(enable = "avx2")]
fn popcnt(value: __m256i) -> __m256i {
    let table = _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
    let table = _mm256_broadcastsi128_si256(table);
    let four = _mm256_set1_epi8(15);
    let low = _mm256_shuffle_epi8(table, _mm256_and_si256(value, four));
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(value), four);
    let bytes = _mm256_add_epi8(low, _mm256_shuffle_epi8(table, high));
    let halves = _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));
    _mm256_madd_epi16(halves, _mm256_set1_epi16(1))
}

#[inline]
#[target_feature(enable = "avx2")]
fn set(value: u32) -> __m256i {
    _mm256_set1_epi32(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: &Lanes<u32>, v: usize) -> __m256i {
    let lanes: &[u32; WIDTH] = &lanes.0.as_chunks().0[v];
    // SAFETY: eight words.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(lanes: &mut Lanes<u32>, v: usize, value: __m256i) {
    let lanes: &mut [u32; WIDTH] = &mut lanes.0.as_chunks_mut().0[v];
    // SAFETY: eight words.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), value) };
}
