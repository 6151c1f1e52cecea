//! By which next hops packets leave whose group has only one: sixteen packets at a time.

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
use crate::shared::fib::{Adjacency, AdjacencyId, Exit, Group, GroupId, Pack, Path, Way, World};

/// What is known of next hops, and where packets came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextHops<'a> {
    ways: &'a [Way],
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
    /// fit where that leads and their route's MTU. Part of the work of `path`.
    #[inline(always)]
    pub(super) fn follow(
        &mut self,
        path: Path,
        to: NextHops<'_>,
        groups: &[GroupId; BURST],
        len: &Lanes,
        first: usize,
    ) -> u16 {
        match path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this path is only there where its instructions are.
            Path::Avx512(_) => unsafe { avx512::follow(self, to, groups, len, first) },
            _ => self.follow_plainly(to, groups, len, first),
        }
    }

    fn follow_plainly(
        &mut self,
        to: NextHops<'_>,
        groups: &[GroupId; BURST],
        len: &Lanes,
        first: usize,
    ) -> u16 {
        let mut fit = 0;
        for slot in first..first + LANES {
            let way = to.ways.get(groups[slot].index()).unwrap_or(&Group::NONE);
            let goes = self.take(to, slot, way.leg, way.mtu, len[slot]);
            fit |= u16::from(goes) << (slot - first);
        }
        fit
    }

    /// Has a packet of `len` bytes leave by a next hop; false if it fits neither there nor its route's
    /// MTU, or came from there.
    #[inline]
    pub(super) fn take(
        &mut self,
        to: NextHops<'_>,
        slot: usize,
        leg: AdjacencyId,
        mtu: u32,
        len: u32,
    ) -> bool {
        let limits = to.exit(leg).unwrap_or(&Adjacency::NONE).limits();
        self.legs[slot] = leg.number();
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
