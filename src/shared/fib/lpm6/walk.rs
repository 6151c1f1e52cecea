//! What both vector paths do one lane after the other: tables, and going on beyond a block.

#![allow(
    unsafe_code,
    reason = "reads the arena without bounds checks: its entries refer to nothing beyond it"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "addresses are cut to the bits that come next"
)]

use super::{DEPTH_SHIFT, LINE, LINE_MASK, SPLIT, Shape, TABLE, bound};
use crate::shared::fib::GroupId;
use crate::shared::fib::fetch::{LANES, Lanes};
use crate::shared::fib::root::{BLOCK, Root};

/// Where each address of a burst has come to.
pub(super) struct Walk {
    /// Entries, in the end leaf codes.
    pub(super) entries: Lanes<u32>,
    /// The 64 bits of the address that come next. Good for four bytes of tables and a block's key.
    pub(super) next: Lanes<u64>,
}

/// A block.
pub(super) struct At {
    /// Its first word.
    pub(super) start: usize,
    /// A line of bounds comes first.
    pub(super) split: bool,
}

/// Tables that may be passed before the next bits are fetched anew.
const PASSES: usize = 4;

impl Walk {
    /// At the slots of up to 64 addresses.
    pub(super) fn start(root: &Root, addresses: &[u128]) -> Walk {
        let mut walk = Walk {
            entries: Lanes::ZERO,
            next: Lanes([0; LANES]),
        };
        let words = root.arena.words();
        let lanes = walk.entries.0.iter_mut().zip(&mut walk.next.0);
        for ((entry, next), address) in lanes.zip(addresses) {
            let top = (address >> 112) as usize;
            let at = root.chunks[top >> 12] as usize + (top & 0xfff);
            // SAFETY: a root's chunks lie in its arena.
            *entry = unsafe { words.as_ptr().cast::<u32>().add(at).read() };
            *next = (address >> 48) as u64;
        }
        walk
    }

    /// Passes up to four tables; true when some lane is at a table still.
    pub(super) fn pass_tables(&mut self, base: *const u32, count: usize) -> bool {
        for _ in 0..PASSES {
            if !self.at_table(count) {
                return false;
            }
            let lanes = self.entries.0.iter_mut().zip(&mut self.next.0);
            for (entry, next) in lanes.take(count) {
                let table = *entry & (BLOCK | TABLE) == BLOCK | TABLE;
                let place = (*next >> 56) as usize;
                let at = (*entry & LINE_MASK) as usize * LINE + place;
                // SAFETY: a table has 256 entries, and there are zeros at the arena's start.
                let below = unsafe { base.add(if table { at } else { 0 }).read() };
                *entry = if table { below } else { *entry };
                *next <<= if table { 8 } else { 0 };
            }
        }
        self.at_table(count)
    }

    fn at_table(&self, count: usize) -> bool {
        let mut entries = self.entries.0[..count].iter();
        entries.any(|entry| *entry & (BLOCK | TABLE) == BLOCK | TABLE)
    }

    /// Fetches the next bits of the lanes that are at a table or block.
    pub(super) fn refill(&mut self, addresses: &[u128]) {
        let lanes = self.entries.0.iter().zip(&mut self.next.0);
        for ((entry, next), address) in lanes.zip(addresses) {
            if entry & BLOCK != 0 {
                let depth = (entry >> DEPTH_SHIFT & 15) * 8;
                *next = (address << depth >> 64) as u64;
            }
        }
    }

    /// The block that a lane is at, and its key there; the zeros at the arena's start for a lane that
    /// is at its leaf.
    #[inline(always)]
    pub(super) fn block(&self, lane: usize) -> (At, i32) {
        let entry = self.entries.0[lane];
        let entry = if entry & BLOCK != 0 { entry } else { 0 };
        let at = At {
            start: (entry & LINE_MASK) as usize * LINE,
            split: entry & SPLIT != 0,
        };
        (at, bound((self.next.0[lane] >> 32) as u32))
    }

    /// Takes a lane to the leaf at `rank` of a line; true when a reference is there.
    ///
    /// # Safety
    ///
    /// The line is one of a block, or of zeros, in the arena that starts at `base`, and has `rank`.
    #[inline(always)]
    pub(super) unsafe fn settle<const WIDE: bool>(
        &mut self,
        lane: usize,
        base: *const u32,
        line: usize,
        rank: usize,
    ) -> bool {
        let at = Shape::of(WIDE).leaves + rank;
        // SAFETY: the caller's promise.
        let leaf = unsafe {
            match WIDE {
                true => base.add(line + at).read(),
                false => u32::from(base.cast::<u16>().add(2 * line + at).read()),
            }
        };
        let entry = &mut self.entries.0[lane];
        let block = *entry & BLOCK != 0;
        let reference = leaf & Shape::of(WIDE).deep != 0;
        if !reference {
            *entry = if block { leaf } else { *entry };
        } else {
            let at = (*entry & LINE_MASK) as usize * LINE + (leaf & !Shape::of(WIDE).deep) as usize;
            // SAFETY: a block has the words that its leaves refer to; the zeros refer to none.
            *entry = unsafe { base.add(at).read() };
        }
        reference
    }

    /// Writes the groups of the leaf codes that all lanes have come to.
    pub(super) fn finish(&self, root: &Root, groups: &mut [GroupId]) {
        for (group, leaf) in groups.iter_mut().zip(&self.entries.0) {
            let leaf = if *leaf == 0 { root.default } else { *leaf };
            *group = GroupId::from_leaf(leaf);
        }
    }
}
