//! Blocks of the arena: handed out, kept while a snapshot can reach them, then used again.
//!
//! A block that a commit replaces is *retired*: the snapshots from the one it was made for up to that
//! commit still reach it. It is free once they are gone: a snapshot that is held for long keeps what it
//! reaches itself, and nothing that came after it. Snapshots are only dropped here or by whoever
//! published them, so a worker that lets go of one never frees anything.

use std::collections::VecDeque;
use std::sync::Arc;

use super::arena::Arena;
use super::rib::Block;
use super::root::Root;

/// No free block is large enough.
#[derive(Clone, Copy, Debug)]
pub struct Full;

/// Words at the start that stay zero: what a lane without a block of its own reads.
pub(super) const ZEROS: u32 = 64;

/// A snapshot and what only it, and perhaps its elders, reach.
#[derive(Debug)]
struct Generation {
    number: u32,
    root: Arc<Root>,
    retired: Vec<Block>,
}

#[derive(Debug)]
pub(super) struct Store {
    arena: Arc<Arena>,
    /// Sizes and starts of blocks are multiples of this.
    granule: u32,
    /// Words below were handed out at least once.
    used: u32,
    /// Words in blocks that the newest state reaches.
    live: u32,
    /// Starts of free blocks, by their number of granules.
    free: Vec<Vec<u32>>,
    /// The generation that the next commit makes.
    coming: u32,
    /// Replaced since the last commit.
    retired: Vec<Block>,
    /// Oldest first; the newest has nothing retired yet.
    generations: VecDeque<Generation>,
}

impl Store {
    /// A store of `words` words in blocks of multiples of `granule`.
    pub(super) fn new(words: usize, granule: u32) -> std::io::Result<Store> {
        Ok(Store {
            arena: Arc::new(Arena::new(words)?),
            granule,
            used: ZEROS,
            live: ZEROS,
            free: Vec::new(),
            coming: 0,
            retired: Vec::new(),
            generations: VecDeque::new(),
        })
    }

    pub(super) fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    pub(super) fn capacity(&self) -> usize {
        self.arena.words().len()
    }

    /// Moves on to an arena of `words` words, where every block keeps its place. Snapshots stay with
    /// the one that they were made of, so nobody reads what was retired before.
    pub(super) fn grow(&mut self, words: usize) -> std::io::Result<()> {
        self.arena = Arc::new(self.arena.grown(words, self.used as usize)?);
        let mut retired = std::mem::take(&mut self.retired);
        for generation in std::mem::take(&mut self.generations) {
            retired.extend(generation.retired);
        }
        self.reuse(retired);
        Ok(())
    }

    /// True for a block that no snapshot reaches yet, so that it may still be written.
    pub(super) fn is_fresh(&self, block: Block) -> bool {
        block.born == self.coming
    }

    /// False when generations have no numbers left: after 99 days of 500 commits a second.
    pub(super) fn lasts(&self) -> bool {
        self.coming < u32::MAX
    }

    /// Words that the newest state reaches.
    pub(super) fn live(&self) -> usize {
        self.live as usize
    }

    /// Bytes of bookkeeping on the heap; the arena is apart.
    pub(super) fn heap_bytes(&self) -> usize {
        let free: usize = self.free.iter().map(Vec::capacity).sum();
        let retired: usize = self.generations.iter().map(|g| g.retired.capacity()).sum();
        self.free.capacity() * size_of::<Vec<u32>>()
            + free * size_of::<u32>()
            + (retired + self.retired.capacity()) * size_of::<Block>()
            + self.generations.len() * (size_of::<Generation>() + size_of::<Root>())
    }

    /// A block of at least `len` words, which nobody reads yet; what it holds is left over.
    pub(super) fn allocate(&mut self, len: u32) -> Result<Block, Full> {
        let len = len.next_multiple_of(self.granule);
        let granules = (len / self.granule) as usize;
        let start = match self.free.get_mut(granules).and_then(Vec::pop) {
            Some(start) => start,
            None => {
                let end = self.used.checked_add(len).ok_or(Full)?;
                if end as usize > self.capacity() {
                    return Err(Full);
                }
                std::mem::replace(&mut self.used, end)
            }
        };
        self.live += len;
        let born = self.coming;
        Ok(Block { start, len, born })
    }

    /// Takes a block out of the newest state.
    pub(super) fn retire(&mut self, block: Block) {
        self.live -= block.len;
        self.retired.push(block);
    }

    /// Remembers a snapshot of the newest state, and what it no longer reaches.
    pub(super) fn commit(&mut self, root: &Arc<Root>) {
        let retired = std::mem::take(&mut self.retired);
        self.settle(retired);
        self.generations.push_back(Generation {
            number: self.coming,
            root: Arc::clone(root),
            retired: Vec::new(),
        });
        self.coming += 1;
        self.reclaim();
    }

    /// Frees what only snapshots that are gone could reach.
    pub(super) fn reclaim(&mut self) {
        let newest = self.generations.pop_back();
        for mut generation in std::mem::take(&mut self.generations) {
            // get_mut, not strong_count: it also sees all that the last reader did.
            if Arc::get_mut(&mut generation.root).is_none() {
                self.generations.push_back(generation);
            } else {
                self.settle(generation.retired);
            }
        }
        self.generations.extend(newest);
    }

    /// Leaves blocks to the youngest generation, as far as they are older than it, and frees the rest.
    fn settle(&mut self, mut blocks: Vec<Block>) {
        if let Some(youngest) = self.generations.back_mut() {
            let number = youngest.number;
            let reached = blocks.extract_if(.., |block| block.born <= number);
            youngest.retired.extend(reached);
        }
        self.reuse(blocks);
    }

    fn reuse(&mut self, blocks: Vec<Block>) {
        for block in blocks {
            let granules = (block.len / self.granule) as usize;
            if self.free.len() <= granules {
                self.free.resize_with(granules + 1, Vec::new);
            }
            self.free[granules].push(block.start);
        }
    }

    /// As after 99 days.
    #[cfg(test)]
    pub(super) fn age(&mut self) {
        self.coming = u32::MAX - 1;
    }

    /// What became of every block ever handed out, but for the live ones.
    #[cfg(test)]
    pub(super) fn census(&self) -> Census {
        let blocks = |(granules, starts): (u32, &Vec<u32>)| -> Vec<Block> {
            let len = granules * self.granule;
            let block = |start: &u32| Block {
                start: *start,
                len,
                born: 0,
            };
            starts.iter().map(block).collect()
        };
        let waiting = self.generations.iter().flat_map(|g| &g.retired);
        Census {
            arena: Arc::clone(&self.arena),
            used: self.used,
            free: (0..).zip(&self.free).flat_map(blocks).collect(),
            retired: waiting.chain(&self.retired).copied().collect(),
            live: Vec::new(),
            generations: self.generations.len(),
        }
    }
}

/// Where the words of a store are: every block ever handed out is in one of the lists.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Census {
    pub(super) arena: Arc<Arena>,
    pub(super) used: u32,
    pub(super) live: Vec<Block>,
    pub(super) free: Vec<Block>,
    pub(super) retired: Vec<Block>,
    /// Snapshots that are waited for, the newest included.
    pub(super) generations: usize,
}
