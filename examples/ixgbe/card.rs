//! A cheap stand-in for an 82599: its registers are plain memory, and what it would do by DMA is
//! done when it is asked to, on the same core.

#![allow(
    unsafe_code,
    reason = "plays the device's DMA to the rings' and frames' memory"
)]

use std::io;
use std::sync::Arc;

use ixmap::dataplane::mem::{Arena, DmaMap, Region};
use ixmap::dataplane::port::PortQueue;
use ixmap::dataplane::port::ixgbe::{
    Counters, LastResort, Queue, RECEIVE_ENTRIES, ReceiveSetup, Ring, Setup, TRANSMIT_ENTRIES,
    TransmitSetup,
};
use ixmap::dataplane::port::pci::Bar;

use crate::packet::{LENGTH, Packet};

/// Registers of queue 0, and as many bytes as there are registers.
const RECEIVE_TAIL: u32 = 0x1018;
const TRANSMIT_TAIL: u32 = 0x6018;
const REGISTERS: usize = 0x20000;

/// RS of a transmit descriptor; DD of what is written back.
const REPORT: u64 = 1 << 27;
const SENT: u64 = 1 << 32;
/// A receive descriptor's second word: DD, EOP, and the frame's length.
const RECEIVED: u64 = 3 | (LENGTH as u64) << 32;

/// The device's side of a port.
pub(crate) struct Card {
    bar: Bar,
    region: Arc<Region>,
    receive: Side,
    transmit: Side,
}

/// Where the device stands in a ring.
struct Side {
    offset: u64,
    head: u32,
    mask: u32,
}

impl Side {
    fn new(ring: &Ring) -> Side {
        Side {
            offset: ring.offset(),
            head: 0,
            mask: ring.size() - 1,
        }
    }

    /// The two words of the next descriptor, unless the ring is at its end.
    fn next(&mut self, region: &Region, tail: u32) -> Option<*mut u64> {
        if self.head == tail & self.mask {
            return None;
        }
        let at = usize::try_from(self.offset).ok()? + self.head as usize * 16;
        self.head = (self.head + 1) & self.mask;
        // SAFETY: the masked index is below the ring's size, and `Ring::carve` found the ring
        // within the region.
        Some(unsafe { region.base().add(at).cast() })
    }
}

impl Card {
    /// A card, and the driver's queue of it that has frames of `arena`.
    pub(crate) fn plug(arena: &Arc<Arena>) -> io::Result<(Card, PortQueue)> {
        let sizes = [RECEIVE_ENTRIES, TRANSMIT_ENTRIES];
        let (region, _) = Region::new(Ring::bytes(&sizes))?;
        let rings = Ring::carve(region, &sizes);
        let Some((region, rings)) = rings else {
            return Err(io::Error::other("no room for the rings"));
        };
        let Ok([receive, transmit]) = <[Ring; 2]>::try_from(rings) else {
            return Err(io::Error::other("two rings were asked for"));
        };
        let bar = Bar::in_memory(REGISTERS)?;
        let card = Card {
            bar: bar.clone(),
            receive: Side::new(&receive),
            transmit: Side::new(&transmit),
            region: Arc::clone(&region),
        };
        let setup = Setup {
            registers: bar,
            receive: vec![ReceiveSetup {
                queue: 0,
                ring: receive,
                vector: None,
                drops_when_empty: false,
            }],
            transmit: TransmitSetup {
                queue: 0,
                ring: transmit,
            },
            rings_map: identity(&region)?,
            arena: Arc::clone(arena),
            arena_map: identity(arena.region())?,
            counters: Arc::new(Counters::default()),
            last_resort: LastResort::new(|| ()),
        };
        let queue = Queue::start(setup).map_err(io::Error::other)?;
        Ok((card, PortQueue::Ixgbe(Box::new(queue))))
    }

    /// Lets a packet arrive in every free buffer; how many did.
    pub(crate) fn receive<'a>(&mut self, packets: &mut impl Iterator<Item = &'a Packet>) -> u64 {
        let tail = self.bar.read(RECEIVE_TAIL);
        let mut received = 0;
        while let Some(descriptor) = self.receive.next(&self.region, tail)
            && let Some(packet) = packets.next()
        {
            // SAFETY: the driver gave the descriptor to the device, with the address of a buffer
            // of at least 2 KiB (see `identity`) that it lent to it: nobody else touches either.
            unsafe {
                let buffer = descriptor.read_volatile() as *mut Packet;
                buffer.write(*packet);
                descriptor.add(1).write_volatile(RECEIVED);
            }
            received += 1;
        }
        received
    }

    /// Reports everything as sent that is to be reported; how many packets there were.
    pub(crate) fn send(&mut self) -> u64 {
        let tail = self.bar.read(TRANSMIT_TAIL);
        let mut sent = 0;
        while let Some(descriptor) = self.transmit.next(&self.region, tail) {
            // SAFETY: the driver gave the descriptor to the device.
            unsafe {
                let status = descriptor.add(1);
                if status.read_volatile() & REPORT != 0 {
                    status.write_volatile(SENT);
                }
            }
            sent += 1;
        }
        sent
    }
}

/// The device's addresses are the process' own.
fn identity(region: &Region) -> io::Result<DmaMap> {
    let segment = (region.base().addr() as u64, region.len() as u64);
    DmaMap::new([segment], region.len()).ok_or_else(|| io::Error::other("no map of memory"))
}
