//! The short way of plain packets whose route leads to a neighbour that is known. It only ever says
//! yes: all else is for `decide`, which knows the reasons.

use super::decide::way_back;
use super::heads::{Heads, Mask};
use super::slots::{Keys, Slots};
use super::{Arrival, Verdicts, flow};
use crate::dataplane::mem::{Frame, Packets};
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
    ahead: &'a [Frame],
    ingress: PortId,
    reverse_path: ReversePath,
    /// Whether the packets that arrive here may take this way at all.
    ipv4: bool,
    ipv6: bool,
}

/// Where each packet of a list leaves, and the longest IP packet that its route lets pass.
struct Legs {
    leg: [AdjacencyId; BURST],
    mtu: [u16; BURST],
}

impl<'a> Short<'a> {
    pub(super) fn new(arrival: &Arrival<'a>, interface: &Interface) -> Short<'a> {
        let world = arrival.world;
        Short {
            world,
            ways: world.groups.packed(),
            exits: world.adjacencies.packed(),
            hits: arrival.hits,
            ahead: arrival.ahead,
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
        let hash = |slot: usize| {
            let packet = Ipv4::of_checked(&packets.bytes(slot)[HEADER_LEN..]);
            flow::ipv4(&packet, self.world.hash.ipv4)
        };
        let legs = self.legs(keys, hash);
        let refused = self.spoofed(heads) | self.astray(heads, sources);
        self.rewrite::<22, _>(heads, keys, &legs, refused, packets, verdicts)
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
        let hash = |slot: usize| {
            let packet = Ipv6::of_checked(&packets.bytes(slot)[HEADER_LEN..]);
            flow::ipv6(&packet, self.world.hash.ipv6)
        };
        let legs = self.legs(keys, hash);
        self.rewrite::<18, _>(heads, keys, &legs, 0, packets, verdicts)
    }

    /// The packets that claim to be from the router itself.
    #[inline]
    fn spoofed(&self, heads: &Heads) -> Mask {
        let locals = &*self.world.locals;
        if locals.is_empty() {
            return 0;
        }
        let sources = (0u32..).zip(&heads.source);
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

    /// Where packets leave by their groups; `hash` is that of a slot's flow.
    #[inline]
    fn legs<A: Lpm>(&self, keys: &Keys<A>, hash: impl Fn(usize) -> u32) -> Legs {
        let mut legs = Legs {
            leg: [AdjacencyId::new(0); BURST],
            mtu: [0; BURST],
        };
        let mut spread = Slots::default();
        for (at, (_, group)) in (0u8..).zip(keys.found()) {
            let way = self.ways.get(group.index()).unwrap_or(&Group::NONE);
            legs.leg[usize::from(at) % BURST] = way.leg;
            legs.mtu[usize::from(at) % BURST] = way.mtu;
            spread.push_if(way.spreads, at);
        }
        for at in spread.as_slice() {
            let at = usize::from(*at) % BURST;
            let (slot, group) = keys.at(at);
            if let Action::Spread(buckets) = &self.world.group(group).action {
                legs.leg[at] = buckets.pick(hash(slot));
            }
        }
        legs
    }

    /// Writes the Ethernet addresses, and the word at `AGED` with one hop less, of the packets that
    /// fit where they leave.
    #[inline]
    fn rewrite<const AGED: usize, A: Lpm>(
        &self,
        heads: &Heads,
        keys: &Keys<A>,
        legs: &Legs,
        refused: Mask,
        packets: &mut Packets<'_, BURST>,
        verdicts: &mut Verdicts,
    ) -> Mask {
        let mut done = 0;
        let ingress = self.ingress.slot();
        for (at, (slot, _)) in keys.found().enumerate() {
            if let Some(frame) = self.ahead.get(at) {
                packets.hint(frame);
            }
            let leg = legs.leg[at % BURST];
            let exit = self.exits.get(leg.index()).unwrap_or(&Adjacency::NONE);
            let fits = heads.len[slot % BURST] <= u32::from(exit.mtu.min(legs.mtu[at % BURST]));
            if fits & (exit.port != ingress) & (refused >> slot & 1 == 0) {
                let head = packets.head_mut(slot);
                head[..12].copy_from_slice(&exit.addresses);
                head[AGED..AGED + 4].copy_from_slice(&heads.aged[slot % BURST].to_le_bytes());
                self.hits.mark(leg);
                verdicts.leave(slot, exit);
                done |= 1 << slot;
            }
        }
        done
    }
}
