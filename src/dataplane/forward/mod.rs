//! The burst pipeline: classify -> look up -> decide and rewrite. What leaves it is one [`Verdict`]
//! a frame, in order; counting and moving frames is the worker's business.

mod classify;
mod decide;
mod flow;
mod heads;
mod legs;
mod plain;
#[cfg(test)]
mod reference;
mod slots;
#[cfg(test)]
pub(super) mod tests;
mod verdicts;

use std::time::Duration;

use self::classify::Class;
pub use self::classify::settled;
use self::heads::{Heads, Mask};
use self::legs::Legs;
use self::plain::Short;
use self::slots::{Answers, slots};
pub use self::verdicts::Verdicts;
use crate::dataplane::limit::PuntLimits;
use crate::dataplane::mem::{Ahead, Frame, Packets, Pool};
use crate::dataplane::port::{BURST, Burst};
use crate::shared::fib::{GroupId, Interface, Path, Vectored, World};
use crate::shared::hits::Hits;
use crate::shared::port::PortId;
use crate::shared::reason::{DropReason, PuntReason};
use crate::shared::wire::be16;
use crate::shared::wire::ethernet::{HEADER_LEN, ethertype};

/// What becomes of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Rewritten, and cut to the packet; leaves by this port.
    Forward(PortId),
    /// To the kernel unchanged, if the limits let it; the number stands for the next hop.
    Punt(PuntReason, u32),
    /// To the kernel unchanged; the redirect limit has let it already.
    Redirect,
    /// Nowhere.
    Drop(DropReason),
}

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
    /// Whether the burst was `ahead` of the one before.
    pub fetched: bool,
    /// The next burst, if it is there already: its heads are had come nearer.
    pub ahead: &'a [Frame],
}

/// A burst's way through the pipeline.
struct Run<'a, 'b> {
    pipeline: &'a mut Pipeline,
    path: Path,
    arrival: &'a mut Arrival<'b>,
    pool: &'a Pool,
    burst: &'a mut Burst,
    verdicts: &'a mut Verdicts,
}

impl Vectored for Run<'_, '_> {
    type Output = Forwarded;

    #[inline(always)]
    fn run(self) -> Forwarded {
        let (path, arrival) = (self.path, self.arrival);
        self.pipeline
            .run_by(path, arrival, self.pool, self.burst, self.verdicts)
    }
}

/// The pipeline with its scratch space; one a worker.
#[derive(Debug, Default)]
pub struct Pipeline {
    heads: Heads,
    ipv4: Answers,
    ipv6: Answers,
    sources: Answers,
    legs: Legs,
}

impl Pipeline {
    /// Decides on every frame of `burst` and rewrites those that go on. `verdicts` is replaced by
    /// one verdict a frame.
    pub fn run(
        &mut self,
        arrival: Arrival<'_>,
        pool: &Pool,
        burst: &mut Burst,
        verdicts: &mut Verdicts,
    ) -> Forwarded {
        self.run_with(Path::best(), arrival, pool, burst, verdicts)
    }

    /// As [`Self::run`], with a path's instructions.
    #[inline]
    fn run_with(
        &mut self,
        path: Path,
        mut arrival: Arrival<'_>,
        pool: &Pool,
        burst: &mut Burst,
        verdicts: &mut Verdicts,
    ) -> Forwarded {
        path.run(Run {
            pipeline: self,
            path,
            arrival: &mut arrival,
            pool,
            burst,
            verdicts,
        })
    }

    /// As [`Self::run_with`], compiled for the path.
    #[inline(always)]
    fn run_by(
        &mut self,
        path: Path,
        arrival: &mut Arrival<'_>,
        pool: &Pool,
        burst: &mut Burst,
        verdicts: &mut Verdicts,
    ) -> Forwarded {
        verdicts.reset(burst.len());
        if !arrival.fetched {
            // Another core, or the device, wrote them: the headers of a whole burst come over together.
            pool.ahead(burst).fetch_rest();
        }
        let mut ahead = pool.ahead(arrival.ahead);
        let Some(mut packets) = pool.packets(burst) else {
            return Forwarded::default();
        };
        let interface = arrival.world.interfaces.get(arrival.ingress);
        let Some(interface) = interface.filter(|interface| interface.up) else {
            verdicts.keep_all(Verdict::Drop(DropReason::PortDown));
            return Forwarded::default();
        };
        self.heads.read(path, &packets, interface.mac, &mut ahead);
        let all = Mask::MAX >> (BURST - packets.count());
        if !self.heads.are_sorted() {
            // Then each family lies together, as in a burst that has only one.
            packets.sort(self.heads.ipv4, self.heads.ipv6);
            self.heads.read(path, &packets, interface.mac, &mut ahead);
        }
        let (ipv4, ipv6) = (self.heads.ipv4, self.heads.ipv6);
        let mut forwarded = Forwarded::default();
        if ipv4 != 0 {
            forwarded.ipv4 += self.ipv4(
                path,
                arrival,
                interface,
                (&mut packets, &mut ahead),
                verdicts,
            );
        }
        let mut rest = all & !(ipv4 | ipv6);
        if ipv6 != 0 {
            let (count, others) = self.ipv6(
                path,
                arrival,
                interface,
                (&mut packets, &mut ahead),
                verdicts,
            );
            forwarded.ipv6 += count;
            rest |= others;
        }
        if rest != 0 {
            let more = self.rest(path, arrival, (interface, rest), &mut packets, verdicts);
            forwarded.ipv4 += more.ipv4;
            forwarded.ipv6 += more.ipv6;
        }
        // What a burst that is not full, or took another way, has left over.
        if !ahead.is_empty() {
            ahead.fetch_rest();
        }
        forwarded
    }

    /// Plain IPv4 packets; how many are forwarded.
    #[inline(always)]
    fn ipv4(
        &mut self,
        path: Path,
        arrival: &mut Arrival<'_>,
        interface: &Interface,
        (packets, ahead): (&mut Packets<'_, BURST>, &mut Ahead<'_>),
        verdicts: &mut Verdicts,
    ) -> u64 {
        let short = Short::new(path, arrival, interface);
        let (mask, destinations) = (self.heads.ipv4, &self.heads.destination);
        self.ipv4
            .look_up(path, mask, destinations, &arrival.world.ipv4);
        let done = short.ipv4(
            &self.heads,
            &self.ipv4,
            (&mut self.sources, &mut self.legs),
            (packets, ahead),
            verdicts,
        );
        let answers = (&self.ipv4, mask);
        let decide = |group, frame: &mut _| decide::ipv4(arrival, interface, group, frame);
        finish(&self.heads, answers, done, packets, verdicts, decide)
    }

    /// Plain IPv6 packets; how many are forwarded, and which are not plain after all, by their
    /// destinations.
    #[inline(always)]
    fn ipv6(
        &mut self,
        path: Path,
        arrival: &mut Arrival<'_>,
        interface: &Interface,
        (packets, ahead): (&mut Packets<'_, BURST>, &mut Ahead<'_>),
        verdicts: &mut Verdicts,
    ) -> (u64, Mask) {
        let short = Short::new(path, arrival, interface);
        let mask = self.heads.read_ipv6_destinations(path, packets);
        let destinations = &self.heads.ipv6_destination;
        self.ipv6
            .look_up(path, mask, destinations, &arrival.world.ipv6);
        let done = short.ipv6(
            &self.heads,
            (mask, &self.ipv6),
            &mut self.legs,
            (packets, ahead),
            verdicts,
        );
        let answers = (&self.ipv6, mask);
        let decide = |group, frame: &mut _| decide::ipv6(arrival, interface, group, frame);
        let forwarded = finish(&self.heads, answers, done, packets, verdicts, decide);
        (forwarded, self.heads.ipv6 & !mask)
    }

    /// Whatever is not plain.
    #[inline(never)]
    fn rest(
        &mut self,
        path: Path,
        arrival: &mut Arrival<'_>,
        (interface, rest): (&Interface, Mask),
        packets: &mut Packets<'_, BURST>,
        verdicts: &mut Verdicts,
    ) -> Forwarded {
        let (mut ipv4, mut ipv6): (Mask, Mask) = (0, 0);
        for slot in slots(rest) {
            match classify::classify(packets.bytes(slot), interface.mac) {
                Class::Ipv4(destination) => {
                    self.heads.destination[slot] = destination;
                    ipv4 |= 1 << slot;
                }
                Class::Ipv6(destination) => {
                    self.heads.ipv6_destination[slot] = destination;
                    ipv6 |= 1 << slot;
                }
                Class::Punt(reason) => verdicts.set(slot, Verdict::Punt(reason, 0)),
                Class::Drop(reason) => verdicts.set(slot, Verdict::Drop(reason)),
            }
        }
        let (world, heads) = (arrival.world, &self.heads);
        self.ipv4
            .look_up(path, ipv4, &heads.destination, &world.ipv4);
        self.ipv6
            .look_up(path, ipv6, &heads.ipv6_destination, &world.ipv6);
        let ipv4 = self.ipv4.of(ipv4);
        let ipv4 = long_way(ipv4, packets, verdicts, |group, frame| {
            decide::ipv4(arrival, interface, group, frame)
        });
        let ipv6 = self.ipv6.of(ipv6);
        let ipv6 = long_way(ipv6, packets, verdicts, |group, frame| {
            decide::ipv6(arrival, interface, group, frame)
        });
        Forwarded { ipv4, ipv6 }
    }
}

/// Ends the way of a family's plain packets, those of a mask: the short one took those that are `done`,
/// and the others take the long one. How many are forwarded.
#[inline(always)]
fn finish(
    heads: &Heads,
    (answers, mask): (&Answers, Mask),
    done: Mask,
    packets: &mut Packets<'_, BURST>,
    verdicts: &mut Verdicts,
    decide: impl FnMut(GroupId, &mut [u8]) -> (Verdict, usize),
) -> u64 {
    // What is padded is cut: little is.
    for slot in slots(done & heads.padded) {
        let len = usize::try_from(heads.len[slot]).unwrap_or(usize::MAX);
        packets.cut(slot, len.saturating_add(HEADER_LEN));
    }
    let mut forwarded = u64::from(done.count_ones());
    let left = mask & !done;
    if left != 0 {
        forwarded += long_way(answers.of(left), packets, verdicts, decide);
    }
    forwarded
}

/// Decides on packets one by one; how many are forwarded.
#[inline(never)]
fn long_way(
    found: impl Iterator<Item = (usize, GroupId)>,
    packets: &mut Packets<'_, BURST>,
    verdicts: &mut Verdicts,
    mut decide: impl FnMut(GroupId, &mut [u8]) -> (Verdict, usize),
) -> u64 {
    let mut forwarded = 0;
    for (slot, group) in found {
        let (verdict, len) = decide(group, packets.bytes_mut(slot));
        packets.cut(slot, len);
        verdicts.set(slot, verdict);
        forwarded += u64::from(matches!(verdict, Verdict::Forward(_)));
    }
    forwarded
}
