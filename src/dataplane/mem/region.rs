//! Memory that a device or the kernel shares: mapped once, never moved, on huge pages where there
//! are some.

#![allow(
    unsafe_code,
    reason = "shares a mapping between threads by its address only"
)]

use std::io;

use memmap2::{Advice, MmapMut, MmapOptions};

use super::numa;
use super::shortfall::Shortfall;

/// log2 of the huge page sizes that are asked for.
const BITS_2M: u8 = 21;
const BITS_1G: u8 = 30;
/// 2 MiB: what is contiguous for a device in every region of huge pages.
pub const HUGE_PAGE: usize = 1 << BITS_2M;

/// Which pages a region got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageKind {
    /// 2 MiB pages of the hugetlb pool.
    Huge2M,
    /// 1 GiB pages of the hugetlb pool.
    Huge1G,
    /// Normal pages, with transparent huge pages asked for.
    Normal,
}

impl PageKind {
    /// Whether they lie where they are for good, contiguous by 2 MiB at least.
    pub fn is_huge(self) -> bool {
        self != PageKind::Normal
    }
}

/// A fixed mapping, zeroed, unmapped when the last holder of the `Arc` goes.
#[derive(Debug)]
pub struct Region {
    map: MmapMut,
    base: *mut u8,
    pages: PageKind,
}

// SAFETY: the mapping is plain memory without thread affinity; `&Region` gives out its address and
// size, no references to the bytes.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps at least `bytes`, wherever the machine has memory: see [`Self::on_node`].
    pub fn new(bytes: usize) -> io::Result<(Region, Option<Shortfall>)> {
        Region::on_node(bytes, None)
    }

    /// Maps at least `bytes`, rounded up to whole huge pages, in memory of a NUMA node while it has
    /// some. Takes 1 GiB pages when those of 2 MiB do not suffice, and normal ones when there are no
    /// huge pages; then it says what was missing.
    pub fn on_node(bytes: usize, node: Option<u32>) -> io::Result<(Region, Option<Shortfall>)> {
        let (mut map, pages) = map_pages(bytes)?;
        let shortfall = (!pages.is_huge()).then(|| Shortfall::now(bytes, node));
        let base = map.as_mut_ptr();
        if let Some(node) = node {
            // A wish, too: a kernel without NUMA, a container that may not ask, or a node without
            // memory still have memory that works.
            let _ = numa::prefer(base, map.len(), node);
        }
        Ok((Region { map, base, pages }, shortfall))
    }

    /// First byte of the mapping: what a UMEM or a DMA mapping registers.
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// Bytes mapped: whole huge pages.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// True for a region of no bytes.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Which pages the memory lies in.
    pub fn pages(&self) -> PageKind {
        self.pages
    }
}

/// The best pages that there are for all of it: the kernel promises every huge page of a mapping at
/// once, or refuses it.
fn map_pages(bytes: usize) -> io::Result<(MmapMut, PageKind)> {
    for (bits, pages) in [(BITS_2M, PageKind::Huge2M), (BITS_1G, PageKind::Huge1G)] {
        let len = round(bytes, 1 << bits)?;
        if let Ok(map) = MmapOptions::new().len(len).huge(Some(bits)).map_anon() {
            return Ok((map, pages));
        }
    }
    let map = MmapOptions::new()
        .len(round(bytes, HUGE_PAGE)?)
        .map_anon()?;
    // Transparent huge pages are a wish: a kernel without them works as well.
    let _ = map.advise(Advice::HugePage);
    Ok((map, PageKind::Normal))
}

fn round(bytes: usize, page: usize) -> io::Result<usize> {
    let rounded = bytes.checked_next_multiple_of(page);
    rounded.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_whole_pages_and_says_why_they_are_normal_ones() {
        for node in [None, Some(0)] {
            let (region, shortfall) = Region::on_node(HUGE_PAGE + 1, node).unwrap();
            let len = match region.pages() {
                PageKind::Huge1G => 1 << BITS_1G,
                PageKind::Huge2M | PageKind::Normal => 2 * HUGE_PAGE,
            };
            assert_eq!(region.len(), len);
            assert_eq!(shortfall.is_none(), region.pages().is_huge());
            assert!(shortfall.is_none_or(|short| short.needed == 2));
        }
    }

    #[test]
    fn a_node_that_is_not_there_leaves_memory_that_works() {
        let (region, _) = Region::on_node(HUGE_PAGE, Some(1 << 20)).unwrap();
        let last = region.len() - 1;
        // SAFETY: the last byte of the mapping, which nobody else has.
        unsafe {
            region.base().add(last).write(7);
            assert_eq!(region.base().add(last).read(), 7);
        }
    }

    #[test]
    fn more_than_there_can_be_is_an_error() {
        assert!(Region::new(usize::MAX).is_err());
    }
}
