//! First stage: what is this frame, and does it go to the lookup at all?
//!
//! Needs nothing but the frame and the receiving interface's MAC. What the lookup's answer decides
//! together with the frame (local delivery comes before options and TTL) is left to `decide`.

use crate::shared::mac::MacAddr;
use crate::shared::reason::{DropReason, PuntReason};
use crate::shared::wire::ethernet::{Ethernet, ethertype};
use crate::shared::wire::ipv4::{self, Ipv4};
use crate::shared::wire::ipv6::{self, Ipv6};
use crate::shared::wire::{be16, protocol};

/// What a frame is to the pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// To be looked up by destination.
    Ipv4(u32),
    Ipv6(u128),
    Punt(PuntReason),
    Drop(DropReason),
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
    let destination = packet.destination();
    if ipv4::is_multicast(destination) {
        return Class::Punt(ipv4_multicast(&packet));
    }
    // Before the source test: a DHCP client sends from 0.0.0.0 to all.
    if destination == u32::MAX {
        return Class::Punt(PuntReason::Multicast);
    }
    if ipv4::is_martian_source(packet.source()) {
        return Class::Drop(DropReason::MartianSource);
    }
    if ipv4::is_martian_destination(destination) {
        return Class::Drop(DropReason::MartianDestination);
    }
    Class::Ipv4(destination)
}

fn ipv4_multicast(packet: &Ipv4<'_>) -> PuntReason {
    let link = ipv4::is_link_multicast(packet.destination());
    if link && is_routing_protocol(packet.protocol(), packet.payload()) {
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
    let destination = packet.destination();
    if ipv6::is_multicast(destination) {
        return Class::Punt(to_link(&packet, PuntReason::Multicast));
    }
    if ipv6::is_martian_source(packet.source()) {
        return Class::Drop(DropReason::MartianSource);
    }
    if destination == ipv6::LOOPBACK {
        return Class::Drop(DropReason::MartianDestination);
    }
    if ipv6::is_link_local(destination) {
        return Class::Punt(to_link(&packet, PuntReason::LinkLocal));
    }
    Class::Ipv6(destination)
}

/// IPv6 to the router or its link: discovery and routing protocols apart from the rest.
pub(super) fn to_link(packet: &Ipv6<'_>, otherwise: PuntReason) -> PuntReason {
    let (protocol, upper) = packet.upper_layer();
    // RFC 4861 section 6.1: discovery carries hop limit 255, or it came from off the link.
    let discovery = protocol == protocol::ICMPV6
        && packet.hop_limit() == 255
        && matches!(upper.first(), Some(133..=137));
    if discovery {
        PuntReason::NeighbourDiscovery
    } else if is_routing_protocol(protocol, upper) {
        PuntReason::Routing
    } else {
        otherwise
    }
}

/// IPv4 to an address of the router.
pub(super) fn ipv4_local(packet: &Ipv4<'_>) -> PuntReason {
    if !packet.is_fragment() && is_routing_protocol(packet.protocol(), packet.payload()) {
        PuntReason::Routing
    } else {
        PuntReason::Local
    }
}

/// What keeps routes up: IGP, BGP, BFD, first-hop redundancy, label distribution (IANA protocol
/// and port numbers). Either port counts, as the router may have opened the connection.
pub(super) fn is_routing_protocol(protocol: u8, upper: &[u8]) -> bool {
    const IGMP: u8 = 2;
    match protocol {
        protocol::OSPF
        | protocol::EGP
        | protocol::EIGRP
        | protocol::PIM
        | protocol::RSVP
        | protocol::VRRP
        | IGMP => true,
        protocol::TCP | protocol::UDP if upper.len() >= 4 => {
            let ports = [be16(upper, 0), be16(upper, 2)];
            ports.into_iter().any(|port| match protocol {
                // BGP, LDP, MSDP
                protocol::TCP => matches!(port, 179 | 646 | 639),
                // RIP, RIPng, LDP, HSRP, BFD, Babel
                _ => matches!(port, 520 | 521 | 646 | 1985 | 3784 | 3785 | 4784 | 6696),
            })
        }
        _ => false,
    }
}
