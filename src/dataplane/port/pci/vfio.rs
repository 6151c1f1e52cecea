//! A function that the kernel's `vfio-pci` lends, behind an IOMMU (Documentation/driver-api/vfio.rst,
//! linux/vfio.h).
//!
//! What is lent is an IOMMU group. Functions of one group share an address space for DMA, so ports of
//! this process share it too.

#![allow(unsafe_code, reason = "VFIO is spoken to by ioctl")]

use std::ffi::{CString, c_int, c_ulong};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::backend::{Backend, Segment};
use super::bar::Bar;
use super::error::PciError;
use super::interrupt::Interrupt;
use super::request::{Plain, Request, by_value};
use crate::dataplane::mem::HUGE_PAGE;
use crate::shared::pci::PciAddress;

const KIND: u8 = b';';
const GET_API_VERSION: u8 = 100;
const CHECK_EXTENSION: u8 = 101;
const SET_IOMMU: u8 = 102;
const GROUP_GET_STATUS: Request<GroupStatus> = Request::unsized_number(KIND, 103);
const GROUP_SET_CONTAINER: Request<u32> = Request::unsized_number(KIND, 104);
const GROUP_GET_DEVICE_FD: c_ulong = (KIND as c_ulong) << 8 | 106;
const DEVICE_GET_REGION_INFO: Request<RegionInfo> = Request::unsized_number(KIND, 108);
const DEVICE_GET_IRQ_INFO: Request<IrqInfo> = Request::unsized_number(KIND, 109);
const DEVICE_SET_IRQS: c_ulong = (KIND as c_ulong) << 8 | 110;
const DEVICE_RESET: u8 = 111;
const IOMMU_MAP_DMA: Request<MapDma> = Request::unsized_number(KIND, 113);
const IOMMU_UNMAP_DMA: Request<UnmapDma> = Request::unsized_number(KIND, 114);

const API_VERSION: c_int = 0;
const TYPE1V2: c_ulong = 3;
const GROUP_VIABLE: u32 = 1 << 0;
const REGION_BAR0: u32 = 0;
const REGION_CONFIG: u32 = 7;
const REGION_MMAP: u32 = 1 << 2;
const IRQS_MSIX: u32 = 2;
const IRQS_REQUEST: u32 = 4;
const IRQ_DATA_NONE: u32 = 1 << 0;
const IRQ_DATA_EVENTFD: u32 = 1 << 2;
const IRQ_ACTION_TRIGGER: u32 = 1 << 5;
const DMA_READ: u32 = 1 << 0;
const DMA_WRITE: u32 = 1 << 1;

/// PCI configuration space: the command register and its bits.
const COMMAND: u64 = 4;
const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_MASTER: u16 = 1 << 2;

/// The first address for DMA: above what the platform keeps for itself (MSI, below 4 GiB).
const FIRST_ADDRESS: u64 = 1 << 32;

#[repr(C)]
struct GroupStatus {
    argsz: u32,
    flags: u32,
}

#[repr(C)]
struct RegionInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    cap_offset: u32,
    size: u64,
    offset: u64,
}

#[repr(C)]
struct IrqInfo {
    argsz: u32,
    flags: u32,
    index: u32,
    count: u32,
}

#[repr(C)]
struct MapDma {
    argsz: u32,
    flags: u32,
    vaddr: u64,
    iova: u64,
    size: u64,
}

#[repr(C)]
struct UnmapDma {
    argsz: u32,
    flags: u32,
    iova: u64,
    size: u64,
}

// SAFETY: repr(C), numbers only, no padding, here and below.
unsafe impl Plain for GroupStatus {}
// SAFETY: as above.
unsafe impl Plain for RegionInfo {}
// SAFETY: as above.
unsafe impl Plain for IrqInfo {}
// SAFETY: as above.
unsafe impl Plain for MapDma {}
// SAFETY: as above.
unsafe impl Plain for UnmapDma {}

/// `argsz` of a structure.
fn argsz<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

/// Groups that ports of this process have, by number.
static GROUPS: Mutex<Vec<(u32, Weak<Group>)>> = Mutex::new(Vec::new());

/// An IOMMU group with an address space of its own.
#[derive(Debug)]
struct Group {
    group: File,
    container: File,
    /// Where the next mapping goes.
    next: Mutex<u64>,
}

impl Group {
    fn open(address: PciAddress, number: u32) -> Result<Arc<Group>, PciError> {
        let mut groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|(_, group)| group.strong_count() > 0);
        let known = groups.iter().find(|(known, _)| *known == number);
        if let Some(group) = known.and_then(|(_, group)| group.upgrade()) {
            return Ok(group);
        }
        let group = Arc::new(Group::claim(address, number)?);
        groups.push((number, Arc::downgrade(&group)));
        Ok(group)
    }

    fn claim(address: PciAddress, number: u32) -> Result<Group, PciError> {
        let failed = |what| move |source| PciError::system(address, what, source);
        let open = |path: &str| OpenOptions::new().read(true).write(true).open(path);
        let container = open("/dev/vfio/vfio").map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => PciError::NoContainer(address),
            _ => failed("open /dev/vfio/vfio")(source),
        })?;
        let version = by_value(container.as_fd(), KIND, GET_API_VERSION, 0);
        let has_type1 = by_value(container.as_fd(), KIND, CHECK_EXTENSION, TYPE1V2);
        let suits = version.is_ok_and(|version| version == API_VERSION)
            && has_type1.is_ok_and(|answer| answer == 1);
        if !suits {
            return Err(PciError::NoIommu(address));
        }
        let group = open(&format!("/dev/vfio/{number}")).map_err(|source| {
            // A group without an IOMMU has a node of another name (no-IOMMU mode).
            match source.kind() {
                io::ErrorKind::NotFound => PciError::NoIommu(address),
                _ => failed("open its IOMMU group in /dev/vfio")(source),
            }
        })?;
        let mut status = GroupStatus {
            argsz: argsz::<GroupStatus>(),
            flags: 0,
        };
        // SAFETY: no pointers within.
        unsafe { GROUP_GET_STATUS.make(group.as_fd(), &mut status) }
            .map_err(failed("ask for the state of its IOMMU group"))?;
        if status.flags & GROUP_VIABLE == 0 {
            let group = number;
            return Err(PciError::NotViable { address, group });
        }
        // The number of a descriptor, which is not negative.
        let mut descriptor = container.as_raw_fd().unsigned_abs();
        // SAFETY: a descriptor by number.
        unsafe { GROUP_SET_CONTAINER.make(group.as_fd(), &mut descriptor) }
            .map_err(failed("put its IOMMU group into a container"))?;
        by_value(container.as_fd(), KIND, SET_IOMMU, TYPE1V2).map_err(|source| {
            // Whoever got this far has the rights.
            match source.raw_os_error() {
                Some(libc::EPERM) => PciError::UnsafeInterrupts(address),
                _ => failed("set its IOMMU up")(source),
            }
        })?;
        Ok(Group {
            group,
            container,
            next: Mutex::new(FIRST_ADDRESS),
        })
    }

    /// The descriptor of a function of this group.
    fn device(&self, address: PciAddress) -> io::Result<File> {
        let name = CString::new(address.to_string()).map_err(io::Error::other)?;
        let group = self.group.as_raw_fd();
        // SAFETY: `name` ends with a zero and lives during the call.
        let fd = unsafe { libc::ioctl(group, GROUP_GET_DEVICE_FD, name.as_ptr()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor, whose only owner this is.
        Ok(unsafe { File::from_raw_fd(fd) })
    }

    /// Takes what is mapped at `iova` from all functions of the group.
    fn unmap(&self, iova: u64, len: usize) -> io::Result<()> {
        let mut request = UnmapDma {
            argsz: argsz::<UnmapDma>(),
            flags: 0,
            iova,
            size: len as u64,
        };
        // SAFETY: takes rights from devices only.
        unsafe { IOMMU_UNMAP_DMA.make(self.container.as_fd(), &mut request) }.map(drop)
    }
}

/// The open function.
#[derive(Debug)]
pub(super) struct Vfio {
    address: PciAddress,
    // Fields drop in this order: the device before its group.
    device: File,
    group: Arc<Group>,
    bar: Bar,
    /// Where configuration space begins in the device's descriptor.
    config: u64,
    vectors: u32,
    /// Signalled when the function shall be unbound or unplugged, which waits for its end here.
    wanted: Option<OwnedFd>,
    /// Base, bytes and device's address of what is mapped.
    maps: Mutex<Vec<(usize, usize, u64)>>,
}

impl Vfio {
    /// Opens a function of this IOMMU group.
    pub(super) fn open(address: PciAddress, group: u32) -> Result<Vfio, PciError> {
        let failed = |what| move |source| PciError::system(address, what, source);
        let group = Group::open(address, group)?;
        let device = group
            .device(address)
            .map_err(failed("open it through vfio-pci"))?;
        let bar0 = region(&device, REGION_BAR0).map_err(failed("find its registers"))?;
        let config = region(&device, REGION_CONFIG).map_err(failed("find its configuration"))?;
        if bar0.flags & REGION_MMAP == 0 {
            return Err(failed("map its registers")(
                io::ErrorKind::Unsupported.into(),
            ));
        }
        let len = usize::try_from(bar0.size).unwrap_or(0);
        let bar =
            Bar::map(device.as_fd(), bar0.offset, len).map_err(failed("map its registers"))?;
        let mut irqs = IrqInfo {
            argsz: argsz::<IrqInfo>(),
            flags: 0,
            index: IRQS_MSIX,
            count: 0,
        };
        // SAFETY: no pointers within.
        unsafe { DEVICE_GET_IRQ_INFO.make(device.as_fd(), &mut irqs) }
            .map_err(failed("ask for its interrupts"))?;
        let mut vfio = Vfio {
            address,
            device,
            group,
            bar,
            config: config.offset,
            vectors: irqs.count,
            wanted: None,
            maps: Mutex::new(Vec::new()),
        };
        let wanted = Interrupt::event().map_err(failed("make an eventfd"))?;
        let asks = vfio.set_irqs(IRQS_REQUEST, IRQ_DATA_EVENTFD, &[wanted.as_raw_fd()]);
        asks.map_err(failed("hear when it is wanted back"))?;
        vfio.wanted = Some(wanted);
        Ok(vfio)
    }

    fn system(&self, what: &'static str) -> impl FnOnce(io::Error) -> PciError {
        let address = self.address;
        move |source| PciError::system(address, what, source)
    }

    fn set_irqs(&self, index: u32, flags: u32, descriptors: &[i32]) -> io::Result<()> {
        let count = u32::try_from(descriptors.len()).unwrap_or(u32::MAX);
        let header = [0, flags | IRQ_ACTION_TRIGGER, index, 0, count];
        let mut words: Vec<u32> = header.to_vec();
        words.extend(descriptors.iter().map(|fd| fd.unsigned_abs()));
        words[0] = u32::try_from(size_of_val(&words[..])).unwrap_or(u32::MAX);
        let device = self.device.as_raw_fd();
        // SAFETY: `struct vfio_irq_set` is five numbers and the descriptors after them; the first says
        // how many bytes that is.
        match unsafe { libc::ioctl(device, DEVICE_SET_IRQS, words.as_ptr()) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

fn region(device: &File, index: u32) -> io::Result<RegionInfo> {
    let mut info = RegionInfo {
        argsz: argsz::<RegionInfo>(),
        flags: 0,
        index,
        cap_offset: 0,
        size: 0,
        offset: 0,
    };
    // SAFETY: no pointers within.
    unsafe { DEVICE_GET_REGION_INFO.make(device.as_fd(), &mut info) }?;
    Ok(info)
}

impl Backend for Vfio {
    fn bar(&self) -> &Bar {
        &self.bar
    }

    unsafe fn map(&self, base: *mut u8, len: usize) -> Result<Vec<Segment>, PciError> {
        let mut next = lock(&self.group.next);
        let mut request = MapDma {
            argsz: argsz::<MapDma>(),
            flags: DMA_READ | DMA_WRITE,
            vaddr: base as u64,
            iova: *next,
            size: len as u64,
        };
        // SAFETY: the memory at `base` stays mapped until it is unmapped here (see `Backend::map`).
        unsafe { IOMMU_MAP_DMA.make(self.group.container.as_fd(), &mut request) }
            .map_err(|source| PciError::mapping(self.address, source))?;
        *next += request.size.next_multiple_of(HUGE_PAGE as u64);
        lock(&self.maps).push((base as usize, len, request.iova));
        Ok(vec![(request.iova, request.size)])
    }

    fn unmap(&self, base: *mut u8, len: usize) -> Result<(), PciError> {
        let mut maps = lock(&self.maps);
        let known = maps
            .iter()
            .position(|map| (map.0, map.1) == (base as usize, len));
        let Some(known) = known else {
            return Err(self.system("unmap memory")(io::ErrorKind::NotFound.into()));
        };
        let unmapped = self.group.unmap(maps[known].2, len);
        unmapped.map_err(self.system("unmap memory"))?;
        maps.swap_remove(known);
        Ok(())
    }

    fn set_bus_master(&self, on: bool) -> Result<(), PciError> {
        let at = self.config + COMMAND;
        let mut command = [0; 2];
        let read = self.device.read_exact_at(&mut command, at);
        read.map_err(self.system("read its command register"))?;
        let command = u16::from_le_bytes(command) | COMMAND_MEMORY;
        let command = match on {
            true => command | COMMAND_MASTER,
            false => command & !COMMAND_MASTER,
        };
        let written = self.device.write_all_at(&command.to_le_bytes(), at);
        written.map_err(self.system("set bus mastering"))
    }

    fn reset(&self) -> Result<(), PciError> {
        let made = by_value(self.device.as_fd(), KIND, DEVICE_RESET, 0);
        made.map(drop).map_err(self.system("reset it"))
    }

    fn vectors(&self) -> u32 {
        self.vectors
    }

    fn wanted(&self) -> Option<OwnedFd> {
        self.wanted.as_ref()?.try_clone().ok()
    }

    fn signal(&self, events: &[OwnedFd]) -> Result<Vec<Option<u32>>, PciError> {
        // Fails when none were set up before.
        let _ = self.set_irqs(IRQS_MSIX, IRQ_DATA_NONE, &[]);
        let descriptors: Vec<i32> = events.iter().map(AsRawFd::as_raw_fd).collect();
        self.set_irqs(IRQS_MSIX, IRQ_DATA_EVENTFD, &descriptors)
            .map_err(self.system("set its interrupts up"))?;
        Ok(vec![None; events.len()])
    }
}

impl Drop for Vfio {
    fn drop(&mut self) {
        // The address space is the group's, which may live on with another function.
        for (_, len, iova) in std::mem::take(&mut *lock(&self.maps)) {
            // When it fails, the container's end does it.
            let _ = self.group.unmap(iova, len);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
