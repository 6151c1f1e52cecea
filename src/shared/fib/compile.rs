//! From prefixes to blocks: what the two families' compilers have in common.

use super::address::Address;
use super::rib::{Block, Compiled, Rib, STRIDE, TOP};
use super::root::Root;
use super::runs::Run;
use super::store::{Full, Store};
use super::{GroupId, Path};

/// An address family that tables can be of: `u32` and `u128`.
pub trait Lpm: Structure {}

impl Lpm for u32 {}
impl Lpm for u128 {}

/// A family's lookup structure: not to be named outside, so that nobody calls or implements it.
pub trait Structure: Address {
    /// Sizes of blocks are multiples of this many words.
    const GRANULE: u32;

    /// Compiles a node `depth` bits down, below whatever `cover` stands for: its entry, and the
    /// block that the entry refers to.
    fn compile(
        compiler: &mut Compiler<'_, Self>,
        node: u32,
        depth: u8,
        cover: u32,
    ) -> Result<(u32, Option<Block>), Full>;

    /// The leaf code of an address, one at a time: the reference for the rest. 0 means a default
    /// route's.
    fn lookup(root: &Root, address: Self) -> u32;

    /// Looks up as many addresses as both slices have, one after the other.
    fn lookup_each(root: &Root, addresses: &[Self], groups: &mut [GroupId]) {
        for (address, group) in addresses.iter().zip(groups) {
            *group = root.group(Self::lookup(root, *address), *address);
        }
    }

    /// Looks up as many addresses as both slices have, by the given path.
    fn lookup_burst(root: &Root, path: Path, addresses: &[Self], groups: &mut [GroupId]);
}

/// Compiles nodes into a store.
pub struct Compiler<'a, A> {
    pub(super) rib: &'a mut Rib<A>,
    pub(super) store: &'a mut Store,
    /// Leaves take 32 bits instead of 16.
    pub(super) wide: bool,
    /// Room for runs, kept from one node to the next.
    pub(super) spare: &'a mut Vec<Vec<Run>>,
}

impl<A: Structure> Compiler<'_, A> {
    /// What refers to a node from above; compiles it unless nothing changed.
    pub(super) fn entry(&mut self, node: u32, depth: u8, cover: u32) -> Result<u32, Full> {
        let state = &self.rib.nodes[node as usize];
        if let Some(compiled) = state.compiled
            && !state.dirty
            && compiled.cover == cover
        {
            return Ok(compiled.entry);
        }
        let (entry, block) = A::compile(self, node, depth, cover)?;
        let compiled = Compiled {
            cover,
            entry,
            block,
        };
        self.release(node);
        let state = &mut self.rib.nodes[node as usize];
        state.compiled = Some(compiled);
        state.dirty = false;
        Ok(entry)
    }

    /// The entry of a slot.
    pub(super) fn slot(&mut self, slot: u16) -> Result<u32, Full> {
        let cover = self.rib.cover(slot);
        match self.rib.node(slot) {
            0 => Ok(cover),
            node => self.entry(node, TOP, cover),
        }
    }

    /// What each place of a node leads to: a leaf code, or what refers to a node below.
    pub(super) fn places(&mut self, node: u32, depth: u8, cover: u32) -> Result<[u32; 256], Full> {
        let mut places = [cover; 256];
        let mut at = 0;
        // What is enclosed goes over what encloses it.
        while let Some(item) = self.rib.item(node, at) {
            let (first, end) = (usize::from(item.start()), usize::from(item.end()));
            let entry = match item.is_child() {
                false => item.value,
                true => self.entry(item.value, depth + STRIDE, places[first])?,
            };
            places[first..end].fill(entry);
            at += 1;
        }
        Ok(places)
    }

    /// Calls `f` with a node's places as runs.
    pub(super) fn with_runs<T>(
        &mut self,
        node: u32,
        cover: u32,
        f: impl FnOnce(&mut Self, &[Run]) -> T,
    ) -> T {
        let mut runs = self.spare.pop().unwrap_or_default();
        self.rib.runs(node, cover, &mut runs);
        let result = f(self, &runs);
        self.spare.push(runs);
        result
    }

    /// Forgets what a node was compiled to.
    pub(super) fn release(&mut self, node: u32) {
        let compiled = self.rib.nodes[node as usize].compiled.take();
        if let Some(block) = compiled.and_then(|compiled| compiled.block) {
            self.store.retire(block);
        }
    }
}
