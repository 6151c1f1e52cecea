//! Registers of a PCI function, mapped into this process.

#![allow(
    unsafe_code,
    reason = "registers are reached by volatile accesses of a mapping"
)]

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use memmap2::{MmapMut, MmapOptions, MmapRaw};

use crate::dataplane::port::ixgbe::{Register, Registers};

/// BAR 0. Clones share the mapping, which outlives the descriptor that it was made from.
#[derive(Clone, Debug)]
pub struct Bar(Arc<MmapRaw>);

impl Bar {
    /// Maps `len` bytes at an offset of a device's descriptor.
    pub(super) fn map(device: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Bar> {
        let map = MmapOptions::new()
            .offset(offset)
            .len(len)
            .map_raw(&device)?;
        Ok(Bar(Arc::new(map)))
    }

    /// Plain zeroed memory in a device's place, for whoever plays the device.
    pub fn in_memory(len: usize) -> io::Result<Bar> {
        Ok(Bar(Arc::new(MmapMut::map_anon(len)?.into())))
    }

    /// Reads 32 bits at a multiple of 4 within the BAR.
    #[inline]
    pub fn read(&self, offset: u32) -> u32 {
        // SAFETY: `at` points to an aligned word of a mapping that `self` keeps. A device may change
        // it at any time, hence volatile and no reference.
        u32::from_le(unsafe { self.at(offset).read_volatile() })
    }

    /// Writes 32 bits, likewise.
    #[inline]
    pub fn write(&self, offset: u32, value: u32) {
        // SAFETY: as in `read`. Writing a register moves no memory of this process but what the
        // driver gave the device for DMA.
        unsafe { self.at(offset).write_volatile(value.to_le()) }
    }

    #[inline]
    fn at(&self, offset: u32) -> *mut u32 {
        let offset = offset as usize;
        assert!(
            offset.is_multiple_of(4) && offset + 4 <= self.0.len(),
            "no register of the BAR"
        );
        // SAFETY: within the mapping, which begins with a page, so that the word is aligned.
        unsafe { self.0.as_mut_ptr().add(offset).cast() }
    }
}

impl Registers for Bar {
    #[inline]
    fn read(&self, register: Register) -> u32 {
        Bar::read(self, register.0)
    }

    #[inline]
    fn write(&self, register: Register, value: u32) {
        Bar::write(self, register.0, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_reach_the_same_registers() {
        let bar = Bar::in_memory(4096).unwrap();
        bar.clone().write(4092, 0x1234_5678);
        assert_eq!(bar.read(4092), 0x1234_5678);
        assert_eq!(bar.read(0), 0);
    }

    #[test]
    #[should_panic(expected = "no register of the BAR")]
    fn what_lies_beyond_the_bar_is_not_reached() {
        Bar::in_memory(4096).unwrap().read(4096);
    }
}
