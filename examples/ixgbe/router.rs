//! Two ports and what a worker does between them, one turn after the other.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ixmap::dataplane::forward::{Arrival, Pipeline, Verdict, Verdicts};
use ixmap::dataplane::limit::PuntLimits;
use ixmap::dataplane::mem::{Arena, Holder, Pool, move_frames};
use ixmap::dataplane::port::{BURST, Burst, PortQueue};
use ixmap::shared::fib::World;
use ixmap::shared::hits::Hits;
use ixmap::shared::port::PortId;

use crate::card::Card;
use crate::packet::Packet;
use crate::world::{furnish, neighbour};

const FRAMES: u32 = 4096;
const FRAME_SIZE: u32 = 4096;

/// What happens between receiving and sending.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Bare,
    Whole,
}

pub(crate) struct Router {
    world: World,
    pool: Pool,
    ingress: PortId,
    near: (Card, PortQueue),
    far: (Card, PortQueue),
    pipeline: Pipeline,
    limits: PuntLimits,
    hits: Hits,
    verdicts: Verdicts,
    burst: Burst,
    outgoing: Burst,
    pub(crate) packets: u64,
    pub(crate) not_forwarded: u64,
}

impl Router {
    /// A router with the routes of `world`, whose groups are 1 to `largest` + 1.
    pub(crate) fn new(world: World, largest: u32) -> io::Result<Router> {
        let port = |slot| PortId::new(slot).ok_or_else(|| io::Error::other("no such port"));
        let (ingress, egress) = (port(0)?, port(1)?);
        let (arena, _) = Arena::new(FRAMES, FRAME_SIZE)?;
        let arena = Arc::new(arena);
        let near = Card::plug(&arena, Holder::port(ingress))?;
        let far = Card::plug(&arena, Holder::port(egress))?;
        let pool = Pool::new(arena).ok_or_else(|| io::Error::other("a second pool"))?;
        Ok(Router {
            world: furnish(world, largest, ingress, egress, neighbour),
            pool,
            ingress,
            near,
            far,
            pipeline: Pipeline::default(),
            limits: PuntLimits::default(),
            hits: Hits::default(),
            verdicts: Verdicts::default(),
            burst: Burst::new(),
            outgoing: Burst::new(),
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
    ) -> f64 {
        let (mut elapsed, mut packets) = (Duration::ZERO, 0);
        while elapsed < least {
            packets += self.near.0.receive(stream);
            let start = Instant::now();
            while self.turn(work) {}
            elapsed += start.elapsed();
            self.far.0.send();
        }
        self.packets += packets;
        elapsed.as_secs_f64() * 1e9 / packets as f64
    }

    /// What a worker does of a burst: `Worker::receive` and `dispatch`. False when there was none.
    fn turn(&mut self, work: Work) -> bool {
        self.near.1.receive(&mut self.pool, &mut self.burst);
        if self.burst.is_empty() {
            return false;
        }
        match work {
            Work::Bare => move_frames(&mut self.burst, &mut self.outgoing, BURST),
            Work::Whole => self.forward(),
        }
        self.far.1.transmit(&mut self.pool, &mut self.outgoing);
        for frame in self.outgoing.drain(..) {
            self.not_forwarded += 1;
            self.pool.give(frame);
        }
        true
    }

    fn forward(&mut self) {
        let arrival = Arrival {
            world: &self.world,
            ingress: self.ingress,
            limits: &mut self.limits,
            hits: &self.hits,
            now: Duration::ZERO,
            fetched: false,
            ahead: &[],
        };
        self.pipeline
            .run(arrival, &self.pool, &mut self.burst, &mut self.verdicts);
        if self.verdicts.common_egress().is_some() {
            return move_frames(&mut self.burst, &mut self.outgoing, BURST);
        }
        for (slot, frame) in self.burst.drain(..).enumerate() {
            if matches!(self.verdicts.get(slot), Verdict::Forward(_)) {
                self.outgoing.push(frame);
            } else {
                self.not_forwarded += 1;
                self.pool.give(frame);
            }
        }
    }
}
