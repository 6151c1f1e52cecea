//! A PCI function that was lent to this process.

#![allow(unsafe_code, reason = "maps regions that it keeps for the device")]

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::affinity::irq_of_vector;
use super::backend::Backend;
use super::bar::Bar;
use super::error::PciError;
use super::interrupt::Interrupt;
use super::ixmap::Ixmap;
use super::sysfs::{Ids, Sysfs};
use super::vfio::Vfio;
use crate::dataplane::mem::{DmaMap, Region};
use crate::shared::config::KernelDriver;
use crate::shared::pci::PciAddress;

/// Functions that this process has: VFIO would lend one twice.
static HELD: Mutex<BTreeSet<PciAddress>> = Mutex::new(BTreeSet::new());

/// Whether a function is in this process's hands.
pub(super) fn is_held(address: PciAddress) -> bool {
    held().contains(&address)
}

fn held() -> MutexGuard<'static, BTreeSet<PciAddress>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in [`HELD`].
#[derive(Debug)]
struct Hold(PciAddress);

impl Hold {
    fn take(address: PciAddress) -> Result<Hold, PciError> {
        match held().insert(address) {
            true => Ok(Hold(address)),
            false => Err(PciError::Owned(address)),
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        held().remove(&self.0);
    }
}

/// The driver that lends a function, if it is bound to one that does.
pub fn lender(sysfs: &Sysfs, address: PciAddress) -> Result<KernelDriver, PciError> {
    if !sysfs.exists(address) {
        return Err(PciError::NoFunction(address));
    }
    let driver = sysfs.driver(address).ok_or(PciError::NotBound(address))?;
    let known = KernelDriver::ALL.iter();
    let lender = known.copied().find(|known| known.name() == driver);
    lender.ok_or(PciError::BoundTo { address, driver })
}

/// A function in this process's hands. Dropping it keeps the device from memory, resets it, and gives
/// it back. The same happens when the process ends in whatever way: the kernel sees to it.
#[derive(Debug)]
pub struct Function {
    address: PciAddress,
    driver: KernelDriver,
    ids: Ids,
    numa_node: Option<u32>,
    backend: Box<dyn Backend>,
    /// What the device reaches.
    mapped: Mutex<Vec<(Arc<Region>, DmaMap)>>,
    /// Goes last.
    _hold: Hold,
}

impl Function {
    /// Opens the function through the driver that it is bound to: `ixmap` or `vfio-pci`. It has been
    /// reset, and its bus mastering is off.
    pub fn open(address: PciAddress) -> Result<Function, PciError> {
        let sysfs = Sysfs::default();
        let ids = sysfs.ids(address).ok_or(PciError::NoFunction(address))?;
        let driver = lender(&sysfs, address)?;
        let hold = Hold::take(address)?;
        let backend: Box<dyn Backend> = match driver {
            KernelDriver::Ixmap => {
                let node = sysfs.ixmap_node(address);
                let node = node.ok_or(PciError::NoNode(address))?;
                Box::new(Ixmap::open(address, &node)?)
            }
            KernelDriver::VfioPci => {
                let group = sysfs.iommu_group(address);
                let group = group.ok_or(PciError::NoIommu(address))?;
                Box::new(Vfio::open(address, group)?)
            }
        };
        backend.set_bus_master(false)?;
        backend.reset()?;
        Ok(Function {
            address,
            driver,
            ids,
            numa_node: sysfs.numa_node(address),
            backend,
            mapped: Mutex::new(Vec::new()),
            _hold: hold,
        })
    }

    pub fn address(&self) -> PciAddress {
        self.address
    }

    /// What lends it.
    pub fn driver(&self) -> KernelDriver {
        self.driver
    }

    pub fn ids(&self) -> Ids {
        self.ids
    }

    /// The NUMA node that it is attached to, where there are several.
    pub fn numa_node(&self) -> Option<u32> {
        self.numa_node
    }

    /// Its registers.
    pub fn bar(&self) -> Bar {
        self.backend.bar().clone()
    }

    /// Lets the device read and write a region; the same region twice is mapped once.
    pub fn map_dma(&self, region: &Arc<Region>) -> Result<DmaMap, PciError> {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let known = mapped.iter().find(|(known, _)| Arc::ptr_eq(known, region));
        if let Some((_, map)) = known {
            return Ok(map.clone());
        }
        let (base, len) = (region.base(), region.len());
        // SAFETY: the region is mapped as long as it is held: in `mapped` until `drop` has
        // kept the device from memory. Its users reach it by pointers and volatile
        // accesses, or not at all while the device has it (`mem`, `ixgbe::ring`).
        let segments = unsafe { self.backend.map(base, len) }?;
        let Some(map) = DmaMap::new(segments, len) else {
            self.backend.unmap(base, len)?;
            return Err(PciError::Scattered(self.address));
        };
        mapped.push((Arc::clone(region), map.clone()));
        Ok(map)
    }

    /// Readable when the kernel wants the function back and waits for it; `None` where it does not ask.
    pub fn wanted(&self) -> Option<OwnedFd> {
        self.backend.wanted()
    }

    /// Lets the device reach memory at all, or not.
    pub fn set_bus_master(&self, on: bool) -> Result<(), PciError> {
        self.backend.set_bus_master(on)
    }

    /// Function-level reset: registers are as after power-on; bus mastering and mappings stay.
    pub fn reset(&self) -> Result<(), PciError> {
        self.backend.reset()
    }

    /// Sets up MSI-X vectors 0 to `count` - 1, in place of those that there were.
    pub fn interrupts(&self, count: u16) -> Result<Vec<Interrupt>, PciError> {
        let has = self.backend.vectors();
        if u32::from(count) > has {
            return Err(PciError::Vectors {
                address: self.address,
                wanted: count,
                has,
            });
        }
        let failed = |source| PciError::system(self.address, "make an eventfd", source);
        let events = (0..count).map(|_| Interrupt::event());
        let events = events.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let irqs = self.backend.signal(&events)?;
        let sysfs = Sysfs::default();
        let vectors = (0..count).zip(events).zip(irqs);
        Ok(vectors
            .map(|((vector, event), irq)| {
                let irq = irq.or_else(|| irq_of_vector(&sysfs, self.address, vector));
                Interrupt::new(event, irq)
            })
            .collect())
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Registers stay mapped while a clone of the BAR lives, and with them the descriptor: its
        // closing alone would come too late. A device that is gone fails these, and does nothing.
        let _ = self.backend.set_bus_master(false);
        let _ = self.backend.reset();
        let mapped = self
            .mapped
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for (region, _) in mapped.drain(..) {
            match self.backend.unmap(region.base(), region.len()) {
                // A device that is gone reaches nothing.
                Ok(()) | Err(PciError::Gone(_)) => {}
                // It may reach the region until the descriptor is closed: that stays mapped, then.
                Err(_) => std::mem::forget(region),
            }
        }
    }
}
