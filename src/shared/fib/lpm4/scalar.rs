//! One address at a time, without unsafe: the reference for the others, and what machines without
//! AVX2 use.

use super::{deep, word_of};
use crate::shared::fib::address::Address;
use crate::shared::fib::rib::{STRIDE, TOP};
use crate::shared::fib::root::{BLOCK, Root};

/// The leaf code of an address; 0 for a default route's.
pub(super) fn lookup(root: &Root, address: u32) -> u32 {
    let mut entry = root.entry(address.top());
    let mut depth = TOP;
    while entry & BLOCK != 0 {
        let (offset, leaf) = step(root, entry, address.byte(depth));
        if leaf & deep(root.wide) == 0 {
            return leaf;
        }
        entry = root.arena.load(offset + (leaf & !deep(root.wide)) as usize);
        depth += STRIDE;
    }
    entry
}

/// As [`lookup`], for all addresses of a /24; absent when it has longer prefixes.
#[cfg(target_arch = "x86_64")]
pub(super) fn lookup24(root: &Root, address: u32) -> Option<u32> {
    let entry = root.entry(address.top());
    if entry & BLOCK == 0 {
        return Some(entry);
    }
    let (_, leaf) = step(root, entry, address.byte(TOP));
    (leaf & deep(root.wide) == 0).then_some(leaf)
}

/// The leaf of a place in a block, and where the block is.
#[inline]
fn step(root: &Root, entry: u32, byte: u8) -> (usize, u32) {
    let offset = ((entry & !BLOCK) >> 3) as usize;
    let place = u32::from(byte) >> (entry & 7);
    let word = word_of(place);
    let bits = root.arena.load(offset + word as usize);
    // The bits of later places leave at the top, and with them the count in the upper byte.
    let runs = bits << (31 - (place - word * super::PLACES));
    let rank = ((bits >> 24) + runs.count_ones()) as usize;
    let leaf = match root.wide {
        true => root.arena.load(offset - rank),
        false => root.arena.load_half(2 * offset - rank),
    };
    (offset, leaf)
}
