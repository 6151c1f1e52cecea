//! What the device reaches beyond its registers: memory by DMA, interrupts, the wire.
//! A front end implements [`Host`]; [`crate::Memory`] is the one for tests in this process.

use thiserror::Error;

/// The device's view of the machine it is plugged into.
pub trait Host {
    /// Reads `bytes.len()` bytes at an I/O virtual address; fails when any byte is not mapped.
    fn dma_read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DmaFault>;

    /// Writes at an I/O virtual address; fails when any byte is not mapped, or mapped read-only.
    fn dma_write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DmaFault>;

    /// Sends the MSI-X message of a vector.
    fn interrupt(&mut self, vector: u16);

    /// Puts a frame, without its FCS, on the wire.
    fn transmit(&mut self, frame: &[u8]);
}

/// A DMA that the host refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("DMA of {len} bytes at {address:#x}: {why}")]
pub struct DmaFault {
    pub address: u64,
    pub len: usize,
    pub why: DmaFaultKind,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DmaFaultKind {
    #[error("not mapped")]
    Unmapped,
    #[error("mapped read-only")]
    ReadOnly,
    #[error("bus mastering is off")]
    NotBusMaster,
    /// The fabric answers nothing: an injected fault, not the driver's.
    #[error("stuck")]
    Stuck,
}
