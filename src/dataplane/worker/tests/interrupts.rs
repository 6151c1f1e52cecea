//! A real worker asleep on a port that interrupts: an 82599 whose registers are plain memory.

use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::threads::{Rig, until};
use super::*;
use crate::dataplane::mem::{Arena, DmaMap, Region};
use crate::dataplane::port::ixgbe::{
    LastResort, Queue, ReceiveSetup, Ring, Setup as QueueSetup, TransmitSetup, Vector,
};
use crate::dataplane::port::pci::Bar;

const VECTOR: u16 = 3;
/// EIMS_EX and EIMC_EX of the first 32 vectors.
const MASK_SET: u32 = 0xAA0;
const MASK_CLEAR: u32 = 0xAB0;

fn identity(region: &Region) -> DmaMap {
    let segment = (region.base().addr() as u64, region.len() as u64);
    DmaMap::new([segment], region.len()).unwrap()
}

#[test]
fn a_sleeping_worker_has_the_card_wake_it() {
    const ROUNDS: u32 = 40;
    let arena = Arc::new(Arena::new(512, 4096).unwrap().0);
    let sizes = [64, 64];
    let region = Region::new(Ring::bytes(&sizes)).unwrap().0;
    let (region, mut rings) = Ring::carve(region, &sizes).unwrap();
    let bar = Bar::in_memory(0x20000).unwrap();
    let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let queue = Queue::start(QueueSetup {
        registers: bar.clone(),
        transmit: TransmitSetup {
            queue: 0,
            ring: rings.pop().unwrap(),
        },
        receive: vec![ReceiveSetup {
            queue: 0,
            ring: rings.pop().unwrap(),
            vector: Some(Vector {
                number: VECTOR,
                event: event.try_clone().unwrap(),
            }),
            drops_when_empty: false,
        }],
        rings_map: identity(&region),
        arena_map: identity(arena.region()),
        arena: Arc::clone(&arena),
        counters: Arc::default(),
        last_resort: LastResort::new(|| ()),
    });
    let rig = Rig::with_arena(Idle::Adaptive, arena);
    let (punts, _punted) = packet_ring(1 << 12);
    rig.command(Command::Attach(Box::new(Attachment::new(
        port(0),
        PortQueue::Ixgbe(Box::new(queue.unwrap())),
        Arc::default(),
        punts,
        Arc::new(Bell::new().unwrap()),
        None,
    ))));
    let written = |register| {
        until("written", || {
            Some(bar.read(register)).filter(|value| *value != 0)
        })
    };
    let start = Instant::now();
    for _ in 0..ROUNDS {
        assert_eq!(written(MASK_SET), 1 << VECTOR, "armed");
        bar.write(MASK_SET, 0);
        bar.write(MASK_CLEAR, 0);
        rustix::io::write(&event, &1u64.to_ne_bytes()).unwrap();
        assert_eq!(written(MASK_CLEAR), 1 << VECTOR, "woken and disarmed");
    }
    // Woken by its heartbeat alone, the worker would have needed a second a round.
    assert!(start.elapsed() < Duration::from_secs(u64::from(ROUNDS) / 2));
    rig.stop();
}
