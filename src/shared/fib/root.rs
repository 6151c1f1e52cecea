//! What a snapshot of a table is made of: where its sixteen-bit slots lie, and the memory behind.

use std::sync::Arc;

use super::GroupId;
use super::address::Address;
use super::arena::Arena;
use super::rib::{COARSE, TOP};

/// Slots of a chunk: commits copy the chunks that they change.
pub(super) const CHUNK: u32 = 4096;
pub(super) const CHUNKS: usize = 1 << COARSE;

/// Set in an entry that refers to a block; one without it is a leaf code.
pub(super) const BLOCK: u32 = 1 << 31;

/// A committed table. Everything that its entries refer to lies in `arena` and is never written
/// while a root that reaches it exists.
#[derive(Debug, Default)]
pub struct Root {
    pub(super) arena: Arc<Arena>,
    /// The first word of each chunk of slots, by an address's first four bits.
    pub(super) chunks: [u32; CHUNKS],
    /// The leaf code for what the structure has no prefix for, by the same bits; 0 for none. Default
    /// routes stand here, also in their halves or as 2000::/3: a change is no touch of every slot.
    pub(super) defaults: [u32; CHUNKS],
    /// Leaves take 32 bits instead of 16.
    pub(super) wide: bool,
    pub(super) routes: usize,
    /// Words that lookups may read.
    pub(super) live: usize,
}

impl Root {
    /// The entry of a slot.
    #[inline]
    pub(super) fn entry(&self, top: u16) -> u32 {
        let chunk = self.chunks[usize::from(top >> 12)] as usize;
        self.arena.load(chunk + usize::from(top & 0xfff))
    }

    /// The group of the leaf code that an address led to.
    #[inline]
    pub(super) fn group<A: Address>(&self, leaf: u32, address: A) -> GroupId {
        let default = self.defaults[usize::from(address.top() >> (TOP - COARSE))];
        GroupId::from_leaf(if leaf == 0 { default } else { leaf })
    }
}
