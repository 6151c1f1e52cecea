//! What lends a PCI function to this process: `ixmap.ko` or VFIO.

#![allow(
    unsafe_code,
    reason = "names what mapping memory for a device asks for"
)]

use std::fmt::Debug;
use std::os::fd::OwnedFd;

use super::bar::Bar;
use super::error::PciError;

/// Memory that is contiguous for the device: its address there, bytes.
pub(super) type Segment = (u64, u64);

/// One function, opened. Dropping it gives the function back.
pub(super) trait Backend: Debug + Send + Sync {
    fn bar(&self) -> &Bar;

    /// Lets the device read and write `len` bytes at `base`.
    ///
    /// # Safety
    /// They are memory that nothing but the driver takes for its own, mapped until [`Self::unmap`] or
    /// the end of the function.
    unsafe fn map(&self, base: *mut u8, len: usize) -> Result<Vec<Segment>, PciError>;

    fn unmap(&self, base: *mut u8, len: usize) -> Result<(), PciError>;

    fn set_bus_master(&self, on: bool) -> Result<(), PciError>;

    /// Function-level reset: registers are as after power-on; bus mastering and mappings stay.
    fn reset(&self) -> Result<(), PciError>;

    /// MSI-X vectors that the function has.
    fn vectors(&self) -> u32;

    /// Readable when the kernel wants the function back and waits for it; `None` where it does not ask.
    fn wanted(&self) -> Option<OwnedFd>;

    /// Sets up as many vectors as there are events, each signalling its own. Returns their numbers in
    /// /proc/irq, where known.
    fn signal(&self, events: &[OwnedFd]) -> Result<Vec<Option<u32>>, PciError>;
}
