//! Sixteen addresses a vector: arithmetic by AVX-512, loads a stage at a time.

#![allow(
    unsafe_code,
    reason = "vector instructions, and loads without bounds checks"
)]

use std::arch::x86_64::*;

use super::{PLACES, ZERO_BLOCK, deep, scalar};
use crate::shared::fib::GroupId;
use crate::shared::fib::fetch::{self, LANES, Lanes};
use crate::shared::fib::root::Root;

/// Addresses of a vector.
const WIDTH: usize = 16;

/// Looks up as many addresses as both slices have. The machine has AVX-512 F, BW and VPOPCNTDQ, and
/// the root is a committed one.
pub(super) fn lookup_burst(root: &Root, addresses: &[u32], groups: &mut [GroupId]) {
    for (addresses, groups) in addresses.chunks(LANES).zip(groups.chunks_mut(LANES)) {
        let count = addresses.len().min(groups.len());
        let (addresses, groups) = (&addresses[..count], &mut groups[..count]);
        // SAFETY: the caller has made sure of the instructions.
        unsafe {
            match count.div_ceil(WIDTH) {
                1 => burst::<1>(root, addresses, groups),
                2 => burst::<2>(root, addresses, groups),
                3 => burst::<3>(root, addresses, groups),
                _ => burst::<4>(root, addresses, groups),
            }
        }
    }
}

/// Up to `V` vectors, at least one address.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq,bmi2,popcnt")]
fn burst<const V: usize>(root: &Root, addresses: &[u32], groups: &mut [GroupId]) {
    let mut lanes = Lanes([addresses[0]; LANES]);
    lanes.0[..addresses.len()].copy_from_slice(addresses);
    let mut address = [_mm512_setzero_si512(); V];
    for (v, address) in address.iter_mut().enumerate() {
        *address = load(&lanes, v);
    }
    if let Some(leaf) = common(root, &address, addresses[0]) {
        groups.fill(GroupId::from_leaf(leaf));
        return;
    }
    let base = root.arena.words().as_ptr().cast::<u32>();
    // SAFETY: sixteen words, and loads of any alignment.
    let chunks = unsafe { _mm512_loadu_si512(root.chunks.as_ptr().cast()) };
    let mut index = Lanes::ZERO;
    for (v, address) in address.iter().enumerate() {
        let chunk = _mm512_permutexvar_epi32(_mm512_srli_epi32::<28>(*address), chunks);
        let slot = _mm512_and_si512(_mm512_srli_epi32::<16>(*address), set(0xfff));
        store(&mut index, v, _mm512_add_epi32(chunk, slot));
    }
    let mut entries = Lanes::ZERO;
    // SAFETY: a root's chunks lie in its arena.
    unsafe { fetch::words(base, &index, &mut entries, V * WIDTH) };
    let mut entry = [_mm512_setzero_si512(); V];
    for (v, entry) in entry.iter_mut().enumerate() {
        *entry = load(&entries, v);
    }
    // SAFETY: the entries are a root's.
    unsafe {
        let place = address.map(|address| byte::<8>(address));
        let step = if root.wide {
            step::<V, true>
        } else {
            step::<V, false>
        };
        if step(base, &mut entry, place) {
            let place = address.map(|address| byte::<0>(address));
            step(base, &mut entry, place);
        }
    }
    finish(root, entry, groups);
}

/// The leaf code that all addresses share because they are in one /24 that nothing divides; the
/// default's for none.
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
    let leaf = scalar::lookup24(root, first)?;
    Some(if leaf == 0 { root.default } else { leaf })
}

/// Replaces entries that refer to blocks by what is at their place: a leaf code, or the next entry.
/// True when there is a next one.
///
/// # Safety
///
/// The entries that refer to blocks are from the arena that starts at `base`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
unsafe fn step<const V: usize, const WIDE: bool>(
    base: *const u32,
    entry: &mut [__m512i; V],
    place: [__m512i; V],
) -> bool {
    let (mut index, mut found) = (Lanes::ZERO, Lanes::ZERO);
    let mut offset = [_mm512_setzero_si512(); V];
    let mut drop = offset;
    for v in 0..V {
        // The lanes that are at a leaf already go by zeros.
        let block = _mm512_mask_mov_epi32(set(ZERO_BLOCK), blocks(entry[v]), entry[v]);
        offset[v] = _mm512_srli_epi32::<4>(_mm512_slli_epi32::<1>(block));
        let place = _mm512_srlv_epi32(place[v], _mm512_and_si512(block, set(7)));
        let word = _mm512_srli_epi32::<12>(_mm512_mullo_epi16(place, set(171)));
        let bit = _mm512_sub_epi32(place, _mm512_mullo_epi16(word, set(PLACES)));
        drop[v] = _mm512_sub_epi32(set(31), bit);
        store(&mut index, v, _mm512_add_epi32(offset[v], word));
    }
    // SAFETY: a block's words lie in the arena, and so do the zeros.
    unsafe { fetch::words(base, &index, &mut found, V * WIDTH) };
    for v in 0..V {
        let word = load(&found, v);
        let runs = _mm512_popcnt_epi32(_mm512_sllv_epi32(word, drop[v]));
        let rank = _mm512_add_epi32(_mm512_srli_epi32::<24>(word), runs);
        let end = if WIDE {
            offset[v]
        } else {
            _mm512_slli_epi32::<1>(offset[v])
        };
        store(&mut index, v, _mm512_sub_epi32(end, rank));
    }
    // SAFETY: a block has a leaf for each of its runs before its words.
    unsafe {
        match WIDE {
            true => fetch::words(base, &index, &mut found, V * WIDTH),
            false => fetch::halves(base.cast(), &index, &mut found, V * WIDTH),
        }
    }
    let mut further = 0;
    for v in 0..V {
        let leaf = load(&found, v);
        let reference = _mm512_test_epi32_mask(leaf, set(deep(WIDE)));
        let words = _mm512_andnot_si512(set(deep(WIDE)), leaf);
        let at = _mm512_maskz_add_epi32(reference, offset[v], words);
        store(&mut index, v, at);
        entry[v] = _mm512_mask_mov_epi32(entry[v], blocks(entry[v]), leaf);
        further |= reference;
    }
    if further == 0 {
        return false;
    }
    // SAFETY: a block has the words that its leaves refer to; the other lanes read a zero.
    unsafe { fetch::words(base, &index, &mut found, V * WIDTH) };
    for (v, entry) in entry.iter_mut().enumerate() {
        let reference = _mm512_test_epi32_mask(load(&index, v), load(&index, v));
        *entry = _mm512_mask_mov_epi32(*entry, reference, load(&found, v));
    }
    true
}

/// Writes the groups of leaf codes.
#[inline]
#[target_feature(enable = "avx512f")]
fn finish<const V: usize>(root: &Root, leaf: [__m512i; V], groups: &mut [GroupId]) {
    let mut out = Lanes::ZERO;
    for (v, leaf) in leaf.into_iter().enumerate() {
        let none = _mm512_testn_epi32_mask(leaf, leaf);
        store(
            &mut out,
            v,
            _mm512_mask_mov_epi32(leaf, none, set(root.default)),
        );
    }
    for (group, leaf) in groups.iter_mut().zip(out.0) {
        *group = GroupId::from_leaf(leaf);
    }
}

/// The lanes whose entry refers to a block: those with the highest bit.
#[inline]
#[target_feature(enable = "avx512f")]
fn blocks(entry: __m512i) -> __mmask16 {
    _mm512_cmplt_epi32_mask(entry, _mm512_setzero_si512())
}

/// The byte of each address that starts `SHIFT` bits from its end.
#[inline]
#[target_feature(enable = "avx512f")]
fn byte<const SHIFT: u32>(address: __m512i) -> __m512i {
    _mm512_and_si512(_mm512_srli_epi32::<SHIFT>(address), set(0xff))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn set(value: u32) -> __m512i {
    _mm512_set1_epi32(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(lanes: &Lanes<u32>, v: usize) -> __m512i {
    let lanes: &[u32; WIDTH] = &lanes.0.as_chunks().0[v];
    // SAFETY: sixteen words.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(lanes: &mut Lanes<u32>, v: usize, value: __m512i) {
    let lanes: &mut [u32; WIDTH] = &mut lanes.0.as_chunks_mut().0[v];
    // SAFETY: sixteen words.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), value) };
}
