//! RTM_NEWNEXTHOP and RTM_DELNEXTHOP (linux/nexthop.h), which the crates lack.

use netlink_packet_core::{DecodeError, parse_u16, parse_u32};

use super::attributes::{address, attributes};
use super::message::Message;
use super::route::RTNH_F_ONLINK;
use crate::control::mirror::{Event, NextHopObject, Path};

pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;
pub(super) const RTM_GETNEXTHOP: u16 = 106;

/// struct nhmsg: family, scope, protocol, reserved, and four bytes of RTNH_F_*.
const HEADER: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_ENCAP: u16 = 8;
const NHA_FDB: u16 = 11;
/// struct nexthop_grp: id, weight - 1, its high byte (Linux 6.12), reserved.
const MEMBER: usize = 8;

/// The event of a message about a next-hop object.
pub(super) fn nexthop(message: &Message<'_>) -> Result<Option<Event>, DecodeError> {
    let flags = message.payload.get(4..HEADER);
    let flags = parse_u32(flags.ok_or_else(|| DecodeError::from("a next hop cut short"))?)?;
    let mut path = Path {
        ifindex: None,
        via: None,
        weight: 1,
        onlink: flags & u32::from(RTNH_F_ONLINK) != 0,
        dead: false,
    };
    let (mut id, mut other) = (None, None);
    for attribute in attributes(message.payload, HEADER) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            NHA_ID => id = Some(parse_u32(value)?),
            NHA_GROUP => other = Some(NextHopObject::Group(members(value)?)),
            NHA_BLACKHOLE => other = Some(NextHopObject::Blackhole),
            NHA_ENCAP | NHA_ENCAP_TYPE | NHA_FDB => other = Some(NextHopObject::Foreign),
            NHA_OIF => path.ifindex = Some(parse_u32(value)?),
            NHA_GATEWAY => path.via = Some(address(value)?),
            _ => {}
        }
    }
    let id = id.ok_or_else(|| DecodeError::from("a next hop without id"))?;
    Ok(Some(match message.kind {
        RTM_DELNEXTHOP => Event::NextHopGone { id },
        _ => Event::NextHopSet {
            id,
            object: other.unwrap_or(NextHopObject::Leg(path)),
        },
    }))
}

fn members(value: &[u8]) -> Result<Vec<(u32, u16)>, DecodeError> {
    let members = value.chunks(MEMBER).map(|member| {
        if member.len() < MEMBER {
            return Err(DecodeError::from("a next-hop group cut short"));
        }
        let weight = parse_u16(&[member[4], member[5]])?;
        Ok((parse_u32(&member[..4])?, weight.saturating_add(1)))
    });
    members.collect()
}
