//! First stage: what is this frame, and does it go to the lookup at all?
//!
//! Needs nothing but the frame and the receiving interface's MAC. What the lookup's answer decides
//! together with the frame (local delivery comes before options and TTL) is left to `decide`.

use std::net::IpAddr;

use super::Verdict;
use crate::shared::mac::MacAddr;
use crate::shared::reason::{DropReason, PuntReason};
use crate::shared::wire::ethernet::{Ethernet, ethertype};
use crate::shared::wire::ipv4::{self, Ipv4};
use crate::shared::wire::ipv6::{self, Ipv6};
use crate::shared::wire::{be16, protocol, routing};

/// What a frame is to the pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// To be looked up by destination.
    Ipv4(u32),
    Ipv6(u128),
    Punt(PuntReason),
    Drop(DropReason),
}

/// What a destination alone decides, whatever the FIB says: nothing of it is ever looked up.
pub fn settled(destination: IpAddr) -> Option<Verdict> {
    let class = match destination {
        IpAddr::V4(address) => ipv4_destination(u32::from(address)),
        IpAddr::V6(address) => ipv6_destination(u128::from(address)),
    };
    match class {
        Class::Punt(reason) => Some(Verdict::Punt(reason, 0)),
        Class::Drop(reason) => Some(Verdict::Drop(reason)),
        Class::Ipv4(_) | Class::Ipv6(_) => None,
    }
}

#[inline]
fn ipv4_destination(address: u32) -> Class {
    if ipv4::is_multicast(address) || address == u32::MAX {
        Class::Punt(PuntReason::Multicast)
    } else if ipv4::is_martian_destination(address) {
        Class::Drop(DropReason::MartianDestination)
    } else {
        Class::Ipv4(address)
    }
}

#[inline]
fn ipv6_destination(address: u128) -> Class {
    if ipv6::is_multicast(address) {
        Class::Punt(PuntReason::Multicast)
    } else if address == ipv6::LOOPBACK {
        Class::Drop(DropReason::MartianDestination)
    } else if ipv6::is_link_local(address) {
        Class::Punt(PuntReason::LinkLocal)
    } else {
        Class::Ipv6(address)
    }
}

/// Classifies a received frame.
#[inline]
pub(super) fn classify(frame: &[u8], own: MacAddr) -> Class {
    let Some((ethernet, payload)) = Ethernet::check(frame) else {
        return Class::Drop(DropReason::FrameTooShort);
    };
    let destination = ethernet.destination();
    if destination != own && !destination.is_group() {
        return Class::Drop(DropReason::OtherHost);
    }
    match ethernet.ethertype() {
        ethertype::IPV4 => ipv4(payload),
        ethertype::IPV6 => ipv6(payload),
        ethertype::ARP => Class::Punt(PuntReason::Arp),
        ethertype::VLAN | ethertype::SERVICE_VLAN => Class::Punt(PuntReason::Vlan),
        // LLC: IS-IS speaks it.
        length if length < ethertype::MIN => Class::Punt(PuntReason::Routing),
        _ => Class::Punt(PuntReason::UnknownEthertype),
    }
}

#[inline]
fn ipv4(payload: &[u8]) -> Class {
    let packet = match Ipv4::check(payload) {
        Ok(packet) => packet,
        Err(reason) => return Class::Drop(reason),
    };
    match ipv4_destination(packet.destination()) {
        // Before the source test: a DHCP client sends from 0.0.0.0 to all.
        Class::Punt(PuntReason::Multicast) => Class::Punt(ipv4_multicast(&packet)),
        _ if ipv4::is_martian_source(packet.source()) => Class::Drop(DropReason::MartianSource),
        class => class,
    }
}

fn ipv4_multicast(packet: &Ipv4<'_>) -> PuntReason {
    if ipv4::is_link_multicast(packet.destination()) && is_routing(packet) {
        PuntReason::Routing
    } else {
        PuntReason::Multicast
    }
}

#[inline]
fn ipv6(payload: &[u8]) -> Class {
    let packet = match Ipv6::check(payload) {
        Ok(packet) => packet,
        Err(reason) => return Class::Drop(reason),
    };
    match ipv6_destination(packet.destination()) {
        // Before the source test: duplicate address detection asks from `::`.
        Class::Punt(PuntReason::Multicast) => Class::Punt(to_link(&packet, PuntReason::Multicast)),
        _ if ipv6::is_martian_source(packet.source()) => Class::Drop(DropReason::MartianSource),
        Class::Punt(reason) => Class::Punt(to_link(&packet, reason)),
        class => class,
    }
}

/// IPv6 to the router or its link: discovery and routing protocols apart from the rest.
pub(super) fn to_link(packet: &Ipv6<'_>, otherwise: PuntReason) -> PuntReason {
    let (protocol, upper) = packet.upper_layer();
    // RFC 4861 section 6.1: discovery carries hop limit 255, or it came from off the link.
    let discovery = protocol == protocol::ICMPV6
        && packet.hop_limit() == 255
        && matches!(upper.first(), Some(133..=137));
    let routing = match (protocol, upper.first()) {
        // As for IPv4: a fragment counts by its protocol alone.
        (protocol::FRAGMENT, Some(inner)) => is_routing_protocol(*inner, &[]),
        _ => is_routing_protocol(protocol, upper),
    };
    if discovery {
        PuntReason::NeighbourDiscovery
    } else if routing {
        PuntReason::Routing
    } else {
        otherwise
    }
}

/// IPv4 to an address of the router.
pub(super) fn ipv4_local(packet: &Ipv4<'_>) -> PuntReason {
    if is_routing(packet) {
        PuntReason::Routing
    } else {
        PuntReason::Local
    }
}

/// A fragment counts by its protocol alone (OSPF leaves its large packets to fragmentation): later
/// ones have no ports.
fn is_routing(packet: &Ipv4<'_>) -> bool {
    let upper = if packet.is_fragment() {
        &[]
    } else {
        packet.payload()
    };
    is_routing_protocol(packet.protocol(), upper)
}

fn is_routing_protocol(protocol: u8, upper: &[u8]) -> bool {
    let ports: &[u16] = match protocol {
        protocol::TCP => &routing::TCP_PORTS,
        protocol::UDP => &routing::UDP_PORTS,
        _ => return routing::PROTOCOLS.contains(&protocol),
    };
    upper.len() >= 4
        && [0, 2]
            .into_iter()
            .any(|at| ports.contains(&be16(upper, at)))
}
