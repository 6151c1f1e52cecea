//! Vectors of sixteen words, and the lanes that they are loaded from.

#![allow(unsafe_code, reason = "vector loads and stores take pointers")]

use std::arch::x86_64::*;

use super::fetch::Lanes;

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
