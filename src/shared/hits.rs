//! Which adjacencies packets have left by: a byte each, set by one worker, read and cleared by
//! control, so that neighbours in use are kept fresh though the kernel sees none of their traffic.
//!
//! Two adjacencies may share a byte, a slot may have gone to another next hop since, and a mark that
//! is set while control clears it may be lost: one probe too many, or one a packet later.

use std::sync::atomic::{AtomicU8, Ordering};

use super::fib::AdjacencyId;

/// Adjacencies with a byte of their own; beyond, they share. A power of two.
const SLOTS: usize = 1 << 16;

/// The marks of one worker, on cache lines that no other worker writes.
#[derive(Debug)]
#[repr(align(128))]
pub struct Hits([AtomicU8; SLOTS]);

impl Default for Hits {
    fn default() -> Hits {
        Hits([const { AtomicU8::new(0) }; SLOTS])
    }
}

impl Hits {
    /// Notes that a packet leaves by an adjacency: one plain store.
    #[inline]
    pub fn mark(&self, id: AdjacencyId) {
        self.0[id.index() % SLOTS].store(1, Ordering::Relaxed);
    }
}

/// The marks of all workers, taken at one time.
#[derive(Debug)]
pub struct Taken(Box<[bool]>);

impl Taken {
    /// Takes the marks of every worker and clears them.
    pub fn from<'a>(workers: impl IntoIterator<Item = &'a Hits>) -> Taken {
        let mut taken = vec![false; SLOTS].into_boxed_slice();
        for hits in workers {
            for (taken, mark) in taken.iter_mut().zip(&hits.0) {
                // Cleared only where set: the other lines stay the worker's.
                if mark.load(Ordering::Relaxed) != 0 {
                    mark.store(0, Ordering::Relaxed);
                    *taken = true;
                }
            }
        }
        Taken(taken)
    }

    /// Whether a packet left by the adjacency, or by one that shares its byte.
    pub fn has(&self, id: AdjacencyId) -> bool {
        self.0[id.index() % SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: usize) -> AdjacencyId {
        AdjacencyId::new(u32::try_from(slot).unwrap())
    }

    #[test]
    fn marks_of_all_workers_are_taken_once() {
        let workers = [Hits::default(), Hits::default()];
        workers[0].mark(id(3));
        workers[0].mark(id(3));
        workers[1].mark(id(SLOTS - 1));
        let taken = Taken::from(&workers);
        let hit: Vec<usize> = (0..SLOTS).filter(|slot| taken.has(id(*slot))).collect();
        assert_eq!(hit, [3, SLOTS - 1]);
        let taken = Taken::from(&workers);
        assert!((0..SLOTS).all(|slot| !taken.has(id(slot))));
    }

    #[test]
    fn any_slot_can_be_marked() {
        let worker = Hits::default();
        worker.mark(AdjacencyId::new(u32::MAX));
        let taken = Taken::from([&worker]);
        assert!(taken.has(AdjacencyId::new(u32::MAX)));
        assert!(taken.has(id(SLOTS - 1)), "shared");
    }

    #[test]
    fn marks_of_workers_never_share_a_cache_line() {
        assert_eq!(std::mem::align_of::<Hits>(), 128);
    }
}
