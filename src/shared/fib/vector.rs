//! Vectors of sixteen words, the lanes that they are loaded from, and what both families' AVX-512
//! paths start and end with.

#![allow(unsafe_code, reason = "vector loads and stores take pointers")]

use std::arch::x86_64::*;

use super::GroupId;
use super::fetch::Lanes;
use super::rib::COARSE;
use super::root::{CHUNKS, Root};

/// Words of a vector.
pub(super) const WIDTH: usize = 16;

/// A bit for each of up to sixteen elements.
pub(super) fn lanes<T>(elements: &[T]) -> __mmask16 {
    u16::MAX >> (WIDTH - elements.len())
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn set(value: u32) -> __m512i {
    _mm512_set1_epi32(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(lanes: &Lanes<u32>, v: usize) -> __m512i {
    let lanes: &[u32; WIDTH] = &lanes.0.as_chunks().0[v];
    // SAFETY: sixteen words.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(lanes: &mut Lanes<u32>, v: usize, value: __m512i) {
    let lanes: &mut [u32; WIDTH] = &mut lanes.0.as_chunks_mut().0[v];
    // SAFETY: sixteen words.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), value) };
}

/// What a root has for each chunk.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn by_chunk(words: &[u32; CHUNKS]) -> __m512i {
    let words: &[u32; WIDTH] = words;
    // SAFETY: sixteen words.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// The words of the slots of addresses, by their first 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn slots(chunks: __m512i, top: __m512i) -> __m512i {
    let chunk = _mm512_permutexvar_epi32(chunk(top), chunks);
    let slot = _mm512_and_si512(_mm512_srli_epi32::<16>(top), set(0xfff));
    _mm512_add_epi32(chunk, slot)
}

/// The lanes whose entry refers to something: those with the highest bit.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn blocks(entry: __m512i) -> __mmask16 {
    _mm512_cmplt_epi32_mask(entry, _mm512_setzero_si512())
}

/// The chunks of addresses, by their first 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn chunk(top: __m512i) -> __m512i {
    _mm512_srli_epi32::<{ u32::BITS - COARSE as u32 }>(top)
}

/// Writes the groups of the leaf codes that addresses led to, as [`Root::group`] has them; `top` are
/// their first 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn finish<const V: usize>(
    root: &Root,
    leaf: [__m512i; V],
    top: [__m512i; V],
    groups: &mut [GroupId],
) {
    let defaults = by_chunk(&root.defaults);
    for ((leaf, top), groups) in leaf.into_iter().zip(top).zip(groups.chunks_mut(WIDTH)) {
        let none = _mm512_testn_epi32_mask(leaf, leaf);
        let leaf = _mm512_mask_permutexvar_epi32(leaf, none, chunk(top), defaults);
        let group = _mm512_sub_epi32(_mm512_max_epu32(leaf, set(1)), set(1));
        // SAFETY: a GroupId is a word, and the mask has a bit for each there is.
        unsafe { _mm512_mask_storeu_epi32(groups.as_mut_ptr().cast(), lanes(groups), group) };
    }
}
