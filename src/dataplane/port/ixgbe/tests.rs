//! The driver against the modelled device: control's part and the worker's together, as
//! [`super::Device`] joins them.

mod bursts;
mod controller;
mod faults;
mod filters;
mod lifecycle;
mod link;
mod spreading;
mod traffic;
mod wakeups;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::controller::Controller;
use super::setup::Settings;
use super::testing::{MAC, Model};
use super::*;
use crate::dataplane::mem::{Arena, DmaMap, Frame, Pool, Region};
use crate::dataplane::port::{BURST, Burst};
use crate::dataplane::testing::{filled, ports, v4};

/// What differs from bench to bench.
#[derive(Clone, Copy)]
struct Shape {
    receive_queues: u16,
    /// Descriptors of each ring.
    entries: u32,
    frames: u32,
    frame_size: u32,
    mtu: u32,
    promiscuous: bool,
}

const PLAIN: Shape = Shape {
    receive_queues: 1,
    entries: 64,
    frames: 1024,
    frame_size: 4096,
    mtu: DEFAULT_MTU,
    promiscuous: false,
};

const SPREAD: Shape = Shape {
    receive_queues: 4,
    ..PLAIN
};

impl Shape {
    fn settings(self) -> Settings {
        Settings {
            // A card has one at least, whether a worker has it or not.
            queues: u32::from(self.receive_queues.max(1)),
            mtu: self.mtu,
            promiscuous: self.promiscuous,
        }
    }
}

/// A device, its controller, a worker's queue of it, and the worker's pool.
struct Bench {
    model: Model,
    controller: Controller<Model>,
    pool: Pool,
    queue: Option<Queue<Model>>,
    counters: Arc<Counters>,
    /// Where the rings are for the device: receive rings, then the transmit ring.
    rings: Vec<u64>,
    shape: Shape,
}

impl Bench {
    /// A running device with its link up, whose rings have buffers.
    #[track_caller]
    fn new(shape: Shape) -> Bench {
        Bench::on(shape, Model::new())
    }

    /// The same on a device that may have a past.
    #[track_caller]
    fn on(shape: Shape, model: Model) -> Bench {
        let mut bench = Bench::try_new(shape, model).unwrap();
        bench.wait_for_link();
        assert!(bench.receive().is_empty());
        bench
    }

    fn try_new(shape: Shape, model: Model) -> Result<Bench, CardError> {
        let mut controller = Controller::start(model.clone(), &shape.settings())?;
        controller.listen();
        let arena = Arc::new(Arena::new(shape.frames, shape.frame_size).unwrap().0);
        let pool = Pool::new(Arc::clone(&arena)).unwrap();
        let sizes = vec![shape.entries; usize::from(shape.receive_queues) + 1];
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
            counters: Arc::clone(&counters),
            last_resort: model.last_resort(),
        })?;
        controller.receive()?;
        Ok(Bench {
            model,
            controller,
            pool,
            queue: Some(queue),
            counters,
            rings: ring_addresses,
            shape,
        })
    }

    /// Waits for the link, and hears of it.
    #[track_caller]
    fn wait_for_link(&mut self) {
        wait_for_link(&self.model, &self.controller);
        self.controller.events();
        self.model.raised();
    }

    /// What the card says that it lost for this reason, so far.
    fn lost(&mut self, reason: &str) -> u64 {
        self.controller.sample();
        let mut losses = self.controller.losses();
        losses.find(|(name, _)| *name == reason).unwrap().1
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
        let bursts = packets.chunks(BURST);
        bursts.map(|packets| self.send_burst(packets)).sum()
    }

    fn send_burst(&mut self, packets: &[Vec<u8>]) -> usize {
        let mut list: Burst = packets
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

    /// Closes the queue: every frame is the pool's again, once.
    #[track_caller]
    fn close(mut self) -> Controller<Model> {
        self.pool.give_all(self.queue.take().unwrap().close());
        let frames: Vec<Frame> = std::iter::from_fn(|| self.pool.take()).collect();
        assert_eq!(frames.len(), self.shape.frames as usize);
        let starts: BTreeSet<_> = frames
            .iter()
            .map(|frame| self.pool.bytes(frame).as_ptr())
            .collect();
        assert_eq!(starts.len(), frames.len(), "no frame twice");
        frames.into_iter().for_each(|frame| self.pool.give(frame));
        self.controller
    }

    /// The same, and the driver did nothing that the datasheet does not allow.
    #[track_caller]
    fn close_clean(self) {
        self.model.assert_clean();
        let model = self.model.clone();
        let mut controller = self.close();
        model.assert_clean();
        assert!(controller.stop());
        model.assert_clean();
        assert!(!model.is_isolated(), "the queues stopped by themselves");
    }
}

#[track_caller]
fn wait_for_link(model: &Model, controller: &Controller<Model>) {
    let millisecond = Duration::from_millis(1);
    let up = (0..100).any(|_| {
        model.pass(millisecond);
        controller.link().up
    });
    assert!(up, "the link is up");
}

/// Calls `test` for each case, many at once: what takes time is mostly sleep.
fn for_each_at_once(cases: Vec<usize>, test: impl Fn(usize) + Sync) {
    const THREADS: usize = 16;
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            let mine = cases.iter().skip(first).step_by(THREADS);
            let test = &test;
            scope.spawn(move || mine.for_each(|case| test(*case)));
        }
    });
}

/// A frame of `length` bytes that tells its number.
fn packet(number: usize, length: usize) -> Vec<u8> {
    let flow = u16::try_from(number % 50_000).unwrap();
    let mut udp = v4([20, 0, 0, 1]);
    udp.payload = ports(flow, 5000, length - 34);
    let last = u8::try_from(number % 251).unwrap();
    udp.payload[4..].fill(last);
    udp.frame_to(MAC)
}

fn packets(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers
        .map(|number| packet(number, 60 + number % 1400))
        .collect()
}
