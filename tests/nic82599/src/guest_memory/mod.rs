//! The guest's memory as the device's DMA sees it: ranges of I/O virtual addresses, each backed by
//! a part of a file that the client shares.
//!
//! A file is mapped once and whole, however many ranges lie in it: behind an emulated IOMMU the
//! client maps and unmaps 4 KiB at a time, tens of thousands of them. A lookup goes through a small
//! direct-mapped cache by page, as an IOTLB does, and only then to the sorted map.
//!
//! This is the one place that touches memory which another process writes: it is only ever copied
//! from or to by atomic words, never borrowed. A client that shrinks a file that it shared ends this process by SIGBUS:
//! it is trusted not to, as with its guest's memory (QEMU seals the file).

#![allow(
    unsafe_code,
    reason = "copies from and to memory shared with the guest"
)]

mod copy;
#[cfg(test)]
mod tests;

use crate::host::{DmaFault, DmaFaultKind};
use copy::{copy_from_guest, copy_to_guest};
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};
use thiserror::Error;

/// How many ranges a client may map: what vfio-user allows when nothing is said.
pub const MAX_RANGES: usize = 65_535;

/// Cached translations; a power of two.
const CACHED: usize = 256;

const PAGE_SHIFT: u32 = 12;

#[derive(Debug, Error)]
pub enum MapError {
    #[error("the range is empty or passes the end of the address space")]
    Range,
    #[error("the range overlaps one that is mapped")]
    Overlap,
    #[error("more than {MAX_RANGES} ranges")]
    TooMany,
    #[error("the range passes the end of the shared file, or the file is not memory")]
    File,
    #[error("the range ends inside one that is mapped")]
    Partial,
    #[error("cannot map the shared file: {0}")]
    Map(std::io::Error),
}

impl MapError {
    /// The error number that answers the client.
    pub fn errno(&self) -> Errno {
        match self {
            MapError::Range | MapError::Partial | MapError::File => Errno::INVAL,
            MapError::Overlap => Errno::EXIST,
            MapError::TooMany => Errno::NOSPC,
            MapError::Map(_) => Errno::NOMEM,
        }
    }
}

/// A shared file, mapped whole for as long as a range lies in it.
struct File {
    device: u64,
    inode: u64,
    writable: bool,
    map: MmapRaw,
}

struct Range {
    /// The last address, not one past it: a range may end at the top of the address space.
    last: u64,
    writable: bool,
    /// The file and where in it the range begins; none for what the client did not share.
    backing: Option<(Rc<File>, usize)>,
}

/// A translation: valid while no range was unmapped since.
#[derive(Clone, Copy)]
struct Hit {
    generation: u64,
    first: u64,
    last: u64,
    writable: bool,
    base: *mut u8,
}

pub struct GuestMemory {
    ranges: BTreeMap<u64, Range>,
    files: Vec<Weak<File>>,
    cache: Box<[Hit; CACHED]>,
    generation: u64,
}

impl Default for GuestMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl GuestMemory {
    pub fn new() -> GuestMemory {
        let none = Hit {
            generation: 0,
            first: 0,
            last: 0,
            writable: false,
            base: std::ptr::null_mut(),
        };
        GuestMemory {
            ranges: BTreeMap::new(),
            files: Vec::new(),
            cache: Box::new([none; CACHED]),
            generation: 1,
        }
    }

    /// Makes `size` bytes of `file` from `offset` on visible at `address`. Without a file (a ROM,
    /// say) the range is known and a transfer to it faults.
    pub fn map(
        &mut self,
        address: u64,
        size: u64,
        file: Option<OwnedFd>,
        offset: u64,
        writable: bool,
    ) -> Result<(), MapError> {
        let last = last(address, size).ok_or(MapError::Range)?;
        if self.ranges.len() >= MAX_RANGES {
            return Err(MapError::TooMany);
        }
        if self
            .ranges
            .range(..=last)
            .next_back()
            .is_some_and(|(_, range)| range.last >= address)
        {
            return Err(MapError::Overlap);
        }
        let backing = match file {
            Some(file) => Some(self.backing(file.as_fd(), offset, size, writable)?),
            None => None,
        };
        self.ranges.insert(
            address,
            Range {
                last,
                writable,
                backing,
            },
        );
        Ok(())
    }

    /// Takes back the ranges from `address` on for `size` bytes, of which there may be none: behind
    /// an IOMMU a client takes back whole windows. A range that is only partly inside is an error,
    /// and nothing is taken back.
    pub fn unmap(&mut self, address: u64, size: u64) -> Result<(), MapError> {
        let last = last(address, size).ok_or(MapError::Range)?;
        let before = self.ranges.range(..address).next_back();
        let end = self.ranges.range(address..=last).next_back();
        if before.is_some_and(|(_, range)| range.last >= address)
            || end.is_some_and(|(_, range)| range.last > last)
        {
            return Err(MapError::Partial);
        }
        self.generation += 1;
        while let Some((&first, _)) = self.ranges.range(address..=last).next() {
            self.ranges.remove(&first);
        }
        Ok(())
    }

    /// Takes back all ranges.
    pub fn clear(&mut self) {
        self.generation += 1;
        self.ranges.clear();
    }

    /// How many ranges are mapped.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Copies from the guest. What lies before a fault has been copied.
    pub fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DmaFault> {
        let len = bytes.len();
        let fault = |why| DmaFault { address, len, why };
        let mut at = Some(address);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (source, room, next) = self.stretch(at, false).map_err(fault)?;
            let (piece, after) = rest.split_at_mut(room.min(rest.len()));
            // SAFETY: `stretch` found a range of this generation, so its file is still mapped, and
            // says that `room` bytes from `source` on lie inside it: of a file that its
            // client does not shrink.
            unsafe { copy_from_guest(source, piece) };
            rest = after;
            at = next;
        }
        Ok(())
    }

    /// Copies to the guest. What lies before a fault has been copied, as on a bus.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        let len = bytes.len();
        let fault = |why| DmaFault { address, len, why };
        let mut at = Some(address);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (target, room, next) = self.stretch(at, true).map_err(fault)?;
            let (piece, after) = rest.split_at(room.min(rest.len()));
            // SAFETY: as in `read`; a writable range has its file mapped writable.
            unsafe { copy_to_guest(piece, target) };
            rest = after;
            at = next;
        }
        Ok(())
    }

    /// Where the memory of an address is, how many bytes may be copied there, and the address after
    /// those.
    fn stretch(
        &mut self,
        at: Option<u64>,
        writes: bool,
    ) -> Result<(*mut u8, usize, Option<u64>), DmaFaultKind> {
        let here = at.ok_or(DmaFaultKind::Unmapped)?;
        let hit = self.find(here).ok_or(DmaFaultKind::Unmapped)?;
        if writes && !hit.writable {
            return Err(DmaFaultKind::ReadOnly);
        }
        let (memory, room) = hit.piece(here);
        Ok((memory, room, next(here, room)))
    }

    fn find(&mut self, address: u64) -> Option<Hit> {
        let slot = cache_slot(address);
        let hit = self.cache[slot];
        if hit.generation == self.generation && hit.first <= address && address <= hit.last {
            return Some(hit);
        }
        let (&first, range) = self.ranges.range(..=address).next_back()?;
        if address > range.last {
            return None;
        }
        let (file, offset) = range.backing.as_ref()?;
        let base = file.map.as_mut_ptr().wrapping_add(*offset);
        let Range { last, writable, .. } = *range;
        let hit = Hit {
            generation: self.generation,
            first,
            last,
            writable,
            base,
        };
        self.cache[slot] = hit;
        Some(hit)
    }

    fn backing(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        size: u64,
        writable: bool,
    ) -> Result<(Rc<File>, usize), MapError> {
        let file = self.file(file, writable)?;
        let end = offset
            .checked_add(size)
            .and_then(|end| usize::try_from(end).ok());
        if end.is_none_or(|end| end > file.map.len()) {
            return Err(MapError::File);
        }
        let offset = usize::try_from(offset).map_err(|_| MapError::File)?;
        Ok((file, offset))
    }

    /// The mapping of a shared file: the one that is there, or a new one.
    fn file(&mut self, fd: BorrowedFd<'_>, writable: bool) -> Result<Rc<File>, MapError> {
        let stat = rustix::fs::fstat(fd).map_err(|error| MapError::Map(error.into()))?;
        // Beyond its end a mapping raises SIGBUS, so the file must have a size.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(MapError::File);
        }
        let size = usize::try_from(stat.st_size).map_err(|_| MapError::File)?;
        self.files.retain(|file| file.strong_count() > 0);
        let known = self.files.iter().filter_map(Weak::upgrade).find(|file| {
            (file.device, file.inode) == (stat.st_dev, stat.st_ino)
                && file.map.len() == size
                && file.writable >= writable
        });
        if let Some(file) = known {
            return Ok(file);
        }
        let flags = rustix::fs::fcntl_getfl(fd).map_err(|error| MapError::Map(error.into()))?;
        let open_for_writing = flags & OFlags::RWMODE == OFlags::RDWR;
        if size == 0 || (writable && !open_for_writing) {
            return Err(MapError::File);
        }
        let mut options = MmapOptions::new();
        options.len(size);
        let map = if open_for_writing {
            options.map_raw(&fd)
        } else {
            options.map_raw_read_only(&fd)
        };
        let map = map.map_err(MapError::Map)?;
        let file = Rc::new(File {
            device: stat.st_dev,
            inode: stat.st_ino,
            writable: open_for_writing,
            map,
        });
        self.files.push(Rc::downgrade(&file));
        Ok(file)
    }
}

impl Hit {
    /// Where an address of this range is in our memory, and how many bytes are left from it on.
    fn piece(&self, address: u64) -> (*mut u8, usize) {
        // A range lies in a mapping of this process: its offsets fit a usize.
        let at = usize::try_from(address - self.first).unwrap_or(usize::MAX);
        let left = usize::try_from(self.last - address).unwrap_or(usize::MAX - 1);
        (self.base.wrapping_add(at), left + 1)
    }
}

/// The address after `room` bytes; none past the top of the address space.
fn next(address: u64, room: usize) -> Option<u64> {
    u64::try_from(room)
        .ok()
        .and_then(|room| address.checked_add(room))
}

/// The last address of a range; none when it is empty or passes the top of the address space.
fn last(address: u64, size: u64) -> Option<u64> {
    size.checked_sub(1)
        .and_then(|more| address.checked_add(more))
}

fn cache_slot(address: u64) -> usize {
    usize::try_from(address >> PAGE_SHIFT).unwrap_or_default() % CACHED
}
