//! The short way of plain packets whose route leads to a neighbour that is known. It only ever says
//! yes: all else is for `decide`, which knows the reasons.

use super::decide::way_back;
use super::heads::{Heads, Mask};
use super::slots::Keys;
use super::{Arrival, Verdicts, flow};
use crate::dataplane::mem::Packets;
use crate::dataplane::port::BURST;
use crate::shared::fib::{
    Action, Adjacency, AdjacencyId, Exit, Group, Interface, Lpm, Pack, ReversePath, Way, World,
};
use crate::shared::hits::Hits;
use crate::shared::port::PortId;
use crate::shared::wire::ethernet::HEADER_LEN;
use crate::shared::wire::ipv4::Ipv4;
use crate::shared::wire::ipv6::Ipv6;

/// What of a world plain packets need.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short<'a> {
    world: &'a World,
    ways: &'a [Way],
    exits: &'a [Exit],
    hits: &'a Hits,
    ingress: PortId,
    reverse_path: ReversePath,
    /// Whether the packets that arrive here may take this way at all.
    ipv4: bool,
    ipv6: bool,
}

/// The packets of a family, and what has been found out about them.
struct Plain<'a, 'p, A> {
    heads: &'a Heads,
    keys: &'a Keys<A>,
    /// Not to be forwarded this way.
    refused: Mask,
    packets: &'a mut Packets<'p, BURST>,
    verdicts: &'a mut Verdicts,
}

impl<'a> Short<'a> {
    pub(super) fn new(arrival: &Arrival<'a>, interface: &Interface) -> Short<'a> {
        let world = arrival.world;
        Short {
            world,
            ways: world.groups.packed(),
            exits: world.adjacencies.packed(),
            hits: arrival.hits,
            ingress: arrival.ingress,
            reverse_path: interface.reverse_path,
            ipv4: interface.forward_ipv4 && !world.kernel_only.ipv4,
            ipv6: interface.forward_ipv6 && !world.kernel_only.ipv6,
        }
    }

    /// Rewrites those of the plain IPv4 packets that go on, and says which. `sources` is scratch.
    #[inline]
    pub(super) fn ipv4(
        &self,
        heads: &Heads,
        keys: &Keys<u32>,
        sources: &mut Keys<u32>,
        packets: &mut Packets<'_, BURST>,
        verdicts: &mut Verdicts,
    ) -> Mask {
        if !self.ipv4 {
            return 0;
        }
        let plain = Plain {
            heads,
            keys,
            refused: self.spoofed(heads) | self.astray(heads, sources),
            packets,
            verdicts,
        };
        self.forward::<22, _>(plain, |packet| {
            let packet = Ipv4::of_checked(&packet[HEADER_LEN..]);
            flow::ipv4(&packet, self.world.hash.ipv4)
        })
    }

    /// As [`Short::ipv4`].
    #[inline]
    pub(super) fn ipv6(
        &self,
        heads: &Heads,
        keys: &Keys<u128>,
        packets: &mut Packets<'_, BURST>,
        verdicts: &mut Verdicts,
    ) -> Mask {
        if !self.ipv6 {
            return 0;
        }
        let plain = Plain {
            heads,
            keys,
            refused: 0,
            packets,
            verdicts,
        };
        self.forward::<18, _>(plain, |packet| {
            let packet = Ipv6::of_checked(&packet[HEADER_LEN..]);
            flow::ipv6(&packet, self.world.hash.ipv6)
        })
    }

    /// The packets that claim to be from the router itself.
    #[inline]
    fn spoofed(&self, heads: &Heads) -> Mask {
        let locals = &*self.world.locals;
        if locals.is_empty() {
            return 0;
        }
        let end = Mask::BITS - heads.ipv4.leading_zeros();
        let sources = (0..end).zip(&heads.source);
        sources.fold(0, |mask, (slot, source)| {
            mask | Mask::from(locals.contains(*source)) << slot
        })
    }

    /// The packets that came another way than the one back (rp_filter).
    #[inline]
    fn astray(&self, heads: &Heads, sources: &mut Keys<u32>) -> Mask {
        if self.reverse_path == ReversePath::Off {
            return 0;
        }
        sources.fill(heads.ipv4, &heads.source);
        sources.look_up(&self.world.ipv4);
        sources.found().fold(0, |mask, (slot, group)| {
            let back = way_back(self.world, self.ingress, self.reverse_path, group);
            mask | Mask::from(back.is_err()) << slot
        })
    }

    /// Rewrites the packets that go on, and says which; `hash` is that of a packet's flow. Those with a
    /// single next hop come first, and cost nothing for those with several.
    #[inline]
    fn forward<const AGED: usize, A: Lpm>(
        &self,
        mut plain: Plain<'_, '_, A>,
        hash: impl Fn(&[u8]) -> u32,
    ) -> Mask {
        let (keys, mut done, mut spread): (_, Mask, _) = (plain.keys, 0, false);
        for (slot, group) in keys.found() {
            let way = self.ways.get(group.index()).unwrap_or(&Group::NONE);
            done |= Mask::from(self.leave::<AGED, A>(&mut plain, slot, way.leg, way.mtu)) << slot;
            spread |= way.spreads;
        }
        if !spread {
            return done;
        }
        for (slot, group) in keys.found() {
            let group = self.world.group(group);
            if let Action::Spread(buckets) = &group.action {
                let leg = buckets.pick(hash(plain.packets.bytes(slot)));
                done |= Mask::from(self.leave::<AGED, A>(&mut plain, slot, leg, group.mtu)) << slot;
            }
        }
        done
    }

    /// Writes the Ethernet addresses, and the word at `AGED` with one hop less, if the packet fits where
    /// it leaves and its route's MTU.
    #[inline(always)]
    fn leave<const AGED: usize, A: Lpm>(
        &self,
        plain: &mut Plain<'_, '_, A>,
        slot: usize,
        leg: AdjacencyId,
        mtu: u16,
    ) -> bool {
        let exit = self.exits.get(leg.index()).unwrap_or(&Adjacency::NONE);
        let fits = plain.heads.len[slot % BURST] <= u32::from(exit.mtu.min(mtu));
        let goes = fits & (exit.port != self.ingress.slot()) & (plain.refused >> slot & 1 == 0);
        if goes {
            let head = plain.packets.head_mut(slot);
            head[..12].copy_from_slice(&exit.addresses);
            let aged = plain.heads.aged[slot % BURST].to_le_bytes();
            head[AGED..AGED + 4].copy_from_slice(&aged);
            self.hits.mark(leg);
            plain.verdicts.leave(slot, exit);
        }
        goes
    }
}
