//! The short way of plain packets whose route leads to a neighbour that is known. It only ever says
//! yes: all else is for `decide`, which knows the reasons.

use super::decide::way_back;
use super::heads::{Heads, LANES, Mask};
use super::legs::{Legs, NextHops};
use super::slots::{Answers, slots};
use super::{Arrival, Verdicts, flow};
use crate::dataplane::mem::{Ahead, Packets};
use crate::dataplane::port::BURST;
use crate::shared::fib::{Action, Interface, Path, ReversePath, World};
use crate::shared::hits::Hits;
use crate::shared::port::PortId;
use crate::shared::wire::ethernet::HEADER_LEN;
use crate::shared::wire::ipv4::Ipv4;
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
        self.forward::<22>(plain, |packet| {
            let packet = Ipv4::of_checked(&packet[HEADER_LEN..]);
            flow::ipv4(&packet, self.world.hash.ipv4)
        })
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
        self.forward::<18>(plain, |packet| {
            let packet = Ipv6::of_checked(&packet[HEADER_LEN..]);
            flow::ipv6(&packet, self.world.hash.ipv6)
        })
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
        sources.look_up(heads.ipv4, &heads.source, &self.world.ipv4);
        sources.of(heads.ipv4).fold(0, |mask, (slot, group)| {
            let back = way_back(self.world, self.ingress, self.reverse_path, group);
            mask | Mask::from(back.is_err()) << slot
        })
    }

    /// Rewrites the packets that go on, and says which; `hash` is that of a packet's flow. Those with
    /// a single next hop come first, and cost nothing for those with several.
    #[inline(always)]
    fn forward<const AGED: usize>(
        &self,
        mut plain: Plain<'_, '_, '_>,
        hash: impl Fn(&[u8]) -> u32,
    ) -> Mask {
        let (mut done, next_hops) = (0, self.next_hops);
        for first in (0..BURST).step_by(LANES) {
            let mask = plain.mask >> first & Mask::from(u16::MAX);
            if mask == 0 {
                continue;
            }
            let (groups, len) = (plain.answers.groups(), &plain.heads.len);
            let fit = plain.legs.follow(self.path, next_hops, groups, len, first);
            let fit = (mask & Mask::from(fit)) << first;
            slots(fit).for_each(|slot| self.leave::<AGED>(&mut plain, slot));
            done |= fit;
            plain.ahead.fetch();
        }
        for (slot, group) in plain.answers.of(plain.mask & !done) {
            let group = self.world.group(group);
            if let Action::Spread(buckets) = &group.action {
                let leg = buckets.pick(hash(plain.packets.bytes(slot)));
                let (mtu, len) = (group.mtu.into(), plain.heads.len[slot]);
                if plain.legs.take(next_hops, slot, leg, mtu, len) {
                    self.leave::<AGED>(&mut plain, slot);
                    done |= 1 << slot;
                }
            }
        }
        plain.verdicts.leave(done, plain.legs.ports());
        done
    }

    /// Writes the Ethernet addresses, and the word at `AGED` with one hop less.
    #[inline(always)]
    fn leave<const AGED: usize>(&self, plain: &mut Plain<'_, '_, '_>, slot: usize) {
        let leg = plain.legs.leg(slot);
        let Some(exit) = self.next_hops.exit(leg) else {
            return;
        };
        let head = plain.packets.head_mut(slot);
        head[..12].copy_from_slice(&exit.addresses);
        let aged = plain.heads.aged[slot % BURST].to_le_bytes();
        head[AGED..AGED + 4].copy_from_slice(&aged);
        self.hits.mark(leg);
    }
}
