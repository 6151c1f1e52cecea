//! A worker with two ports of the driver, and the bare rings of both, one turn after the other.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use ixmap::dataplane::mem::{Arena, Pool};
use ixmap::dataplane::port::{Burst, PortQueue};
use ixmap::dataplane::worker::{Worker, Worlds};
use ixmap::shared::fib::World;
use ixmap::shared::port::PortId;
use ixmap::shared::stats::PortCounters;

use crate::card::Card;
use crate::packet::Packet;
use crate::port::attachment;
use crate::world::{furnish, neighbour};

const FRAMES: u32 = 4096;
const FRAME_SIZE: u32 = 4096;

/// What happens between receiving and sending.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing.
    Bare,
    /// All that a worker does.
    Whole,
}

pub(crate) struct Router {
    worker: Worker,
    worlds: Worlds,
    near: Port,
    far: Port,
    burst: Burst,
    pub(crate) packets: u64,
    pub(crate) not_forwarded: u64,
}

/// A port of the worker, and what stands in for its card.
struct Port {
    id: PortId,
    card: Card,
    counters: Arc<PortCounters>,
}

impl Port {
    fn plug(id: PortId, arena: &Arc<Arena>, worker: &mut Worker) -> io::Result<Port> {
        let (card, queue) = Card::plug(arena)?;
        let counters: Arc<PortCounters> = Arc::default();
        worker.attach(attachment(id, queue, Arc::clone(&counters))?);
        Ok(Port { id, card, counters })
    }

    fn queue<'a>(&self, worker: &'a mut Worker) -> io::Result<(&'a mut PortQueue, &'a mut Pool)> {
        let queue = worker.queue(self.id);
        queue.ok_or_else(|| io::Error::other("a port is missing"))
    }
}

impl Router {
    /// A router with the routes of `world`, whose groups are 1 to `largest` + 1.
    pub(crate) fn new(world: World, largest: u32) -> io::Result<Router> {
        let port = |slot| PortId::new(slot).ok_or_else(|| io::Error::other("no such port"));
        let (ingress, egress) = (port(0)?, port(1)?);
        let arena = Arc::new(Arena::new(FRAMES, FRAME_SIZE)?.0);
        let pool = Pool::new(Arc::clone(&arena));
        let pool = pool.ok_or_else(|| io::Error::other("a second pool"))?;
        let mut worker = Worker::new(pool, Arc::default(), Arc::default());
        let near = Port::plug(ingress, &arena, &mut worker)?;
        let far = Port::plug(egress, &arena, &mut worker)?;
        let world = furnish(world, largest, ingress, egress, neighbour);
        Ok(Router {
            worker,
            worlds: Cache::new(Arc::new(ArcSwap::from_pointee(world))),
            near,
            far,
            burst: Burst::new(),
            packets: 0,
            not_forwarded: 0,
        })
    }

    /// Nanoseconds per packet, the card's part off the clock.
    pub(crate) fn round<'a>(
        &mut self,
        work: Work,
        stream: &mut impl Iterator<Item = &'a Packet>,
        least: Duration,
    ) -> io::Result<f64> {
        let (mut elapsed, mut packets, mut sent) = (Duration::ZERO, 0, 0);
        while elapsed < least {
            // The first look gives the card its buffers.
            let arrived = self.near.card.receive(stream);
            let start = Instant::now();
            match work {
                Work::Bare => self.move_all()?,
                Work::Whole => self.forward(arrived)?,
            }
            elapsed += start.elapsed();
            packets += arrived;
            sent += self.far.card.send();
        }
        self.packets += packets;
        self.not_forwarded += packets - sent;
        Ok(elapsed.as_secs_f64() * 1e9 / packets as f64)
    }

    /// What has arrived leaves as it is.
    fn move_all(&mut self) -> io::Result<()> {
        loop {
            let (queue, pool) = self.near.queue(&mut self.worker)?;
            queue.receive(pool, &mut self.burst);
            if self.burst.is_empty() {
                return Ok(());
            }
            let (queue, pool) = self.far.queue(&mut self.worker)?;
            queue.transmit(pool, &mut self.burst);
            pool.give_all(self.burst.drain(..));
        }
    }

    /// A worker's turns until so many packets more have been received, which is at least one turn.
    fn forward(&mut self, arrived: u64) -> io::Result<()> {
        let received = &self.near.counters.rx_packets;
        let end = received.get() + arrived;
        loop {
            let before = received.get();
            self.worker.turn(&mut self.worlds);
            match received.get() {
                now if now >= end => return Ok(()),
                now if now == before => return Err(io::Error::other("a packet was refused")),
                _ => {}
            }
        }
    }
}
