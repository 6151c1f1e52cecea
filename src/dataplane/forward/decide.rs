//! Last stage: the looked-up group and the packet together decide, and a packet that goes on is
//! rewritten in place. Nothing is written to a packet that is punted or dropped.
//!
//! The order is the kernel's: local delivery, source checks, route, TTL, MTU, neighbour.

use super::{Arrival, Verdict, classify, flow};
use crate::shared::fib::{
    Action, Adjacency, AdjacencyId, Buckets, Group, GroupId, Interface, ReversePath, Rewrite,
};
use crate::shared::mac::MacAddr;
use crate::shared::reason::{DropReason, PuntReason};
use crate::shared::wire::ethernet::HEADER_LEN;
use crate::shared::wire::ipv4::{self, Ipv4};
use crate::shared::wire::ipv6::{self, Ipv6};
use crate::shared::wire::protocol;

/// What both families need from a packet to be forwarded.
struct Transit {
    /// IP header and payload.
    len: usize,
    ttl: u8,
    /// The next hop's stand-in for the per-next-hop punt limit.
    destination_hash: u32,
}

/// An IPv4 frame whose destination leads to `group`. The frame was classified as IPv4.
pub(super) fn ipv4(
    arrival: &mut Arrival<'_>,
    interface: &Interface,
    group: GroupId,
    frame: &mut [u8],
) -> Verdict {
    let Some((header, payload)) = frame.split_first_chunk::<HEADER_LEN>() else {
        return Verdict::Drop(DropReason::FrameTooShort);
    };
    let packet = match Ipv4::check(payload) {
        Ok(packet) => packet,
        Err(reason) => return Verdict::Drop(reason),
    };
    let group = arrival.world.group(group);
    if group.action == Action::Punt(PuntReason::Local) {
        return Verdict::Punt(classify::ipv4_local(&packet), 0);
    }
    if header[0] & 1 != 0 {
        return Verdict::Drop(DropReason::UnicastInGroupFrame);
    }
    if packet.has_options() {
        return Verdict::Punt(PuntReason::Ipv4Options, 0);
    }
    if arrival.world.locals.contains(packet.source()) {
        return Verdict::Drop(DropReason::SourceIsOwn);
    }
    if !interface.forward_ipv4 {
        return Verdict::Drop(DropReason::ForwardingOff);
    }
    if interface.reverse_path != ReversePath::Off
        && !has_way_back(arrival, interface.reverse_path, &packet)
    {
        return Verdict::Drop(DropReason::ReversePath);
    }
    let transit = Transit {
        len: packet.total_len(),
        ttl: packet.ttl(),
        destination_hash: packet.destination(),
    };
    let policy = arrival.world.hash.ipv4;
    match next_hop(arrival, group, &transit, |buckets| {
        buckets.pick(flow::ipv4(&packet, policy))
    }) {
        Err(verdict) => verdict,
        Ok(rewrite) => {
            ipv4::decrement_ttl(&mut frame[HEADER_LEN..]);
            send(frame, &rewrite, transit.len)
        }
    }
}

/// An IPv6 frame whose destination leads to `group`. The frame was classified as IPv6.
pub(super) fn ipv6(
    arrival: &mut Arrival<'_>,
    interface: &Interface,
    group: GroupId,
    frame: &mut [u8],
) -> Verdict {
    let Some((header, payload)) = frame.split_first_chunk::<HEADER_LEN>() else {
        return Verdict::Drop(DropReason::FrameTooShort);
    };
    let packet = match Ipv6::check(payload) {
        Ok(packet) => packet,
        Err(reason) => return Verdict::Drop(reason),
    };
    let group = arrival.world.group(group);
    if group.action == Action::Punt(PuntReason::Local) {
        return Verdict::Punt(classify::to_link(&packet, PuntReason::Local), 0);
    }
    if header[0] & 1 != 0 {
        return Verdict::Drop(DropReason::UnicastInGroupFrame);
    }
    if ipv6::is_link_local(packet.source()) {
        return Verdict::Drop(DropReason::SourceLinkLocal);
    }
    if packet.next_header() == protocol::HOP_BY_HOP {
        return Verdict::Punt(PuntReason::HopByHop, 0);
    }
    if !interface.forward_ipv6 {
        return Verdict::Drop(DropReason::ForwardingOff);
    }
    let [.., a, b, c, d] = packet.destination().to_be_bytes();
    let transit = Transit {
        len: packet.total_len(),
        ttl: packet.hop_limit(),
        destination_hash: u32::from_be_bytes([a, b, c, d]),
    };
    let policy = arrival.world.hash.ipv6;
    match next_hop(arrival, group, &transit, |buckets| {
        buckets.pick(flow::ipv6(&packet, policy))
    }) {
        Err(verdict) => verdict,
        Ok(rewrite) => {
            ipv6::decrement_hop_limit(&mut frame[HEADER_LEN..]);
            send(frame, &rewrite, transit.len)
        }
    }
}

/// Finds the adjacency that a packet in transit leaves by, or why it does not leave.
#[inline]
fn next_hop(
    arrival: &mut Arrival<'_>,
    group: &Group,
    transit: &Transit,
    pick: impl FnOnce(&Buckets) -> AdjacencyId,
) -> Result<Rewrite, Verdict> {
    let adjacency = match &group.action {
        Action::Forward(id) => *id,
        Action::Spread(buckets) => pick(buckets),
        Action::Punt(reason) => return Err(Verdict::Punt(*reason, transit.destination_hash)),
        Action::Drop(reason) => return Err(Verdict::Drop(*reason)),
    };
    if transit.ttl <= 1 {
        return Err(Verdict::Punt(PuntReason::Ttl, 0));
    }
    let rewrite = match arrival.world.adjacency(adjacency) {
        Adjacency::Resolved(rewrite) => rewrite,
        Adjacency::Unresolved(_) => {
            return Err(Verdict::Punt(
                PuntReason::NoNeighbour,
                transit.destination_hash,
            ));
        }
        Adjacency::Foreign => return Err(Verdict::Punt(PuntReason::ForeignInterface, 0)),
    };
    if transit.len > usize::from(rewrite.mtu.min(group.mtu)) {
        return Err(Verdict::Punt(PuntReason::Mtu, 0));
    }
    if rewrite.port == arrival.ingress && arrival.limits.admit_redirect(arrival.now) {
        return Err(Verdict::Redirect);
    }
    Ok(rewrite)
}

/// Writes the Ethernet addresses; the caller has edited the IP header.
#[inline]
fn send(frame: &mut [u8], rewrite: &Rewrite, ip_len: usize) -> Verdict {
    let MacAddr(destination) = rewrite.destination;
    let MacAddr(source) = rewrite.source;
    frame[..6].copy_from_slice(&destination);
    frame[6..12].copy_from_slice(&source);
    Verdict::Forward {
        port: rewrite.port,
        len: HEADER_LEN + ip_len,
    }
}

/// The reverse path check of RFC 3704, as the kernel's rp_filter makes it.
fn has_way_back(arrival: &Arrival<'_>, check: ReversePath, packet: &Ipv4<'_>) -> bool {
    let world = arrival.world;
    let leaves_by = |id| world.adjacency(id).port();
    let back = &world.group(world.ipv4.lookup(packet.source())).action;
    match (back, check) {
        (_, ReversePath::Off) => true,
        (Action::Forward(_) | Action::Spread(_), ReversePath::Loose) => true,
        (Action::Forward(id), ReversePath::Strict) => leaves_by(*id) == Some(arrival.ingress),
        (Action::Spread(buckets), ReversePath::Strict) => buckets
            .legs()
            .iter()
            .any(|(id, _)| leaves_by(*id) == Some(arrival.ingress)),
        (Action::Punt(_) | Action::Drop(_), _) => false,
    }
}
