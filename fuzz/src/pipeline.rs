//! Frames from a wire through a worker, between ports in memory.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use ixmap::dataplane::bell::Bell;
use ixmap::dataplane::mem::{Arena, Pool};
use ixmap::dataplane::port::{PortQueue, memory};
use ixmap::dataplane::ring::{PacketReceiver, packet_ring};
use ixmap::dataplane::worker::{Attachment, Worker, Worlds};
use ixmap::shared::fib::{
    Action, Adjacency, AdjacencyId, Group, GroupId, Interface, Interfaces, Lpm, ReversePath,
    Rewrite, Table, World,
};
use ixmap::shared::mac::MacAddr;
use ixmap::shared::port::PortId;
use ixmap::shared::reason::PuntReason;
use ixmap::shared::stats::{PortCounters, PortTotals};

use crate::pieces;

const FRAMES: u32 = 256;
const FRAME_SIZE: u32 = 2048;
/// Groups of the world, behind the one that every world has.
const NEAR: u32 = 1;
const LOCAL: u32 = 2;

/// Every frame of the input must be counted out once, be it forwarded, punted or dropped, and none
/// may be lost from the pool.
pub fn pipeline(data: &[u8]) {
    let totals = run(data);
    assert_eq!(
        totals.rx_packets,
        totals.forwarded() + totals.punted_total() + totals.dropped_total(),
        "received = forwarded + punted + dropped"
    );
}

/// Frames that were forwarded.
#[cfg(test)]
pub(crate) fn forwarded(data: &[u8]) -> u64 {
    run(data).forwarded()
}

fn run(data: &[u8]) -> PortTotals {
    let (arena, _) = Arena::new(FRAMES, FRAME_SIZE).expect("memory");
    let pool = Pool::new(Arc::new(arena)).expect("the only pool");
    let mut worker = Worker::new(pool, Arc::default(), Arc::default());
    let ends: Vec<_> = (0..2).map(|slot| attach(&mut worker, port(slot))).collect();
    let mut worlds: Worlds = Cache::new(Arc::new(ArcSwap::from_pointee(world())));
    let mut delivered = 0;
    for bytes in pieces(data) {
        let (PortQueue::Memory(queue), pool) = worker.queue(port(0)).expect("port 0") else {
            panic!("a port in memory");
        };
        let Some(mut frame) = pool.take() else { break };
        if pool.fill(&mut frame, bytes) {
            queue.deliver(frame);
            delivered += 1;
        } else {
            pool.give(frame);
        }
    }
    while worker.turn(&mut worlds) {}
    let mut left = 0;
    for slot in 0..2 {
        let (PortQueue::Memory(queue), pool) = worker.queue(port(slot)).expect("a port") else {
            panic!("a port in memory");
        };
        while let Some(frame) = queue.collect() {
            pool.give(frame);
            left += 1;
        }
    }
    let totals = ends[0].0.read();
    assert_eq!((totals.rx_packets, totals.forwarded()), (delivered, left));
    let (_, pool) = worker.queue(port(0)).expect("port 0");
    assert_eq!(pool.available(), FRAMES as usize, "a frame is lost");
    totals
}

fn port(slot: usize) -> PortId {
    PortId::new(slot).expect("a port")
}

fn attach(worker: &mut Worker, port: PortId) -> (Arc<PortCounters>, PacketReceiver) {
    let counters = Arc::new(PortCounters::default());
    let (sender, punts) = packet_ring(1 << 16);
    let queue = PortQueue::Memory(memory::Queue::new(64));
    let bell = Arc::new(Bell::new().expect("a pipe"));
    let attachment = Attachment::new(port, queue, Arc::clone(&counters), sender, bell, None);
    worker.attach(Box::new(attachment));
    (counters, punts)
}

/// Default routes by port 1, and an address of the router's own.
fn world() -> World {
    let base = World::default();
    let actions = [
        Action::Forward(AdjacencyId::new(0)),
        Action::Punt(PuntReason::Local),
    ];
    let groups = actions.map(|action| Group {
        action,
        mtu: u16::MAX,
    });
    let no_route = base.groups.iter().take(1).cloned();
    let mut interfaces = Interfaces::default();
    for (slot, low) in [(0, 0), (1, 1)] {
        let interface = Interface {
            mac: MacAddr([2, 0, 0, 0, 0, low]),
            up: true,
            forward_ipv4: true,
            forward_ipv6: true,
            reverse_path: ReversePath::Off,
        };
        interfaces.set(port(slot), Some(interface));
    }
    let rewrite = Rewrite {
        port: port(1),
        destination: MacAddr([2, 0, 0, 0, 1, 1]),
        source: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
    };
    World {
        ipv4: routes(0, 0x0a00_0001, 32),
        ipv6: routes(0, 0xfd << 120 | 1, 128),
        groups: Arc::new(no_route.chain(groups).collect()),
        adjacencies: Arc::new([Adjacency::Resolved(rewrite)].into_iter().collect()),
        interfaces: Arc::new(interfaces),
        ..base
    }
}

/// A default route by port 1, and an address of the router.
fn routes<A: Lpm>(any: A, own: A, length: u8) -> ixmap::shared::fib::Fib<A> {
    let mut table = Table::default();
    table.insert(any, 0, GroupId::new(NEAR));
    table.insert(own, length, GroupId::new(LOCAL));
    table.commit().expect("two routes")
}
