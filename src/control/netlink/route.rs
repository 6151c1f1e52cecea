//! RTM_NEWROUTE and RTM_DELROUTE to events.

use std::net::IpAddr;

use netlink_packet_core::{
    DecodeError, NLM_F_APPEND, NLM_F_EXCL, NLM_F_REPLACE, NlaBuffer, NlasIterator, parse_u16,
    parse_u32,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteFlags, RouteHeader, RouteType};
use smallvec::smallvec;

use super::attributes::{address, attributes, net, unspecified};
use super::expiry::{self, End};
use super::message::Message;
use crate::control::mirror::{
    Event, Path, Paths, Placement, Preference, Route, RouteKey, RouteKind,
};

const ROUTE_HEADER: usize = 12;
/// struct rtnexthop: length, flags, hops, ifindex.
const NEXTHOP_HEADER: usize = 8;
const RTA_NH_ID: u16 = 30;
const RTAX_MTU: u16 = 2;
const RTNH_F_DEAD: u8 = 1;
pub(super) const RTNH_F_ONLINK: u8 = 4;
/// The kernel accepts no more legs than fit an attribute of 64 KiB; each takes 8 bytes or more.
const MAX_LEGS: usize = 8192;

/// The attributes of one route message that the mirror keeps.
#[derive(Default)]
struct Attributes {
    destination: Option<IpAddr>,
    source: Option<IpAddr>,
    table: Option<u32>,
    metric: u32,
    output: Option<u32>,
    via: Option<IpAddr>,
    legs: Vec<Path>,
    nexthop_id: Option<u32>,
    mtu: Option<u32>,
    preferred_source: Option<IpAddr>,
    preference: Preference,
    encapsulated: bool,
    expired: bool,
}

/// The event of a route message; `None` for exceptions (RTM_F_CLONED) and other families.
pub(super) fn route(message: &Message<'_>) -> Result<Option<Event>, DecodeError> {
    let header = RouteHeader::parse(message.payload)?;
    let family = header.address_family;
    if !matches!(family, AddressFamily::Inet | AddressFamily::Inet6)
        || header.flags.contains(RouteFlags::Cloned)
    {
        return Ok(None);
    }
    let found = read(message.payload)?;
    let length = header.destination_prefix_length;
    let destination = match found.destination {
        Some(destination) => destination,
        None if length == 0 => unspecified(family),
        None => return Err(DecodeError::from("a route without its destination")),
    };
    let source = match found.source {
        Some(source) => Some(net(family, source, header.source_prefix_length)?.trunc()),
        None => None,
    };
    let key = RouteKey {
        table: found.table.unwrap_or_else(|| u32::from(header.table)),
        prefix: net(family, destination, length)?.trunc(),
    };
    let kind = kind(header.kind);
    let expired = found.expired;
    let joined = found.nexthop_id.is_none() && found.legs.len() > 1;
    let route = Route {
        kind,
        metric: found.metric,
        tos: header.tos,
        protocol: header.protocol.into(),
        scope: header.scope.into(),
        nexthop_id: found.nexthop_id,
        mtu: found.mtu,
        preferred_source: found.preferred_source,
        preference: found.preference,
        source,
        encapsulated: found.encapsulated,
        lapsed: expired && joined,
        paths: paths(kind, family, header.flags, found),
    };
    // Of a route that has expired the kernel keeps no more than its memory; of several legs it tells
    // the end of the first only.
    Ok(Some(
        if message.kind == libc::RTM_DELROUTE || expired && !joined {
            Event::RouteGone { key, route }
        } else {
            Event::RouteSet {
                key,
                route,
                place: Placement {
                    replace: message.flags & NLM_F_REPLACE != 0,
                    append: message.flags & NLM_F_APPEND != 0,
                    exclusive: message.flags & NLM_F_EXCL != 0,
                },
            }
        },
    ))
}

fn read(payload: &[u8]) -> Result<Attributes, DecodeError> {
    let mut found = Attributes::default();
    for attribute in attributes(payload, ROUTE_HEADER) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            libc::RTA_DST => found.destination = Some(address(value)?),
            libc::RTA_SRC => found.source = Some(address(value)?),
            libc::RTA_TABLE => found.table = Some(parse_u32(value)?),
            libc::RTA_PRIORITY => found.metric = parse_u32(value)?,
            libc::RTA_OIF => found.output = Some(parse_u32(value)?),
            libc::RTA_GATEWAY | libc::RTA_VIA => found.via = Some(gateway(&attribute)?),
            libc::RTA_MULTIPATH => legs(value, &mut found)?,
            libc::RTA_METRICS => found.mtu = mtu(value)?,
            libc::RTA_PREFSRC => found.preferred_source = Some(address(value)?),
            libc::RTA_PREF => found.preference = preference(value),
            libc::RTA_ENCAP | libc::RTA_ENCAP_TYPE => found.encapsulated = true,
            libc::RTA_CACHEINFO => found.expired = expiry::end(value)? == End::Past,
            RTA_NH_ID => found.nexthop_id = Some(parse_u32(value)?),
            _ => {}
        }
    }
    Ok(found)
}

/// RTA_GATEWAY, an address of the route's own family, or RTA_VIA, a family and its address.
fn gateway(attribute: &NlaBuffer<&[u8]>) -> Result<IpAddr, DecodeError> {
    match attribute.kind() {
        libc::RTA_VIA => address(attribute.value().get(2..).unwrap_or(&[])),
        _ => address(attribute.value()),
    }
}

/// RFC 4191, section 2.1: two bits, of which one value is reserved and means medium.
fn preference(value: &[u8]) -> Preference {
    match value.first() {
        Some(1) => Preference::High,
        Some(3) => Preference::Low,
        _ => Preference::Medium,
    }
}

fn mtu(metrics: &[u8]) -> Result<Option<u32>, DecodeError> {
    for metric in NlasIterator::new(metrics) {
        let metric = metric?;
        if metric.kind() == RTAX_MTU {
            return parse_u32(metric.value()).map(Some);
        }
    }
    Ok(None)
}

/// The legs of RTA_MULTIPATH: each a struct rtnexthop with its own attributes.
fn legs(mut rest: &[u8], found: &mut Attributes) -> Result<(), DecodeError> {
    while !rest.is_empty() {
        let header = rest
            .get(..NEXTHOP_HEADER)
            .ok_or_else(|| DecodeError::from("a leg cut short"))?;
        let length = usize::from(parse_u16(&header[..2])?);
        let attributes = rest
            .get(NEXTHOP_HEADER..length)
            .ok_or_else(|| DecodeError::from(format!("a leg of length {length}")))?;
        if found.legs.len() == MAX_LEGS {
            return Err(DecodeError::from(format!("more than {MAX_LEGS} legs")));
        }
        let (flags, hops) = (header[2], header[3]);
        let mut leg = Path {
            ifindex: Some(parse_u32(&header[4..])?).filter(|&index| index != 0),
            via: None,
            weight: u16::from(hops) + 1,
            onlink: flags & RTNH_F_ONLINK != 0,
            dead: flags & RTNH_F_DEAD != 0,
        };
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            match attribute.kind() {
                libc::RTA_GATEWAY | libc::RTA_VIA => leg.via = Some(gateway(&attribute)?),
                libc::RTA_ENCAP | libc::RTA_ENCAP_TYPE => found.encapsulated = true,
                _ => {}
            }
        }
        found.legs.push(leg);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(())
}

/// The legs of a route. IPv6 legs have no order of their own (an append lists the new one first, a
/// dump the oldest), so they are sorted: the same legs are then always the same route.
fn paths(
    kind: RouteKind,
    family: AddressFamily,
    flags: RouteFlags,
    mut found: Attributes,
) -> Paths {
    // A next-hop object alone says where its routes lead: what the message carries of that may be out
    // of date, or missing (nexthop_compat_mode).
    if found.nexthop_id.is_some() {
        return Paths::new();
    }
    // IPv6 names the loopback interface as the output of routes that lead nowhere.
    if matches!(
        kind,
        RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw
    ) {
        return Paths::new();
    }
    if !found.legs.is_empty() {
        if family == AddressFamily::Inet6 {
            found.legs.sort_unstable();
        }
        return found.legs.into();
    }
    if found.output.is_none() && found.via.is_none() {
        return Paths::new();
    }
    smallvec![Path {
        ifindex: found.output,
        via: found.via,
        weight: 1,
        onlink: flags.contains(RouteFlags::Onlink),
        dead: flags.contains(RouteFlags::Dead),
    }]
}

fn kind(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::Broadcast => RouteKind::Broadcast,
        RouteType::Anycast => RouteKind::Anycast,
        RouteType::Multicast => RouteKind::Multicast,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Throw => RouteKind::Throw,
        other => RouteKind::Other(other.into()),
    }
}
