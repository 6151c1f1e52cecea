//! Two ports and what a worker does between them, one turn after the other.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ixmap::dataplane::forward::{Arrival, Pipeline, Verdict, Verdicts};
use ixmap::dataplane::limit::PuntLimits;
use ixmap::dataplane::mem::{Arena, Holder, Pool};
use ixmap::dataplane::port::{Burst, PortQueue, TransmitList};
use ixmap::shared::fib::{
    Action, Adjacency, AdjacencyId, Group, Interface, Interfaces, ReversePath, Rewrite, World,
};
use ixmap::shared::hits::Hits;
use ixmap::shared::mac::MacAddr;
use ixmap::shared::port::PortId;

use crate::card::Card;
use crate::packet::{OWN, Packet};

const FRAMES: u32 = 4096;
const FRAME_SIZE: u32 = 4096;
/// Next hops that the routes share: a router has few neighbours.
const NEIGHBOURS: u8 = 255;

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
    outgoing: TransmitList,
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
            world: furnish(world, largest, ingress, egress),
            pool,
            ingress,
            near,
            far,
            pipeline: Pipeline::default(),
            limits: PuntLimits::default(),
            hits: Hits::default(),
            verdicts: Verdicts::new(),
            burst: Burst::new(),
            outgoing: TransmitList::new(),
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
            Work::Bare => self.outgoing.extend(self.burst.drain(..)),
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
        };
        self.pipeline
            .run(arrival, &self.pool, &mut self.burst, &mut self.verdicts);
        for (mut frame, verdict) in self.burst.drain(..).zip(self.verdicts.drain(..)) {
            if let Verdict::Forward { len, .. } = verdict {
                frame.truncate(len);
                self.outgoing.push(frame);
            } else {
                self.not_forwarded += 1;
                self.pool.give(frame);
            }
        }
    }
}

/// Adds ports and next hops: all routes lead out by `egress`.
fn furnish(world: World, largest: u32, ingress: PortId, egress: PortId) -> World {
    let neighbour = |n| {
        Adjacency::Resolved(Rewrite {
            port: egress,
            destination: MacAddr([2, 0, 0, 0, 1, n]),
            source: MacAddr([2, 0, 0, 0, 0, 2]),
            mtu: 1500,
        })
    };
    let mut groups = world.groups.to_vec();
    groups.extend((0..=largest).map(|id| Group {
        action: Action::Forward(AdjacencyId::new(id % u32::from(NEIGHBOURS))),
        mtu: u16::MAX,
    }));
    let mut interfaces = Interfaces::default();
    for (port, mac) in [(ingress, OWN), (egress, [2, 0, 0, 0, 0, 2])] {
        let interface = Interface {
            mac: MacAddr(mac),
            up: true,
            forward_ipv4: true,
            forward_ipv6: true,
            reverse_path: ReversePath::Off,
        };
        interfaces.set(port, Some(interface));
    }
    World {
        groups: Arc::new(groups),
        adjacencies: Arc::new((0..NEIGHBOURS).map(neighbour).collect()),
        interfaces: Arc::new(interfaces),
        ..world
    }
}
