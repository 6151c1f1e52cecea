//! Sixteen headers at a time: the words of sixteen packets, transposed.

#![allow(unsafe_code, reason = "vector loads and stores take pointers")]

use std::arch::x86_64::*;

use super::{Heads, IPV4, IPV6, LANES, Mask, PADDED, WORDS};
use crate::dataplane::mem::{Ahead, Head, Packets};
use crate::dataplane::port::BURST;

/// Where the loads of a packet begin: the IP header then falls into whole words.
const START: usize = 6;
const _: () = assert!(WORDS[0] == START + 4 && WORDS[6] + 4 == START + 32);

/// Reads and checks all packets.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn read(heads: &mut Heads, packets: &Packets<'_, BURST>, ahead: &mut Ahead<'_>) {
    (heads.ipv4, heads.ipv6, heads.padded) = (0, 0, 0);
    for first in (0..packets.count()).step_by(LANES) {
        gather(heads, packets, first);
        heads.check(first);
        ahead.fetch();
        let kind = load(&heads.kind, first);
        let mask = |kind_bit: u32| {
            let bit = _mm512_set1_epi32(kind_bit.cast_signed());
            Mask::from(_mm512_test_epi32_mask(kind, bit)) << first
        };
        heads.ipv4 |= mask(IPV4);
        heads.ipv6 |= mask(IPV6);
        heads.padded |= mask(PADDED);
    }
}

/// Reads the words of sixteen packets. Two packets share a vector, whose halves are transposed side by
/// side; which two is chosen so that all come out in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn gather(heads: &mut Heads, packets: &Packets<'_, BURST>, first: usize) {
    let packets: [&Head; LANES] = packets.heads(first);
    let pair = |slot: usize| {
        let (a, b) = (packets[slot], packets[slot + 4]);
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(half(a)), half(b))
    };
    let rows = [0, 1, 2, 3, 8, 9, 10, 11].map(pair);
    let low = |a: usize| _mm512_unpacklo_epi32(rows[a], rows[a + 1]);
    let high = |a: usize| _mm512_unpackhi_epi32(rows[a], rows[a + 1]);
    // Words 0 and 1, or 2 and 3, of each quarter of a packet, of two packets each;
    let (low, high) = ([0, 2, 4, 6].map(low), [0, 2, 4, 6].map(high));
    // one word of four packets each;
    let zero = [0, 2].map(|a| _mm512_unpacklo_epi64(low[a], low[a + 1]));
    let one = [0, 2].map(|a| _mm512_unpackhi_epi64(low[a], low[a + 1]));
    let two = [0, 2].map(|a| _mm512_unpacklo_epi64(high[a], high[a + 1]));
    let three = [0, 2].map(|a| _mm512_unpackhi_epi64(high[a], high[a + 1]));
    // and of all sixteen.
    let front = |[a, b]: [__m512i; 2]| _mm512_shuffle_i32x4::<0b10_00_10_00>(a, b);
    let back = |[a, b]: [__m512i; 2]| _mm512_shuffle_i32x4::<0b11_01_11_01>(a, b);
    let words = [
        front(one),
        front(two),
        front(three),
        back(zero),
        back(one),
        back(two),
        back(three),
    ];
    for (lanes, word) in heads.words.iter_mut().zip(words) {
        store(lanes, first, word);
    }
}

/// The bytes of a packet that words are taken from.
#[inline]
#[target_feature(enable = "avx512f")]
fn half(head: &Head) -> __m256i {
    let bytes: &[u8] = &head[START..START + 32];
    // SAFETY: 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::dataplane::forward) fn load<T: Copy>(lanes: &[T; BURST], first: usize) -> __m512i {
    const { assert!(size_of::<T>() == size_of::<u32>()) };
    let lanes = &lanes[first..first + LANES];
    // SAFETY: sixteen words.
    unsafe { _mm512_loadu_si512(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(in crate::dataplane::forward) fn store(lanes: &mut [u32; BURST], first: usize, value: __m512i) {
    let lanes: &mut [u32] = &mut lanes[first..first + LANES];
    // SAFETY: sixteen words.
    unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), value) };
}
