//! The worker's bookkeeping, turn by turn in the test's own thread; `threads` and
//! `interrupts` run real ones, `model` its way to sleep; `lines` is about where its memory lies.

mod bad_input;
mod card;
mod closing;
mod interrupts;
mod lines;
mod model;
mod threads;

use std::collections::BTreeSet;
use std::sync::mpsc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::dataplane::forward::tests::{frames, world};
use crate::dataplane::port::{PortQueue, memory};
use crate::dataplane::ring::{PacketReceiver, PacketSender, packet_ring};
use crate::dataplane::testing::{filled, pool, port, v4};
use crate::shared::reason::{DropReason, InjectDropReason, PuntReason};
use crate::shared::stats::{PortCounters, PortTotals};

const FRAMES: u32 = 256;

/// The test's ends of an attached port.
struct Ends {
    counters: Arc<PortCounters>,
    punts: PacketReceiver,
    injections: PacketSender,
}

fn attachment(slot: usize, queue: memory::Queue, punt_ring: usize) -> (Box<Attachment>, Ends) {
    let counters = Arc::new(PortCounters::default());
    let (punt_sender, punts) = packet_ring(punt_ring);
    let (injections, injected) = packet_ring(1 << 16);
    let attachment = Attachment::new(
        port(slot),
        PortQueue::Memory(queue),
        Arc::clone(&counters),
        punt_sender,
        Arc::new(Bell::new().unwrap()),
        Some(Injections {
            frames: injected,
            room: Arc::new(Bell::new().unwrap()),
        }),
    );
    let ends = Ends {
        counters,
        punts,
        injections,
    };
    (Box::new(attachment), ends)
}

/// What a worker has handed over by now.
#[track_caller]
fn taken(taker: Taker<PortQueue>) -> PortQueue {
    match taker.take(Duration::ZERO) {
        Taken::Thing(queue) => queue,
        other => panic!("{other:?}"),
    }
}

/// A worker that is turned by hand.
struct Bench {
    worker: Worker,
    worlds: Cache<Arc<ArcSwap<World>>, Arc<World>>,
}

impl Bench {
    fn new() -> Bench {
        Bench::of(pool(FRAMES))
    }

    fn of(pool: Pool) -> Bench {
        Bench {
            worker: Worker::new(pool, Arc::default(), Arc::default()),
            worlds: Cache::new(Arc::new(ArcSwap::from_pointee(world()))),
        }
    }

    fn attach(&mut self, slot: usize, room: usize, punt_ring: usize) -> Ends {
        let (attachment, ends) = attachment(slot, memory::Queue::new(room), punt_ring);
        self.worker.attach(attachment);
        ends
    }

    fn queue(&mut self, slot: usize) -> &mut memory::Queue {
        let attachment = self.worker.ports[slot].as_mut().unwrap();
        let PortQueue::Memory(queue) = &mut attachment.queue else {
            panic!("a memory port")
        };
        queue
    }

    fn deliver(&mut self, slot: usize, bytes: &[u8]) {
        let frame = filled(&mut self.worker.pool, bytes);
        self.queue(slot).deliver(frame);
    }

    /// Turns until nothing moves.
    fn drain(&mut self) {
        while self.worker.turn(&mut self.worlds) {}
    }

    /// What left by the port since the last look; the frames go back to the pool.
    fn collect(&mut self, slot: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while let Some(frame) = self.queue(slot).collect() {
            packets.push(self.worker.pool.bytes(&frame).to_vec());
            self.worker.pool.give(frame);
        }
        packets
    }
}

fn count(packets: &mut PacketReceiver) -> u64 {
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| packets.pop(&mut buffer))
        .map(|_| 1)
        .sum()
}

/// What is tight on the way out.
#[derive(Clone, Copy, Debug)]
struct Tightness {
    /// Frames that each egress takes.
    room: usize,
    punt_ring: usize,
    /// Whether port 2 is there at all.
    second_egress: bool,
}

fn tightness() -> impl Strategy<Value = Tightness> {
    let rings = prop_oneof![Just(1 << 18), 100usize..20_000];
    (
        prop_oneof![Just(256usize), 0usize..12],
        rings,
        any::<bool>(),
    )
        .prop_map(|(room, punt_ring, second_egress)| Tightness {
            room,
            punt_ring,
            second_egress,
        })
}

/// Sends `traffic` through a worker, checks every balance there is, and returns port 0's counters.
fn balance(tight: Tightness, traffic: &[Vec<u8>]) -> PortTotals {
    let mut bench = Bench::new();
    let mut ingress = bench.attach(0, tight.room, tight.punt_ring);
    let mut egress = vec![(1, bench.attach(1, tight.room, 1 << 12))];
    if tight.second_egress {
        egress.push((2, bench.attach(2, tight.room, 1 << 12)));
    }
    for frame in traffic {
        bench.deliver(0, frame);
    }
    bench.drain();
    let totals = ingress.counters.read();
    let bytes: usize = traffic.iter().map(Vec::len).sum();
    assert_eq!(totals.rx_packets, traffic.len() as u64);
    assert_eq!(totals.rx_bytes, bytes as u64);
    assert_eq!(
        totals.rx_packets,
        totals.forwarded() + totals.punted_total() + totals.dropped_total(),
        "received = forwarded + punted + dropped"
    );
    assert_eq!(count(&mut ingress.punts), totals.punted_total());
    egress.push((0, ingress));
    let mut left = 0;
    for (slot, ends) in egress {
        let packets = bench.collect(slot);
        let sent = ends.counters.read();
        assert_eq!(sent.tx_packets, packets.len() as u64);
        assert_eq!(
            sent.tx_bytes,
            packets.iter().map(|p| p.len() as u64).sum::<u64>()
        );
        left += sent.tx_packets;
    }
    assert_eq!(totals.forwarded(), left);
    let own = &bench.worker.counters;
    assert_eq!(own.forwarded_ipv4.get(), totals.forwarded_ipv4);
    assert_eq!(own.forwarded_ipv6.get(), totals.forwarded_ipv6);
    assert_eq!(
        bench.worker.pool.available(),
        FRAMES as usize,
        "a frame is lost"
    );
    totals
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_packet_is_counted_out_once_and_no_frame_is_lost(
        tight in tightness(), traffic in vec(frames(), 0..150),
    ) {
        balance(tight, &traffic);
    }
}

/// Without this the balance could hold for want of the hard cases.
#[test]
fn the_traffic_meets_full_rings_and_missing_ports() {
    let mut runner = TestRunner::deterministic();
    let mut dropped: BTreeSet<DropReason> = BTreeSet::new();
    for _ in 0..20 {
        let setting = (tightness(), vec(frames(), 120));
        let (tight, traffic) = setting.new_tree(&mut runner).unwrap().current();
        let totals = balance(tight, &traffic);
        let met = DropReason::ALL
            .iter()
            .filter(|r| totals.dropped[r.index()] > 0);
        dropped.extend(met.copied());
    }
    for reason in [
        DropReason::TxFull,
        DropReason::EgressGone,
        DropReason::PuntRingFull,
    ] {
        assert!(dropped.contains(&reason), "{reason:?}");
    }
}

#[test]
fn packets_keep_their_order_on_each_egress() {
    let mut bench = Bench::new();
    let _ends: Vec<Ends> = (0..3)
        .map(|slot| bench.attach(slot, 256, 1 << 16))
        .collect();
    for n in 0..200u8 {
        let mut packet = v4([20 + n % 2, 0, n, 1]);
        packet.payload[8] = n;
        bench.deliver(0, &packet.frame());
    }
    bench.drain();
    let mut left = 0;
    for slot in [1, 2] {
        let numbers: Vec<u8> = bench.collect(slot).iter().map(|p| p[42]).collect();
        assert!(numbers.is_sorted(), "port {slot}: {numbers:?}");
        assert!(!numbers.is_empty());
        left += numbers.len();
    }
    assert_eq!(left, 200);
}

#[test]
fn a_crowded_punt_ring_still_takes_what_keeps_routes_alive() {
    let mut bench = Bench::new();
    let ends = bench.attach(0, 0, 4096);
    let bgp = crate::dataplane::testing::V4 {
        protocol: 6,
        payload: crate::dataplane::testing::ports(179, 40000, 40),
        ..v4([10, 0, 0, 1])
    };
    for _ in 0..100 {
        bench.deliver(0, &v4([10, 0, 0, 1]).frame());
    }
    for _ in 0..8 {
        bench.deliver(0, &bgp.frame());
    }
    bench.drain();
    let totals = ends.counters.read();
    assert!(totals.dropped[DropReason::PuntRingFull.index()] > 0);
    assert_eq!(totals.punted[PuntReason::Routing.index()], 8);
}

#[test]
fn a_flood_of_one_class_becomes_that_class_s_drops() {
    let mut bench = Bench::new();
    let mut ends = bench.attach(0, 0, 1 << 20);
    let traffic = vec![v4([99, 0, 0, 1]).frame(); 200];
    for _ in 0..40 {
        for frame in &traffic {
            bench.deliver(0, frame);
        }
        bench.drain();
        count(&mut ends.punts);
    }
    let totals = ends.counters.read();
    assert!(totals.dropped[DropReason::LimitNoRoute.index()] > 0);
    assert_eq!(totals.punted_total() + totals.dropped_total(), 40 * 200);
    assert_eq!(bench.worker.pool.available(), FRAMES as usize);
}

#[test]
fn injections_leave_by_their_port_or_are_counted_as_dropped() {
    let mut bench = Bench::new();
    let mut ends = bench.attach(1, 10, 1 << 12);
    for n in 0..30u8 {
        assert!(ends.injections.push(&[n; 60]));
    }
    assert!(ends.injections.push(&[0; 1793]), "longer than a frame");
    bench.drain();
    let sent = bench.collect(1);
    assert_eq!(sent, (0..10u8).map(|n| vec![n; 60]).collect::<Vec<_>>());
    let totals = ends.counters.read();
    assert_eq!((totals.tx_packets, totals.tx_bytes), (10, 600));
    let dropped = |reason: InjectDropReason| totals.inject_dropped[reason.index()];
    assert_eq!(dropped(InjectDropReason::TxFull), 20);
    assert_eq!(dropped(InjectDropReason::TooLong), 1);
    assert_eq!(
        totals.rx_packets + totals.dropped_total(),
        0,
        "not received"
    );
    assert_eq!(bench.worker.pool.available(), FRAMES as usize);
}

#[test]
fn injections_without_a_free_frame_are_counted() {
    let mut bench = Bench::new();
    let mut ends = bench.attach(1, 10, 1 << 12);
    let held: Vec<_> = std::iter::from_fn(|| bench.worker.pool.take()).collect();
    assert!(ends.injections.push(&[0; 60]));
    bench.drain();
    let dropped = ends.counters.inject_dropped(InjectDropReason::NoBuffer);
    assert_eq!(dropped.get(), 1);
    held.into_iter()
        .for_each(|frame| bench.worker.pool.give(frame));
}

#[test]
fn what_was_received_ahead_counts_when_its_turn_comes_and_goes_with_its_port() {
    let mut bench = Bench::new();
    let ends: Vec<Ends> = (0..3)
        .map(|slot| bench.attach(slot, 256, 1 << 12))
        .collect();
    for n in 0..200u8 {
        bench.deliver(0, &v4([20, 0, n, 1]).frame());
    }
    for turns in 1..=2u64 {
        assert!(bench.worker.turn(&mut bench.worlds));
        assert_eq!(ends[0].counters.rx_packets.get(), turns * 64);
        assert_eq!(bench.worker.ports[0].as_ref().unwrap().ahead.len(), 64);
    }
    let _replaced = bench.attach(0, 256, 1 << 12);
    let sent: usize = (1..3).map(|slot| bench.collect(slot).len()).sum();
    assert_eq!(sent, 128);
    assert_eq!(bench.worker.pool.available(), FRAMES as usize);
}

#[test]
fn a_detached_or_replaced_port_gives_its_frames_back() {
    let mut bench = Bench::new();
    let (commands, obeyed) = mpsc::channel();
    let _first = bench.attach(0, 8, 1 << 12);
    bench.deliver(0, &v4([20, 0, 0, 1]).frame());
    let _second = bench.attach(0, 8, 1 << 12);
    assert_eq!(bench.worker.pool.available(), FRAMES as usize, "replaced");
    bench.deliver(0, &v4([20, 0, 0, 1]).frame());
    let (done, detached) = handover();
    commands.send(Command::Detach(port(0), done)).unwrap();
    assert!(bench.worker.obey(&obeyed));
    let frames = taken(detached).close();
    commands.send(Command::Reclaim(port(0), frames)).unwrap();
    assert!(bench.worker.obey(&obeyed));
    assert_eq!(bench.worker.pool.available(), FRAMES as usize, "detached");
    assert!(
        !bench.worker.turn(&mut bench.worlds),
        "nothing left to poll"
    );
    commands.send(Command::Stop).unwrap();
    assert!(!bench.worker.obey(&obeyed));
}
