//! IPv4, row by row.

use super::Fate::{Lost, Out, To};
use super::{BROADCAST, FAR, check};
use crate::dataplane::forward::reference::{Router, RpFilter};
use crate::dataplane::forward::tests::lab::router;
use crate::dataplane::testing::{V4, ports, v4};
use crate::shared::reason::{DropReason, PuntReason};

fn from(source: [u8; 4]) -> Vec<u8> {
    V4 { source, ..v4(FAR) }.frame()
}

fn to(destination: [u8; 4]) -> Vec<u8> {
    v4(destination).frame()
}

/// To 20/8 with one byte of the packet changed and the checksum left as it was.
fn damaged(at: usize, byte: u8) -> Vec<u8> {
    let mut frame = v4(FAR).frame();
    frame[14 + at] = byte;
    frame
}

fn sized(destination: [u8; 4], len: usize, fragment: u16) -> Vec<u8> {
    let payload = vec![0; len - 20];
    V4 {
        payload,
        fragment,
        ..v4(destination)
    }
    .frame()
}

fn ttl(destination: [u8; 4], ttl: u8) -> Vec<u8> {
    V4 {
        ttl,
        ..v4(destination)
    }
    .frame()
}

fn option(destination: [u8; 4]) -> Vec<u8> {
    V4 {
        options: vec![7, 3, 4, 0],
        ..v4(destination)
    }
    .frame()
}

#[test]
fn ipv4_headers() {
    let bad = DropReason::Ipv4BadHeader;
    let cases = vec![
        ("good", to(FAR), Out(1)),
        ("version 5", damaged(0, 0x55), Lost(bad)),
        ("header of 16 bytes", damaged(0, 0x44), Lost(bad)),
        ("shorter than a header", to(FAR)[..33].to_vec(), Lost(bad)),
        (
            "total length past the frame",
            damaged(2, 0x05),
            Lost(DropReason::Ipv4BadLength),
        ),
        (
            "total length within the header",
            damaged(3, 19),
            Lost(DropReason::Ipv4BadLength),
        ),
        (
            "checksum",
            damaged(11, 0),
            Lost(DropReason::Ipv4BadChecksum),
        ),
        (
            "unicast in a broadcast frame",
            v4(FAR).frame_to(BROADCAST),
            Lost(DropReason::UnicastInGroupFrame),
        ),
        (
            "evil bit",
            V4 {
                fragment: 0x8000,
                ..v4(FAR)
            }
            .frame(),
            Out(1),
        ),
        (
            "first fragment",
            V4 {
                fragment: 0x2000,
                ..v4(FAR)
            }
            .frame(),
            Out(1),
        ),
        (
            "later fragment",
            V4 {
                fragment: 0x00b9,
                ..v4(FAR)
            }
            .frame(),
            Out(1),
        ),
        (
            "unknown protocol",
            V4 {
                protocol: 253,
                ..v4(FAR)
            }
            .frame(),
            Out(1),
        ),
        ("options", option(FAR), To(PuntReason::Ipv4Options)),
        (
            "options to the router",
            option([10, 0, 0, 1]),
            To(PuntReason::Local),
        ),
    ];
    check(&router(), cases);
}

#[test]
fn ipv4_addresses() {
    let (source, martian) = (DropReason::MartianSource, DropReason::MartianDestination);
    let cases = vec![
        ("from loopback", from([127, 0, 0, 1]), Lost(source)),
        ("from nowhere", from([0; 4]), Lost(source)),
        ("from limited broadcast", from([255; 4]), Lost(source)),
        ("from multicast", from([224, 0, 0, 9]), Lost(source)),
        (
            "from the router",
            from([10, 0, 0, 1]),
            Lost(DropReason::SourceIsOwn),
        ),
        ("from 0.1.2.3", from([0, 1, 2, 3]), Out(1)),
        ("from 240/4", from([240, 0, 0, 1]), Out(1)),
        ("from link-local", from([169, 254, 0, 1]), Out(1)),
        (
            "from a remote directed broadcast",
            from([30, 0, 0, 255]),
            Out(1),
        ),
        ("from its destination", from(FAR), Out(1)),
        ("from an unroutable source", from([99, 0, 0, 1]), Out(1)),
        ("to loopback", to([127, 0, 0, 1]), Lost(martian)),
        ("to nowhere", to([0; 4]), Lost(martian)),
        (
            "to limited broadcast",
            v4([255; 4]).frame_to(BROADCAST),
            To(PuntReason::Multicast),
        ),
        (
            "dhcp discover",
            V4 {
                source: [0; 4],
                ..v4([255; 4])
            }
            .frame_to(BROADCAST),
            To(PuntReason::Multicast),
        ),
        (
            "to a directed broadcast",
            v4([10, 0, 0, 255]).frame_to(BROADCAST),
            To(PuntReason::Local),
        ),
        (
            "to a network address",
            to([10, 0, 0, 0]),
            To(PuntReason::Local),
        ),
        ("to the router", to([10, 0, 0, 1]), To(PuntReason::Local)),
        (
            "to an address of another link",
            to([10, 1, 0, 1]),
            To(PuntReason::Local),
        ),
        (
            "to multicast",
            to([239, 1, 1, 1]),
            To(PuntReason::Multicast),
        ),
        (
            "ospf hello",
            V4 {
                protocol: 89,
                ..v4([224, 0, 0, 5])
            }
            .frame_to([1, 0, 0x5e, 0, 0, 5]),
            To(PuntReason::Routing),
        ),
        (
            "bgp",
            V4 {
                protocol: 6,
                payload: ports(40000, 179, 40),
                ..v4([10, 0, 0, 1])
            }
            .frame(),
            To(PuntReason::Routing),
        ),
        (
            "fragment of an ospf update",
            V4 {
                protocol: 89,
                fragment: 0x2000,
                ..v4([10, 0, 0, 1])
            }
            .frame(),
            To(PuntReason::Routing),
        ),
        (
            "fragment that looks like bfd",
            V4 {
                payload: ports(3784, 3784, 40),
                fragment: 9,
                ..v4([10, 0, 0, 1])
            }
            .frame(),
            To(PuntReason::Local),
        ),
    ];
    check(&router(), cases);
}

#[test]
fn ipv4_routes_ttl_and_size() {
    let cases = vec![
        ("no route", to([99, 0, 0, 1]), To(PuntReason::NoRoute)),
        ("blackhole", to([23, 0, 0, 1]), Lost(DropReason::Blackhole)),
        (
            "unreachable",
            to([24, 0, 0, 1]),
            To(PuntReason::Unreachable),
        ),
        ("prohibit", to([25, 0, 0, 1]), To(PuntReason::Prohibit)),
        (
            "a route for the kernel",
            to([26, 0, 0, 1]),
            To(PuntReason::KernelRoute),
        ),
        (
            "behind an interface that is no port",
            to([27, 0, 0, 1]),
            To(PuntReason::ForeignInterface),
        ),
        (
            "unresolved gateway",
            to([28, 0, 0, 1]),
            To(PuntReason::NoNeighbour),
        ),
        (
            "unresolved host of a connected prefix",
            to([10, 1, 0, 9]),
            To(PuntReason::NoNeighbour),
        ),
        (
            "resolved host of a connected prefix",
            to([10, 1, 0, 2]),
            Out(1),
        ),
        (
            "back by its own port",
            to([29, 0, 0, 1]),
            To(PuntReason::Redirect),
        ),
        ("ttl 2", ttl(FAR, 2), Out(1)),
        ("ttl 1", ttl(FAR, 1), To(PuntReason::Ttl)),
        ("ttl 0", ttl(FAR, 0), To(PuntReason::Ttl)),
        (
            "ttl 1 to the router",
            ttl([10, 0, 0, 1], 1),
            To(PuntReason::Local),
        ),
        (
            "ttl 1 without a route",
            ttl([99, 0, 0, 1], 1),
            To(PuntReason::NoRoute),
        ),
        ("just fits", sized(FAR, 1500, 0x4000), Out(1)),
        (
            "too big, don't fragment",
            sized(FAR, 1501, 0x4000),
            To(PuntReason::Mtu),
        ),
        (
            "too big, may be fragmented",
            sized(FAR, 1501, 0),
            To(PuntReason::Mtu),
        ),
        ("fits the route's mtu", sized([20, 2, 0, 1], 600, 0), Out(1)),
        (
            "too big for the route",
            sized([20, 2, 0, 1], 601, 0),
            To(PuntReason::Mtu),
        ),
        (
            "too big for its port",
            sized([20, 1, 0, 1], 1281, 0),
            To(PuntReason::Mtu),
        ),
    ];
    check(&router(), cases);
}

#[test]
fn the_reverse_path_check_comes_after_the_route() {
    let lost = || Lost(DropReason::ReversePath);
    let with = |rp_filter| Router {
        rp_filter,
        ..router()
    };
    let to_nowhere = V4 {
        source: [99, 0, 0, 1],
        ..v4([98, 0, 0, 1])
    }
    .frame();
    let common = || {
        vec![
            ("back by the ingress", from([11, 0, 0, 1]), Out(1)),
            ("one leg back by the ingress", from([22, 0, 0, 1]), Out(1)),
            ("no way back", from([99, 0, 0, 1]), lost()),
            ("blackholed source", from([23, 0, 0, 1]), lost()),
            ("broadcast source", from([10, 0, 0, 255]), lost()),
            (
                "only the kernel knows the way back",
                from([26, 0, 0, 1]),
                To(PuntReason::KernelRoute),
            ),
            (
                "neither way back nor route",
                to_nowhere.clone(),
                To(PuntReason::NoRoute),
            ),
        ]
    };
    check(&with(RpFilter::Strict), common());
    check(&with(RpFilter::Loose), common());
    check(
        &with(RpFilter::Strict),
        vec![("back by another port", from(FAR), lost())],
    );
    check(
        &with(RpFilter::Loose),
        vec![("back by another port", from(FAR), Out(1))],
    );
}
