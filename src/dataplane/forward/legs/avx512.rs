//! Sixteen packets by gathers: three for each sixteen, and a fourth where some have several next hops,
//! where plain code would take as many branches a packet as loads. Then each rewritten by two stores.

#![allow(unsafe_code, reason = "gathers take pointers")]

use std::arch::x86_64::*;
use std::mem::{offset_of, size_of};

use super::{Changes, LANES, Lanes, Legs, NextHops};
use crate::dataplane::forward::heads::{Mask, load, store};
use crate::dataplane::forward::slots::by_sixteen;
use crate::dataplane::mem::{HEAD, Packets};
use crate::dataplane::port::BURST;
use crate::shared::fib::{AdjacencyId, Exit, GroupId, Vectored, Way};

/// More next hops are not found: indices of gathers are signed.
const MOST: usize = 1 << 28;

/// As [`Legs::follow`].
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn follow<F: Vectored<Output = [u32; LANES]>>(
    to_legs: &mut Legs,
    to: NextHops<'_>,
    those: (&[GroupId; BURST], &Lanes),
    mask: Mask,
    flows: impl Fn(usize) -> F,
) -> Mask {
    by_sixteen(mask, |first| {
        follow_sixteen(to_legs, to, those, first, flows(first))
    })
}

/// As [`follow`], of sixteen packets, from `first` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn follow_sixteen(
    to_legs: &mut Legs,
    to: NextHops<'_>,
    (groups, len): (&[GroupId; BURST], &Lanes),
    first: usize,
    flows: impl Vectored<Output = [u32; LANES]>,
) -> u16 {
    let (group, len) = (load(groups, first), load(len, first));
    let zero = _mm512_setzero_si512();
    let known = _mm512_cmplt_epu32_mask(group, length(to.ways));
    let ways = to.ways.as_ptr().cast::<u8>();
    let exits = to.exits.as_ptr().cast::<u8>();
    const { assert!(size_of::<Way>() == 8 && size_of::<Exit>() == 16) };
    const { assert!(offset_of!(Way, first) == 0 && offset_of!(Way, mtu_and_buckets) == 4) };
    // SAFETY: only the lanes are read whose index is below the table's length.
    let [low, high] = unsafe {
        let eight =
            |groups, these| _mm512_mask_i32gather_epi64::<8>(zero, these, groups, ways.cast());
        let [low_known, high_known] = known.to_le_bytes();
        [
            eight(_mm512_castsi512_si256(group), low_known),
            eight(_mm512_extracti64x4_epi64::<1>(group), high_known),
        ]
    };
    let leg = _mm512_permutex2var_epi32(low, every_other(0), high);
    let mtu_and_buckets = _mm512_permutex2var_epi32(low, every_other(1), high);
    let mtu = low_half(mtu_and_buckets);
    let buckets = _mm512_srli_epi32::<16>(mtu_and_buckets);
    let several = _mm512_cmpgt_epu32_mask(buckets, _mm512_set1_epi32(1));
    let (leg, known) = match several {
        0 => (leg, known),
        _ => pick(to, (leg, buckets), (several, known), &flows.run()),
    };
    let known = _mm512_mask_cmplt_epu32_mask(known, leg, length(to.exits));
    let halves = _mm512_slli_epi32::<1>(leg);
    // SAFETY: as above.
    let limits = unsafe {
        let at = exits.wrapping_add(Exit::LIMITS_AT).cast();
        _mm512_mask_i32gather_epi32::<8>(zero, known, halves, at)
    };
    let (exit_mtu, port) = (low_half(limits), _mm512_srli_epi32::<16>(limits));
    let fits = _mm512_mask_cmple_epu32_mask(known, len, _mm512_min_epu32(mtu, exit_mtu));
    let ingress = _mm512_set1_epi32(to.ingress.into());
    let fits = _mm512_mask_cmpneq_epi32_mask(fits, port, ingress);
    store(&mut to_legs.legs, first, leg);
    let ports = &mut to_legs.ports[first..][..LANES];
    // SAFETY: sixteen bytes.
    unsafe { _mm_storeu_si128(ports.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(port)) };
    fits
}

/// As [`Legs::rewrite`], of sixteen packets, from `first` on, all of which leave; false, with nothing
/// done, if one of their next hops is not there.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) fn rewrite(
    legs: &Legs,
    exits: &[Exit],
    packets: &mut Packets<'_, BURST>,
    first: usize,
    changes: Changes<'_>,
) -> bool {
    let there = _mm512_cmplt_epu32_mask(load(&legs.legs, first), length(exits));
    if there != u16::MAX || changes.at > HEAD - 4 {
        return false;
    }
    let (legs, words) = (sixteen(&legs.legs, first), sixteen(changes.words, first));
    const { assert!(offset_of!(Exit, addresses) == 0 && Exit::LIMITS_AT == 12) };
    packets.each_head_mut::<LANES>(first, |lane, head| {
        let leg = AdjacencyId::new(legs[lane]);
        let head = head.as_mut_ptr();
        // SAFETY: all these next hops are below the table's length. An exit starts with three words of
        // addresses, and a head has room for them and for the other word.
        unsafe {
            let exit = _mm_load_si128(exits.as_ptr().add(leg.index()).cast());
            _mm_mask_storeu_epi32(head.cast(), 0b111, exit);
            head.add(changes.at)
                .cast::<u32>()
                .write_unaligned(words[lane]);
        }
        changes.hits.mark(leg);
    });
    true
}

/// The next hops of packets, with those of the `several` that are `known` chosen by their flows, from
/// their ways' first buckets on; and of which packets the next hop is known then.
#[inline]
#[target_feature(enable = "avx512f")]
fn pick(
    to: NextHops<'_>,
    (first, buckets): (__m512i, __m512i),
    (several, known): (__mmask16, __mmask16),
    flows: &[u32; LANES],
) -> (__m512i, __mmask16) {
    // SAFETY: sixteen words.
    let flows = unsafe { _mm512_loadu_si512(flows.as_ptr().cast()) };
    // As `Buckets::slot`.
    let slot = _mm512_mullo_epi32(_mm512_srli_epi32::<16>(flows), buckets);
    let bucket = _mm512_add_epi32(first, _mm512_srli_epi32::<16>(slot));
    let there = _mm512_mask_cmplt_epu32_mask(several, bucket, length(to.buckets));
    // SAFETY: only the lanes are read whose index is below the table's length; an entry is a word.
    let leg = unsafe {
        const { assert!(size_of::<AdjacencyId>() == 4) };
        let at = to.buckets.as_ptr().cast();
        _mm512_mask_i32gather_epi32::<4>(first, there, bucket, at)
    };
    (leg, known & (there | !several))
}

/// The lower halves of words.
#[inline]
#[target_feature(enable = "avx512f")]
fn low_half(words: __m512i) -> __m512i {
    _mm512_and_si512(words, _mm512_set1_epi32(0xffff))
}

/// Those of sixteen packets, from `first` on, which is a multiple of sixteen.
#[inline]
fn sixteen(lanes: &Lanes, first: usize) -> &[u32; LANES] {
    let (chunks, _) = lanes.as_chunks();
    &chunks[first % BURST / LANES]
}

/// The numbers of every other word of two vectors, from one on.
#[inline]
#[target_feature(enable = "avx512f")]
fn every_other(first: i32) -> __m512i {
    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    _mm512_add_epi32(even, _mm512_set1_epi32(first))
}

/// A table's length, in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn length<T>(table: &[T]) -> __m512i {
    let length = i32::try_from(table.len().min(MOST)).unwrap_or(0);
    _mm512_set1_epi32(length)
}
