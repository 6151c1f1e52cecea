//! The table that control edits, and the snapshots that workers look addresses up in.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use thiserror::Error;

use super::compile::{Compiler, Lpm};
use super::rib::{Block, COARSE, Rib, WARM};
use super::root::{CHUNK, CHUNKS, Root};
use super::runs::Run;
use super::store::{Full, Store};
use super::{GroupId, Path};

/// The largest leaf code that 16 bits hold: one bit tells leaves from references.
const NARROW: u32 = 0x7fff;
/// Words of the smallest arena.
const FEW_WORDS: usize = 1 << 15;
/// Words of an arena that is not worth a smaller one: a huge page, 2 MiB.
const SMALL_WORDS: usize = 1 << 19;
/// Words of the largest arena, 512 MiB: some hundred times a full table.
const MANY_WORDS: usize = 1 << 27;

/// Why a table could not be committed. Its prefixes are kept, earlier snapshots go on.
#[derive(Debug, Error)]
pub enum Exhausted {
    #[error("the {family} forwarding table needs more than {} MiB: let fewer or less scattered routes in{}", (words * 4) >> 20, raise(*words))]
    Limit { family: &'static str, words: usize },
    #[error("no memory for an {family} forwarding table of {} MiB ({error}): stop something else, or let fewer routes in", (words * 4) >> 20)]
    Memory {
        family: &'static str,
        words: usize,
        error: io::Error,
    },
}

fn family<A: Lpm>() -> &'static str {
    if A::BITS == 32 { "IPv4" } else { "IPv6" }
}

/// What else helps against a limit: the daemon's is the operator's choice.
fn raise(words: usize) -> &'static str {
    match words {
        ..MANY_WORDS => ", or raise [daemon] fib_memory_mib (at most 512) and restart",
        _ => "",
    }
}

/// A committed table: immutable, shared with workers.
#[derive(Debug)]
pub struct Fib<A> {
    root: Arc<Root>,
    family: PhantomData<A>,
}

impl<A> Clone for Fib<A> {
    fn clone(&self) -> Self {
        Fib {
            root: Arc::clone(&self.root),
            family: PhantomData,
        }
    }
}

impl<A> Default for Fib<A> {
    /// A table without routes.
    fn default() -> Self {
        Fib {
            root: Arc::default(),
            family: PhantomData,
        }
    }
}

impl<A: Lpm> Fib<A> {
    /// The group of the longest prefix that holds `address`; [`GroupId::NO_ROUTE`] when none does.
    pub fn lookup(&self, address: A) -> GroupId {
        self.root.group(A::lookup(&self.root, address), address)
    }

    /// Looks up a whole burst: `groups[i]` becomes the answer for `addresses[i]`; the longer slice's
    /// rest is left alone.
    #[inline]
    pub fn lookup_burst(&self, addresses: &[A], groups: &mut [GroupId]) {
        A::lookup_burst(&self.root, Path::best(), addresses, groups);
    }

    /// As [`Fib::lookup_burst`], by a path of the caller's choice.
    #[inline]
    pub fn lookup_burst_by(&self, path: Path, addresses: &[A], groups: &mut [GroupId]) {
        A::lookup_burst(&self.root, path, addresses, groups);
    }

    /// Prefixes in the table.
    pub fn routes(&self) -> usize {
        self.root.routes
    }

    /// Bytes that lookups may read.
    pub fn hot_bytes(&self) -> usize {
        self.root.live * size_of::<u32>()
    }

    /// Where its slots lie.
    #[cfg(test)]
    pub(crate) fn chunks(&self) -> [u32; CHUNKS] {
        self.root.chunks
    }

    /// True when the two are one table in memory: nothing was written between their commits.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Fib<A>) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }
}

/// The table that control edits; [`Table::commit`] makes a snapshot of it.
#[derive(Debug)]
pub struct Table<A> {
    rib: Rib<A>,
    /// Absent until the first commit, and after one that failed.
    built: Option<Built>,
    newest: Fib<A>,
    /// Prefixes whose group needs a wide leaf.
    wide_routes: usize,
    /// Words that no arena may exceed.
    limit: usize,
    /// The prefixes of the last commit did not fit into those, with leaves as wide as this says.
    full: Option<bool>,
}

/// Where the blocks of the newest snapshot lie.
#[derive(Debug)]
struct Built {
    store: Store,
    chunks: [Block; CHUNKS],
    /// The chunk of all slots that no prefix reaches.
    empty: Block,
    wide: bool,
}

impl<A: Lpm> Default for Table<A> {
    fn default() -> Self {
        Table::with_limit(MANY_WORDS)
    }
}

impl<A: Lpm> Table<A> {
    /// A table whose lookup structure takes at most `words` words of four bytes, and at most 512 MiB.
    pub fn with_limit(words: usize) -> Table<A> {
        Table {
            rib: Rib::default(),
            built: None,
            newest: Fib::default(),
            wide_routes: 0,
            limit: words.min(MANY_WORDS),
            full: None,
        }
    }

    /// Prefixes.
    pub fn routes(&self) -> usize {
        self.rib.routes()
    }

    /// The group of a prefix, which has no host bits.
    pub fn get(&self, prefix: A, len: u8) -> Option<GroupId> {
        let leaf = self.rib.get(prefix, len.min(A::BITS));
        (leaf != 0).then(|| GroupId::from_leaf(leaf))
    }

    /// Prepares for the prefixes being set or removed soon: a matter of time only. For the first [`WARM`]
    /// of them.
    pub fn warm(&self, prefixes: &[A]) {
        self.rib.warm(prefixes.iter().map(|prefix| prefix.top()));
    }

    /// Sets the group of a prefix and returns the one it had. Host bits are masked away; a length
    /// beyond the address is taken as a host route.
    pub fn insert(&mut self, prefix: A, len: u8, group: GroupId) -> Option<GroupId> {
        let len = len.min(A::BITS);
        let leaf = group.leaf();
        let old = self.rib.insert(prefix.mask(len), len, leaf);
        self.count_wide(len, leaf, old);
        (old != 0).then(|| GroupId::from_leaf(old))
    }

    /// Removes a prefix and returns the group it had.
    pub fn remove(&mut self, prefix: A, len: u8) -> Option<GroupId> {
        let len = len.min(A::BITS);
        let old = self.rib.remove(prefix.mask(len), len);
        self.count_wide(len, 0, old);
        (old != 0).then(|| GroupId::from_leaf(old))
    }

    fn count_wide(&mut self, len: u8, leaf: u32, old: u32) {
        // Default routes' leaves are in no structure.
        if len > COARSE {
            self.wide_routes += usize::from(leaf > NARROW);
            self.wide_routes -= usize::from(old > NARROW);
        }
    }

    /// The table as it is now, unaffected by later edits. Costs what changed since the last commit.
    pub fn commit(&mut self) -> Result<Fib<A>, Exhausted> {
        let dirty = self.rib.take_dirty();
        let orphans = std::mem::take(&mut self.rib.orphans);
        let updated = self.built.take().is_some_and(|mut built| {
            built.store.reclaim();
            for block in orphans {
                built.store.retire(block);
            }
            let updated = built.suits(self.wide_routes > 0)
                && built.update(&mut self.rib, &dirty, self.limit).is_ok();
            if updated {
                self.built = Some(built);
            }
            updated
        });
        let newest = &self.newest.root;
        let defaults = self.rib.defaults();
        let changed = !updated
            || !dirty.is_empty()
            || (defaults, self.rib.routes()) != (newest.defaults, newest.routes);
        if !updated {
            let wide = self.wide_routes > 0;
            if self.full == Some(wide) && dirty.is_empty() {
                // The same prefixes would not fit now.
                return Err(Exhausted::Limit {
                    family: family::<A>(),
                    words: self.limit,
                });
            }
            let built = self.build();
            self.full = matches!(built, Err(Exhausted::Limit { .. })).then_some(wide);
            self.built = Some(built?);
        }
        if let Some(built) = self.built.as_mut().filter(|_| changed) {
            self.newest.root = built.root(self.rib.routes(), defaults);
            built.store.commit(&self.newest.root);
        }
        Ok(self.newest.clone())
    }

    /// Bytes that the table and its newest snapshot take.
    pub fn heap_bytes(&self) -> usize {
        let built = self.built.as_ref().map(|built| &built.store);
        let store = built.map_or(0, |store| {
            store.heap_bytes() + store.capacity() * size_of::<u32>()
        });
        self.rib.heap_bytes() + store
    }

    /// Where all the words of the arena are.
    #[cfg(test)]
    pub(super) fn census(&self) -> super::store::Census {
        let built = self.built.as_ref().expect("a commit before");
        let mut census = built.store.census();
        let chunks = built
            .chunks
            .into_iter()
            .filter(|chunk| *chunk != built.empty);
        let chunks = chunks.chain([built.empty]);
        let nodes = self.rib.nodes.iter().filter_map(|node| node.compiled);
        let blocks = nodes.filter_map(|compiled| compiled.block);
        let orphans = self.rib.orphans.iter().copied();
        census.live = chunks.chain(blocks).chain(orphans).collect();
        census
    }

    /// As after 99 days of commits.
    #[cfg(test)]
    pub(super) fn age(&mut self) {
        self.built.as_mut().expect("a commit before").store.age();
    }

    /// Compiles everything into a new arena, with room to go on until many changes later.
    fn build(&mut self) -> Result<Built, Exhausted> {
        self.rib.shrink();
        let mut words = match self.full {
            // It was too large a moment ago.
            Some(_) => self.limit,
            // A guess: real tables take half a word to two a route.
            None => arena_for(self.rib.routes()).min(self.limit),
        };
        loop {
            for node in &mut self.rib.nodes {
                node.compiled = None;
            }
            let memory = |error| Exhausted::Memory {
                family: family::<A>(),
                words,
                error,
            };
            let wide = self.wide_routes > 0;
            let store = Store::new(words, A::GRANULE).map_err(memory)?;
            words = match Built::new(store, wide, &mut self.rib) {
                Ok(built) => match built.wanted().min(self.limit) {
                    // As small as it may be, or as large.
                    wanted if (wanted..=2 * wanted).contains(&words) => return Ok(built),
                    wanted => wanted,
                },
                Err(Full) if words < self.limit => (2 * words).min(self.limit),
                Err(Full) => {
                    return Err(Exhausted::Limit {
                        family: family::<A>(),
                        words,
                    });
                }
            };
        }
    }
}

/// Words of an arena that has at least so many.
fn arena_for(words: usize) -> usize {
    words.next_power_of_two().max(FEW_WORDS)
}

impl Built {
    fn new<A: Lpm>(mut store: Store, wide: bool, rib: &mut Rib<A>) -> Result<Built, Full> {
        let empty = store.allocate(CHUNK)?;
        let mut built = Built {
            store,
            chunks: [empty; CHUNKS],
            empty,
            wide,
        };
        let occupied: Vec<u16> = rib.occupied().collect();
        built.update(rib, &occupied, 0)?;
        Ok(built)
    }

    /// Words of an arena that takes what is live, as much again for a snapshot that is held for long,
    /// and what commits to come need beside it: copies of all chunks for the next snapshot and for
    /// those that workers still read.
    fn wanted(&self) -> usize {
        let live = self.store.live();
        let chunks = self.chunks.iter().filter(|chunk| **chunk != self.empty);
        arena_for(2 * live + live / 4 + 3 * chunks.count() * CHUNK as usize)
    }

    /// Whether leaves are wide enough, and the arena is not far too large or too old by now.
    fn suits(&self, wide: bool) -> bool {
        let capacity = self.store.capacity();
        // Chunks stay when their slots' prefixes have gone. A table whose arena was wanted as large as
        // this has twice as many words in blocks.
        let blocks = self.store.live().saturating_sub(CHUNKS * CHUNK as usize);
        let is_used = capacity <= SMALL_WORDS || blocks >= capacity / 32;
        (self.wide || !wide) && is_used && self.store.lasts()
    }

    /// Compiles slots anew, in an arena that grows up to `limit` words if need be.
    fn update<A: Lpm>(
        &mut self,
        rib: &mut Rib<A>,
        slots: &[u16],
        limit: usize,
    ) -> Result<(), Full> {
        let mut spare = Vec::new();
        for some in slots.chunks(WARM) {
            rib.warm(some.iter().copied());
            for slot in some {
                while self.compile(rib, *slot, &mut spare).is_err() {
                    self.grow(limit)?;
                }
            }
        }
        Ok(())
    }

    fn compile<A: Lpm>(
        &mut self,
        rib: &mut Rib<A>,
        slot: u16,
        spare: &mut Vec<Vec<Run>>,
    ) -> Result<(), Full> {
        let mut compiler = Compiler {
            rib,
            store: &mut self.store,
            wide: self.wide,
            spare,
        };
        let entry = compiler.slot(slot)?;
        self.set(slot, entry)
    }

    /// Takes a larger arena. Where this one would do for what is live, it is full of gaps: a matter of
    /// compiling everything.
    fn grow(&mut self, limit: usize) -> Result<(), Full> {
        let words = self.wanted().min(limit);
        if words <= self.store.capacity() {
            return Err(Full);
        }
        self.store.grow(words).map_err(|_| Full)
    }

    /// Sets a slot's entry, in a copy of its chunk if a snapshot reads that.
    fn set(&mut self, slot: u16, entry: u32) -> Result<(), Full> {
        let (at, within) = (usize::from(slot >> 12), usize::from(slot & 0xfff));
        let old = self.chunks[at];
        if self.store.arena().load(old.start as usize + within) == entry {
            return Ok(());
        }
        if old == self.empty || !self.store.is_fresh(old) {
            let copy = self.store.allocate(CHUNK)?;
            let arena = self.store.arena();
            arena.copy(old.start as usize, copy.start as usize, CHUNK as usize);
            if old != self.empty {
                self.store.retire(old);
            }
            self.chunks[at] = copy;
        }
        let chunk = self.chunks[at].start as usize;
        self.store.arena().store(chunk + within, entry);
        Ok(())
    }

    /// The snapshot of what was compiled; later updates copy what it reaches.
    fn root(&self, routes: usize, defaults: [u32; CHUNKS]) -> Arc<Root> {
        Arc::new(Root {
            arena: Arc::clone(self.store.arena()),
            chunks: self.chunks.map(|chunk| chunk.start),
            defaults,
            wide: self.wide,
            routes,
            live: self.store.live(),
        })
    }
}
