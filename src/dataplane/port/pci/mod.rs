//! PCI functions in the hands of this process: registers, DMA, interrupts, through `ixmap.ko` or
//! VFIO; and the binding of functions to kernel drivers.

mod bar;

pub use bar::Bar;
