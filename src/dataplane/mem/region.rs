//! Memory that a device or the kernel shares: mapped once, never moved, on huge pages where there
//! are some.

#![allow(
    unsafe_code,
    reason = "shares a mapping between threads by its address only"
)]

use std::io;

use memmap2::{MmapMut, MmapOptions};

/// log2 of the huge page size that is asked for.
const HUGE_PAGE_BITS: u8 = 21;
/// 2 MiB: what is contiguous for a device in every region of huge pages.
pub const HUGE_PAGE: usize = 1 << HUGE_PAGE_BITS;

/// Which pages a region got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageKind {
    /// 2 MiB pages of the hugetlb pool.
    Huge,
    /// Normal pages, with transparent huge pages asked for.
    Normal,
}

/// Why a region lies in normal pages: said once in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortfall {
    /// 2 MiB pages that the region needs.
    pub needed: usize,
    /// 2 MiB pages that were free when it asked.
    pub free: usize,
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
    /// Maps at least `bytes`, rounded up to whole huge pages. Falls back to normal pages when the
    /// hugetlb pool is short, and says so.
    pub fn new(bytes: usize) -> io::Result<(Region, Option<Shortfall>)> {
        let rounded = bytes.next_multiple_of(HUGE_PAGE);
        let huge = MmapOptions::new()
            .len(rounded)
            .huge(Some(HUGE_PAGE_BITS))
            .map_anon();
        let (mut map, pages, shortfall) = match huge {
            Ok(map) => (map, PageKind::Huge, None),
            Err(_) => {
                let map = MmapOptions::new().len(rounded).map_anon()?;
                // Transparent huge pages are a wish: a kernel without them works as well.
                let _ = map.advise(memmap2::Advice::HugePage);
                let shortfall = Shortfall {
                    needed: rounded / HUGE_PAGE,
                    free: free_huge_pages(),
                };
                (map, PageKind::Normal, Some(shortfall))
            }
        };
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

fn free_huge_pages() -> usize {
    std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0)
}
