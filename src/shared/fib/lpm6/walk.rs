//! What the vector paths do one lane after the other.

#![allow(
    clippy::cast_possible_truncation,
    reason = "addresses are cut to the bits that come next"
)]

use super::depth;
use crate::shared::fib::fetch::Lanes;
use crate::shared::fib::root::BLOCK;

/// Tables that may be passed before the next bits are fetched anew.
pub(super) const PASSES: usize = 4;

/// The 64 bits of each lane's address that come next, in two words: good for four bytes of tables
/// and a block's key.
pub(super) struct Bits {
    pub(super) next: Lanes<u32>,
    pub(super) after: Lanes<u32>,
}

impl Bits {
    pub(super) const ZERO: Bits = Bits {
        next: Lanes::ZERO,
        after: Lanes::ZERO,
    };

    /// Fetches the bits of the lanes whose entry refers to a table or block.
    pub(super) fn fill(&mut self, addresses: &[u128], entries: &Lanes<u32>) {
        for (lane, (address, entry)) in addresses.iter().zip(entries.0).enumerate() {
            if entry & BLOCK != 0 {
                let rest = address << depth(entry);
                self.next.0[lane] = (rest >> 96) as u32;
                self.after.0[lane] = (rest >> 64) as u32;
            }
        }
    }
}
