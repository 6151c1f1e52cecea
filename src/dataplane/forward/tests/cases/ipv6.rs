//! IPv6, row by row.

use super::Fate::{Lost, Out, To};
use super::check;
use crate::dataplane::forward::tests::lab::router;
use crate::dataplane::testing::{V6, address, v6};
use crate::shared::reason::{DropReason, PuntReason};

pub(super) const FAR6: u128 = 0x2001_0d14 << 96 | 1;
const OWN6: u128 = 0x2001_0db8 << 96 | 1;
const LINK_LOCAL: u128 = 0xfe80 << 112 | 7;

fn from(source: u128) -> Vec<u8> {
    V6 { source, ..v6(FAR6) }.frame()
}

/// To the network of 2001:dNN::/32.
fn to(net: u32) -> Vec<u8> {
    v6(address(0x2001_0d00 + net, 1)).frame()
}

fn sized(destination: u128, len: usize) -> Vec<u8> {
    let payload = vec![0; len - 40];
    V6 {
        payload,
        ..v6(destination)
    }
    .frame()
}

fn hops(destination: u128, hop_limit: u8) -> Vec<u8> {
    V6 {
        hop_limit,
        ..v6(destination)
    }
    .frame()
}

#[test]
fn ipv6_headers() {
    let mut version = v6(FAR6).frame();
    version[14] = 0x50;
    let mut too_long = v6(FAR6).frame();
    too_long[19] += 1;
    let discovery = |hop_limit| V6 {
        hop_limit,
        next_header: 58,
        payload: vec![135, 0, 0, 0],
        ..v6(address(0xff02_0000, 1))
    };
    let cases = vec![
        ("good", v6(FAR6).frame(), Out(1)),
        ("version 5", version, Lost(DropReason::Ipv6BadHeader)),
        (
            "shorter than a header",
            v6(FAR6).frame()[..53].to_vec(),
            Lost(DropReason::Ipv6BadHeader),
        ),
        (
            "payload length past the frame",
            too_long,
            Lost(DropReason::Ipv6BadLength),
        ),
        (
            "unicast in a multicast frame",
            v6(FAR6).frame_to([0x33, 0x33, 0, 0, 0, 1]),
            Lost(DropReason::UnicastInGroupFrame),
        ),
        (
            "hop-by-hop",
            v6(FAR6).behind(0).frame(),
            To(PuntReason::HopByHop),
        ),
        (
            "hop-by-hop to the router",
            v6(OWN6).behind(0).frame(),
            To(PuntReason::Local),
        ),
        ("destination options", v6(FAR6).behind(60).frame(), Out(1)),
        ("routing header", v6(FAR6).behind(43).frame(), Out(1)),
        ("fragment", v6(FAR6).behind(44).frame(), Out(1)),
        (
            "neighbour solicitation",
            discovery(255).frame(),
            To(PuntReason::NeighbourDiscovery),
        ),
        (
            "solicitation from off the link",
            discovery(254).frame(),
            To(PuntReason::Multicast),
        ),
        (
            "ospfv3",
            V6 {
                next_header: 89,
                ..v6(OWN6)
            }
            .frame(),
            To(PuntReason::Routing),
        ),
        (
            "fragment of ospfv3",
            V6 {
                next_header: 89,
                ..v6(OWN6)
            }
            .behind(44)
            .frame(),
            To(PuntReason::Routing),
        ),
    ];
    check(&router(), cases);
}

#[test]
fn what_is_for_the_unspecified_address_goes_where_a_route_leads() {
    // As the kernel does it, be it nobody's (Linux 6.18); of IPv4, it does not.
    let cases = vec![("to unspecified", v6(0).frame(), Out(1))];
    check(&router().with_default(), cases);
}

#[test]
fn ipv6_addresses() {
    let martian = || Lost(DropReason::MartianSource);
    let multicast = v6(address(0xff0e_0000, 1)).frame_to([0x33, 0x33, 0, 0, 0, 1]);
    let cases = vec![
        ("from unspecified", from(0), martian()),
        ("from loopback", from(1), martian()),
        ("from multicast", from(address(0xff02_0000, 1)), martian()),
        (
            "to loopback",
            v6(1).frame(),
            Lost(DropReason::MartianDestination),
        ),
        (
            "from link-local",
            from(LINK_LOCAL),
            Lost(DropReason::SourceLinkLocal),
        ),
        (
            "to link-local",
            v6(LINK_LOCAL).frame(),
            To(PuntReason::LinkLocal),
        ),
        (
            "between link-locals",
            V6 {
                source: LINK_LOCAL,
                ..v6(LINK_LOCAL + 1)
            }
            .frame(),
            To(PuntReason::LinkLocal),
        ),
        ("from v4-mapped", from(0xffff_0a00_0001), Out(1)),
        ("from site-local", from(address(0xfec0_0000, 1)), Out(1)),
        ("from unique local", from(address(0xfd00_0000, 1)), Out(1)),
        ("from the router", from(OWN6), Out(1)),
        ("to multicast", multicast, To(PuntReason::Multicast)),
        ("to the router", v6(OWN6).frame(), To(PuntReason::Local)),
        (
            "to subnet-router anycast",
            v6(OWN6 - 1).frame(),
            To(PuntReason::Local),
        ),
    ];
    check(&router(), cases);
}

#[test]
fn ipv6_routes_hop_limit_and_size() {
    let cases = vec![
        ("no route", to(0xff), To(PuntReason::NoRoute)),
        ("blackhole", to(23), Lost(DropReason::Blackhole)),
        ("unreachable", to(24), To(PuntReason::Unreachable)),
        ("prohibit", to(25), To(PuntReason::Prohibit)),
        (
            "a route for the kernel",
            to(26),
            To(PuntReason::KernelRoute),
        ),
        (
            "behind an interface that is no port",
            to(27),
            To(PuntReason::ForeignInterface),
        ),
        ("unresolved gateway", to(28), To(PuntReason::NoNeighbour)),
        ("back by its own port", to(29), To(PuntReason::Redirect)),
        ("hop limit 2", hops(FAR6, 2), Out(1)),
        ("hop limit 1", hops(FAR6, 1), To(PuntReason::Ttl)),
        (
            "hop limit 1 to the router",
            hops(OWN6, 1),
            To(PuntReason::Local),
        ),
        ("just fits", sized(FAR6, 1500), Out(1)),
        ("too big", sized(FAR6, 1501), To(PuntReason::Mtu)),
        (
            "too big for its port",
            sized(FAR6 | 1 << 80, 1281),
            To(PuntReason::Mtu),
        ),
    ];
    check(&router(), cases);
}
