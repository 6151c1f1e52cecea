//! Messages recorded from a kernel, messages built by hand, and arbitrary bytes.

use std::net::IpAddr;

use proptest::prelude::*;

mod damage;
mod rules;

use super::{Message, Messages, decode};
use crate::control::mirror::{
    Changes, Event, Link, Mirror, Neighbour, NeighbourFlags, NeighbourState, NextHopObject, Path,
    Route, RouteKey, RouteKind,
};
use crate::shared::mac::MacAddr;

const RECORDED: &str = include_str!("../../../tests/data/netlink/routes.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn event(hex: &str) -> Event {
    let datagram = bytes(hex);
    let message = Messages::new(&datagram).next().unwrap().unwrap();
    decode(&message).unwrap()
}

/// The recorded file: each command with the events it caused and the dump that followed.
fn recorded() -> Vec<(&'static str, Vec<Event>, Vec<Event>)> {
    let mut steps: Vec<(&str, Vec<Event>, Vec<Event>)> = Vec::new();
    for line in RECORDED.lines() {
        match line.split_once(' ') {
            Some(("ip", command)) => steps.push((command, Vec::new(), Vec::new())),
            Some(("event", hex)) => steps.last_mut().unwrap().1.push(event(hex)),
            Some(("dump", hex)) => steps.last_mut().unwrap().2.push(event(hex)),
            _ => {}
        }
    }
    steps
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(value.len() + 4)
        .unwrap()
        .to_ne_bytes()
        .to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn decode_built(kind: u16, header: &[u8], attributes: &[(u16, &[u8])]) -> Option<Event> {
    let mut payload = header.to_vec();
    for (kind, value) in attributes {
        payload.extend(attribute(*kind, value));
    }
    decode(&Message {
        kind,
        flags: 0,
        sequence: 0,
        payload: &payload,
    })
}

/// struct rtmsg of an IPv4 route in table main.
fn ipv4_route(length: u8, flags: u32) -> Vec<u8> {
    let mut header = vec![2, length, 0, 0, 254, 4, 0, 1];
    header.extend(flags.to_ne_bytes());
    header
}

fn route_of(event: Option<Event>) -> (RouteKey, Route) {
    match event {
        Some(Event::RouteSet { key, route, .. }) => (key, route),
        other => panic!("no route: {other:?}"),
    }
}

#[test]
fn recorded_events_lead_to_the_recorded_dumps() {
    let steps = recorded();
    assert_eq!(steps.len(), 34);
    let mut mirror = Mirror::default();
    for (command, events, dump) in steps {
        assert!(!events.is_empty(), "ip {command}");
        for event in events {
            assert_eq!(
                mirror.apply(event, &mut Changes::default()),
                None,
                "ip {command}"
            );
        }
        let mut kernel = Mirror::default();
        dump.into_iter().for_each(|event| kernel.load(event));
        assert_eq!(mirror, kernel, "ip {command}");
    }
}

#[test]
fn the_recording_holds_every_kind_of_route() {
    let mut kinds: Vec<_> = recorded()
        .into_iter()
        .flat_map(|(_, events, _)| events)
        .map(|event| match event {
            Event::RouteSet { route, .. } | Event::RouteGone { route, .. } => route.kind,
            other => panic!("{other:?}"),
        })
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    use RouteKind::{
        Anycast, Blackhole, Broadcast, Local, Multicast, Prohibit, Throw, Unicast, Unreachable,
    };
    let every = [
        Unicast,
        Local,
        Broadcast,
        Anycast,
        Multicast,
        Blackhole,
        Unreachable,
        Prohibit,
        Throw,
    ];
    assert_eq!(kinds, every);
}

#[test]
fn ipv4_through_ipv6_is_read_alone_and_among_legs() {
    let steps = recorded();
    let routes = |command: &str| {
        let step = steps.iter().find(|step| step.0.contains(command)).unwrap();
        route_of(step.1.first().cloned()).1
    };
    let single = routes("add 192.0.2.0/24 via inet6");
    assert_eq!(single.paths[0].via, Some("2001:db8:1::2".parse().unwrap()));
    let legs = routes("nexthop via inet6 fe80::9").paths;
    let summary: Vec<_> = legs
        .iter()
        .map(|leg| (leg.via, leg.weight, leg.onlink))
        .collect();
    let via = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    assert_eq!(
        summary,
        [(via("10.0.1.2"), 3, false), (via("fe80::9"), 1, true)]
    );
}

#[test]
fn a_route_through_an_object_keeps_its_type_and_no_legs() {
    for (wire, kind) in [
        (1, RouteKind::Unicast),
        (2, RouteKind::Local),
        (6, RouteKind::Blackhole),
        (8, RouteKind::Prohibit),
        (9, RouteKind::Throw),
    ] {
        let mut header = ipv4_route(16, 0);
        header[7] = wire;
        let attributes: [(u16, &[u8]); 4] = [
            (libc::RTA_DST, &[10, 46, 0, 0]),
            (libc::RTA_OIF, &3u32.to_ne_bytes()),
            (libc::RTA_GATEWAY, &[10, 0, 1, 2]),
            (30, &77u32.to_ne_bytes()),
        ];
        let event = decode_built(libc::RTM_NEWROUTE, &header, &attributes);
        let (_, route) = route_of(event);
        assert_eq!((route.kind, route.nexthop_id), (kind, Some(77)));
        assert!(route.paths.is_empty(), "{:?}", route.paths);
    }
}

#[test]
fn the_end_of_an_ipv6_routes_first_leg_ends_it_only_if_it_is_the_last() {
    let leg = |last: u8| {
        let mut leg = vec![28, 0, 0, 0, 3, 0, 0, 0];
        let mut gateway = [0; 16];
        (gateway[0], gateway[1], gateway[15]) = (0xfe, 0x80, last);
        leg.extend(attribute(libc::RTA_GATEWAY, &gateway));
        leg
    };
    let mut ended = [0; 32];
    ended[8..12].copy_from_slice(&(-5i32).to_ne_bytes());
    let header = [10, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    let route = |legs: &[u8]| {
        let attributes = [
            (libc::RTA_MULTIPATH, legs),
            (libc::RTA_CACHEINFO, &ended[..]),
        ];
        decode_built(libc::RTM_NEWROUTE, &header, &attributes)
    };
    let (_, two) = route_of(route(&[leg(1), leg(2)].concat()));
    assert!(two.lapsed && two.paths.len() == 2);
    let one = route(&leg(1));
    assert!(matches!(one, Some(Event::RouteGone { .. })), "{one:?}");
}

#[test]
fn the_other_end_is_part_of_an_ipv4_address_only() {
    let peer = |family: u8, own: &[u8], other: &[u8]| {
        let header = [family, 32, 0, 0, 3, 0, 0, 0];
        let attributes = [(libc::IFA_LOCAL, own), (libc::IFA_ADDRESS, other)];
        match decode_built(libc::RTM_NEWADDR, &header, &attributes) {
            Some(Event::AddressSet(address)) => address.peer,
            other => panic!("{other:?}"),
        }
    };
    let (own, other) = ([10, 0, 1, 1], [10, 0, 1, 2]);
    assert_eq!(peer(2, &own, &other), Some(other.into()));
    assert_eq!(peer(2, &own, &own), None);
    assert_eq!(peer(10, &[1; 16], &[2; 16]), None);
}

#[test]
fn metrics_source_and_large_tables_are_read() {
    let step = recorded()
        .into_iter()
        .find(|step| step.0.contains("mtu 1400"))
        .unwrap();
    let (key, route) = route_of(step.1.into_iter().next());
    assert_eq!(
        (key.table, key.prefix.to_string().as_str()),
        (254, "192.0.2.0/24")
    );
    assert_eq!(
        (route.mtu, route.preferred_source),
        (Some(1400), "10.0.2.1".parse().ok())
    );
    let step = recorded()
        .into_iter()
        .find(|step| step.0.contains("table 1001"))
        .unwrap();
    assert_eq!(route_of(step.1.into_iter().next()).0.table, 1001);
    let step = recorded()
        .into_iter()
        .find(|step| step.0.contains(" from "))
        .unwrap();
    let source = route_of(step.1.into_iter().next()).1.source;
    assert_eq!(source, "2001:db8:1::/48".parse().ok());
}

#[test]
fn host_bits_of_a_destination_are_zeroed_and_a_bad_length_is_a_doubt() {
    let destination = [10, 1, 2, 3];
    let built = |length| {
        decode_built(
            libc::RTM_NEWROUTE,
            &ipv4_route(length, 0),
            &[
                (libc::RTA_DST, &destination),
                (libc::RTA_OIF, &3u32.to_ne_bytes()),
            ],
        )
    };
    assert_eq!(route_of(built(16)).0.prefix.to_string(), "10.1.0.0/16");
    assert!(matches!(built(33), Some(Event::Doubt { .. })));
}

#[test]
fn flags_of_a_single_path_are_read_and_exceptions_are_skipped() {
    let built = |flags| {
        let output: &[u8] = &3u32.to_ne_bytes();
        decode_built(
            libc::RTM_NEWROUTE,
            &ipv4_route(0, flags),
            &[(libc::RTA_OIF, output)],
        )
    };
    let path = route_of(built(1 | 4 | 16)).1.paths[0];
    let expected = Path {
        ifindex: Some(3),
        via: None,
        weight: 1,
        onlink: true,
        dead: true,
    };
    assert_eq!(path, expected);
    assert_eq!(built(0x200), None);
}

#[test]
fn an_encapsulated_leg_marks_the_route_and_a_leg_cut_short_is_a_doubt() {
    let mut leg = vec![16, 0, 0, 4, 3, 0, 0, 0];
    leg.extend(attribute(libc::RTA_ENCAP_TYPE, &[1, 0]));
    let built = |legs: &[u8]| decode_built(24, &ipv4_route(0, 0), &[(libc::RTA_MULTIPATH, legs)]);
    let (_, route) = route_of(built(&leg));
    assert!(route.encapsulated);
    assert_eq!(
        (route.paths[0].weight, route.paths[0].ifindex),
        (5, Some(3))
    );
    assert!(matches!(built(&leg[..12]), Some(Event::Doubt { .. })));
    assert!(
        matches!(built(&[0; 8]), Some(Event::Doubt { .. })),
        "a leg of length 0 must end"
    );
}

#[test]
fn a_link_is_read_and_a_bridges_word_about_its_port_is_skipped() {
    let header = |family: u8| {
        let mut header = vec![family, 0, 1, 0, 7, 0, 0, 0];
        header.extend(0x1_0001u32.to_ne_bytes());
        header.extend([0; 4]);
        header
    };
    let attributes: [(u16, &[u8]); 4] = [
        (libc::IFLA_IFNAME, b"wan0\0"),
        (libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]),
        (libc::IFLA_MTU, &1500u32.to_ne_bytes()),
        (0x3ffe, b"an attribute of the future"),
    ];
    let link = Link {
        index: 7,
        name: "wan0".to_owned(),
        mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
        mtu: 1500,
        up: true,
        carrier: true,
        running: false,
    };
    let decoded = decode_built(libc::RTM_NEWLINK, &header(0), &attributes);
    assert_eq!(decoded, Some(Event::LinkSet(link)));
    assert_eq!(decode_built(libc::RTM_DELLINK, &header(7), &[]), None);
    let gone = decode_built(libc::RTM_DELLINK, &header(0), &[]);
    assert_eq!(gone, Some(Event::LinkGone { index: 7 }));
}

#[test]
fn a_point_to_point_address_is_our_own_not_the_peers() {
    let decoded = decode_built(
        libc::RTM_NEWADDR,
        &[2, 32, 0, 0, 5, 0, 0, 0],
        &[
            (libc::IFA_ADDRESS, &[10, 0, 0, 2]),
            (libc::IFA_LOCAL, &[10, 0, 0, 1]),
        ],
    );
    match decoded {
        Some(Event::AddressSet(address)) => {
            assert_eq!(
                (address.ifindex, address.address.to_string().as_str()),
                (5, "10.0.0.1/32")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn neighbours_are_read_but_not_proxies_bridges_and_multicast() {
    let built = |family: u8, flags: u8, address: [u8; 4]| {
        decode_built(
            libc::RTM_NEWNEIGH,
            &[family, 0, 0, 0, 5, 0, 0, 0, 2, 0, flags, 1],
            &[
                (libc::NDA_DST, &address),
                (libc::NDA_LLADDR, &[2, 0, 0, 0, 0, 9]),
            ],
        )
    };
    let neighbour = Neighbour {
        ifindex: 5,
        address: "10.0.0.9".parse().unwrap(),
        mac: Some(MacAddr([2, 0, 0, 0, 0, 9])),
        state: NeighbourState::Reachable,
        flags: NeighbourFlags::default(),
    };
    assert_eq!(
        built(2, 0, [10, 0, 0, 9]),
        Some(Event::NeighbourSet(neighbour))
    );
    assert_eq!(built(2, libc::NTF_PROXY, [10, 0, 0, 9]), None);
    assert_eq!(built(7, 0, [10, 0, 0, 9]), None);
    assert_eq!(built(2, 0, [224, 0, 0, 1]), None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(datagram in proptest::collection::vec(any::<u8>(), 0..300)) {
        for message in Messages::new(&datagram).flatten() {
            decode(&message);
        }
    }

    #[test]
    fn arbitrary_payloads_never_panic(
        kind in 16u16..110,
        family in prop_oneof![Just(0u8), Just(2), Just(10), any::<u8>()],
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut payload = vec![family];
        payload.extend(rest);
        decode(&Message { kind, flags: 0, sequence: 0, payload: &payload });
    }

    #[test]
    fn a_recorded_message_with_one_byte_changed_never_panics(
        line in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
        value in any::<u8>(),
    ) {
        let lines: Vec<_> = RECORDED.lines().filter_map(|l| l.strip_prefix("event ")).collect();
        let mut datagram = bytes(lines[line.index(lines.len())]);
        let at = at.index(datagram.len());
        datagram[at] = value;
        for message in Messages::new(&datagram).flatten() {
            decode(&message);
        }
    }
}

/// As Linux 6.18 sent them after `ip nexthop add id 1 via 10.0.1.2 dev e1` and so on.
#[test]
fn next_hop_objects_of_every_kind_are_read() {
    let leg = |ifindex, via: Option<&str>, onlink| {
        NextHopObject::Leg(Path {
            ifindex: Some(ifindex),
            via: via.map(|via| via.parse().unwrap()),
            weight: 1,
            onlink,
            dead: false,
        })
    };
    let group = |members: &[(u32, u16)]| NextHopObject::Group(members.to_vec());
    for (hex, id, object) in [
        (
            "3000000068000506be94036b9312000002fd00000000000008000100010000000800050003000000080006000a000102",
            1,
            leg(3, Some("10.0.1.2"), false),
        ),
        (
            "3c00000068000506be94036b941200000afd000000000000080001000200000008000500050000001400060020010db8000200000000000000000002",
            2,
            leg(5, Some("2001:db8:2::2"), false),
        ),
        (
            "2800000068000506bf94036b9612000002fe00000000000008000100040000000800050003000000",
            4,
            leg(3, None, false),
        ),
        // group 1,3/4,200
        (
            "4400000068000506bf94036b981200000000000000000000080001000a000000060003000000000014000200010000000200000004000000c700000008000e0000000080",
            10,
            group(&[(1, 3), (4, 200)]),
        ),
        // group 1/4 type resilient buckets 8
        (
            "6c00000068000506bf94036b9e1200000000000000000000080001000b0000000600030001000000140002000100000000000000040000000000000028000c80060001000800000008000200e02e000008000300000000000c000400000000000000000008000e0000000080",
            11,
            group(&[(1, 1), (4, 1)]),
        ),
        (
            "3000000068000505c094036b9f12000002fd00000400000008000100010000000800050003000000080006000a000103",
            1,
            leg(3, Some("10.0.1.3"), true),
        ),
    ] {
        assert_eq!(event(hex), Event::NextHopSet { id, object });
    }
    let deleted = "3000000069000500c094036ba112000002fd00000400000008000100010000000800050003000000080006000a000103";
    assert_eq!(event(deleted), Event::NextHopGone { id: 1 });
}

#[test]
fn next_hop_objects_that_only_the_kernel_can_follow_are_told_apart_and_nonsense_is_a_doubt() {
    const NEWNEXTHOP: u16 = 104;
    let id = (1, &[7, 0, 0, 0][..]);
    let built = |other| decode_built(NEWNEXTHOP, &[0; 8], &[id, other]);
    let object = |event| match event {
        Some(Event::NextHopSet { id: 7, object }) => object,
        other => panic!("{other:?}"),
    };
    assert_eq!(object(built((4, &[]))), NextHopObject::Blackhole);
    assert_eq!(object(built((11, &[]))), NextHopObject::Foreign);
    assert_eq!(object(built((7, &[1, 0]))), NextHopObject::Foreign);
    // Weights above 256, since Linux 6.12: the high byte follows.
    let heavy = built((2, &[1, 0, 0, 0, 0xE7, 0x03, 0, 0]));
    assert_eq!(object(heavy), NextHopObject::Group(vec![(1, 1000)]));
    for nonsense in [
        decode_built(NEWNEXTHOP, &[0; 8], &[]),
        decode_built(NEWNEXTHOP, &[0; 4], &[]),
        built((2, &[1, 0, 0, 0, 0])),
        built((6, &[10, 0, 0])),
    ] {
        assert!(
            matches!(nonsense, Some(Event::Doubt { .. })),
            "{nonsense:?}"
        );
    }
}
