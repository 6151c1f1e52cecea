//! The memory behind a worker's frames: huge pages where the machine has them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::pool::ADDRESS_BITS;
use super::region::{PageKind, Region};
use super::shortfall::Shortfall;

/// A fixed mapping of `frames` frames of `frame_size` bytes each. Zeroed, never moved, unmapped
/// when the last holder of the `Arc` goes.
#[derive(Debug)]
pub struct Arena {
    region: Arc<Region>,
    shortfall: Option<Shortfall>,
    frames: u32,
    frame_size: u32,
    claimed: AtomicBool,
}

impl Arena {
    /// Maps memory for `frames` frames. `frame_size` must be a power of two of at least 2048 (what
    /// AF_XDP takes). Falls back to normal pages when the hugetlb pool is short, and says so.
    pub fn new(frames: u32, frame_size: u32) -> io::Result<(Arena, Option<Shortfall>)> {
        Arena::on_node(frames, frame_size, None)
    }

    /// As [`Self::new`], in memory of a NUMA node while it has some.
    pub fn on_node(
        frames: u32,
        frame_size: u32,
        node: Option<u32>,
    ) -> io::Result<(Arena, Option<Shortfall>)> {
        if frames == 0 || !frame_size.is_power_of_two() || !(2048..=65536).contains(&frame_size) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("no arena of {frames} frames of {frame_size} bytes"),
            ));
        }
        let bytes = frames as usize * frame_size as usize;
        let (region, shortfall) = Region::on_node(bytes, node)?;
        if region.base().addr() >> ADDRESS_BITS != 0 {
            // Only where a program asks the kernel for such addresses.
            return Err(io::Error::other("packet memory lies beyond 2^48"));
        }
        Ok((
            Arena {
                region: Arc::new(region),
                shortfall,
                frames,
                frame_size,
                claimed: AtomicBool::new(false),
            },
            shortfall,
        ))
    }

    /// First byte of the mapping: what a UMEM or a DMA mapping registers.
    pub fn base(&self) -> *mut u8 {
        self.region.base()
    }

    /// The memory itself: what a DMA mapping keeps alive.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Length in bytes that holds frames.
    pub fn len(&self) -> usize {
        self.frames as usize * self.frame_size as usize
    }

    /// Never: an arena has at least one frame.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Number of frames.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// Bytes a frame, headroom included.
    pub fn frame_size(&self) -> u32 {
        self.frame_size
    }

    /// Which pages the memory lies in.
    pub fn pages(&self) -> PageKind {
        self.region.pages()
    }

    /// Why the memory lies in normal pages, when it does.
    pub fn shortfall(&self) -> Option<Shortfall> {
        self.shortfall
    }

    /// True the first time: one pool an arena, or tokens would not be unique.
    pub(super) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_holds_its_frames_whatever_pages_it_gets() {
        let (arena, shortfall) = Arena::new(100, 2048).unwrap();
        assert_eq!(arena.len(), 100 * 2048);
        assert!(arena.region().len() >= arena.len());
        assert_eq!(shortfall.is_none(), arena.pages().is_huge());
        assert_eq!(shortfall, arena.shortfall());
    }

    #[test]
    fn sizes_that_no_port_can_use_are_refused() {
        for (frames, size) in [(0, 2048), (16, 1024), (16, 3000), (16, 1 << 17)] {
            assert!(Arena::new(frames, size).is_err(), "{frames} x {size}");
        }
    }
}
