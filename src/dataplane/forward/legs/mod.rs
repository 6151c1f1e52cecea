//! By which next hops packets leave: sixteen packets at a time.

#![allow(
    unsafe_code,
    reason = "vector instructions, where the machine has them"
)]

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
mod tests;

use super::heads::{LANES, Lanes};
use crate::dataplane::port::BURST;
use crate::shared::fib::{
    Adjacency, AdjacencyId, Buckets, Exit, Group, GroupId, Pack, Path, Vectored, Way, World,
};

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
    pub(super) fn exit(&self, leg: AdjacencyId) -> Option<&'a Exit> {
        self.exits.get(leg.index())
    }
}

impl Legs {
    /// Follows the groups of sixteen packets, from `first` on, which are `len` bytes long; which of them
    /// fit where that leads and their route's MTU. Their `flows` are asked for where a group has
    /// several next hops. Part of the work of `path`.
    #[inline(always)]
    pub(super) fn follow(
        &mut self,
        path: Path,
        to: NextHops<'_>,
        (groups, len): (&[GroupId; BURST], &Lanes),
        first: usize,
        flows: impl Vectored<Output = [u32; LANES]>,
    ) -> u16 {
        match path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this path is only there where its instructions are.
            Path::Avx512(_) => unsafe { avx512::follow(self, to, (groups, len), first, flows) },
            _ => self.follow_plainly(to, (groups, len), first, flows),
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

    #[inline(always)]
    pub(super) fn leg(&self, slot: usize) -> AdjacencyId {
        AdjacencyId::new(self.legs[slot % BURST])
    }

    #[inline]
    pub(super) fn ports(&self) -> &[u8; BURST] {
        &self.ports
    }
}
