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
        let (mut map, pages) = map_pages(bytes, node)?;
        let shortfall = (!pages.is_huge()).then(|| Shortfall::now(bytes, node));
        let base = map.as_mut_ptr();
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

/// The best pages that there are for all of it.
fn map_pages(bytes: usize, node: Option<u32>) -> io::Result<(MmapMut, PageKind)> {
    for (bits, pages) in [(BITS_2M, PageKind::Huge2M), (BITS_1G, PageKind::Huge1G)] {
        if let Ok(map) = map_huge(bytes, bits, node) {
            return Ok((map, pages));
        }
    }
    let len = round(bytes, HUGE_PAGE)?;
    let mut map = MmapOptions::new().len(len).map_anon()?;
    // Transparent huge pages are a wish: a kernel without them works as well.
    let _ = map.advise(Advice::HugePage);
    place(&mut map, node);
    Ok((map, PageKind::Normal))
}

/// The kernel promises every page of a mapping, or refuses it.
fn map_huge(bytes: usize, bits: u8, node: Option<u32>) -> io::Result<MmapMut> {
    let len = round(bytes, 1 << bits)?;
    let mut map = MmapOptions::new().len(len).huge(Some(bits)).map_anon()?;
    place(&mut map, node);
    // Taken now: a page that a cgroup withholds would end the process at its first touch, and pages
    // that are only promised still count as free on their node. Before Linux 5.14 that is so (EINVAL).
    match map.advise(Advice::PopulateWrite) {
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
        _ => Ok(map),
    }
}

/// Places a mapping that is not touched yet.
fn place(map: &mut MmapMut, node: Option<u32>) {
    if let Some(node) = node {
        // A wish, too: a kernel without NUMA, a container that may not ask, or a node without memory
        // still have memory that works.
        let _ = numa::prefer(map.as_mut_ptr(), map.len(), node);
    }
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
