//! PCI functions in the hands of this process: registers, DMA, interrupts, through `ixmap.ko` or
//! VFIO; and the binding of functions to kernel drivers.
//!
//! [`Function`] is what a driver works with. Behind it a `backend` does the lending: `ixmap` by
//! /dev/ixmapN, `vfio` by /dev/vfio. [`bind`] chooses which, by way of `sysfs`; `affinity` steers
//! interrupts.

mod affinity;
mod backend;
mod bar;
pub mod bind;
mod error;
mod function;
mod interrupt;
mod ixmap;
mod request;
mod sysfs;
mod vfio;

pub use bar::Bar;
pub use error::PciError;
pub use function::{Function, lender};
pub use interrupt::Interrupt;
pub use sysfs::{Ids, Sysfs};
