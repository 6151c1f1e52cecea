//! A route of several legs: one flow stays on one leg, and many flows divide as the weights say.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::lab::{Bench, WEIGHTS, router};
use crate::dataplane::forward::reference::Outcome;
use crate::dataplane::testing::{V4, V6, address, ports, v4, v6};
use crate::shared::fib::{HashFields, HashPolicy, World};
use crate::shared::port::PortId;

/// The ports that the frames leave by; all of them must.
fn ways(hash: HashFields, frames: &[Vec<u8>]) -> Vec<PortId> {
    ways_in(&router().world(hash), frames)
}

/// A router with a seed.
fn seeded(seed: u32) -> World {
    let world = router().world(HashFields::FiveTuple);
    World {
        hash: HashPolicy { seed, ..world.hash },
        ..world
    }
}

fn ways_in(world: &World, frames: &[Vec<u8>]) -> Vec<PortId> {
    let mut bench = Bench::new();
    let outcomes = frames.chunks(64).flat_map(|burst| bench.run(world, burst));
    outcomes
        .map(|outcome| match outcome {
            Outcome::Forward(port, _) => port,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Of the ports that frames of one flow each leave by, the second leg's share is its weight's within
/// three percent.
fn assert_shares(ways: &[PortId]) {
    let mut counts: BTreeMap<PortId, f64> = BTreeMap::new();
    for port in ways {
        *counts.entry(*port).or_default() += 1.0;
    }
    let counts: Vec<f64> = counts.into_values().collect();
    let [light, heavy] = WEIGHTS.map(f64::from);
    assert_eq!(counts.len(), 2);
    let share = counts[1] / (counts[0] + counts[1]);
    assert!((share - heavy / (light + heavy)).abs() < 0.03, "{share}");
}

fn flow4(source: [u8; 4], from: u16) -> V4 {
    V4 {
        source,
        payload: ports(from, 443, 40),
        ..v4([21, 0, 0, 1])
    }
}

fn flow6(host: u16, flow_label: u32, from: u16) -> V6 {
    V6 {
        source: address(0x2001_0db8, host),
        flow_label,
        payload: ports(from, 443, 40),
        ..v6(address(0x2001_0d15, 1))
    }
}

const FLOWS: u16 = 6000;

#[test]
fn policy_0_spreads_hosts_by_weight() {
    let v4: Vec<_> = (0..FLOWS)
        .map(|n| {
            let [c, d] = n.to_be_bytes();
            flow4([11, 0, c, d], 1).frame()
        })
        .collect();
    assert_shares(&ways(HashFields::Addresses, &v4));
    let v6: Vec<_> = (2..FLOWS).map(|n| flow6(n, 0, 1).frame()).collect();
    assert_shares(&ways(HashFields::Addresses, &v6));
}

#[test]
fn policy_0_spreads_ipv6_flow_labels_by_weight() {
    let frames: Vec<_> = (0..FLOWS).map(|n| flow6(2, n.into(), 1).frame()).collect();
    assert_shares(&ways(HashFields::Addresses, &frames));
}

#[test]
fn policy_1_spreads_ports_by_weight() {
    let v4: Vec<_> = (0..FLOWS)
        .map(|n| flow4([11, 0, 0, 2], n).frame())
        .collect();
    assert_shares(&ways(HashFields::FiveTuple, &v4));
    let v6: Vec<_> = (0..FLOWS).map(|n| flow6(2, 0, n).frame()).collect();
    assert_shares(&ways(HashFields::FiveTuple, &v6));
}

#[test]
fn routers_with_different_seeds_choose_independently() {
    let v4 = (0..FLOWS).map(|n| flow4([11, 0, 0, 2], n).frame());
    let v6 = (0..FLOWS).map(|n| flow6(2, 0, n).frame());
    for frames in [v4.collect::<Vec<_>>(), v6.collect()] {
        for [seed, other] in [[1, 0x1234_5678], [1, 2], [1, 3], [2, 3], [10, 11]] {
            let first = ways_in(&seeded(seed), &frames);
            let sent = frames.iter().zip(&first);
            let sent = sent.filter(|(_, port)| **port == first[0]);
            let sent: Vec<_> = sent.map(|(frame, _)| frame.clone()).collect();
            assert_shares(&ways_in(&seeded(other), &sent));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_ipv4_flow_stays_on_its_leg(
        source in any::<[u8; 3]>(), from in any::<u16>(),
        varied in proptest::collection::vec((any::<u16>(), 2u8.., 0u16..8, 4usize..900), 2..64),
    ) {
        let [b, c, d] = source;
        let flow = flow4([11, b, c, d], from);
        // Policy 0: ports, fragments, lengths and TTLs make no difference.
        let frames: Vec<_> = varied.iter().map(|(port, ttl, fragment, len)| V4 {
            ttl: *ttl,
            fragment: *fragment,
            payload: ports(*port, 1, *len),
            ..flow.clone()
        }.frame()).collect();
        let out = ways(HashFields::Addresses, &frames);
        prop_assert!(out.iter().all(|port| *port == out[0]));
        // Policy 1: of fragments, not even the first one's ports count.
        let fragments: Vec<_> = varied.iter().enumerate().map(|(n, (port, ttl, ..))| V4 {
            ttl: *ttl,
            fragment: if n == 0 { 0x2000 } else { u16::try_from(n).unwrap() },
            payload: ports(*port, 1, 80),
            ..flow.clone()
        }.frame()).collect();
        let out = ways(HashFields::FiveTuple, &fragments);
        prop_assert!(out.iter().all(|port| *port == out[0]));
    }

    #[test]
    fn an_ipv6_flow_stays_on_its_leg(
        host in 2u16.., from in any::<u16>(), label in any::<u32>(),
        varied in proptest::collection::vec((any::<u16>(), 2u8.., any::<u32>(), 0usize..3), 2..64),
    ) {
        let flow = flow6(host, label, from);
        // Policy 0: ports make no difference.
        let frames: Vec<_> = varied.iter().map(|(port, hop_limit, ..)| V6 {
            hop_limit: *hop_limit,
            payload: ports(*port, 1, 60),
            ..flow.clone()
        }.frame()).collect();
        let out = ways(HashFields::Addresses, &frames);
        prop_assert!(out.iter().all(|port| *port == out[0]));
        // Policy 1: flow labels and destination options make no difference.
        let frames: Vec<_> = varied.iter().map(|(_, hop_limit, flow_label, options)| {
            let packet = V6 { hop_limit: *hop_limit, flow_label: *flow_label, ..flow.clone() };
            (0..*options).fold(packet, |packet, _| packet.behind(60)).frame()
        }).collect();
        let out = ways(HashFields::FiveTuple, &frames);
        prop_assert!(out.iter().all(|port| *port == out[0]));
        // Nor do a fragment's ports.
        let frames: Vec<_> = varied.iter().map(|(port, ..)| V6 {
            payload: ports(*port, 1, 60),
            ..flow.clone()
        }.behind(44).frame()).collect();
        let out = ways(HashFields::FiveTuple, &frames);
        prop_assert!(out.iter().all(|port| *port == out[0]));
    }
}
