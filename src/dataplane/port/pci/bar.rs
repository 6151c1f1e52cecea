//! Stand-in for branch pci's Bar, of the agreed signatures.
#![allow(
    unsafe_code,
    reason = "registers are reached by volatile accesses of a mapping"
)]

use std::sync::Arc;

use crate::dataplane::mem::Region;
use crate::dataplane::port::ixgbe::{Register, Registers};

#[derive(Clone, Debug)]
pub struct Bar(Arc<Region>);

impl Bar {
    /// Plain zeroed memory.
    pub fn in_memory(len: usize) -> Bar {
        Bar(Arc::new(
            Region::new(len)
                .map(|(region, _)| region)
                .unwrap_or_else(|_| std::process::abort()),
        ))
    }

    fn at(&self, offset: u32) -> *mut u32 {
        let offset = offset as usize;
        assert!(
            offset.is_multiple_of(4) && offset < self.0.len(),
            "no register there"
        );
        // SAFETY: checked.
        unsafe { self.0.base().add(offset).cast() }
    }

    #[inline]
    pub fn read(&self, offset: u32) -> u32 {
        // SAFETY: `at` is within the mapping, aligned.
        u32::from_le(unsafe { self.at(offset).read_volatile() })
    }

    #[inline]
    pub fn write(&self, offset: u32, value: u32) {
        // SAFETY: `at` is within the mapping, aligned.
        unsafe { self.at(offset).write_volatile(value.to_le()) }
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
