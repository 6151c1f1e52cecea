//! When the kernel will change an IPv6 route without a word: routes end (RTA_EXPIRES, or a router
//! advertisement's lifetime), and those of an advertisement get their MTU after they were announced.

use std::time::{Duration, Instant};

use netlink_packet_core::{DecodeError, parse_i32};

use super::attributes::attributes;
use super::message::Message;
use crate::control::mirror::Event;

pub(super) const ROUTE_HEADER: usize = 12;
/// rta_cacheinfo.rta_expires
const EXPIRES: std::ops::Range<usize> = 8..12;
/// Of rta_expires, in ticks of USER_HZ.
const TICK: Duration = Duration::from_millis(10);
/// The kernel counts in ticks and says nothing of a fraction: two of them after the end it is over.
pub(super) const MARGIN: Duration = Duration::from_millis(20);
/// RTPROT_RA
const RTPROT_RA: u8 = 9;
/// Exceptions (path MTU, redirects), which the mirror does not keep.
const RTM_F_CLONED: u32 = 0x200;
/// An advertisement's options are all in force by then.
const ADVERTISED: Duration = Duration::from_millis(100);

/// What RTA_CACHEINFO says of a route's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Never,
    /// Lookups pass it by already; RTM_DELROUTE comes with the next garbage collection.
    Past,
    In(Duration),
}

/// The end of a route by its RTA_CACHEINFO.
pub(super) fn end(cacheinfo: &[u8]) -> Result<End, DecodeError> {
    let ticks = cacheinfo
        .get(EXPIRES)
        .ok_or_else(|| DecodeError::from("cache information cut short"))?;
    Ok(match parse_i32(ticks)? {
        0 => End::Never,
        ticks @ 1.. => End::In(TICK * ticks.unsigned_abs()),
        _ => End::Past,
    })
}

/// When to look again at what a message told, if the kernel will not say it; `event` is the message's.
pub(super) fn silent_change(message: &Message<'_>, event: Option<&Event>) -> Option<Event> {
    let Recheck { at, end } = recheck(message)?;
    let ends = match event {
        Some(Event::RouteSet { key, .. }) => end.map(|end| (*key, end)),
        _ => None,
    };
    Some(Event::SilentChange { at, ends })
}

/// When a route is to be looked at, and when it ends.
struct Recheck {
    at: Instant,
    end: Option<Instant>,
}

fn recheck(message: &Message<'_>) -> Option<Recheck> {
    const IPV6: u8 = 10;
    let header = message.payload.get(..ROUTE_HEADER)?;
    let flags = u32::from_ne_bytes(header[8..].try_into().ok()?);
    let is_route = message.kind == libc::RTM_NEWROUTE && header[0] == IPV6;
    if !is_route || flags & RTM_F_CLONED != 0 {
        return None;
    }
    // What answers a dump (it has a sequence number) has its options.
    let advertised = header[5] == RTPROT_RA && message.sequence == 0;
    let cacheinfo = attributes(message.payload, ROUTE_HEADER)
        .flatten()
        .find(|attribute| attribute.kind() == libc::RTA_CACHEINFO)?;
    let ends = match end(cacheinfo.value()) {
        Ok(End::In(rest)) => Some(rest + MARGIN),
        _ => None,
    };
    let first = match advertised {
        true => Some(ends.unwrap_or(ADVERTISED).min(ADVERTISED)),
        false => ends,
    };
    let now = Instant::now();
    Some(Recheck {
        at: now.checked_add(first?)?,
        end: ends.and_then(|ends| now.checked_add(ends)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv6 route of `protocol` whose RTA_CACHEINFO says `expires`.
    fn route(protocol: u8, sequence: u32, expires: i32) -> Option<Duration> {
        flagged(protocol, sequence, expires, 0)
    }

    fn flagged(protocol: u8, sequence: u32, expires: i32, flags: u32) -> Option<Duration> {
        let mut payload = vec![10, 0, 0, 0, 254, protocol, 0, 1];
        payload.extend(flags.to_ne_bytes());
        payload.extend(36u16.to_ne_bytes());
        payload.extend(libc::RTA_CACHEINFO.to_ne_bytes());
        payload.extend([0; 8]);
        payload.extend(expires.to_ne_bytes());
        payload.extend([0; 20]);
        let before = Instant::now();
        let at = recheck(&Message {
            kind: libc::RTM_NEWROUTE,
            flags: 0,
            sequence,
            payload: &payload,
        });
        at.map(|recheck| recheck.at - before)
    }

    #[test]
    fn a_route_that_ends_is_looked_at_after_its_end() {
        let wait = route(4, 0, 300).unwrap();
        assert!(wait >= Duration::from_secs(3), "{wait:?}");
        assert_eq!(route(4, 0, 0), None, "a route without an end");
        assert_eq!(route(4, 0, -5), None, "a route that has ended");
        assert_eq!(flagged(4, 0, 300, RTM_F_CLONED), None, "an exception");
    }

    #[test]
    fn an_advertised_route_is_looked_at_soon_but_not_after_every_dump() {
        assert!(route(RTPROT_RA, 0, 180_000).unwrap() < Duration::from_secs(60));
        assert!(route(RTPROT_RA, 0, 0).is_some());
        assert_eq!(route(RTPROT_RA, 1, 0), None);
        assert!(route(RTPROT_RA, 1, 180_000).unwrap() >= Duration::from_secs(1800));
    }

    #[test]
    fn cache_information_is_checked() {
        assert!(end(&[0; 11]).is_err());
        let mut longest = [0; 32];
        longest[8..12].copy_from_slice(&i32::MAX.to_ne_bytes());
        assert!(matches!(end(&longest), Ok(End::In(_))));
        longest[8..12].copy_from_slice(&i32::MIN.to_ne_bytes());
        assert!(matches!(end(&longest), Ok(End::Past)));
    }
}
