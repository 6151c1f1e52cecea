//! What the kernel answers: RTM_GETROUTE with RTM_F_FIB_MATCH, on a socket of our own and read by a
//! decoder that is not ixmap's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHopFlags,
    RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// A next hop: interface and gateway; without a gateway the destination itself is the neighbour.
pub(crate) type Leg = (u32, Option<IpAddr>);

/// The kernel's answer for an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Route {
        prefix: IpNet,
        kind: RouteType,
        /// Those that are alive, with their weights.
        legs: BTreeMap<Leg, usize>,
        /// The route's own MTU.
        mtu: Option<u32>,
    },
    /// An errno: no route, or one that refuses.
    Refused(i32),
}

/// Whether a family's rules are those that every kernel begins with, in the words of ip(8).
pub(crate) fn has_first_rules(ipv6: bool) -> bool {
    let mut first = vec!["0:from all lookup local", "32766:from all lookup main"];
    let family = match ipv6 {
        true => "-6",
        false => {
            first.push("32767:from all lookup default");
            "-4"
        }
    };
    let shown = Command::new("ip").args([family, "rule"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    // Who added a rule does not matter.
    let rules = shown.lines().map(|line| {
        let (rule, _) = line.split_once(" proto ").unwrap_or((line, ""));
        rule.replace('\t', "").trim_end().to_owned()
    });
    let rules: BTreeSet<String> = rules.collect();
    rules == first.into_iter().map(str::to_owned).collect()
}

/// A socket to ask by.
pub(crate) struct Kernel {
    socket: Socket,
    sequence: u32,
}

impl Kernel {
    /// Of the calling thread's network namespace.
    pub(crate) fn open() -> Kernel {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        socket.connect(&SocketAddr::new(0, 0)).unwrap();
        Kernel {
            socket,
            sequence: 0,
        }
    }

    /// Where the kernel would send a packet to `address`.
    pub(crate) fn route(&mut self, address: IpAddr) -> Verdict {
        let mut route = RouteMessage::default();
        (
            route.header.address_family,
            route.header.destination_prefix_length,
        ) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        route.header.flags = RouteFlags::FibMatch;
        route
            .attributes
            .push(RouteAttribute::Destination(RouteAddress::from(address)));
        let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(route));
        self.sequence += 1;
        message.header.flags = NLM_F_REQUEST;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).unwrap();
        let (bytes, _) = self.socket.recv_from_full().unwrap();
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
        assert_eq!(answer.header.sequence_number, self.sequence);
        match answer.payload {
            NetlinkPayload::Error(error) => Verdict::Refused(-error.raw_code()),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => verdict(&route),
            other => panic!("{address}: the kernel answers {other:?}"),
        }
    }
}

fn verdict(route: &RouteMessage) -> Verdict {
    let header = &route.header;
    let mut destination = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        _ => IpAddr::from([0; 16]),
    };
    let (mut output, mut legs, mut mtu) = (None, BTreeMap::new(), None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address),
            RouteAttribute::Oif(ifindex) => output = Some(*ifindex),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::MultiPath(hops) => {
                let is_dead = |flags: RouteNextHopFlags| flags.contains(RouteNextHopFlags::Dead);
                for hop in hops.iter().filter(|hop| !is_dead(hop.flags)) {
                    let leg = (hop.interface_index, gateway(&hop.attributes));
                    *legs.entry(leg).or_default() += usize::from(hop.hops) + 1;
                }
            }
            _ => {}
        }
    }
    if let Some(ifindex) = output.filter(|_| !header.flags.contains(RouteFlags::Dead)) {
        legs.insert((ifindex, gateway(&route.attributes)), 1);
    }
    Verdict::Route {
        prefix: IpNet::new(destination, header.destination_prefix_length).unwrap(),
        kind: header.kind,
        legs,
        mtu,
    }
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => Some(ip(address)),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> IpAddr {
    match address {
        RouteAddress::Inet(address) => IpAddr::V4(*address),
        RouteAddress::Inet6(address) => IpAddr::V6(*address),
        other => panic!("no address: {other:?}"),
    }
}
