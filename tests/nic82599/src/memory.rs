//! The host of tests in this process: mapped buffers, frames sent, vectors raised, and faults.

use crate::host::{DmaFault, DmaFaultKind, Host};
use std::ops::Range;

/// What the device may do with a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Read,
    ReadWrite,
}

struct Mapping {
    base: u64,
    bytes: Vec<u8>,
    permission: Permission,
}

impl Mapping {
    /// Where `address` lies in the bytes, when it does.
    fn index(&self, address: u64) -> Option<usize> {
        let index = usize::try_from(address.checked_sub(self.base)?).ok()?;
        (index < self.bytes.len()).then_some(index)
    }
}

/// Memory that the device reaches, and the record of what it did.
#[derive(Default)]
pub struct Memory {
    mappings: Vec<Mapping>,
    /// Frames that the device put on the wire.
    pub sent: Vec<Vec<u8>>,
    /// Vectors that the device raised.
    pub raised: Vec<u16>,
    /// DMA does not get through while set.
    pub stuck: bool,
    corrupt: Option<(Range<u64>, u8)>,
}

impl Memory {
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Maps `len` zeroed bytes at an I/O virtual address. Mappings may be adjacent, not overlap.
    pub fn map(&mut self, base: u64, len: usize, permission: Permission) {
        self.mappings.push(Mapping {
            base,
            bytes: vec![0; len],
            permission,
        });
    }

    /// Takes the mapping that starts at `base` away.
    pub fn unmap(&mut self, base: u64) {
        self.mappings.retain(|mapping| mapping.base != base);
    }

    /// What the driver sees at an address: bytes up to the end of the mapping there.
    pub fn bytes(&self, address: u64) -> &[u8] {
        self.mappings
            .iter()
            .find_map(|mapping| Some(&mapping.bytes[mapping.index(address)?..]))
            .unwrap_or_default()
    }

    /// The same, for the driver to write.
    pub fn bytes_mut(&mut self, address: u64) -> &mut [u8] {
        self.mappings
            .iter_mut()
            .find_map(|mapping| Some(mapping.index(address)?).map(|at| &mut mapping.bytes[at..]))
            .unwrap_or_default()
    }

    /// The device's next write that touches `range` arrives with `flip` in each byte there: a
    /// corrupted completion.
    pub fn corrupt_next_write(&mut self, range: Range<u64>, flip: u8) {
        self.corrupt = Some((range, flip));
    }

    /// Calls `each` with the pieces of mappings that hold `len` bytes from `address`, in order.
    fn pieces(
        &mut self,
        address: u64,
        len: usize,
        writes: bool,
        mut each: impl FnMut(&mut [u8], Range<usize>),
    ) -> Result<(), DmaFault> {
        let fault = |why| DmaFault { address, len, why };
        if self.stuck {
            return Err(fault(DmaFaultKind::Stuck));
        }
        let mut done = 0;
        while done < len {
            let next = address.wrapping_add(done as u64);
            let (mapping, at) = self
                .mappings
                .iter_mut()
                .find_map(|mapping| mapping.index(next).map(|at| (mapping, at)))
                .ok_or(fault(DmaFaultKind::Unmapped))?;
            if writes && mapping.permission == Permission::Read {
                return Err(fault(DmaFaultKind::ReadOnly));
            }
            let piece = (len - done).min(mapping.bytes.len() - at);
            each(&mut mapping.bytes[at..at + piece], done..done + piece);
            done += piece;
        }
        Ok(())
    }
}

impl Host for Memory {
    fn dma_read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DmaFault> {
        let len = bytes.len();
        self.pieces(address, len, false, |piece, at| {
            bytes[at].copy_from_slice(piece)
        })
    }

    fn dma_write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        let touched = address..address.saturating_add(bytes.len() as u64);
        self.pieces(address, bytes.len(), true, |piece, at| {
            piece.copy_from_slice(&bytes[at])
        })?;
        let hit = |(range, _): &mut (Range<u64>, u8)| {
            range.start < touched.end && touched.start < range.end
        };
        if let Some((range, flip)) = self.corrupt.take_if(hit) {
            let first = range.start.max(touched.start);
            for address in first..range.end.min(touched.end) {
                if let Some(byte) = self.bytes_mut(address).first_mut() {
                    *byte ^= flip;
                }
            }
        }
        Ok(())
    }

    fn interrupt(&mut self, vector: u16) {
        self.raised.push(vector);
    }

    fn transmit(&mut self, frame: &[u8]) {
        self.sent.push(frame.to_vec());
    }
}
