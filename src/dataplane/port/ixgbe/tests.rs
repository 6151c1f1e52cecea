//! The worker's queue against the modelled device.

mod controller;
mod faults;
mod link;
mod traffic;
mod wakeups;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::testing::Model;
use super::*;
use crate::dataplane::mem::{Arena, DmaMap, Frame, Holder, Pool, Region};
use crate::dataplane::port::{Burst, TransmitList};
use crate::dataplane::testing::{filled, port, ports, v4};

/// What differs from bench to bench.
#[derive(Clone, Copy)]
struct Shape {
    receive_queues: u16,
    /// Descriptors of each ring.
    entries: u32,
    frames: u32,
    frame_size: u32,
}

const PLAIN: Shape = Shape {
    receive_queues: 1,
    entries: 64,
    frames: 1024,
    frame_size: 4096,
};

const SPREAD: Shape = Shape {
    receive_queues: 4,
    ..PLAIN
};

/// A device, a worker's queue of it, and the worker's pool.
struct Bench {
    model: Model,
    pool: Pool,
    queue: Option<Queue<Model>>,
    counters: Arc<Counters>,
    /// Where the rings are for the device: receive rings, then the transmit ring.
    rings: Vec<u64>,
    shape: Shape,
}

impl Bench {
    /// A running device, whose rings have buffers.
    fn new(shape: Shape) -> Bench {
        let mut bench = Bench::try_new(shape, Model::new()).unwrap();
        assert!(bench.receive().is_empty());
        bench
    }

    fn try_new(shape: Shape, model: Model) -> Result<Bench, QueueError> {
        model.bring_up();
        let queues = u8::try_from(shape.receive_queues).unwrap();
        if queues > 1 {
            model.spread(queues);
        }
        model.interrupts(u32::from(queues));
        let arena = Arc::new(Arena::new(shape.frames, shape.frame_size).unwrap().0);
        let pool = Pool::new(Arc::clone(&arena)).unwrap();
        let sizes = vec![shape.entries; usize::from(queues) + 1];
        let region = Region::new(Ring::bytes(&sizes)).unwrap().0;
        let (region, mut rings) = Ring::carve(region, &sizes).unwrap();
        let rings_map = model.map_dma(&region);
        let addresses = |map: &DmaMap| {
            rings
                .iter()
                .map(|ring| map.address(ring.offset()))
                .collect()
        };
        let ring_addresses = addresses(&rings_map);
        let transmit = TransmitSetup {
            queue: 0,
            ring: rings.pop().unwrap(),
        };
        let receive = (0..).zip(rings).map(|(queue, ring)| ReceiveSetup {
            queue,
            ring,
            vector: Some(Vector {
                number: queue,
                event: model.event(queue),
            }),
            drops_when_empty: shape.receive_queues > 1,
        });
        let counters = Arc::new(Counters::default());
        let queue = Queue::start(Setup {
            registers: model.clone(),
            receive: receive.collect(),
            transmit,
            rings_map,
            arena_map: model.map_dma(arena.region()),
            arena,
            holder: Holder::port(port(0)),
            counters: Arc::clone(&counters),
            last_resort: model.last_resort(),
        })?;
        Ok(Bench {
            model,
            pool,
            queue: Some(queue),
            counters,
            rings: ring_addresses,
            shape,
        })
    }

    fn queue(&mut self) -> &mut Queue<Model> {
        self.queue.as_mut().unwrap()
    }

    /// Receives one burst, and gives the frames back.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut burst = Burst::new();
        self.queue
            .as_mut()
            .unwrap()
            .receive(&mut self.pool, &mut burst);
        let mut packets = Vec::new();
        for frame in burst {
            packets.push(self.pool.bytes(&frame).to_vec());
            self.pool.give(frame);
        }
        packets
    }

    /// Receives until a burst is empty.
    fn receive_all(&mut self) -> Vec<Vec<u8>> {
        let bursts = std::iter::from_fn(|| Some(self.receive()).filter(|burst| !burst.is_empty()));
        bursts.flatten().collect()
    }

    /// Sends frames with these bytes; how many found no room, which are given back.
    fn send(&mut self, packets: &[Vec<u8>]) -> usize {
        let mut list: TransmitList = packets
            .iter()
            .map(|packet| filled(&mut self.pool, packet))
            .collect();
        self.queue
            .as_mut()
            .unwrap()
            .transmit(&mut self.pool, &mut list);
        let left = list.len();
        list.into_iter().for_each(|frame| self.pool.give(frame));
        left
    }

    fn tend(&mut self) -> bool {
        self.queue.as_mut().unwrap().tend(&mut self.pool)
    }

    /// Drops the queue: every frame is the pool's again, once.
    #[track_caller]
    fn close(mut self) {
        let holder = self.queue().holder();
        drop(self.queue.take());
        self.pool.reclaim(holder);
        let frames: Vec<Frame> = std::iter::from_fn(|| self.pool.take()).collect();
        assert_eq!(frames.len(), self.shape.frames as usize);
        let starts: BTreeSet<_> = frames
            .iter()
            .map(|frame| self.pool.bytes(frame).as_ptr())
            .collect();
        assert_eq!(starts.len(), frames.len(), "no frame twice");
        frames.into_iter().for_each(|frame| self.pool.give(frame));
    }

    /// The same, and the driver did nothing that the datasheet does not allow.
    #[track_caller]
    fn close_clean(self) {
        self.model.assert_clean();
        let model = self.model.clone();
        self.close();
        model.assert_clean();
        assert!(!model.is_isolated(), "the queues stopped by themselves");
    }
}

/// A frame of `length` bytes that tells its number.
fn packet(number: usize, length: usize) -> Vec<u8> {
    let flow = u16::try_from(number % 50_000).unwrap();
    let mut udp = v4([20, 0, 0, 1]);
    udp.payload = ports(flow, 5000, length - 34);
    let last = u8::try_from(number % 251).unwrap();
    udp.payload[4..].fill(last);
    udp.frame()
}

fn packets(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers
        .map(|number| packet(number, 60 + number % 1400))
        .collect()
}
