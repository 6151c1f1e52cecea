//! A naive router to measure the pipeline against: written from the RFCs (791, 1812, 4291, 8200)
//! and the order of Linux's own input path, over lists that are searched from end to end. It shares
//! no parsing, no lookup and no checksum with what it judges.
//!
//! Where several answers are right (a frame with two faults, a route with several legs, a packet
//! that turns back) it gives them all.

use crate::dataplane::testing::internet_checksum;
use crate::shared::fib::KernelOnly;
use crate::shared::port::PortId;
use crate::shared::reason::{DropReason, PuntReason};

/// What may become of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Leaves by the port as these bytes.
    Forward(PortId, Vec<u8>),
    Punt(PuntReason),
    Drop(DropReason),
}

/// What a route does.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// Through one of the next hops (by number, with weight), in packets of at most `mtu` bytes.
    Via {
        legs: Vec<(usize, u16)>,
        mtu: u16,
    },
    Local,
    Blackhole,
    Unreachable,
    Prohibit,
    /// Only the kernel can follow it.
    Kernel,
}

#[derive(Clone, Debug)]
pub(super) enum NextHop {
    Known {
        port: PortId,
        to: [u8; 6],
        from: [u8; 6],
        mtu: u16,
    },
    /// On this port, not resolved.
    Unknown(PortId),
    /// Behind an interface that is no port.
    Foreign,
}

/// The kernel's rp_filter values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RpFilter {
    Off,
    Strict,
    Loose,
}

/// A router as it looks to a frame that arrives on `ingress`.
#[derive(Clone, Debug)]
pub(super) struct Router {
    pub(super) ingress: PortId,
    pub(super) mac: [u8; 6],
    pub(super) up: bool,
    pub(super) forward_ipv4: bool,
    pub(super) forward_ipv6: bool,
    pub(super) rp_filter: RpFilter,
    pub(super) kernel_only: KernelOnly,
    pub(super) own_ipv4: Vec<u32>,
    pub(super) routes_ipv4: Vec<(u32, u32, Route)>,
    pub(super) routes_ipv6: Vec<(u128, u32, Route)>,
    pub(super) next_hops: Vec<NextHop>,
}

fn punt(reason: PuntReason) -> Vec<Outcome> {
    vec![Outcome::Punt(reason)]
}

fn discard(reason: DropReason) -> Vec<Outcome> {
    vec![Outcome::Drop(reason)]
}

fn number(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn length(bytes: &[u8]) -> usize {
    usize::try_from(number(bytes)).unwrap()
}

impl Router {
    /// All right outcomes for `frame`, never none.
    pub(super) fn judge(&self, frame: &[u8]) -> Vec<Outcome> {
        if !self.up {
            return discard(DropReason::PortDown);
        }
        if frame.len() < 14 {
            return discard(DropReason::FrameTooShort);
        }
        let to_group = frame[0] % 2 == 1;
        if frame[..6] != self.mac && !to_group {
            return discard(DropReason::OtherHost);
        }
        match frame[12..14] {
            [0x08, 0x00] => self.judge_ipv4(frame, to_group),
            [0x86, 0xdd] => self.judge_ipv6(frame, to_group),
            [0x08, 0x06] => punt(PuntReason::Arp),
            // IEEE 802.1Q and 802.1ad
            [0x81, 0x00] | [0x88, 0xa8] => punt(PuntReason::Vlan),
            // IEEE 802.3: up to 1500 it is a length, undefined up to 1535; IS-IS lives there
            [0..6, _] => punt(PuntReason::Routing),
            _ => punt(PuntReason::UnknownEthertype),
        }
    }

    fn judge_ipv4(&self, frame: &[u8], to_group: bool) -> Vec<Outcome> {
        let bytes = &frame[14..];
        let faults = ipv4_faults(bytes);
        if !faults.is_empty() {
            return faults.into_iter().map(Outcome::Drop).collect();
        }
        let packet = &bytes[..length(&bytes[2..4])];
        let header = usize::from(packet[0] % 16) * 4;
        let (source, destination) = (&packet[12..16], &packet[16..20]);
        let a_fragment = packet[6] & 0x20 != 0 || number(&packet[6..8]) & 0x1fff != 0;
        let vital = keeps_routes_up(packet[9], if a_fragment { &[] } else { &packet[header..] });
        // RFC 1122 section 3.2.1.3, RFC 5771
        match destination {
            [224, 0, 0, _] if vital => return punt(PuntReason::Routing),
            [224..=239, ..] | [255, 255, 255, 255] => return punt(PuntReason::Multicast),
            _ => {}
        }
        // RFC 1812 section 5.3.7
        if matches!(
            source,
            [0, 0, 0, 0] | [127, ..] | [224..=239, ..] | [255, 255, 255, 255]
        ) {
            return discard(DropReason::MartianSource);
        }
        if matches!(destination, [0, 0, 0, 0] | [127, ..]) {
            return discard(DropReason::MartianDestination);
        }
        let route = longest_match(&self.routes_ipv4, 32, number(destination));
        if let Some(Route::Local) = route {
            let reason = if vital {
                PuntReason::Routing
            } else {
                PuntReason::Local
            };
            return punt(reason);
        }
        if to_group {
            return discard(DropReason::UnicastInGroupFrame);
        }
        if self.kernel_only.ipv4 {
            return punt(PuntReason::KernelRoute);
        }
        if header > 20 {
            return punt(PuntReason::Ipv4Options);
        }
        if self
            .own_ipv4
            .iter()
            .any(|own| u128::from(*own) == number(source))
        {
            return discard(DropReason::SourceIsOwn);
        }
        if !self.forward_ipv4 {
            return discard(DropReason::ForwardingOff);
        }
        let (legs, mtu) = match self.follow(route) {
            Ok(way) => way,
            Err(outcomes) => return outcomes,
        };
        if let Err(outcomes) = self.check_way_back(number(source)) {
            return outcomes;
        }
        self.send(&legs, mtu, packet[8], packet.len(), |leg| {
            let mut sent = packet.to_vec();
            sent[8] -= 1;
            sent[10..12].fill(0);
            let sum = internet_checksum(&sent[..header]);
            sent[10..12].copy_from_slice(&sum.to_be_bytes());
            enframe(leg, [0x08, 0x00], &sent)
        })
    }

    fn judge_ipv6(&self, frame: &[u8], to_group: bool) -> Vec<Outcome> {
        let bytes = &frame[14..];
        if bytes.len() < 40 || bytes[0] / 16 != 6 {
            return discard(DropReason::Ipv6BadHeader);
        }
        let Some(packet) = bytes.get(..40 + length(&bytes[4..6])) else {
            return discard(DropReason::Ipv6BadLength);
        };
        let (source, destination) = (&packet[8..24], &packet[24..40]);
        let link_local = |address: &[u8]| address[0] == 0xfe && address[1] / 64 == 2;
        let to_link = |otherwise| punt(ipv6_to_the_router(packet).unwrap_or(otherwise));
        if destination[0] == 0xff {
            return to_link(PuntReason::Multicast);
        }
        // RFC 4291 sections 2.5.2, 2.5.3 and 2.7
        if number(source) < 2 || source[0] == 0xff {
            return discard(DropReason::MartianSource);
        }
        if number(destination) == 1 {
            return discard(DropReason::MartianDestination);
        }
        if link_local(destination) {
            return to_link(PuntReason::LinkLocal);
        }
        let route = longest_match(&self.routes_ipv6, 128, number(destination));
        if let Some(Route::Local) = route {
            return to_link(PuntReason::Local);
        }
        if to_group {
            return discard(DropReason::UnicastInGroupFrame);
        }
        if self.kernel_only.ipv6 {
            return punt(PuntReason::KernelRoute);
        }
        // RFC 4291 section 2.5.6
        if link_local(source) {
            return discard(DropReason::SourceLinkLocal);
        }
        // RFC 8200 section 4.3
        if packet[6] == 0 {
            return punt(PuntReason::HopByHop);
        }
        let (legs, mtu) = match self.follow(route) {
            Ok(way) => way,
            Err(outcomes) => return outcomes,
        };
        if !self.forward_ipv6 {
            return discard(DropReason::ForwardingOff);
        }
        self.send(&legs, mtu, packet[7], packet.len(), |leg| {
            let mut sent = packet.to_vec();
            sent[7] -= 1;
            enframe(leg, [0x86, 0xdd], &sent)
        })
    }

    /// The next hops and the MTU that a route gives, or why it gives none.
    fn follow(&self, route: Option<&Route>) -> Result<(Vec<&NextHop>, u16), Vec<Outcome>> {
        match route {
            Some(Route::Via { legs, mtu }) => {
                let legs = legs.iter().map(|(n, _)| &self.next_hops[*n]).collect();
                Ok((legs, *mtu))
            }
            None => Err(punt(PuntReason::NoRoute)),
            Some(Route::Unreachable) => Err(punt(PuntReason::Unreachable)),
            Some(Route::Prohibit) => Err(punt(PuntReason::Prohibit)),
            Some(Route::Kernel) => Err(punt(PuntReason::KernelRoute)),
            Some(Route::Blackhole) => Err(discard(DropReason::Blackhole)),
            Some(Route::Local) => Err(punt(PuntReason::Local)),
        }
    }

    /// RFC 3704 sections 2.2 and 2.4: who sends from here must be reachable, and strictly, by here.
    fn check_way_back(&self, source: u128) -> Result<(), Vec<Outcome>> {
        let from_here = |n: usize| match &self.next_hops[n] {
            NextHop::Known { port, .. } | NextHop::Unknown(port) => *port == self.ingress,
            NextHop::Foreign => false,
        };
        let back = longest_match(&self.routes_ipv4, 32, source);
        match (self.rp_filter, back) {
            (RpFilter::Off, _) => Ok(()),
            // The kernel knows where it leads.
            (_, Some(Route::Kernel)) => Err(punt(PuntReason::KernelRoute)),
            (RpFilter::Loose, Some(Route::Via { .. })) => Ok(()),
            (RpFilter::Strict, Some(Route::Via { legs, .. }))
                if legs.iter().any(|(n, _)| from_here(*n)) =>
            {
                Ok(())
            }
            _ => Err(discard(DropReason::ReversePath)),
        }
    }

    /// RFC 1812 section 5.3.1 (TTL), RFC 8200 section 3 (hop limit), then size and neighbour.
    fn send(
        &self,
        legs: &[&NextHop],
        route_mtu: u16,
        ttl: u8,
        len: usize,
        rewritten: impl Fn(&NextHop) -> Vec<u8>,
    ) -> Vec<Outcome> {
        if ttl <= 1 {
            return punt(PuntReason::Ttl);
        }
        let mut outcomes = Vec::new();
        for leg in legs {
            match leg {
                NextHop::Foreign => outcomes.extend(punt(PuntReason::ForeignInterface)),
                NextHop::Unknown(_) => outcomes.extend(punt(PuntReason::NoNeighbour)),
                NextHop::Known { mtu, .. } if len > usize::from(*mtu.min(&route_mtu)) => {
                    outcomes.extend(punt(PuntReason::Mtu));
                }
                NextHop::Known { port, .. } => {
                    if *port == self.ingress {
                        outcomes.extend(punt(PuntReason::Redirect));
                    }
                    outcomes.push(Outcome::Forward(*port, rewritten(leg)));
                }
            }
        }
        outcomes
    }
}

/// RFC 1812 section 5.2.2: all that is wrong with a header.
fn ipv4_faults(bytes: &[u8]) -> Vec<DropReason> {
    if bytes.len() < 20 {
        return vec![DropReason::Ipv4BadHeader];
    }
    let mut faults = Vec::new();
    let (version, header) = (bytes[0] / 16, usize::from(bytes[0] % 16) * 4);
    let total = length(&bytes[2..4]);
    if version != 4 || header < 20 || header > bytes.len() {
        faults.push(DropReason::Ipv4BadHeader);
    }
    if total < header || total > bytes.len() {
        faults.push(DropReason::Ipv4BadLength);
    }
    if header >= 20 && header <= bytes.len() && internet_checksum(&bytes[..header]) != 0 {
        faults.push(DropReason::Ipv4BadChecksum);
    }
    faults
}

/// The punt class of an IPv6 packet to the router or its link, if it is a vital one.
fn ipv6_to_the_router(packet: &[u8]) -> Option<PuntReason> {
    let (mut next, mut at) = (packet[6], 40);
    // RFC 8200 section 4: routing header 43, destination options 60
    while next == 43 || next == 60 {
        let size = packet
            .get(at + 1)
            .map(|units| 8 + 8 * usize::from(*units))?;
        next = packet[at];
        at += size;
        packet.get(at..)?;
    }
    let upper = &packet[at..];
    // RFC 4861 section 7.1: only with hop limit 255
    if next == 58 && packet[7] == 255 && upper.first().is_some_and(|t| (133..=137).contains(t)) {
        return Some(PuntReason::NeighbourDiscovery);
    }
    let vital = match (next, upper.first()) {
        (44, Some(inner)) => keeps_routes_up(*inner, &[]),
        _ => keeps_routes_up(next, upper),
    };
    vital.then_some(PuntReason::Routing)
}

/// IANA protocol and port numbers of what routers say to each other.
fn keeps_routes_up(protocol: u8, upper: &[u8]) -> bool {
    // IGMP, EGP, RSVP, EIGRP, OSPF, PIM, VRRP
    const PROTOCOLS: [u8; 7] = [2, 8, 46, 88, 89, 103, 112];
    // BGP, LDP, MSDP
    const TCP: [u128; 3] = [179, 646, 639];
    // RIP, RIPng, LDP, HSRP, BFD control, echo and multihop, Babel
    const UDP: [u128; 8] = [520, 521, 646, 1985, 3784, 3785, 4784, 6696];
    let known: &[u128] = match protocol {
        6 => &TCP,
        17 => &UDP,
        _ => return PROTOCOLS.contains(&protocol),
    };
    upper.len() >= 4
        && (known.contains(&number(&upper[..2])) || known.contains(&number(&upper[2..4])))
}

/// The route of the longest prefix that holds `address`.
fn longest_match<A: Copy + Into<u128>>(
    routes: &[(A, u32, Route)],
    bits: u32,
    address: u128,
) -> Option<&Route> {
    let holds = |prefix: u128, len: u32| {
        let rest = bits - len;
        rest == 128 || prefix >> rest == address >> rest
    };
    routes
        .iter()
        .filter(|(prefix, len, _)| holds((*prefix).into(), *len))
        .max_by_key(|(_, len, _)| *len)
        .map(|(_, _, route)| route)
}

fn enframe(leg: &NextHop, ethertype: [u8; 2], packet: &[u8]) -> Vec<u8> {
    let NextHop::Known { to, from, .. } = leg else {
        panic!("only a known neighbour can be sent to");
    };
    [&to[..], &from[..], &ethertype[..], packet].concat()
}
