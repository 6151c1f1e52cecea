//! When IPv6 routes end may change without a word: by a router advertisement of a shorter lifetime, or
//! when what is there is added again with another end, even after its end. So the kernel is asked, once a
//! second, after the routes that are known to end, or to have ended.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_core::{Emitable, NLM_F_REQUEST, NetlinkHeader, parse_u32};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;

use super::NetlinkError;
use super::attributes::attributes;
use super::expiry::{self, End, MARGIN, ROUTE_HEADER};
use super::message::{Message, Messages};
use super::socket;
use crate::control::mirror::{Changes, Event, Mirror, RouteKey};

const PERIOD: Duration = Duration::from_secs(1);
/// Routes that are asked after, some microseconds each.
const MOST: usize = 256;
/// The kernel counts in ticks: ends this close are the same.
const SLACK: Duration = Duration::from_millis(30);
const RECEIVE_BUFFER: usize = 256 << 10;
/// Longer prefixes within one that are passed by in search of an address that it is asked for.
const SKIPS: usize = 64;
const RT_TABLE_MAIN: u32 = 254;
const RT_TABLE_LOCAL: u32 = 255;
const RTM_F_FIB_MATCH: u32 = 0x2000;

/// Where an IPv6 lookup ends.
struct Found {
    /// The prefix's.
    length: u8,
    metric: u32,
    end: End,
}

/// A socket to ask by, and when to.
pub(super) struct Lifetimes {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    next: Instant,
    /// Of which routes a dump has been asked for, since the kernel did not find them or (true) found them
    /// after their end.
    doubted: BTreeSet<(RouteKey, bool)>,
}

impl Lifetimes {
    pub(super) fn open(now: Instant) -> Result<Lifetimes, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
        socket::prepare(&mut socket, RECEIVE_BUFFER).map_err(NetlinkError::Open)?;
        // The kernel has answered when the question is sent.
        socket.set_non_blocking(true).map_err(NetlinkError::Open)?;
        Ok(Lifetimes {
            socket,
            sequence: 0,
            buffer: Vec::with_capacity(socket::DATAGRAM),
            next: now,
            doubted: BTreeSet::new(),
        })
    }

    /// When to ask, if there is anything to ask after.
    pub(super) fn due(&self, mirror: &Mirror) -> Option<Instant> {
        let nothing = mirror.ends().is_empty() && mirror.expired().is_empty();
        (!nothing).then_some(self.next)
    }

    /// Asks, and notes ends that come sooner; true when a route has gone, or is back, of which only a
    /// dump can tell.
    pub(super) fn poll(&mut self, mirror: &mut Mirror, now: Instant) -> bool {
        self.next = now + PERIOD;
        let (ends, expired) = (mirror.ends(), mirror.expired());
        self.doubted
            .retain(|(key, _)| ends.contains_key(key) || expired.contains(key));
        // Only by the default rules a route of main is what a lookup finds.
        if !mirror.rules().are_default(true) {
            return false;
        }
        let ends = ends.iter().map(|(key, end)| (*key, Some(*end)));
        let without = |key: &&RouteKey| mirror.routes(key).is_empty();
        let expired = expired.iter().filter(without).map(|key| (*key, None));
        let of_main = expired
            .chain(ends)
            .filter(|(key, _)| key.table == RT_TABLE_MAIN);
        let known: Vec<(RouteKey, Option<Instant>)> = of_main.take(MOST).collect();
        let mut doubtful = false;
        for (key, end) in known {
            let IpNet::V6(net) = key.prefix else {
                continue;
            };
            // Most likely of all to lie in no longer prefix.
            let Ok(found) = self.ask(net.broadcast()) else {
                continue;
            };
            let is_there = found
                .as_ref()
                .is_some_and(|found| found.length == net.prefix_len());
            match (found, end) {
                (Some(found), _) if found.length > net.prefix_len() => {}
                (_, None) => doubtful |= is_there && self.doubted.insert((key, true)),
                (Some(found), Some(end)) if is_there => {
                    self.doubted.remove(&(key, false));
                    if let End::In(rest) = found.end
                        && now + rest + MARGIN + SLACK < end
                    {
                        let at = now + rest + MARGIN;
                        let ends = Some((key, at));
                        mirror.apply(Event::SilentChange { at, ends }, &mut Changes::default());
                    }
                }
                (Some(_) | None, Some(_)) => {
                    if self.doubted.insert((key, false)) {
                        let ends = Some((key, now));
                        let gone = Event::SilentChange { at: now, ends };
                        mirror.apply(gone, &mut Changes::default());
                        doubtful = true;
                    }
                }
            }
        }
        doubtful
    }

    /// Whether the kernel has no route any more by which the mirror would have packets go that a prefix
    /// of table main holds: it takes a shorter prefix or a higher metric for them. False where that
    /// cannot be asked.
    pub(super) fn has_gone(&mut self, prefix: &IpNet, mirror: &Mirror) -> bool {
        let key = RouteKey {
            table: RT_TABLE_MAIN,
            prefix: *prefix,
        };
        let mut plain = mirror
            .routes(&key)
            .iter()
            .filter(|route| route.source.is_none());
        let Some(first) = plain.next().filter(|_| mirror.rules().are_default(true)) else {
            return false;
        };
        let Some(address) = uncovered(prefix, mirror) else {
            return false;
        };
        match self.ask(address) {
            Ok(Some(found)) if found.length == prefix.prefix_len() => found.metric > first.metric,
            Ok(Some(found)) => found.length < prefix.prefix_len(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Asks the kernel for the route of an address (RTM_F_FIB_MATCH); `None` when there is none.
    fn ask(&mut self, address: Ipv6Addr) -> io::Result<Option<Found>> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(address, self.sequence), 0)?;
        loop {
            match socket::receive(&self.socket, &mut self.buffer)? {
                socket::Datagram::Whole => {}
                socket::Datagram::Foreign | socket::Datagram::Cut => continue,
            }
            let mut messages = Messages::new(&self.buffer).flatten();
            // What is left of an earlier question is not its answer.
            let answer = messages.find(|message| message.sequence == self.sequence);
            if let Some(message) = answer {
                return Ok(found(&message));
            }
        }
    }
}

fn found(message: &Message<'_>) -> Option<Found> {
    if message.kind != libc::RTM_NEWROUTE {
        return None;
    }
    let mut found = Found {
        length: *message.payload.get(1)?,
        metric: 0,
        end: End::Never,
    };
    for attribute in attributes(message.payload, ROUTE_HEADER).flatten() {
        match attribute.kind() {
            libc::RTA_PRIORITY => found.metric = parse_u32(attribute.value()).ok()?,
            libc::RTA_CACHEINFO => found.end = expiry::end(attribute.value()).ok()?,
            _ => {}
        }
    }
    Some(found)
}

/// The first address of an IPv6 prefix that no longer one holds in the tables which the kernel asks.
fn uncovered(prefix: &IpNet, mirror: &Mirror) -> Option<Ipv6Addr> {
    let IpNet::V6(net) = prefix else {
        return None;
    };
    let is_asked = |inner: &IpNet| {
        [RT_TABLE_LOCAL, RT_TABLE_MAIN].into_iter().any(|table| {
            let prefix = *inner;
            !mirror.routes(&RouteKey { table, prefix }).is_empty()
        })
    };
    let mut address = net.network();
    for _ in 0..SKIPS {
        let around = mirror.prefixes_around(address.into());
        let mut longer = around.filter(|inner| inner.prefix_len() > net.prefix_len());
        let Some(IpNet::V6(inner)) = longer.find(|inner| is_asked(inner)) else {
            return Some(address);
        };
        let next = u128::from(inner.broadcast()).checked_add(1)?;
        address = Some(Ipv6Addr::from(next)).filter(|next| net.contains(next))?;
    }
    None
}

fn request(address: Ipv6Addr, sequence: u32) -> Vec<u8> {
    const IPV6: u8 = 10;
    let mut route = [0; ROUTE_HEADER];
    (route[0], route[1]) = (IPV6, 128);
    route[8..].copy_from_slice(&RTM_F_FIB_MATCH.to_ne_bytes());
    let mut header = NetlinkHeader::default();
    let length = header.buffer_len() + ROUTE_HEADER + 20;
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    header.message_type = libc::RTM_GETROUTE;
    header.flags = NLM_F_REQUEST;
    header.sequence_number = sequence;
    let mut bytes = vec![0; header.buffer_len()];
    header.emit(&mut bytes);
    bytes.extend(route);
    bytes.extend(20u16.to_ne_bytes());
    bytes.extend(libc::RTA_DST.to_ne_bytes());
    bytes.extend(address.octets());
    bytes
}
