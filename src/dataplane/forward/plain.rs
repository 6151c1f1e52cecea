//! The short way of plain packets whose route leads to a neighbour that is known. It only ever says
//! yes: all else is for `decide`, which knows the reasons.

use std::marker::PhantomData;

use super::decide::way_back;
use super::heads::{Heads, LANES, Mask};
use super::legs::{Changes, Legs, NextHops};
use super::slots::{Answers, slots};
use super::{Arrival, Verdicts, flow};
use crate::dataplane::mem::{Ahead, Packets};
use crate::dataplane::port::BURST;
use crate::shared::fib::{HashPolicy, Interface, Path, ReversePath, Vectored, World};
use crate::shared::hits::Hits;
use crate::shared::port::PortId;
use crate::shared::wire::ethernet::HEADER_LEN;
use crate::shared::wire::ipv6::Ipv6;

/// What of a world plain packets need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short<'a> {
    world: &'a World,
    path: Path,
    next_hops: NextHops<'a>,
    hits: &'a Hits,
    ingress: PortId,
    reverse_path: ReversePath,
    /// Whether the packets that arrive here may take this way at all.
    ipv4: bool,
    ipv6: bool,
}

/// The packets of a family, and what has been found out about them.
struct Plain<'a, 'p, 'q> {
    heads: &'a Heads,
    answers: &'a Answers,
    /// Those that may go on.
    mask: Mask,
    legs: &'a mut Legs,
    packets: &'a mut Packets<'p, BURST>,
    ahead: &'a mut Ahead<'q>,
    verdicts: &'a mut Verdicts,
}

/// What differs between the families.
trait Family {
    /// The byte of a frame where the word with TTL or hop limit begins.
    const AGED: usize;

    /// The hashes of sixteen packets' flows.
    fn hash(flows: &Flows<'_, '_, Self>) -> [u32; LANES]
    where
        Self: Sized;
}

/// Sixteen packets whose flows are to be hashed.
struct Flows<'a, 'p, F> {
    family: PhantomData<F>,
    heads: &'a Heads,
    packets: &'a Packets<'p, BURST>,
    /// The first one's slot.
    first: usize,
    /// Which slots have packets of the family.
    mask: Mask,
    policy: HashPolicy,
}

impl<F: Family> Vectored for Flows<'_, '_, F> {
    type Output = [u32; LANES];

    #[inline(always)]
    fn run(self) -> [u32; LANES] {
        F::hash(&self)
    }
}

struct V4;

impl Family for V4 {
    const AGED: usize = 22;

    #[inline(always)]
    fn hash(flows: &Flows<'_, '_, V4>) -> [u32; LANES] {
        flows.heads.ipv4_flows(flows.first, flows.policy)
    }
}

struct V6;

impl Family for V6 {
    const AGED: usize = 18;

    #[inline(always)]
    fn hash(flows: &Flows<'_, '_, V6>) -> [u32; LANES] {
        let mut hashes = [0; LANES];
        for (hash, slot) in hashes.iter_mut().zip(flows.first..) {
            if flows.mask >> slot & 1 != 0 {
                let packet = Ipv6::of_checked(&flows.packets.bytes(slot)[HEADER_LEN..]);
                *hash = flow::ipv6(&packet, flows.policy);
            }
        }
        hashes
    }
}

impl<'a> Short<'a> {
    pub(super) fn new(path: Path, arrival: &Arrival<'a>, interface: &Interface) -> Short<'a> {
        let world = arrival.world;
        Short {
            world,
            path,
            next_hops: NextHops::new(world, arrival.ingress.slot()),
            hits: arrival.hits,
            ingress: arrival.ingress,
            reverse_path: interface.reverse_path,
            ipv4: interface.forward_ipv4 && !world.kernel_only.ipv4,
            ipv6: interface.forward_ipv6 && !world.kernel_only.ipv6,
        }
    }

    /// Rewrites those of the plain IPv4 packets that go on, and says which. The pair is scratch.
    #[inline(always)]
    pub(super) fn ipv4(
        &self,
        heads: &Heads,
        answers: &Answers,
        (sources, legs): (&mut Answers, &mut Legs),
        (packets, ahead): (&mut Packets<'_, BURST>, &mut Ahead<'_>),
        verdicts: &mut Verdicts,
    ) -> Mask {
        if !self.ipv4 {
            return 0;
        }
        let plain = Plain {
            heads,
            answers,
            mask: heads.ipv4 & !self.spoofed(heads) & !self.astray(heads, sources),
            legs,
            packets,
            ahead,
            verdicts,
        };
        self.forward::<V4>(plain)
    }

    /// As [`Short::ipv4`], of those of a mask.
    #[inline(always)]
    pub(super) fn ipv6(
        &self,
        heads: &Heads,
        (mask, answers): (Mask, &Answers),
        legs: &mut Legs,
        (packets, ahead): (&mut Packets<'_, BURST>, &mut Ahead<'_>),
        verdicts: &mut Verdicts,
    ) -> Mask {
        if !self.ipv6 {
            return 0;
        }
        let plain = Plain {
            heads,
            answers,
            mask,
            legs,
            packets,
            ahead,
            verdicts,
        };
        self.forward::<V6>(plain)
    }

    /// The packets that claim to be from the router itself.
    #[inline(always)]
    fn spoofed(&self, heads: &Heads) -> Mask {
        let locals = &*self.world.locals;
        // Also those that are not read: what was there before does no harm.
        if !locals.may_have_any_of(&heads.source) {
            return 0;
        }
        slots(heads.ipv4).fold(0, |mask, slot| {
            mask | Mask::from(locals.contains(heads.source[slot])) << slot
        })
    }

    /// The packets that came another way than the one back (rp_filter).
    #[inline]
    fn astray(&self, heads: &Heads, sources: &mut Answers) -> Mask {
        if self.reverse_path == ReversePath::Off {
            return 0;
        }
        sources.look_up(self.path, heads.ipv4, &heads.source, &self.world.ipv4);
        sources.of(heads.ipv4).fold(0, |mask, (slot, group)| {
            let back = way_back(self.world, self.ingress, self.reverse_path, group);
            mask | Mask::from(back.is_err()) << slot
        })
    }

    /// Rewrites the packets that go on, and says which.
    #[inline(always)]
    fn forward<F: Family>(&self, plain: Plain<'_, '_, '_>) -> Mask {
        let (legs, heads) = (plain.legs, plain.heads);
        let packets = &*plain.packets;
        let flows = |first| Flows {
            family: PhantomData::<F>,
            heads,
            packets,
            first,
            mask: plain.mask,
            policy: self.world.hash,
        };
        let those = (plain.answers.groups(), &heads.len);
        let done = legs.follow(self.path, self.next_hops, those, plain.mask, flows);
        let changes = Changes {
            words: &heads.aged,
            at: F::AGED,
            hits: self.hits,
        };
        let packets = (plain.packets, plain.ahead);
        legs.rewrite(self.path, self.next_hops, packets, done, changes);
        plain.verdicts.leave(done, legs.ports());
        done
    }
}
