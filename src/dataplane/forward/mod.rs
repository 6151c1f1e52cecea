//! The burst pipeline: classify -> look up -> decide and rewrite. What leaves it is one [`Verdict`]
//! a frame, in order; counting and moving frames is the worker's business.

mod classify;
mod decide;
mod flow;
mod heads;
mod plain;
#[cfg(test)]
mod reference;
mod slots;
#[cfg(test)]
pub(super) mod tests;

use std::time::Duration;

use arrayvec::ArrayVec;

use self::classify::Class;
pub use self::classify::settled;
use self::heads::Heads;
use self::plain::Short;
use self::slots::{Keys, Slots};
use crate::dataplane::limit::PuntLimits;
use crate::dataplane::mem::{Pool, prefetch};
use crate::dataplane::port::{BURST, Burst};
use crate::shared::fib::{Interface, World};
use crate::shared::hits::Hits;
use crate::shared::port::PortId;
use crate::shared::reason::{DropReason, PuntReason};
use crate::shared::wire::be16;
use crate::shared::wire::ethernet::{HEADER_LEN, ethertype};

/// What becomes of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Rewritten, and cut to the packet; leaves by `port`.
    Forward { port: PortId, len: u16 },
    /// To the kernel unchanged, if the limits let it; the number stands for the next hop.
    Punt(PuntReason, u32),
    /// To the kernel unchanged; the redirect limit has let it already.
    Redirect,
    /// Nowhere.
    Drop(DropReason),
}

impl Verdict {
    /// True for a frame that leaves by `egress`.
    #[inline]
    pub fn leaves_by(&self, egress: PortId) -> bool {
        matches!(self, Verdict::Forward { port, .. } if *port == egress)
    }
}

/// One verdict a frame of the burst.
pub type Verdicts = ArrayVec<Verdict, BURST>;

/// Packets of a burst that are to be forwarded, by family.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Forwarded {
    pub ipv4: u64,
    pub ipv6: u64,
}

impl Forwarded {
    /// One of them is not, after all.
    pub fn take_back(&mut self, frame: &[u8]) {
        if frame.len() >= HEADER_LEN && be16(frame, 12) == ethertype::IPV6 {
            self.ipv6 -= 1;
        } else {
            self.ipv4 -= 1;
        }
    }
}

/// What the frames of a burst have in common.
#[derive(Debug)]
pub struct Arrival<'a> {
    pub world: &'a World,
    pub ingress: PortId,
    pub limits: &'a mut PuntLimits,
    /// The worker's: where forwarded packets leave their mark.
    pub hits: &'a Hits,
    /// The worker's clock.
    pub now: Duration,
}

/// The pipeline with its scratch space; one a worker.
#[derive(Debug, Default)]
pub struct Pipeline {
    heads: Heads,
    ipv4: Keys<u32>,
    ipv6: Keys<u128>,
}

impl Pipeline {
    /// Decides on every frame of `burst` and rewrites those that go on. `verdicts` is replaced by
    /// one verdict a frame.
    pub fn run(
        &mut self,
        mut arrival: Arrival<'_>,
        pool: &Pool,
        burst: &mut Burst,
        verdicts: &mut Verdicts,
    ) -> Forwarded {
        verdicts.clear();
        let down = Verdict::Drop(DropReason::PortDown);
        verdicts.extend(std::iter::repeat_n(down, burst.len()));
        let (world, ingress) = (arrival.world, arrival.ingress);
        let interface = world.interfaces.get(ingress);
        let Some(interface) = interface.filter(|interface| interface.up) else {
            return Forwarded::default();
        };
        let mut frames: [&mut [u8]; BURST] = std::array::from_fn(|_| Default::default());
        for (bytes, frame) in frames.iter_mut().zip(burst.iter_mut()) {
            *bytes = pool.bytes_mut(frame);
            prefetch(bytes);
        }
        let frames = &mut frames[..verdicts.len()];
        let short = Short::new(&arrival, interface);
        self.sort(frames, interface, &short, verdicts);
        let heads = &self.heads;
        let forwarded = Forwarded {
            ipv4: self.ipv4.decide(
                &world.ipv4,
                frames,
                verdicts,
                |slot, group, frame| short.forward_ipv4(heads.get(slot), group, frame),
                |group, frame| decide::ipv4(&mut arrival, interface, group, frame),
            ),
            ipv6: self.ipv6.decide(
                &world.ipv6,
                frames,
                verdicts,
                |slot, group, frame| short.forward_ipv6(heads.get(slot), group, frame),
                |group, frame| decide::ipv6(&mut arrival, interface, group, frame),
            ),
        };
        // Only now, as a token that was just written is slow to move.
        for (frame, verdict) in burst.iter_mut().zip(verdicts) {
            if let Verdict::Forward { len, .. } = verdict {
                frame.truncate(usize::from(*len));
            }
        }
        forwarded
    }

    /// Finds what is to be looked up, plain packets first, and decides on what is not.
    fn sort(
        &mut self,
        frames: &[&mut [u8]],
        interface: &Interface,
        short: &Short<'_>,
        verdicts: &mut Verdicts,
    ) {
        self.heads.read(frames, interface.mac);
        let (ipv4, ipv6) = (&mut self.ipv4, &mut self.ipv6);
        ipv4.clear();
        ipv6.clear();
        let (mut maybe, mut rest) = (Slots::NONE, Slots::NONE);
        self.heads.sort(
            frames.len(),
            |is_plain, slot, destination| ipv4.push_if(is_plain, slot, destination),
            &mut maybe,
            &mut rest,
        );
        for slot in maybe.as_slice() {
            let destination = classify::plain_ipv6(frames[usize::from(*slot)]);
            ipv6.push_if(destination.is_some(), *slot, destination.unwrap_or(0));
            rest.push_if(destination.is_none(), *slot);
        }
        ipv4.may_be_short(short.ipv4);
        ipv6.may_be_short(short.ipv6);
        for slot in rest.as_slice() {
            let at = usize::from(*slot);
            match classify::classify(frames[at], interface.mac) {
                Class::Ipv4(destination) => ipv4.push_if(true, *slot, destination),
                Class::Ipv6(destination) => ipv6.push_if(true, *slot, destination),
                Class::Punt(reason) => verdicts[at] = Verdict::Punt(reason, 0),
                Class::Drop(reason) => verdicts[at] = Verdict::Drop(reason),
            }
        }
    }
}
