//! A worker's port on an 82599 whose registers are plain memory.

use super::*;
use crate::dataplane::mem::{Arena, DmaMap, Region};
use crate::dataplane::port::ixgbe::{
    LastResort, Queue, ReceiveSetup, Ring, Setup as QueueSetup, TransmitSetup, Vector,
};
use crate::dataplane::port::pci::Bar;

/// Frames of the arena, and descriptors of each of the two rings.
pub(super) const FRAMES: u32 = 512;
pub(super) const ENTRIES: u32 = 64;

fn identity(region: &Region) -> DmaMap {
    let segment = (region.base().addr() as u64, region.len() as u64);
    DmaMap::new([segment], region.len()).unwrap()
}

/// The frames, the registers, and port 0.
pub(super) fn card(vector: Option<Vector>) -> (Arc<Arena>, Bar, Box<Attachment>) {
    card_at(0, vector)
}

/// The same as another port.
pub(super) fn card_at(slot: usize, vector: Option<Vector>) -> (Arc<Arena>, Bar, Box<Attachment>) {
    let arena = Arc::new(Arena::new(FRAMES, 4096).unwrap().0);
    let sizes = [ENTRIES; 2];
    let region = Region::new(Ring::bytes(&sizes)).unwrap().0;
    let (region, mut rings) = Ring::carve(region, &sizes).unwrap();
    let bar = Bar::in_memory(0x20000).unwrap();
    let queue = Queue::start(QueueSetup {
        registers: bar.clone(),
        transmit: TransmitSetup {
            queue: 0,
            ring: rings.pop().unwrap(),
        },
        receive: vec![ReceiveSetup {
            queue: 0,
            ring: rings.pop().unwrap(),
            vector,
            drops_when_empty: false,
        }],
        rings_map: identity(&region),
        arena_map: identity(arena.region()),
        arena: Arc::clone(&arena),
        counters: Arc::default(),
        last_resort: LastResort::new(|| ()),
    });
    let (punts, _punted) = packet_ring(1 << 12);
    let attachment = Attachment::new(
        port(slot),
        PortQueue::Ixgbe(Box::new(queue.unwrap())),
        Arc::default(),
        punts,
        Arc::new(Bell::new().unwrap()),
        None,
    );
    (arena, bar, Box::new(attachment))
}
