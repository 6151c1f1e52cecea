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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dma_crosses_adjacent_mappings() {
        let mut memory = Memory::new();
        memory.map(0x1000, 16, Permission::ReadWrite);
        memory.map(0x1010, 16, Permission::ReadWrite);
        let written: Vec<u8> = (1..=8).collect();
        memory.dma_write(0x100C, &written).unwrap();
        let mut read = [0; 8];
        memory.dma_read(0x100C, &mut read).unwrap();
        assert_eq!(read, *written);
        assert_eq!(memory.bytes(0x1010)[..4], [5, 6, 7, 8]);
    }

    #[test]
    fn dma_outside_the_mappings_or_against_their_permission_fails() {
        let mut memory = Memory::new();
        memory.map(0x1000, 16, Permission::Read);
        let fault = |address, len, why| Err(DmaFault { address, len, why });
        assert_eq!(
            memory.dma_write(0x1000, &[1]),
            fault(0x1000, 1, DmaFaultKind::ReadOnly)
        );
        let mut read = [0; 17];
        assert_eq!(
            memory.dma_read(0x1000, &mut read),
            fault(0x1000, 17, DmaFaultKind::Unmapped)
        );
        memory.dma_read(0x1000, &mut read[..16]).unwrap();
        memory.unmap(0x1000);
        assert_eq!(
            memory.dma_read(0x1000, &mut read[..1]),
            fault(0x1000, 1, DmaFaultKind::Unmapped)
        );
    }

    #[test]
    fn dma_that_is_stuck_fails_until_it_is_not() {
        let mut memory = Memory::new();
        memory.map(0, 4, Permission::ReadWrite);
        memory.stuck = true;
        assert_eq!(
            memory.dma_write(0, &[1]).map_err(|fault| fault.why),
            Err(DmaFaultKind::Stuck)
        );
        memory.stuck = false;
        assert_eq!(memory.dma_write(0, &[1]), Ok(()));
    }

    #[test]
    fn one_write_is_corrupted_where_it_was_asked() {
        let mut memory = Memory::new();
        memory.map(0, 8, Permission::ReadWrite);
        memory.corrupt_next_write(2..4, 0xFF);
        memory.dma_write(4, &[0; 4]).unwrap();
        assert_eq!(memory.bytes(0), [0; 8], "a write elsewhere");
        memory.dma_write(1, &[1, 1]).unwrap();
        assert_eq!(memory.bytes(0)[..4], [0, 1, 0xFE, 0]);
        memory.dma_write(1, &[1, 1]).unwrap();
        assert_eq!(memory.bytes(0)[..4], [0, 1, 1, 0], "only the next write");
    }
}
