//! Frames from a wire through a worker, between ports in memory.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use ixmap::dataplane::bell::Bell;
use ixmap::dataplane::mem::{Arena, Pool};
use ixmap::dataplane::port::{PortQueue, memory};
use ixmap::dataplane::ring::{PacketReceiver, packet_ring};
use ixmap::dataplane::worker::{Attachment, Worker, Worlds};
use ixmap::shared::fib::{
    Action, Adjacency, AdjacencyId, Buckets, Fib, Group, GroupId, HashFields, HashPolicy,
    Interface, Interfaces, Lpm, ReversePath, Rewrite, Table, World,
};
use ixmap::shared::mac::MacAddr;
use ixmap::shared::port::PortId;
use ixmap::shared::reason::{DropReason, PuntReason};
use ixmap::shared::stats::{PortCounters, PortTotals};

use crate::pieces;

const FRAMES: u32 = 256;
/// Of packet memory: the first piece of an input chooses one, if it is a byte.
const FRAME_SIZES: [u32; 3] = [2048, 4096, 16_384];
/// The largest packet of each port's link.
const MTUS: [u16; 4] = [1500, 1500, 9000, 1280];
const PORTS: usize = MTUS.len();
/// Frames that a port sends before it is full.
const ROOM: usize = 32;
/// The port that only takes what it would send back.
const STRICT: usize = 2;
/// The adjacency after those of the ports, which are known: it is not.
const UNKNOWN: u32 = 4;

/// Every frame of the input must be counted out once, be it forwarded, punted or dropped, and none
/// may be lost from the pool.
pub fn pipeline(data: &[u8]) {
    run(data);
}

/// What the ports counted.
pub(crate) fn run(data: &[u8]) -> [PortTotals; PORTS] {
    let pieces = pieces(data);
    let (choice, frames) = match pieces.split_first() {
        Some(([choice], frames)) => (usize::from(*choice), frames),
        _ => (0, &pieces[..]),
    };
    let size = FRAME_SIZES[choice % FRAME_SIZES.len()];
    let (arena, _) = Arena::new(FRAMES, size).expect("memory");
    let pool = Pool::new(Arc::new(arena)).expect("the only pool");
    let mut worker = Worker::new(pool, Arc::default(), Arc::default());
    let mut ends = [0, 1, 2, 3].map(|slot| attach(&mut worker, port(slot)));
    let mut worlds: Worlds = Cache::new(Arc::new(ArcSwap::from_pointee(world())));
    let delivered = deliver(&mut worker, frames);
    while worker.turn(&mut worlds) {}
    let left = collect(&mut worker);
    let totals = [0, 1, 2, 3].map(|slot| ends[slot].0.read());
    for slot in 0..PORTS {
        check(
            &totals[slot],
            delivered[slot],
            left[slot],
            &mut ends[slot].1,
        );
    }
    let forwarded: u64 = totals.iter().map(PortTotals::forwarded).sum();
    assert_eq!(forwarded, left.iter().sum::<u64>(), "forwarded = collected");
    let (_, pool) = worker.queue(port(0)).expect("port 0");
    assert_eq!(pool.available(), FRAMES as usize, "a frame is lost");
    totals
}

/// Lets each frame arrive by the port that its first bytes name, a MAC of ours; how many by each.
fn deliver(worker: &mut Worker, frames: &[&[u8]]) -> [u64; PORTS] {
    let mut delivered = [0; PORTS];
    for bytes in frames {
        let slot = usize::from(bytes.get(5).copied().unwrap_or(0)) % PORTS;
        let (queue, pool) = memory(worker, slot);
        let Some(mut frame) = pool.take() else { break };
        if pool.fill(&mut frame, bytes) {
            queue.deliver(frame);
            delivered[slot] += 1;
        } else {
            pool.give(frame);
        }
    }
    delivered
}

/// Takes what was sent; how much by each port.
fn collect(worker: &mut Worker) -> [u64; PORTS] {
    [0, 1, 2, 3].map(|slot| {
        let (queue, pool) = memory(worker, slot);
        let mut left = 0;
        while let Some(frame) = queue.collect() {
            pool.give(frame);
            left += 1;
        }
        left
    })
}

/// A port's balance.
fn check(totals: &PortTotals, delivered: u64, left: u64, punts: &mut PacketReceiver) {
    assert_eq!((totals.rx_packets, totals.tx_packets), (delivered, left));
    assert_eq!(
        totals.rx_packets,
        totals.forwarded() + totals.punted_total() + totals.dropped_total(),
        "received = forwarded + punted + dropped"
    );
    let mut buffer = [0; FRAME_SIZES[2] as usize];
    let punted = std::iter::from_fn(|| punts.pop(&mut buffer)).count();
    assert_eq!(
        totals.punted_total(),
        punted as u64,
        "punted = to the kernel"
    );
}

fn port(slot: usize) -> PortId {
    PortId::new(slot).expect("a port")
}

fn memory(worker: &mut Worker, slot: usize) -> (&mut memory::Queue, &mut Pool) {
    let (PortQueue::Memory(queue), pool) = worker.queue(port(slot)).expect("a port") else {
        panic!("a port in memory");
    };
    (queue, pool)
}

fn attach(worker: &mut Worker, port: PortId) -> (Arc<PortCounters>, PacketReceiver) {
    let counters = Arc::new(PortCounters::default());
    let (sender, punts) = packet_ring(1 << 16);
    let queue = PortQueue::Memory(memory::Queue::new(ROOM));
    let bell = Arc::new(Bell::new().expect("a pipe"));
    let attachment = Attachment::new(port, queue, Arc::clone(&counters), sender, bell, None);
    worker.attach(Box::new(attachment));
    (counters, punts)
}

/// Four ports with a neighbour each, and [`routes`] of every kind.
fn world() -> World {
    let base = World::default();
    let no_route = base.groups.iter().take(1).cloned();
    let mut interfaces = Interfaces::default();
    let mut adjacencies = Vec::new();
    for (slot, mtu) in MTUS.into_iter().enumerate() {
        let low = u8::try_from(slot).expect("a few ports");
        let interface = Interface {
            mac: MacAddr([2, 0, 0, 0, 0, low]),
            up: true,
            forward_ipv4: true,
            forward_ipv6: true,
            reverse_path: match slot {
                STRICT => ReversePath::Strict,
                _ => ReversePath::Off,
            },
        };
        interfaces.set(port(slot), Some(interface));
        adjacencies.push(Adjacency::Resolved(Rewrite {
            port: port(slot),
            destination: MacAddr([2, 0, 0, 0, 1, low]),
            source: interface.mac,
            mtu,
        }));
    }
    adjacencies.push(Adjacency::Unresolved(port(1)));
    let first = |byte: u8| u32::from(byte) << 24;
    let first_of_ipv6 = |byte: u8| u128::from(byte) << 120;
    World {
        ipv4: routes(first, 0x0a00_0001, 32),
        ipv6: routes(first_of_ipv6, 0xfd << 120 | 1, 128),
        groups: Arc::new(no_route.chain(groups()).collect()),
        adjacencies: Arc::new(adjacencies.into_iter().collect()),
        interfaces: Arc::new(interfaces),
        locals: Arc::new([0x0a00_0001].into_iter().collect()),
        hash: HashPolicy {
            ipv4: HashFields::FiveTuple,
            ipv6: HashFields::FiveTuple,
            seed: 1,
        },
        ..base
    }
}

/// One a route: of the default route, then of those to the first bytes from 21 on. The last is the router's
/// own address's, too.
fn groups() -> impl Iterator<Item = Group> {
    let by = |adjacency| Action::Forward(AdjacencyId::new(adjacency));
    let spread = |legs: &[(u32, u16)]| {
        let legs: Vec<_> = legs
            .iter()
            .map(|(n, w)| (AdjacencyId::new(*n), *w))
            .collect();
        Action::Spread(Buckets::new(&legs).expect("a few legs"))
    };
    let wide = u16::MAX;
    let groups = [
        (by(1), wide),
        (spread(&[(1, 1), (2, 2), (3, 1)]), wide),
        (spread(&[(0, 1), (2, 1), (UNKNOWN, 1)]), wide),
        (by(UNKNOWN), wide),
        (Action::Drop(DropReason::Blackhole), wide),
        (Action::Punt(PuntReason::Unreachable), wide),
        (by(0), wide),
        (by(2), wide),
        (by(3), wide),
        (by(2), 600),
        (Action::Punt(PuntReason::Local), wide),
    ];
    groups
        .into_iter()
        .map(|(action, mtu)| Group { action, mtu })
}

/// A default route, routes to first bytes, and an address of the router.
fn routes<A: Lpm>(first: impl Fn(u8) -> A, own: A, length: u8) -> Fib<A> {
    let last = u32::try_from(groups().count()).expect("a few groups");
    let mut table = Table::default();
    table.insert(first(0), 0, GroupId::new(1));
    for (byte, group) in (21..).zip(2..=last) {
        table.insert(first(byte), 8, GroupId::new(group));
    }
    table.insert(own, length, GroupId::new(last));
    table.commit().expect("a few routes")
}
