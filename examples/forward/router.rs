//! A worker with two ports in memory, whose packets come back to it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use ixmap::dataplane::mem::{Arena, Pool};
use ixmap::dataplane::port::{Burst, PortQueue, memory};
use ixmap::dataplane::worker::{Worker, Worlds};
use ixmap::shared::fib::World;
use ixmap::shared::port::PortId;
use ixmap_tables::{Address, Route};

use crate::naive::Naive;
use crate::packet::{LENGTH, OWN, Packet};
use crate::port::attachment;
use crate::world::{furnish, neighbour};

const FRAME_SIZE: u32 = 2048;
/// Passes between two times that packets are written anew: each takes one off their TTL of 64.
const PASSES: usize = 60;

/// What all workers forward by.
pub(crate) struct Published {
    ingress: PortId,
    egress: PortId,
    /// Its next hops have MACs of their own,
    distinct: Arc<ArcSwap<World>>,
    /// or the router's: what leaves can arrive again as it is.
    circular: Arc<ArcSwap<World>>,
}

impl Published {
    pub(crate) fn new<A: Address>(world: &World, routes: &[Route<A>]) -> io::Result<Published> {
        let port = |slot| PortId::new(slot).ok_or_else(|| io::Error::other("no such port"));
        let (ingress, egress) = (port(0)?, port(1)?);
        let largest = routes.iter().map(|route| route.id).max().unwrap_or(0);
        let furnished = |mac: fn(u32) -> [u8; 6]| {
            let world = furnish(world.clone(), largest, ingress, egress, mac);
            Arc::new(ArcSwap::from_pointee(world))
        };
        Ok(Published {
            ingress,
            egress,
            distinct: furnished(neighbour),
            circular: furnished(|_| OWN),
        })
    }
}

pub(crate) struct Router {
    worker: Worker,
    ingress: PortId,
    egress: PortId,
    distinct: Worlds,
    circular: Worlds,
}

impl Router {
    pub(crate) fn new(published: &Published, frames: u32, burst: usize) -> io::Result<Router> {
        let (ingress, egress) = (published.ingress, published.egress);
        let (arena, _) = Arena::new(frames, FRAME_SIZE)?;
        let pool = Pool::new(Arc::new(arena)).ok_or_else(|| io::Error::other("a second pool"))?;
        let mut worker = Worker::new(pool, Arc::default(), Arc::default());
        for port in [ingress, egress] {
            let queue = memory::Queue::new(frames as usize).with_burst(burst);
            let queue = PortQueue::Memory(queue);
            worker.attach(attachment(port, queue, Arc::default())?);
        }
        Ok(Router {
            worker,
            ingress,
            egress,
            distinct: Cache::new(Arc::clone(&published.distinct)),
            circular: Cache::new(Arc::clone(&published.circular)),
        })
    }

    /// Compares one pass with `naive`.
    pub(crate) fn check<A: Address>(
        &mut self,
        packets: &[(A, Packet)],
        naive: &Naive,
    ) -> Result<(), String> {
        self.fill(packets);
        while self.worker.turn(&mut self.distinct) {}
        let mut sent = memory::Ring::new();
        self.sent(&mut sent);
        let mut sent = sent.into_iter().flatten();
        for (destination, packet) in packets {
            let Some(wanted) = naive.forward(*destination, packet) else {
                continue;
            };
            let frame = sent.next().ok_or("packets are missing")?;
            let (_, pool) = self.queue(self.egress).ok_or("a port is missing")?;
            if pool.bytes(&frame) != wanted {
                let address = destination.to_ip();
                let got = pool.bytes(&frame);
                return Err(format!("to {address}: {got:02x?} instead of {wanted:02x?}"));
            }
            pool.give(frame);
        }
        match sent.next() {
            None => Ok(()),
            Some(_) => Err("more packets than were sent".to_owned()),
        }
    }

    /// Nanoseconds a packet: the median over passes.
    pub(crate) fn measure<A>(&mut self, packets: &[(A, Packet)], time: Duration) -> f64 {
        let mut passes = Vec::new();
        let mut sent = memory::Ring::new();
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.fill(packets);
            for _ in 0..PASSES {
                let start = Instant::now();
                while self.worker.turn(&mut self.circular) {}
                let elapsed = start.elapsed();
                self.sent(&mut sent);
                let count: usize = sent.iter().map(|list| list.len()).sum();
                passes.push(elapsed.as_secs_f64() * 1e9 / count as f64);
                if let Some((queue, _)) = self.queue(self.ingress) {
                    queue.arrive(&mut sent);
                }
            }
            while self.worker.turn(&mut self.circular) {}
            self.sent(&mut sent);
            self.give(sent.drain(..));
        }
        passes.sort_unstable_by(f64::total_cmp);
        passes[passes.len() / 2]
    }

    /// Lets the packets arrive.
    fn fill<A>(&mut self, packets: &[(A, Packet)]) {
        let Some((queue, pool)) = self.queue(self.ingress) else {
            return;
        };
        for (_, packet) in packets {
            let Some(mut frame) = pool.take() else {
                return;
            };
            pool.fill(&mut frame, &packet[..LENGTH]);
            queue.deliver(frame);
        }
    }

    /// Takes what was sent into an empty ring.
    fn sent(&mut self, into: &mut memory::Ring) {
        if let Some((queue, _)) = self.queue(self.egress) {
            queue.sent(into);
        }
    }

    fn give(&mut self, frames: impl Iterator<Item = Burst>) {
        if let Some((_, pool)) = self.queue(self.ingress) {
            frames.flatten().for_each(|frame| pool.give(frame));
        }
    }

    fn queue(&mut self, port: PortId) -> Option<(&mut memory::Queue, &mut Pool)> {
        match self.worker.queue(port)? {
            (PortQueue::Memory(queue), pool) => Some((queue, pool)),
            _ => None,
        }
    }
}
