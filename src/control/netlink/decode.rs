//! Netlink messages to mirror events.
//!
//! Only the attributes that the mirror keeps are looked at, so that an attribute of a newer kernel
//! never costs a message. A message that makes no sense becomes [`Event::Doubt`]: it said that
//! something changed, and only a new dump tells what.

use netlink_packet_core::{DecodeError, parse_string, parse_u32};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressHeader;
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use netlink_packet_route::neighbour::{self, NeighbourExtFlags, NeighbourHeader};

use super::attributes::{address, attributes, net};
use super::message::Message;
use super::nexthop::{self, RTM_DELNEXTHOP, RTM_NEWNEXTHOP};
use super::{netconf, route, rule};
use crate::control::mirror::{Address, Event, Link, Neighbour, NeighbourFlags, NeighbourState};
use crate::shared::mac::MacAddr;

const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const NEIGHBOUR_HEADER: usize = 12;
const NDA_FLAGS_EXT: u16 = 15;

/// The event of one message; `None` for messages that the mirror does not keep.
pub fn decode(message: &Message<'_>) -> Option<Event> {
    let decoded = match message.kind {
        libc::RTM_NEWLINK | libc::RTM_DELLINK => link(message),
        libc::RTM_NEWADDR | libc::RTM_DELADDR => interface_address(message),
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => route::route(message),
        libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => neighbour(message),
        RTM_NEWNEXTHOP | RTM_DELNEXTHOP => nexthop::nexthop(message),
        libc::RTM_NEWRULE | libc::RTM_DELRULE => rule::rule(message),
        libc::RTM_NEWNETCONF | netconf::RTM_DELNETCONF => netconf::netconf(message),
        _ => Ok(None),
    };
    decoded.unwrap_or_else(|error| {
        Some(Event::Doubt {
            why: format!(
                "a netlink message of type {} makes no sense: {error}",
                message.kind
            ),
        })
    })
}

fn link(message: &Message<'_>) -> Result<Option<Event>, DecodeError> {
    let header = LinkHeader::parse(message.payload)?;
    // A bridge tells of its ports in the same group: no news of the link itself.
    if header.interface_family != AddressFamily::Unspec {
        return Ok(None);
    }
    if message.kind == libc::RTM_DELLINK {
        return Ok(Some(Event::LinkGone {
            index: header.index,
        }));
    }
    let mut link = Link {
        index: header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        running: header.flags.contains(LinkFlags::Running),
    };
    for attribute in attributes(message.payload, LINK_HEADER) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::IFLA_IFNAME => link.name = parse_string(attribute.value())?,
            libc::IFLA_ADDRESS => link.mac = MacAddr::from_slice(attribute.value()),
            libc::IFLA_MTU => link.mtu = parse_u32(attribute.value())?,
            _ => {}
        }
    }
    if link.name.is_empty() {
        return Err(DecodeError::from(format!(
            "interface {} has no name",
            link.index
        )));
    }
    Ok(Some(Event::LinkSet(link)))
}

fn interface_address(message: &Message<'_>) -> Result<Option<Event>, DecodeError> {
    let header = AddressHeader::parse(message.payload)?;
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return Ok(None);
    }
    // On a point-to-point link IFA_ADDRESS is the peer's; IFA_LOCAL is always our own.
    let (mut own, mut peer) = (None, None);
    for attribute in attributes(message.payload, ADDRESS_HEADER) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::IFA_LOCAL => own = Some(address(attribute.value())?),
            libc::IFA_ADDRESS => peer = Some(address(attribute.value())?),
            _ => {}
        }
    }
    let ip = own.or(peer).ok_or_else(|| {
        DecodeError::from(format!(
            "an address of interface {} without its value",
            header.index
        ))
    })?;
    let address = Address {
        ifindex: header.index,
        address: net(header.family, ip, header.prefix_len)?,
        peer: peer.filter(|peer| peer.is_ipv4() && *peer != ip),
    };
    Ok(Some(if message.kind == libc::RTM_NEWADDR {
        Event::AddressSet(address)
    } else {
        Event::AddressGone(address)
    }))
}

fn neighbour(message: &Message<'_>) -> Result<Option<Event>, DecodeError> {
    let header = NeighbourHeader::parse(message.payload)?;
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6)
        || header.flags.contains(neighbour::NeighbourFlags::Proxy)
    {
        return Ok(None);
    }
    let (mut ip, mut mac) = (None, None);
    let mut extended = NeighbourExtFlags::empty();
    for attribute in attributes(message.payload, NEIGHBOUR_HEADER) {
        let attribute = attribute?;
        match attribute.kind() {
            libc::NDA_DST => ip = Some(address(attribute.value())?),
            libc::NDA_LLADDR => mac = MacAddr::from_slice(attribute.value()),
            NDA_FLAGS_EXT => {
                extended = NeighbourExtFlags::from_bits_retain(parse_u32(attribute.value())?);
            }
            _ => {}
        }
    }
    let address = ip.ok_or_else(|| {
        DecodeError::from(format!(
            "a neighbour on interface {} without address",
            header.ifindex
        ))
    })?;
    // The kernel keeps its multicast mappings as neighbours but never announces them.
    if address.is_multicast() {
        return Ok(None);
    }
    let ifindex = header.ifindex;
    if message.kind == libc::RTM_DELNEIGH {
        return Ok(Some(Event::NeighbourGone { ifindex, address }));
    }
    let state = neighbour_state(header.state)?;
    Ok(Some(Event::NeighbourSet(Neighbour {
        ifindex,
        address,
        mac,
        state,
        flags: NeighbourFlags {
            learned: header.flags.contains(neighbour::NeighbourFlags::ExtLearned),
            managed: extended.contains(NeighbourExtFlags::Managed),
            validated: extended.contains(NeighbourExtFlags::ExtValidated),
        },
    })))
}

fn neighbour_state(state: neighbour::NeighbourState) -> Result<NeighbourState, DecodeError> {
    use neighbour::NeighbourState as Wire;
    Ok(match state {
        Wire::None => NeighbourState::None,
        Wire::Incomplete => NeighbourState::Incomplete,
        Wire::Reachable => NeighbourState::Reachable,
        Wire::Stale => NeighbourState::Stale,
        Wire::Delay => NeighbourState::Delay,
        Wire::Probe => NeighbourState::Probe,
        Wire::Failed => NeighbourState::Failed,
        Wire::Noarp => NeighbourState::NoArp,
        Wire::Permanent => NeighbourState::Permanent,
        other => return Err(DecodeError::from(format!("neighbour state {other:?}"))),
    })
}
