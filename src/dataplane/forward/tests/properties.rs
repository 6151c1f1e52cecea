//! What holds for any frame.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::generate::{frames, jumbo_frames, routers};
use super::lab::{Bench, router, spent_redirects};
use crate::dataplane::forward::reference::{Outcome, Router};
use crate::dataplane::limit::PuntLimits;
use crate::dataplane::port::BURST;
use crate::dataplane::port::afxdp::{is_of_neighbours, is_of_routing};
use crate::dataplane::testing::{ethernet, every_length, of_length, pool_of};
use crate::shared::fib::HashFields;
use crate::shared::reason::{DropReason, PuntReason};

fn hash_fields() -> impl Strategy<Value = HashFields> {
    prop_oneof![Just(HashFields::Addresses), Just(HashFields::FiveTuple)]
}

/// With redirects shown to the kernel, and without.
fn limits() -> impl Strategy<Value = PuntLimits> {
    any::<bool>().prop_map(|fresh| {
        if fresh {
            PuntLimits::default()
        } else {
            spent_redirects()
        }
    })
}

/// Which packets of a burst are IPv4, the others being IPv6: all, none or a share of them.
fn families() -> impl Strategy<Value = Vec<bool>> {
    let share = prop_oneof![Just(0.0), Just(0.5), Just(1.0), 0.0..=1.0];
    let count = prop_oneof![2 => Just(BURST), 1 => 1..BURST];
    (share, count).prop_flat_map(|(share, count)| vec(prop::bool::weighted(share), count))
}

/// Frames of which enough go on for a [`burst`]: some tenth of them does.
fn candidates() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(frames(), 6 * BURST)
}

fn goes_on(right: &[Outcome]) -> bool {
    matches!(right, [Outcome::Forward(..), ..])
}

/// A burst of those packets that go on, each as often as it takes; `None` where none of a family does.
fn burst(router: &Router, candidates: Vec<Vec<u8>>, families: &[bool]) -> Option<Vec<Vec<u8>>> {
    let going = candidates.into_iter();
    let going = going.filter(|frame| goes_on(&router.judge(frame)));
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = going.partition(|frame| frame[12] == 0x08);
    if ipv4.is_empty() || ipv6.is_empty() {
        return None;
    }
    let (mut ipv4, mut ipv6) = (ipv4.iter().cycle(), ipv6.iter().cycle());
    let next = |is_ipv4: &bool| if *is_ipv4 { ipv4.next() } else { ipv6.next() }.cloned();
    Some(families.iter().filter_map(next).collect())
}

fn all_right(
    router: &Router,
    burst: &[Vec<u8>],
    outcomes: Vec<Outcome>,
) -> Result<(), TestCaseError> {
    for (frame, outcome) in burst.iter().zip(outcomes) {
        let right = router.judge(frame);
        prop_assert!(
            right.contains(&outcome),
            "{:02x?}\nbecame {:02x?}\nand should be {:02x?}",
            frame,
            outcome,
            right
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_frame_of_a_burst_fares_as_the_reference_says(
        router in routers(), hash in hash_fields(), mut limits in limits(),
        burst in vec(frames(), 0..=BURST),
    ) {
        let world = router.world(hash);
        let outcomes = Bench::new().run_limited(&world, &burst, &mut limits);
        all_right(&router, &burst, outcomes)?;
    }

    #[test]
    fn every_jumbo_frame_of_a_burst_fares_as_the_reference_says(
        router in routers(), hash in hash_fields(), mut limits in limits(),
        burst in vec(jumbo_frames(), 0..=BURST),
    ) {
        let router = router.jumbo();
        let world = router.world(hash);
        let mut bench = Bench::of(pool_of(64, 16_384));
        let outcomes = bench.run_limited(&world, &burst, &mut limits);
        all_right(&router, &burst, outcomes)?;
    }

    /// Then nearly all of them take the short way, sixteen at a time.
    #[test]
    fn packets_of_a_burst_that_all_go_on_leave_as_the_reference_says(
        hash in hash_fields(), candidates in candidates(), families in families(),
    ) {
        let router = router();
        let Some(burst) = burst(&router, candidates, &families) else {
            return Err(TestCaseError::reject("none of a family goes on"));
        };
        let outcomes = Bench::new().run(&router.world(hash), &burst);
        all_right(&router, &burst, outcomes)?;
    }

    #[test]
    fn a_frame_fares_the_same_alone_and_in_a_burst(
        hash in hash_fields(), burst in vec(frames(), 1..=BURST),
    ) {
        let world = router().world(hash);
        let mut bench = Bench::new();
        let together = bench.run(&world, &burst);
        for (frame, outcome) in burst.iter().zip(together) {
            prop_assert_eq!(bench.run(&world, std::slice::from_ref(frame)), [outcome]);
        }
    }

    #[test]
    fn routing_and_discovery_come_by_sockets_of_their_own(mut frame in frames()) {
        // As on a wire.
        frame.resize(frame.len().max(60), 0);
        let world = router().world(HashFields::FiveTuple);
        let outcome = Bench::new().run(&world, std::slice::from_ref(&frame)).remove(0);
        let moved = match frame[12..14] {
            [0x08, 0x00] => frame[14] != 0x45,
            _ => matches!(frame[20], 43 | 60),
        };
        let right = match outcome {
            Outcome::Punt(PuntReason::Arp | PuntReason::NeighbourDiscovery) => {
                is_of_neighbours(&frame)
            }
            Outcome::Punt(PuntReason::Routing) => is_of_routing(&frame),
            _ => true,
        };
        prop_assert!(right || moved, "{:?}: {:02x?}", outcome, frame);
    }

    #[test]
    fn arbitrary_bytes_behind_a_good_ethernet_header_do_no_harm(
        family in any::<bool>(), version in prop::option::of(0x40u8..0x70),
        mut bytes in vec(any::<u8>(), 0..200),
    ) {
        if let (Some(first), Some(version)) = (bytes.first_mut(), version) {
            *first = version;
        }
        let ethertype = if family { 0x0800 } else { 0x86dd };
        let frame = ethernet(router().mac, ethertype, &bytes);
        let router = router().with_default();
        let outcome = Bench::new().run(&router.world(HashFields::FiveTuple), std::slice::from_ref(&frame));
        prop_assert!(router.judge(&frame).contains(&outcome[0]));
    }
}

#[test]
fn frames_of_every_length_fare_as_the_reference_says() {
    let mut whole = [0; 2];
    for (size, lengths) in every_length() {
        let router = match size {
            2048 => router(),
            _ => router().jumbo(),
        };
        let world = router.world(HashFields::FiveTuple);
        let mut bench = Bench::of(pool_of(64, size));
        // Of eight lengths sixteen packets of either family go on.
        for lengths in lengths.collect::<Vec<_>>().chunks(8) {
            let frames = lengths.iter().flat_map(|length| of_length(*length));
            let judged = frames.map(|frame| (router.judge(&frame), frame));
            let (going, others): (Vec<_>, Vec<_>) = judged.partition(|(right, _)| goes_on(right));
            for judged in [going, others].iter().flat_map(|all| all.chunks(BURST)) {
                let burst: Vec<_> = judged.iter().map(|(_, frame)| frame.clone()).collect();
                for ((right, frame), outcome) in judged.iter().zip(bench.run(&world, &burst)) {
                    assert!(
                        right.contains(&outcome),
                        "{} bytes, {:02x?}...\nbecame {outcome:02x?}\nand should be {right:02x?}",
                        frame.len(),
                        &frame[..frame.len().min(60)]
                    );
                }
                whole
                    .iter_mut()
                    .zip(bench.whole_sixteens())
                    .for_each(|(sum, more)| *sum += more);
            }
        }
    }
    assert!(whole.iter().all(|count| *count > 1000), "{whole:?}");
}

/// Whole sixteens take ways of their own.
#[test]
fn bursts_that_all_go_on_have_whole_sixteens_of_either_family_and_mixed_ones() {
    let mut runner = TestRunner::deterministic();
    let (router, setting) = (router(), (candidates(), families()));
    let world = router.world(HashFields::FiveTuple);
    let mut met = BTreeSet::new();
    for _ in 0..40 {
        let (candidates, families) = setting.new_tree(&mut runner).unwrap().current();
        let burst = burst(&router, candidates, &families).expect("some go on");
        let mut bench = Bench::new();
        bench.run(&world, &burst);
        met.insert((burst.len() == BURST, bench.whole_sixteens()));
    }
    let full = |test: fn(usize, usize) -> bool| {
        let mut full = met.iter().filter(|(is_full, _)| *is_full);
        full.any(|(_, [ipv4, ipv6])| test(*ipv4, *ipv6))
    };
    assert!(full(|ipv4, _| ipv4 > 1), "IPv4: {met:?}");
    assert!(full(|_, ipv6| ipv6 > 1), "IPv6: {met:?}");
    assert!(full(|ipv4, ipv6| ipv4 > 0 && ipv6 > 0), "both: {met:?}");
    assert!(full(|ipv4, ipv6| ipv4 + ipv6 < 4), "mixed: {met:?}");
}

/// Without this the comparison above could pass by never reaching a verdict.
#[test]
fn the_generated_mix_reaches_every_verdict() {
    let mut runner = TestRunner::deterministic();
    let setting = (routers(), hash_fields(), limits(), vec(frames(), BURST));
    let (mut forwarded, mut punted, mut dropped) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for _ in 0..120 {
        let (router, hash, mut limits, burst) = setting.new_tree(&mut runner).unwrap().current();
        for outcome in Bench::new().run_limited(&router.world(hash), &burst, &mut limits) {
            match outcome {
                Outcome::Forward(port, bytes) => forwarded.insert((port, bytes[12])),
                Outcome::Punt(reason) => punted.insert(reason),
                Outcome::Drop(reason) => dropped.insert(reason),
            };
        }
    }
    assert_eq!(
        forwarded.len(),
        3 * 2,
        "three ports, two families: {forwarded:?}"
    );
    let unseen: Vec<_> = PuntReason::ALL
        .iter()
        .filter(|r| !punted.contains(r))
        .collect();
    assert!(unseen.is_empty(), "never punted: {unseen:?}");
    // What comes after these is the worker's: egress, transmit rings, punt limits.
    let (pipelines, workers): (Vec<_>, Vec<_>) = DropReason::ALL
        .iter()
        .partition(|r| **r < DropReason::EgressGone);
    assert!(workers.iter().all(|reason| !dropped.contains(reason)));
    let unseen: Vec<_> = pipelines.iter().filter(|r| !dropped.contains(r)).collect();
    assert!(unseen.is_empty(), "never dropped: {unseen:?}");
}
