//! RTM_NEWNETCONF and RTM_DELNETCONF to events: settings of an interface, of `all` or of `default`.

use netlink_packet_core::{DecodeError, parse_i32};

use super::attributes::attributes;
use super::message::Message;
use crate::control::mirror::{Event, Netconf};

pub(super) const RTM_DELNETCONF: u16 = 81;
/// struct netconfmsg, padded.
pub(super) const NETCONF_HEADER: usize = 4;

const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const NETCONFA_RP_FILTER: u16 = 3;
const NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN: u16 = 6;

/// The event of a settings message; `None` for other families (MPLS has settings too).
pub(super) fn netconf(message: &Message<'_>) -> Result<Option<Event>, DecodeError> {
    let family = message.payload.first().copied().map(libc::c_int::from);
    let ipv6 = match family {
        Some(libc::AF_INET) => false,
        Some(libc::AF_INET6) => true,
        _ => return Ok(None),
    };
    let mut of = None;
    let mut values = Netconf::default();
    for attribute in attributes(message.payload, NETCONF_HEADER) {
        let attribute = attribute?;
        let into = match attribute.kind() {
            NETCONFA_IFINDEX => &mut of,
            NETCONFA_FORWARDING => &mut values.forwarding,
            NETCONFA_RP_FILTER => &mut values.rp_filter,
            NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN => &mut values.ignore_routes_with_linkdown,
            _ => continue,
        };
        *into = Some(parse_i32(attribute.value())?);
    }
    let ifindex = of.ok_or_else(|| DecodeError::from("settings of no interface"))?;
    Ok(Some(if message.kind == RTM_DELNETCONF {
        Event::NetconfGone { ipv6, ifindex }
    } else {
        Event::NetconfSet {
            ipv6,
            ifindex,
            values,
        }
    }))
}
