//! The judge's record: what a driver did that the datasheet does not allow.
//! The device goes on as the hardware would; a test fails when the record is not empty.

use crate::host::DmaFault;
use crate::registers::{self, Reg};
use std::fmt;
use thiserror::Error;

/// How many violations a record keeps; the rest are only counted.
const KEPT: usize = 256;

/// One thing that the driver did wrong, and with which register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The register's name in the datasheet, with its index when it is one of an array.
    pub register: String,
    pub offset: u32,
    /// What was written; for a read, what was returned.
    pub value: u32,
    pub why: Why,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Why {
    #[error("read of a register that the 82599 does not have")]
    UnknownRead,
    #[error("write to a register that the 82599 does not have")]
    UnknownWrite,
    #[error("access that is not a whole aligned register")]
    Misaligned,
    #[error("reserved bits {0:#010x} set")]
    Reserved(u32),
    #[error("written while the ring is enabled")]
    RingEnabled,
    #[error("ring enabled with a base that is not aligned to 128 bytes")]
    RingBase,
    #[error("ring enabled with a length that is zero or not a multiple of 128 bytes")]
    RingLength,
    #[error("tail outside a ring of {0} descriptors")]
    TailOutOfRange(u32),
    #[error("head outside a ring of {0} descriptors")]
    HeadOutOfRange(u32),
    #[error("{0}")]
    Dma(DmaFault),
    #[error("descriptor: {0}")]
    Descriptor(&'static str),
    #[error("{0}")]
    Protocol(&'static str),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation {
            register,
            offset,
            value,
            why,
        } = self;
        let section = registers::section(Reg(*offset));
        write!(
            f,
            "{register} ({offset:#07x}, {section}) = {value:#010x}: {why}"
        )
    }
}

/// The first violations since the record began, and how many there ever were.
#[derive(Default)]
pub(crate) struct Violations {
    kept: Vec<Violation>,
    count: u64,
}

impl Violations {
    pub(crate) fn record(&mut self, register: Reg, value: u32, why: Why) {
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push(Violation {
                register: registers::name(register),
                offset: register.0,
                value,
                why,
            });
        }
    }

    /// Empties the record, not the count.
    pub(crate) fn begin(&mut self) {
        self.kept.clear();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() == KEPT
    }

    pub(crate) fn kept(&self) -> &[Violation] {
        &self.kept
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}
