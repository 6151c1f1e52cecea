//! Last stage: the looked-up group and the packet together decide, and a packet that goes on is
//! rewritten in place. Nothing is written to a packet that is punted or dropped.
//!
//! The order is the kernel's: local delivery, route, source checks, TTL, neighbour, MTU. Where a drop
//! is silent either way, the cheaper test comes first.

use super::{Arrival, Verdict, classify, flow};
use crate::shared::fib::{
    Action, Adjacency, AdjacencyId, Buckets, Group, GroupId, Interface, ReversePath, Rewrite, World,
};
use crate::shared::mac::MacAddr;
use crate::shared::port::PortId;
use crate::shared::reason::{DropReason, PuntReason};
use crate::shared::wire::ethernet::{Ethernet, HEADER_LEN};
use crate::shared::wire::ipv4::{self, Ipv4};
use crate::shared::wire::ipv6::{self, Ipv6};
use crate::shared::wire::protocol;

/// What both families need from a packet to be forwarded.
struct Transit {
    /// IP header and payload.
    len: usize,
    ttl: u8,
    /// Stands for the next hop at the punt limit where the destination is the next hop.
    destination_hash: u32,
}

/// What becomes of an IPv4 frame whose destination leads to `group`, and its length then. The frame
/// was classified as IPv4.
pub(super) fn ipv4(
    arrival: &mut Arrival<'_>,
    interface: &Interface,
    group: GroupId,
    frame: &mut [u8],
) -> (Verdict, usize) {
    match ipv4_way(arrival, interface, group, frame) {
        Err(verdict) => (verdict, frame.len()),
        Ok((rewrite, len)) => {
            ipv4::decrement_ttl(&mut frame[HEADER_LEN..]);
            send(frame, &rewrite, len)
        }
    }
}

/// As [`ipv4`], for an IPv6 frame.
pub(super) fn ipv6(
    arrival: &mut Arrival<'_>,
    interface: &Interface,
    group: GroupId,
    frame: &mut [u8],
) -> (Verdict, usize) {
    match ipv6_way(arrival, interface, group, frame) {
        Err(verdict) => (verdict, frame.len()),
        Ok((rewrite, len)) => {
            ipv6::decrement_hop_limit(&mut frame[HEADER_LEN..]);
            send(frame, &rewrite, len)
        }
    }
}

/// The way on for an IPv4 packet, with its length; or what becomes of it instead.
#[inline]
fn ipv4_way(
    arrival: &mut Arrival<'_>,
    interface: &Interface,
    group: GroupId,
    frame: &[u8],
) -> Result<(Rewrite, usize), Verdict> {
    let (to_group, payload) = open(frame)?;
    let packet = Ipv4::check(payload).map_err(Verdict::Drop)?;
    let group = arrival.world.group(group);
    if group.action == Action::Punt(PuntReason::Local) {
        return Err(Verdict::Punt(classify::ipv4_local(&packet), 0));
    }
    if to_group {
        return Err(Verdict::Drop(DropReason::UnicastInGroupFrame));
    }
    if arrival.world.kernel_only.ipv4 {
        return Err(Verdict::Punt(PuntReason::KernelRoute, 0));
    }
    if packet.has_options() {
        return Err(Verdict::Punt(PuntReason::Ipv4Options, 0));
    }
    if arrival.world.locals.contains(packet.source()) {
        return Err(Verdict::Drop(DropReason::SourceIsOwn));
    }
    if !interface.forward_ipv4 {
        return Err(Verdict::Drop(DropReason::ForwardingOff));
    }
    let transit = Transit {
        len: packet.total_len(),
        ttl: packet.ttl(),
        destination_hash: packet.destination(),
    };
    let policy = arrival.world.hash;
    let leg = leg(group, &transit, |buckets| {
        buckets.pick(flow::ipv4(&packet, policy))
    })?;
    if interface.reverse_path != ReversePath::Off {
        let back = arrival.world.ipv4.lookup(packet.source());
        way_back(arrival.world, arrival.ingress, interface.reverse_path, back)?;
    }
    let rewrite = next_hop(arrival, leg, group.mtu, &transit)?;
    Ok((rewrite, transit.len))
}

/// The way on for an IPv6 packet, with its length; or what becomes of it instead.
#[inline]
fn ipv6_way(
    arrival: &mut Arrival<'_>,
    interface: &Interface,
    group: GroupId,
    frame: &[u8],
) -> Result<(Rewrite, usize), Verdict> {
    let (to_group, payload) = open(frame)?;
    let packet = Ipv6::check(payload).map_err(Verdict::Drop)?;
    let group = arrival.world.group(group);
    if group.action == Action::Punt(PuntReason::Local) {
        let reason = classify::to_link(&packet, PuntReason::Local);
        return Err(Verdict::Punt(reason, 0));
    }
    if to_group {
        return Err(Verdict::Drop(DropReason::UnicastInGroupFrame));
    }
    if arrival.world.kernel_only.ipv6 {
        return Err(Verdict::Punt(PuntReason::KernelRoute, 0));
    }
    if ipv6::is_link_local(packet.source()) {
        return Err(Verdict::Drop(DropReason::SourceLinkLocal));
    }
    if packet.next_header() == protocol::HOP_BY_HOP {
        return Err(Verdict::Punt(PuntReason::HopByHop, 0));
    }
    let [.., a, b, c, d] = packet.destination().to_be_bytes();
    let transit = Transit {
        len: packet.total_len(),
        ttl: packet.hop_limit(),
        destination_hash: u32::from_be_bytes([a, b, c, d]),
    };
    let policy = arrival.world.hash;
    let leg = leg(group, &transit, |buckets| {
        buckets.pick(flow::ipv6(&packet, policy))
    })?;
    // Not earlier: the kernel answers unreachable even where it does not forward (IPv4 is silent).
    if !interface.forward_ipv6 {
        return Err(Verdict::Drop(DropReason::ForwardingOff));
    }
    let rewrite = next_hop(arrival, leg, group.mtu, &transit)?;
    Ok((rewrite, transit.len))
}

/// Whether a frame was sent to a group of hosts, and its payload.
#[inline]
fn open(frame: &[u8]) -> Result<(bool, &[u8]), Verdict> {
    let short = Verdict::Drop(DropReason::FrameTooShort);
    let (ethernet, payload) = Ethernet::check(frame).ok_or(short)?;
    Ok((ethernet.destination().is_group(), payload))
}

/// The adjacency that a packet's group and flow lead to, if the group forwards at all.
#[inline]
fn leg(
    group: &Group,
    transit: &Transit,
    pick: impl FnOnce(&Buckets) -> AdjacencyId,
) -> Result<AdjacencyId, Verdict> {
    match &group.action {
        Action::Forward(id) => Ok(*id),
        Action::Spread(buckets) => Ok(pick(buckets)),
        Action::Punt(reason) => Err(Verdict::Punt(*reason, transit.destination_hash)),
        Action::Drop(reason) => Err(Verdict::Drop(*reason)),
    }
}

/// How a packet in transit leaves by its adjacency, or why it does not.
#[inline]
fn next_hop(
    arrival: &mut Arrival<'_>,
    leg: AdjacencyId,
    route_mtu: u16,
    transit: &Transit,
) -> Result<Rewrite, Verdict> {
    if transit.ttl <= 1 {
        return Err(Verdict::Punt(PuntReason::Ttl, 0));
    }
    let rewrite = match arrival.world.adjacency(leg) {
        Adjacency::Resolved(rewrite) => rewrite,
        Adjacency::Unresolved(_) => {
            return Err(Verdict::Punt(PuntReason::NoNeighbour, leg.number()));
        }
        Adjacency::Connected(_) => {
            return Err(Verdict::Punt(
                PuntReason::NoNeighbour,
                transit.destination_hash,
            ));
        }
        Adjacency::Foreign => return Err(Verdict::Punt(PuntReason::ForeignInterface, 0)),
    };
    if transit.len > usize::from(rewrite.mtu.min(route_mtu)) {
        return Err(Verdict::Punt(PuntReason::Mtu, 0));
    }
    if rewrite.port == arrival.ingress && arrival.limits.admit_redirect(arrival.now) {
        return Err(Verdict::Redirect);
    }
    arrival.hits.mark(leg);
    Ok(rewrite)
}

/// Writes the Ethernet addresses; the caller has edited the IP header.
#[inline]
fn send(frame: &mut [u8], rewrite: &Rewrite, ip_len: usize) -> (Verdict, usize) {
    let MacAddr(destination) = rewrite.destination;
    let MacAddr(source) = rewrite.source;
    frame[..6].copy_from_slice(&destination);
    frame[6..12].copy_from_slice(&source);
    (Verdict::Forward(rewrite.port), HEADER_LEN + ip_len)
}

/// The reverse path check of RFC 3704, as the kernel's rp_filter makes it, on a packet whose source
/// leads `back`: only on packets that have a route, so that those without one are answered wherever
/// they claim to come from.
#[inline]
pub(super) fn way_back(
    world: &World,
    ingress: PortId,
    check: ReversePath,
    back: GroupId,
) -> Result<(), Verdict> {
    let from_here = |id| world.adjacency(id).port() == Some(ingress);
    let found = match &world.group(back).action {
        // Only the kernel knows by which interface these leave, so it makes the check.
        Action::Punt(reason @ (PuntReason::KernelRoute | PuntReason::ForeignInterface)) => {
            return Err(Verdict::Punt(*reason, 0));
        }
        Action::Punt(_) | Action::Drop(_) => false,
        Action::Forward(_) | Action::Spread(_) if check == ReversePath::Loose => true,
        Action::Forward(id) => from_here(*id),
        Action::Spread(buckets) => buckets.any(from_here),
    };
    if found {
        Ok(())
    } else {
        Err(Verdict::Drop(DropReason::ReversePath))
    }
}
