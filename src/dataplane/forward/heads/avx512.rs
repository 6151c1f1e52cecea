//! Sixteen headers at a time: the words of sixteen packets, transposed; to whom they were sent, and IPv6
//! destinations.

#![allow(unsafe_code, reason = "vector loads and stores take pointers")]

use std::arch::x86_64::*;

use super::{Heads, IPV4, IPV6, IPV6_DESTINATION, LANES, Mask, NOT_GLOBAL, PADDED, WORDS, in_word};
use crate::dataplane::mem::{Ahead, Head, Packets};
use crate::dataplane::port::BURST;
use crate::shared::mac::MacAddr;

/// Where the loads of a packet begin: the IP header then falls into whole words.
const START: usize = 6;
const _: () = assert!(WORDS[0] == START + 4 && WORDS[6] + 4 == START + 32);

/// Reads and checks all packets; whether some were sent to another address than `own`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn read(
    heads: &mut Heads,
    packets: &Packets<'_, BURST>,
    own: MacAddr,
    ahead: &mut Ahead<'_>,
) -> bool {
    let (mut ipv4, mut ipv6, mut padded) = (0, 0, 0);
    let own = _mm_set1_epi64x(in_word(own).cast_signed());
    let mut differ = _mm_setzero_si128();
    for first in (0..packets.count()).step_by(LANES) {
        let group = packets.heads(first);
        for head in group {
            differ = or_of_differences(differ, own, bytes(head, 0));
        }
        gather(heads, group, first);
        heads.check(first);
        ahead.fetch();
        let kind = load(&heads.kind, first);
        let mask = |kind_bit: u32| {
            let bit = _mm512_set1_epi32(kind_bit.cast_signed());
            Mask::from(_mm512_test_epi32_mask(kind, bit)) << first
        };
        ipv4 |= mask(IPV4);
        ipv6 |= mask(IPV6);
        padded |= mask(PADDED);
    }
    (heads.ipv4, heads.ipv6, heads.padded) = (ipv4, ipv6, padded);
    _mm_cvtsi128_si64(differ) << 16 != 0
}

/// `all`, and the bits in which two vectors differ.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn or_of_differences(all: __m128i, one: __m128i, other: __m128i) -> __m128i {
    const OR_XOR: i32 = 0xf0 | (0xcc ^ 0xaa);
    _mm_ternarylogic_epi32::<OR_XOR>(all, one, other)
}

/// Reads the words of sixteen packets. Two packets share a vector, whose halves are transposed side by
/// side; which two is chosen so that all come out in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn gather(heads: &mut Heads, packets: [&Head; LANES], first: usize) {
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

/// Reads the IPv6 destinations of sixteen packets, from `first` on; which of them are plain.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn read_ipv6_destinations(
    heads: &mut Heads,
    packets: &Packets<'_, BURST>,
    first: usize,
) -> u16 {
    let group: [&Head; LANES] = packets.heads(first);
    let backwards = _mm_setr_epi8(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let backwards = _mm512_broadcast_i32x4(backwards);
    let numbers = &mut heads.ipv6_destination[first..first + LANES];
    let mut fours = [_mm512_setzero_si512(); 4];
    for (at, four) in fours.iter_mut().enumerate() {
        let [a, b, c, d] = [0, 1, 2, 3].map(|lane| bytes(group[4 * at + lane], IPV6_DESTINATION));
        let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b);
        let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(c), d);
        *four = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
        let number = _mm512_shuffle_epi8(*four, backwards);
        // SAFETY: four numbers of sixteen bytes.
        unsafe { _mm512_storeu_si512(numbers[4 * at..][..4].as_mut_ptr().cast(), number) };
    }
    let [a, b, c, d] = fours;
    let firsts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
    let low = _mm512_castsi512_si256(_mm512_permutex2var_epi32(a, firsts, b));
    let high = _mm512_castsi512_si256(_mm512_permutex2var_epi32(c, firsts, d));
    let word = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
    let mut global = u16::MAX;
    for (bits, value) in NOT_GLOBAL {
        let bits = _mm512_and_si512(word, _mm512_set1_epi32(bits.cast_signed()));
        global &= _mm512_cmpneq_epi32_mask(bits, _mm512_set1_epi32(value.cast_signed()));
    }
    global
}

/// Sixteen bytes of a packet.
#[inline]
#[target_feature(enable = "avx512f")]
fn bytes(head: &Head, at: usize) -> __m128i {
    let bytes: &[u8] = &head[at..at + 16];
    // SAFETY: sixteen bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
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
