//! The PCI function as the client sees it: regions that are read and written, and reset. Behind
//! them are the device model, its configuration space, and the slot it is plugged into.

use super::ring_memory::RingMemory;
use super::vectors::Vectors;
use crate::guest_memory::GuestMemory;
use crate::pci::{CONFIG_SIZE, ConfigEvent, ConfigSpace, MSIX_BAR_SIZE, PBA_OFFSET};
use crate::wire::{MAX_FRAME, Wire};
use crate::{BAR0_SIZE, DmaFault, DmaFaultKind, Host, Nic, Settings};
use rustix::io::Errno;
use std::time::Duration;

const DEVICE_82599: u16 = 0x10FB;

/// Frames taken from the wire before the client is looked at again.
const BURST: usize = 64;

/// The regions of a PCI device by their number in VFIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    Registers,
    Msix,
    Config,
    /// A BAR, ROM or VGA region that the device does not have.
    Absent,
}

/// How many regions a PCI device has in VFIO, those that are absent too.
pub(super) const REGIONS: u32 = 9;

/// One modelled 82599 with what it is plugged into.
pub struct Function {
    nic: Nic,
    config: ConfigSpace,
    /// BAR 4: the client works on a table of its own, so this is memory and no more.
    msix: Box<[u8]>,
    rings: Option<RingMemory>,
    pub(super) slot: Slot,
    frame: Box<[u8; MAX_FRAME]>,
    link: Option<bool>,
}

/// The machine around the device.
pub(super) struct Slot {
    pub(super) memory: GuestMemory,
    pub(super) vectors: Vectors,
    pub(super) wire: Wire,
    bus_master: bool,
}

impl Region {
    pub(super) fn of(index: u32) -> Option<Region> {
        match index {
            0 => Some(Region::Registers),
            4 => Some(Region::Msix),
            7 => Some(Region::Config),
            _ if index < REGIONS => Some(Region::Absent),
            _ => None,
        }
    }

    pub(super) fn size(self) -> u64 {
        match self {
            Region::Registers => u64::from(BAR0_SIZE),
            Region::Msix => u64::from(MSIX_BAR_SIZE),
            Region::Config => CONFIG_SIZE as u64,
            Region::Absent => 0,
        }
    }
}

impl Function {
    /// With `map_rings` the guest is offered the pages of ring registers to map.
    pub fn new(settings: Settings, wire: Wire, map_rings: bool) -> std::io::Result<Function> {
        let rings = if map_rings {
            Some(RingMemory::new()?)
        } else {
            None
        };
        Ok(Function {
            config: ConfigSpace::new(DEVICE_82599, settings.mac, BAR0_SIZE),
            nic: Nic::new(settings),
            msix: vec![0; MSIX_BAR_SIZE as usize].into_boxed_slice(),
            rings,
            slot: Slot {
                memory: GuestMemory::new(),
                vectors: Vectors::new(),
                wire,
                bus_master: false,
            },
            frame: Box::new([0; MAX_FRAME]),
            link: None,
        })
    }

    pub fn nic(&self) -> &Nic {
        &self.nic
    }

    pub(super) fn rings(&self) -> Option<&RingMemory> {
        self.rings.as_ref()
    }

    /// Reads from a region; the range must be inside it.
    pub(super) fn read(
        &mut self,
        region: Region,
        offset: u64,
        bytes: &mut [u8],
    ) -> Result<(), Errno> {
        let at = range(region, offset, bytes.len())?;
        if self.nic.is_removed() {
            bytes.fill(0xFF);
            return Ok(());
        }
        match region {
            Region::Registers => self.read_registers(at, bytes),
            Region::Msix => bytes.copy_from_slice(&self.msix[at..at + bytes.len()]),
            Region::Config => self.config.read(at, bytes),
            Region::Absent => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// Writes to a region; the range must be inside it.
    pub(super) fn write(&mut self, region: Region, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let at = range(region, offset, bytes.len())?;
        match region {
            _ if self.nic.is_removed() => {}
            Region::Registers => self.write_registers(at, bytes),
            Region::Msix => self.write_msix(at, bytes),
            Region::Config => self.write_config(at, bytes),
            Region::Absent => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// A reset of the function, as by a reset of the slot.
    pub(super) fn reset(&mut self) {
        self.nic.reset();
        self.config.reset();
        self.slot.bus_master = false;
        self.msix.fill(0);
        self.sync_rings();
    }

    /// Surprise removal: reads are all ones from now on, nothing else happens.
    pub(super) fn pull_card(&mut self) {
        self.nic.remove();
    }

    /// A client came, whose violations are told anew.
    pub(super) fn begin_record(&mut self) {
        self.nic.begin_record();
    }

    /// The client is gone, and with it the machine: its memory, its interrupts and its power.
    pub(super) fn unplug(&mut self) {
        self.reset();
        self.slot.memory.clear();
        self.slot.vectors.clear();
    }

    /// Takes what the guest wrote to mapped pages of rings that run.
    pub(super) fn poll_rings(&mut self) {
        if let Some(rings) = &self.rings {
            self.nic.poll_rings(&mut self.slot, &rings.pages());
        }
    }

    /// The same for all rings: the pages and the registers agree afterwards.
    pub(super) fn sync_rings(&mut self) {
        if let Some(rings) = &self.rings {
            self.nic.sync_rings(&mut self.slot, &rings.pages());
        }
    }

    /// Lets time pass; says when it must be told the next time.
    pub(super) fn tick(&mut self, now: Duration) -> Option<Duration> {
        self.nic.tick(&mut self.slot, now)
    }

    /// Receives a burst from the wire and follows the cable; says how many frames there were.
    /// A device that may not write to memory has nowhere to put them.
    pub(super) fn poll_wire(&mut self) -> usize {
        let mut frames = 0;
        while frames < BURST {
            let Some(len) = self.slot.wire.receive(&mut self.frame) else {
                break;
            };
            frames += 1;
            if self.slot.bus_master {
                self.nic.receive(&mut self.slot, &self.frame[..len]);
            }
        }
        let up = self.slot.wire.is_up();
        if self.link != Some(up) {
            self.link = Some(up);
            self.nic.set_link(&mut self.slot, up);
        }
        frames
    }

    fn read_registers(&mut self, at: usize, bytes: &mut [u8]) {
        self.sync_rings();
        let whole = is_whole(at, bytes.len());
        let mut offset = register(at);
        let nothing = (!whole).then(|| self.nic.misaligned(offset, None));
        for word in bytes.chunks_mut(4) {
            let value = nothing.unwrap_or_else(|| self.nic.read(&mut self.slot, offset));
            word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
            offset += 4;
        }
        self.sync_rings();
    }

    fn write_registers(&mut self, at: usize, bytes: &[u8]) {
        self.sync_rings();
        let mut offset = register(at);
        if !is_whole(at, bytes.len()) {
            self.nic.misaligned(offset, Some(first_word(bytes)));
            return;
        }
        for word in bytes.chunks(4) {
            self.nic.write(&mut self.slot, offset, first_word(word));
            offset += 4;
        }
        self.sync_rings();
    }

    /// The table is written, the pending bits are not.
    fn write_msix(&mut self, at: usize, bytes: &[u8]) {
        let writable = bytes.len().min((PBA_OFFSET as usize).saturating_sub(at));
        self.msix[at..at + writable].copy_from_slice(&bytes[..writable]);
    }

    fn write_config(&mut self, at: usize, bytes: &[u8]) {
        match self.config.write(at, bytes) {
            ConfigEvent::Nothing => self.slot.bus_master = self.config.is_bus_master(),
            ConfigEvent::FunctionReset => self.reset(),
        }
    }
}

impl Host for Slot {
    fn dma_read(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), DmaFault> {
        self.check_master(address, bytes.len())?;
        self.memory.read(address, bytes)
    }

    fn dma_write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DmaFault> {
        self.check_master(address, bytes.len())?;
        self.memory.write(address, bytes)
    }

    fn interrupt(&mut self, vector: u16) {
        if self.bus_master {
            self.vectors.fire(usize::from(vector));
        }
    }

    fn transmit(&mut self, frame: &[u8]) {
        self.wire.transmit(frame);
    }
}

impl Slot {
    fn check_master(&self, address: u64, len: usize) -> Result<(), DmaFault> {
        if self.bus_master {
            return Ok(());
        }
        Err(DmaFault {
            address,
            len,
            why: DmaFaultKind::NotBusMaster,
        })
    }
}

/// Where an access begins, when all of it is inside the region.
fn range(region: Region, offset: u64, len: usize) -> Result<usize, Errno> {
    let end = u64::try_from(len)
        .ok()
        .and_then(|len| offset.checked_add(len));
    if end.is_none_or(|end| end > region.size()) {
        return Err(Errno::INVAL);
    }
    usize::try_from(offset).map_err(|_| Errno::INVAL)
}

fn register(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn is_whole(at: usize, len: usize) -> bool {
    at.is_multiple_of(4) && len.is_multiple_of(4)
}

/// The first four bytes as a register's value; those that are not there are zero.
fn first_word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    let len = bytes.len().min(4);
    word[..len].copy_from_slice(&bytes[..len]);
    u32::from_le_bytes(word)
}
