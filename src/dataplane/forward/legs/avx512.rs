//! Sixteen packets by gathers: three for each sixteen, where plain code would take as many branches a
//! packet as loads.

#![allow(unsafe_code, reason = "gathers take pointers")]

use std::arch::x86_64::*;
use std::mem::{offset_of, size_of};

use super::{LANES, Lanes, Legs, NextHops};
use crate::dataplane::forward::heads::{load, store};
use crate::dataplane::port::BURST;
use crate::shared::fib::{Exit, GroupId, Way};

/// More next hops are not found: indices of gathers are signed.
const MOST: usize = 1 << 28;

/// As [`Legs::follow`], the packets from `first` on.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn follow(
    to_legs: &mut Legs,
    to: NextHops<'_>,
    groups: &[GroupId; BURST],
    len: &Lanes,
    first: usize,
) -> u16 {
    let (group, len) = (load(groups, first), load(len, first));
    let zero = _mm512_setzero_si512();
    let known = _mm512_cmplt_epu32_mask(group, length(to.ways));
    let ways = to.ways.as_ptr().cast::<u8>();
    let exits = to.exits.as_ptr().cast::<u8>();
    const { assert!(size_of::<Way>() == 8 && size_of::<Exit>() == 16) };
    // SAFETY: only the lanes are read whose index is below the table's length; the numbers are four
    // bytes of an entry.
    unsafe {
        let at = ways.add(offset_of!(Way, leg)).cast();
        let leg = _mm512_mask_i32gather_epi32::<8>(zero, known, group, at);
        let at = ways.add(offset_of!(Way, mtu)).cast();
        let mtu = _mm512_mask_i32gather_epi32::<8>(zero, known, group, at);
        let known = _mm512_mask_cmplt_epu32_mask(known, leg, length(to.exits));
        let at = exits.add(Exit::LIMITS_AT).cast();
        let halves = _mm512_slli_epi32::<1>(leg);
        let limits = _mm512_mask_i32gather_epi32::<8>(zero, known, halves, at);
        let port = _mm512_srli_epi32::<16>(limits);
        let exit_mtu = _mm512_and_si512(limits, _mm512_set1_epi32(0xffff));
        let fits = _mm512_mask_cmple_epu32_mask(known, len, _mm512_min_epu32(mtu, exit_mtu));
        let ingress = _mm512_set1_epi32(to.ingress.into());
        let fits = _mm512_mask_cmpneq_epi32_mask(fits, port, ingress);
        store(&mut to_legs.legs, first, leg);
        let ports = &mut to_legs.ports[first..][..LANES];
        _mm_storeu_si128(ports.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(port));
        fits
    }
}

/// A table's length, in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn length<T>(table: &[T]) -> __m512i {
    let length = i32::try_from(table.len().min(MOST)).unwrap_or(0);
    _mm512_set1_epi32(length)
}
