//! By which next hops packets leave, and what they leave as: sixteen packets at a time.

#![allow(
    unsafe_code,
    reason = "vector instructions, where the machine has them"
)]

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
mod tests;

use super::heads::{LANES, Lanes, Mask};
use super::slots::{by_sixteen, for_each_of_sixteen};
use crate::dataplane::mem::{Ahead, Packets};
use crate::dataplane::port::BURST;
use crate::shared::fib::{
    Adjacency, AdjacencyId, Buckets, Exit, Group, GroupId, Pack, Path, Vectored, Way, World,
};
use crate::shared::hits::Hits;

/// What is known of next hops, and where packets came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextHops<'a> {
    ways: &'a [Way],
    /// Those of all ways.
    buckets: &'a [AdjacencyId],
    exits: &'a [Exit],
    /// The port by which no packet leaves again.
    ingress: u8,
}

/// What changes in packets that leave, apart from their addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes<'a> {
    /// The words, by slot,
    pub(super) words: &'a Lanes,
    /// at this byte of a head.
    pub(super) at: usize,
    /// Where next hops are noted as used.
    pub(super) hits: &'a Hits,
}

/// By slot, for the packets of a burst.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Legs {
    legs: Lanes,
    /// Of the ports that they lead to, the indices.
    ports: [u8; BURST],
}

impl Default for Legs {
    fn default() -> Legs {
        Legs {
            legs: [0; BURST],
            ports: [Exit::NOWHERE; BURST],
        }
    }
}

impl<'a> NextHops<'a> {
    pub(super) fn new(world: &'a World, ingress: u8) -> NextHops<'a> {
        NextHops {
            ways: world.groups.packed(),
            buckets: world.groups.lists(),
            exits: world.adjacencies.packed(),
            ingress,
        }
    }

    #[inline(always)]
    fn exit(&self, leg: AdjacencyId) -> Option<&'a Exit> {
        self.exits.get(leg.index())
    }
}

impl Legs {
    /// Follows the groups of packets, which are `len` bytes long; which of a mask fit where that leads and
    /// their route's MTU. The `flows` of sixteen, from a slot on, are asked for where a group has
    /// several next hops. Part of the work of `path`.
    #[inline(always)]
    pub(super) fn follow<F: Vectored<Output = [u32; LANES]>>(
        &mut self,
        path: Path,
        to: NextHops<'_>,
        (groups, len): (&[GroupId; BURST], &Lanes),
        mask: Mask,
        flows: impl Fn(usize) -> F,
    ) -> Mask {
        match path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this path is only there where its instructions are.
            Path::Avx512(_) => unsafe { avx512::follow(self, to, (groups, len), mask, flows) },
            _ => by_sixteen(mask, |first| {
                self.follow_plainly(to, (groups, len), first, flows(first))
            }),
        }
    }

    #[inline(always)]
    fn follow_plainly(
        &mut self,
        to: NextHops<'_>,
        (groups, len): (&[GroupId; BURST], &Lanes),
        first: usize,
        flows: impl Vectored<Output = [u32; LANES]>,
    ) -> u16 {
        let way = |lane: usize| {
            let group = groups[first + lane];
            *to.ways.get(group.index()).unwrap_or(&Group::NONE)
        };
        let ways: [Way; LANES] = std::array::from_fn(way);
        let several = ways.iter().any(|way| Way::buckets(way.mtu_and_buckets) > 1);
        let flows = if several { flows.run() } else { [0; LANES] };
        let mut fit = 0;
        for (lane, (way, flow)) in ways.iter().zip(flows).enumerate() {
            let goes = self.take(to, first + lane, (*way, flow), len[first + lane]);
            fit |= u16::from(goes) << lane;
        }
        fit
    }

    /// Has a packet of `len` bytes leave by a way's next hop for its flow; false if it fits neither there
    /// nor its route's MTU, or came from there.
    #[inline]
    fn take(&mut self, to: NextHops<'_>, slot: usize, (way, flow): (Way, u32), len: u32) -> bool {
        let (mtu, buckets) = (
            Way::mtu(way.mtu_and_buckets),
            Way::buckets(way.mtu_and_buckets),
        );
        let leg = match buckets {
            0 => None,
            1 => Some(AdjacencyId::new(way.first)),
            _ => {
                let bucket = way.first + Buckets::slot(flow, buckets);
                to.buckets.get(bucket as usize).copied()
            }
        };
        let exit = leg.and_then(|leg| to.exit(leg));
        let limits = exit.unwrap_or(&Adjacency::NONE).limits();
        self.legs[slot] = leg.map_or(0, AdjacencyId::number);
        self.ports[slot] = Exit::port(limits);
        (len <= mtu) & (len <= Exit::mtu(limits)) & (Exit::port(limits) != to.ingress)
    }

    /// Rewrites the packets of a mask, which leave as [`Legs::follow`] found. Those ahead come nearer
    /// meanwhile. Part of the work of `path`.
    #[inline(always)]
    pub(super) fn rewrite(
        &self,
        path: Path,
        to: NextHops<'_>,
        (packets, ahead): (&mut Packets<'_, BURST>, &mut Ahead<'_>),
        mask: Mask,
        changes: Changes<'_>,
    ) {
        for first in (0..BURST).step_by(LANES) {
            let those = mask >> first & Mask::from(u16::MAX);
            let done = match path {
                #[cfg(target_arch = "x86_64")]
                Path::Avx512(_) if those == Mask::from(u16::MAX) => {
                    // SAFETY: this path is only there where its instructions are.
                    unsafe { avx512::rewrite(self, to.exits, packets, first, changes) }
                }
                _ => false,
            };
            if !done {
                for_each_of_sixteen(mask, first, |slot| {
                    self.rewrite_one(to, packets, slot, changes);
                });
            }
            ahead.fetch();
        }
    }

    #[inline]
    fn rewrite_one(
        &self,
        to: NextHops<'_>,
        packets: &mut Packets<'_, BURST>,
        slot: usize,
        changes: Changes<'_>,
    ) {
        let leg = AdjacencyId::new(self.legs[slot]);
        if let Some(exit) = to.exit(leg) {
            let head = packets.head_mut(slot);
            head[..12].copy_from_slice(&exit.addresses);
            head[changes.at..][..4].copy_from_slice(&changes.words[slot].to_le_bytes());
            changes.hits.mark(leg);
        }
    }

    #[inline]
    pub(super) fn ports(&self) -> &[u8; BURST] {
        &self.ports
    }
}
