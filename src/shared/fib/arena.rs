//! The memory that lookups read: 32-bit words in one mapping, so that a block is a word's index.
//!
//! Words are atomics because control fills free blocks while workers read others; nobody ever writes
//! a word that a snapshot can reach, so plain loads and stores are all it takes, and publishing the
//! snapshot is what makes them visible.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use memmap2::{Advice, MmapMut};
use self_cell::{MutBorrow, self_cell};
use zerocopy::FromBytes;

type Words<'a> = &'a [AtomicU32];

self_cell!(
    struct Mapped {
        owner: MutBorrow<MmapMut>,
        #[covariant]
        dependent: Words,
    }
);

/// Anonymous memory of a fixed number of words, zero at first, on huge pages where the kernel has
/// some. Page-aligned; freed when the last owner lets go. The default one has no words.
#[derive(Default)]
pub(super) struct Arena(Option<Mapped>);

impl Arena {
    /// An arena of `words` words.
    pub(super) fn new(words: usize) -> io::Result<Arena> {
        let mapping = MmapMut::map_anon(words * size_of::<u32>())?;
        // Only a hint: without huge pages all works, with more TLB misses.
        let _ = mapping.advise(Advice::HugePage);
        let mapped = Mapped::try_new(MutBorrow::new(mapping), |mapping| {
            <[AtomicU32]>::mut_from_bytes(&mut mapping.borrow_mut()[..])
                .map(|words| &*words)
                .map_err(|_| io::Error::other("a mapping of a broken length"))
        })?;
        Ok(Arena(Some(mapped)))
    }

    /// All words.
    #[inline]
    pub(super) fn words(&self) -> &[AtomicU32] {
        match &self.0 {
            Some(mapped) => mapped.borrow_dependent(),
            None => &[],
        }
    }

    /// The word at `index`; zero beyond the end.
    #[inline]
    pub(super) fn load(&self, index: usize) -> u32 {
        self.words()
            .get(index)
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// The 16-bit half at `index`, counted in halves, the low one of a word first.
    #[inline]
    pub(super) fn load_half(&self, index: usize) -> u32 {
        self.load(index / 2) >> (index % 2 * 16) & 0xffff
    }

    /// Sets a word of a block that no snapshot can reach.
    #[inline]
    pub(super) fn store(&self, index: usize, value: u32) {
        if let Some(word) = self.words().get(index) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Sets a half; see [`Arena::load_half`].
    #[inline]
    pub(super) fn store_half(&self, index: usize, value: u16) {
        let shift = index % 2 * 16;
        let rest = self.load(index / 2) & !(0xffff << shift);
        self.store(index / 2, rest | u32::from(value) << shift);
    }

    /// A larger arena that begins with the first `len` words of this one.
    pub(super) fn grown(&self, words: usize, len: usize) -> io::Result<Arena> {
        let grown = Arena::new(words)?;
        for (from, to) in self.words().iter().zip(grown.words()).take(len) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(grown)
    }

    /// Copies `len` words from `from` to `to`.
    pub(super) fn copy(&self, from: usize, to: usize, len: usize) {
        let words = self.words();
        let (Some(from), Some(to)) = (words.get(from..from + len), words.get(to..to + len)) else {
            return;
        };
        for (from, to) in from.iter().zip(to) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} words)", self.words().len())
    }
}
