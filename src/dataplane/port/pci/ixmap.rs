//! A function that `ixmap.ko` lends: /dev/ixmapN. The structures are those of kmod/ixmap.h.

#![allow(unsafe_code, reason = "the module is spoken to by ioctl")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::backend::{Backend, Segment};
use super::bar::Bar;
use super::error::PciError;
use super::request::{Plain, READ, Request, WRITE, by_value};
use crate::shared::pci::PciAddress;

/// The interface of this release.
const ABI: u32 = 1;
const MAGIC: u8 = 0xB2;

const INFO: Request<Info> = Request::sized(READ, MAGIC, 0);
const RESET: u8 = 1;
const MASTER: Request<u32> = Request::sized(WRITE, MAGIC, 2);
const DMA_MAP: Request<DmaMap> = Request::sized(READ | WRITE, MAGIC, 3);
const DMA_UNMAP: Request<DmaUnmap> = Request::sized(WRITE, MAGIC, 4);
const VECTORS: Request<u32> = Request::sized(WRITE, MAGIC, 5);
const VECTOR: Request<Vector> = Request::sized(READ | WRITE, MAGIC, 6);

/// `struct ixmap_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    abi: u32,
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
    revision: u8,
    vendor_id: u16,
    device_id: u16,
    subsystem_vendor_id: u16,
    subsystem_device_id: u16,
    numa_node: i32,
    vectors: u32,
    reserved: u32,
    bar_size: u64,
}

/// `struct ixmap_dma_segment`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct DmaSegment {
    dma_address: u64,
    length: u64,
}

/// `struct ixmap_dma_map`.
#[repr(C)]
struct DmaMap {
    address: u64,
    length: u64,
    segments: u64,
    room: u32,
    count: u32,
}

/// `struct ixmap_dma_unmap`.
#[repr(C)]
struct DmaUnmap {
    address: u64,
    length: u64,
}

/// `struct ixmap_vector`.
#[repr(C)]
struct Vector {
    vector: u32,
    eventfd: i32,
    irq: u32,
    reserved: u32,
}

// The sizes that the module's compiler comes to; each is part of its request's number.
const _: () = assert!(size_of::<Info>() == 40);
const _: () = assert!(size_of::<DmaMap>() == 32 && size_of::<DmaUnmap>() == 16);
const _: () = assert!(size_of::<DmaSegment>() == 16 && size_of::<Vector>() == 16);

// SAFETY: repr(C), numbers only, no padding: the u64 at the end begins at byte 32.
unsafe impl Plain for Info {}
// SAFETY: repr(C), numbers only, no padding.
unsafe impl Plain for DmaMap {}
// SAFETY: as above.
unsafe impl Plain for DmaUnmap {}
// SAFETY: as above.
unsafe impl Plain for Vector {}

/// Segments asked for at first: those of 128 MiB in 2 MiB pages.
const SEGMENTS: usize = 64;
/// The most: 16 GiB in 2 MiB pages.
const MAX_SEGMENTS: usize = 8192;

/// The open device; the module gives everything back when it is closed.
#[derive(Debug)]
pub(super) struct Ixmap {
    address: PciAddress,
    file: File,
    info_vectors: u32,
    bar: Bar,
}

impl Ixmap {
    /// Opens /dev/NODE, whose function is `address`.
    pub(super) fn open(address: PciAddress, node: &str) -> Result<Ixmap, PciError> {
        let failed = |what| move |source| PciError::system(address, what, source);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/dev/{node}"))
            .map_err(failed("open it through ixmap.ko"))?;
        let mut info = Info::default();
        // SAFETY: the structure holds no pointers.
        unsafe { INFO.make(file.as_fd(), &mut info) }.map_err(failed("ask ixmap.ko about it"))?;
        if info.abi != ABI {
            return Err(PciError::Interface {
                address,
                found: info.abi,
                wanted: ABI,
            });
        }
        // Another card may have got the node since it was looked up.
        let (bus, device, function) = (info.bus, info.device, info.function);
        let found = PciAddress {
            domain: info.domain,
            bus,
            device,
            function,
        };
        if found != address {
            return Err(PciError::Gone(address));
        }
        let len = usize::try_from(info.bar_size).unwrap_or(0);
        let bar = Bar::map(file.as_fd(), 0, len).map_err(failed("map its registers"))?;
        Ok(Ixmap {
            address,
            file,
            info_vectors: info.vectors,
            bar,
        })
    }

    fn system(&self, what: &'static str) -> impl FnOnce(io::Error) -> PciError {
        let address = self.address;
        move |source| PciError::system(address, what, source)
    }

    /// One try at a mapping; `Err(Ok(count))` when there are `count` segments, too many for `room`.
    fn try_map(&self, base: *mut u8, len: usize, room: usize) -> Result<Vec<Segment>, TryMap> {
        let mut segments = vec![DmaSegment::default(); room];
        let mut request = DmaMap {
            address: base as u64,
            length: len as u64,
            segments: segments.as_mut_ptr() as u64,
            room: u32::try_from(room).unwrap_or(0),
            count: 0,
        };
        // SAFETY: `segments` has room for as many as it says; the memory at `base` is the caller's
        // (see `Backend::map`).
        let made = unsafe { DMA_MAP.make(self.file.as_fd(), &mut request) };
        let count = usize::try_from(request.count).unwrap_or(usize::MAX);
        match made {
            Ok(_) if count <= room => {
                segments.truncate(count);
                let plain = |segment: DmaSegment| (segment.dma_address, segment.length);
                Ok(segments.into_iter().map(plain).collect())
            }
            Ok(_) => Err(TryMap::Failed(io::ErrorKind::InvalidData.into())),
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => Err(TryMap::Room(count)),
            Err(error) => Err(TryMap::Failed(error)),
        }
    }
}

enum TryMap {
    /// So many segments need room.
    Room(usize),
    Failed(io::Error),
}

impl Backend for Ixmap {
    /// The module lets go of a function at any time.
    fn wanted(&self) -> Option<OwnedFd> {
        None
    }

    fn bar(&self) -> &Bar {
        &self.bar
    }

    unsafe fn map(&self, base: *mut u8, len: usize) -> Result<Vec<Segment>, PciError> {
        let address = self.address;
        let failed = |source| PciError::mapping(address, source);
        match self.try_map(base, len, SEGMENTS) {
            Ok(segments) => Ok(segments),
            Err(TryMap::Room(count)) if count <= MAX_SEGMENTS => {
                self.try_map(base, len, count).map_err(|error| match error {
                    TryMap::Room(_) => PciError::Scattered(address),
                    TryMap::Failed(source) => failed(source),
                })
            }
            Err(TryMap::Room(_)) => Err(PciError::Scattered(address)),
            Err(TryMap::Failed(source)) => Err(failed(source)),
        }
    }

    fn unmap(&self, base: *mut u8, len: usize) -> Result<(), PciError> {
        let mut request = DmaUnmap {
            address: base as u64,
            length: len as u64,
        };
        // SAFETY: names a mapping; takes rights from the device only.
        let made = unsafe { DMA_UNMAP.make(self.file.as_fd(), &mut request) };
        made.map(drop).map_err(self.system("unmap memory"))
    }

    fn set_bus_master(&self, on: bool) -> Result<(), PciError> {
        let mut on = u32::from(on);
        // SAFETY: a number. What the device reaches then is what `map` lets it.
        let made = unsafe { MASTER.make(self.file.as_fd(), &mut on) };
        made.map(drop).map_err(self.system("set bus mastering"))
    }

    fn reset(&self) -> Result<(), PciError> {
        let made = by_value(self.file.as_fd(), MAGIC, RESET, 0);
        made.map(drop).map_err(self.system("reset it"))
    }

    fn vectors(&self) -> u32 {
        self.info_vectors
    }

    fn signal(&self, events: &[OwnedFd]) -> Result<Vec<Option<u32>>, PciError> {
        let mut count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        // SAFETY: a number.
        unsafe { VECTORS.make(self.file.as_fd(), &mut count) }
            .map_err(self.system("allocate its interrupts"))?;
        let mut irqs = Vec::with_capacity(events.len());
        for (vector, event) in (0u32..).zip(events) {
            let mut request = Vector {
                vector,
                eventfd: event.as_raw_fd(),
                irq: 0,
                reserved: 0,
            };
            // SAFETY: a descriptor by number; the module takes its own reference.
            unsafe { VECTOR.make(self.file.as_fd(), &mut request) }
                .map_err(self.system("set up an interrupt"))?;
            irqs.push(Some(request.irq));
        }
        Ok(irqs)
    }
}
