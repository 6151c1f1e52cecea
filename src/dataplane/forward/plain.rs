//! The short way of plain packets whose route leads to a neighbour that is known. It only ever says
//! yes: all else is for `decide`, which knows the reasons.

use super::decide::check_way_back;
use super::heads::{Head, IPV4_END, IPV6_END};
use super::{Arrival, flow};
use crate::shared::fib::{
    Action, AddressSet, Adjacency, AdjacencyId, Group, GroupId, Interface, ReversePath, Rewrite,
    World,
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
    groups: &'a [Group],
    adjacencies: &'a [Adjacency],
    locals: &'a AddressSet,
    hits: &'a Hits,
    ingress: PortId,
    reverse_path: ReversePath,
    /// Whether the packets that arrive here may take this way at all.
    pub(super) ipv4: bool,
    pub(super) ipv6: bool,
}

impl<'a> Short<'a> {
    pub(super) fn new(arrival: &Arrival<'a>, interface: &Interface) -> Short<'a> {
        let world = arrival.world;
        Short {
            world,
            groups: &world.groups,
            adjacencies: &world.adjacencies,
            locals: &world.locals,
            hits: arrival.hits,
            ingress: arrival.ingress,
            reverse_path: interface.reverse_path,
            ipv4: interface.forward_ipv4 && !world.kernel_only.ipv4,
            ipv6: interface.forward_ipv6 && !world.kernel_only.ipv6,
        }
    }

    /// Rewrites a plain IPv4 packet, if it goes on.
    #[inline]
    pub(super) fn forward_ipv4(
        &self,
        head: Head,
        group: GroupId,
        frame: &mut [u8],
    ) -> Option<(PortId, u16)> {
        if self.locals.contains(head.source) {
            return None;
        }
        check_way_back(self.world, self.ingress, self.reverse_path, head.source).ok()?;
        let rewrite = self.way_out(group, head.len, || {
            flow::ipv4(
                &Ipv4::of_checked(&frame[HEADER_LEN..]),
                self.world.hash.ipv4,
            )
        })?;
        let bytes: &mut [u8; IPV4_END] = frame.first_chunk_mut()?;
        bytes[..6].copy_from_slice(&rewrite.destination.0);
        bytes[6..12].copy_from_slice(&rewrite.source.0);
        bytes[22..26].copy_from_slice(&head.aged);
        sent(rewrite, head)
    }

    /// Rewrites a plain IPv6 packet, if it goes on.
    #[inline]
    pub(super) fn forward_ipv6(
        &self,
        head: Head,
        group: GroupId,
        frame: &mut [u8],
    ) -> Option<(PortId, u16)> {
        let rewrite = self.way_out(group, head.len, || {
            flow::ipv6(
                &Ipv6::of_checked(&frame[HEADER_LEN..]),
                self.world.hash.ipv6,
            )
        })?;
        let bytes: &mut [u8; IPV6_END] = frame.first_chunk_mut()?;
        bytes[..6].copy_from_slice(&rewrite.destination.0);
        bytes[6..12].copy_from_slice(&rewrite.source.0);
        bytes[18..22].copy_from_slice(&head.aged);
        sent(rewrite, head)
    }

    /// How a packet of `len` bytes leaves, if its group's adjacency takes it without more ado.
    #[inline]
    fn way_out(&self, group: GroupId, len: u32, hash: impl FnOnce() -> u32) -> Option<&'a Rewrite> {
        let group = self.groups.get(group.index())?;
        let id: AdjacencyId = match &group.action {
            Action::Forward(id) => *id,
            Action::Spread(buckets) => buckets.pick(hash()),
            Action::Punt(_) | Action::Drop(_) => return None,
        };
        let Some(Adjacency::Resolved(rewrite)) = self.adjacencies.get(id.index()) else {
            return None;
        };
        if (len > u32::from(rewrite.mtu.min(group.mtu))) | (rewrite.port == self.ingress) {
            return None;
        }
        self.hits.mark(id);
        Some(rewrite)
    }
}

/// Where a packet leaves and how long its frame is.
#[inline]
fn sent(rewrite: &Rewrite, head: Head) -> Option<(PortId, u16)> {
    // No longer than an MTU.
    let len = HEADER_LEN + usize::try_from(head.len).ok()?;
    Some((rewrite.port, u16::try_from(len).ok()?))
}
