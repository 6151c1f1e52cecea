//! Recorded netlink streams without a kernel: the dump before, followed event by event, must end as
//! the dump after, or the mirror must know that it has to ask again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "oracle/stream.rs"]
mod stream;

use ixmap::control::mirror::{Mirror, Route, RouteKey};
use stream::{Line, Replayed, replay};

/// Replays a file of `tests/data/netlink`.
fn replayed(text: &str) -> Replayed {
    let lines: Vec<Line> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let replayed = replay(&lines);
    assert!(replayed.events > 0 && replayed.kernel.route_count() > 10);
    replayed
}

/// The events alone told everything.
fn assert_followed(text: &str) {
    let replayed = replayed(text);
    assert_eq!(replayed.doubts, []);
    assert_eq!(replayed.mirror, replayed.kernel);
}

/// The kernel was silent about a part: ixmap asks again, and until it knows, packets go where the
/// kernel's go.
fn assert_followed_in_doubt(text: &str) {
    let replayed = replayed(text);
    assert!(!replayed.doubts.is_empty());
    assert_eq!(ways(&replayed.mirror), ways(&replayed.kernel));
    assert!(replayed.mirror.nexthops().eq(replayed.kernel.nexthops()));
    assert!(replayed.mirror.links().eq(replayed.kernel.links()));
    assert!(
        replayed
            .mirror
            .neighbours()
            .eq(replayed.kernel.neighbours())
    );
    assert_eq!(replayed.mirror.addresses(), replayed.kernel.addresses());
}

fn ways(mirror: &Mirror) -> Vec<(RouteKey, &[Route])> {
    mirror.all_routes().collect()
}

#[test]
fn append_prepend_and_replace_of_ipv4_routes_are_followed() {
    assert_followed(include_str!("data/netlink/ipv4-order.jsonl"));
}

#[test]
fn legs_of_ipv6_routes_that_come_and_go_are_followed() {
    assert_followed(include_str!("data/netlink/ipv6-legs.jsonl"));
}

#[test]
fn next_hop_objects_that_change_and_end_are_followed() {
    assert_followed(include_str!("data/netlink/next-hop-objects.jsonl"));
}

#[test]
fn a_link_that_goes_down_takes_next_hop_objects_along() {
    assert_followed_in_doubt(include_str!(
        "data/netlink/next-hop-objects-link-down.jsonl"
    ));
}

#[test]
fn a_lost_carrier_takes_neighbours_along() {
    assert_followed_in_doubt(include_str!("data/netlink/carrier-loss.jsonl"));
}

#[test]
fn addresses_take_routes_along() {
    assert_followed_in_doubt(include_str!("data/netlink/address-removal.jsonl"));
}

#[test]
fn a_deleted_device_takes_routes_along() {
    assert_followed_in_doubt(include_str!("data/netlink/device-deletion.jsonl"));
}

#[test]
fn a_replaced_ipv6_route_of_another_class_is_asked_for_again() {
    let replayed = replayed(include_str!("data/netlink/ipv6-replace-classes.jsonl"));
    assert!(!replayed.doubts.is_empty());
}
