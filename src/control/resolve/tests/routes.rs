//! Which route decides, and what its kind means.

use std::sync::Arc;

use super::*;
use crate::control::mirror::Preference;
use NeighbourState::Reachable;

/// A lab whose gateways 10.0.1.9 and 10.0.2.9 are resolved.
fn with_gateways() -> Lab {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    lab.neighbour(2, "10.0.2.9", Reachable);
    lab
}

fn with_metric(metric: u32, route: Route) -> Route {
    Route { metric, ..route }
}

#[test]
fn kinds_of_routes_do_what_the_kernel_does() {
    for (kind, expected) in [
        (RouteKind::Local, Way::Punt(PuntReason::Local)),
        (RouteKind::Broadcast, Way::Punt(PuntReason::Local)),
        (RouteKind::Anycast, Way::Punt(PuntReason::Local)),
        (RouteKind::Multicast, Way::Punt(PuntReason::Multicast)),
        (RouteKind::Blackhole, Way::Drop(DropReason::Blackhole)),
        (RouteKind::Unreachable, Way::Punt(PuntReason::Unreachable)),
        (RouteKind::Prohibit, Way::Punt(PuntReason::Prohibit)),
        (RouteKind::Throw, Way::Punt(PuntReason::NoRoute)),
        (RouteKind::Other(77), Way::Punt(PuntReason::KernelRoute)),
    ] {
        for (prefix, host) in [
            ("10.0.1.9/32", "10.0.1.9"),
            ("2001:db8:5::/48", "2001:db8:5::1"),
        ] {
            let mut lab = with_gateways();
            lab.set(prefix, route(kind, vec![]));
            assert_eq!(lab.way(host), expected, "{kind:?} {prefix}");
            let answer = lab.answer(host);
            assert_eq!(
                (
                    answer.kind.unwrap(),
                    answer.prefix.unwrap().to_string().as_str()
                ),
                (kind, prefix)
            );
            assert!(answer.legs.is_empty());
        }
    }
}

#[test]
fn the_local_table_goes_before_the_main_table() {
    let mut lab = with_gateways();
    lab.set("172.16.0.1/32", via(1, "10.0.1.9"));
    lab.set_in(LOCAL, "172.16.0.1/32", route(RouteKind::Local, vec![]));
    assert_eq!(lab.way("172.16.0.1"), Way::Punt(PuntReason::Local));
    let key = key(LOCAL, "172.16.0.1/32");
    let gone = route(RouteKind::Local, vec![]);
    lab.event(Event::RouteGone { key, route: gone });
    assert_eq!(lab.way("172.16.0.1"), to(resolved(1)));
}

#[test]
fn a_short_local_prefix_hides_longer_ones_of_main_in_ipv6_and_leaves_them_to_the_kernel_in_ipv4() {
    let local = || route(RouteKind::Local, vec![]);
    let mut lab = with_gateways();
    lab.set("172.16.0.0/16", via(1, "10.0.1.9"));
    assert_eq!(lab.way("172.16.0.1"), to(resolved(1)));
    lab.set_in(LOCAL, "172.0.0.0/8", local());
    assert_eq!(lab.way("172.16.0.1"), Way::Punt(PuntReason::KernelRoute));
    assert_eq!(lab.way("172.17.0.1"), Way::Punt(PuntReason::Local));
    lab.event(Event::RouteGone {
        key: key(LOCAL, "172.0.0.0/8"),
        route: local(),
    });
    assert_eq!(lab.way("172.16.0.1"), to(resolved(1)));

    lab.neighbour(1, "2001:db8:1::9", Reachable);
    for prefix in ["2001:db8::/32", "2001:db8:1::/64"] {
        lab.set_in(LOCAL, prefix, local());
        for host in ["2001:db8:1::9", "2001:db8:1::8"] {
            assert_eq!(lab.way(host), Way::Punt(PuntReason::Local), "{prefix}");
        }
        let key = key(LOCAL, prefix);
        let route = local();
        lab.event(Event::RouteGone { key, route });
        assert_eq!(lab.way("2001:db8:1::9"), to(resolved(1)), "{prefix}");
        assert_eq!(lab.way("2001:db8:1::8"), to(connected(1)), "{prefix}");
    }
}

#[test]
fn other_tables_have_no_say() {
    let mut lab = with_gateways();
    lab.set_in(100, "172.16.0.0/16", via(1, "10.0.1.9"));
    assert_eq!(lab.way("172.16.0.1"), Way::Punt(PuntReason::NoRoute));
    assert_eq!(
        lab.resolver
            .route(ip("172.16.0.1"), &lab.world, &lab.mirror),
        None
    );
}

#[test]
fn the_longest_prefix_wins_whatever_its_metric() {
    let mut lab = with_gateways();
    lab.set("0.0.0.0/0", via(1, "10.0.1.9"));
    lab.set("172.16.0.0/16", with_metric(500, via(2, "10.0.2.9")));
    assert_eq!(lab.way("172.16.0.1"), to(resolved(2)));
    assert_eq!(lab.prefix("172.16.0.1"), "172.16.0.0/16");
    assert_eq!(lab.way("172.17.0.1"), to(resolved(1)));
    assert_eq!(lab.prefix("172.17.0.1"), "0.0.0.0/0");
}

#[test]
fn the_lower_metric_wins_until_it_is_gone() {
    let (best, spare) = (
        with_metric(10, via(1, "10.0.1.9")),
        with_metric(20, via(2, "10.0.2.9")),
    );
    let mut lab = with_gateways();
    lab.set("172.16.0.0/16", spare);
    lab.set("172.16.0.0/16", best.clone());
    assert_eq!(lab.way("172.16.0.1"), to(resolved(1)));
    lab.gone("172.16.0.0/16", best);
    assert_eq!(lab.way("172.16.0.1"), to(resolved(2)));
}

#[test]
fn a_route_whose_interface_is_down_gives_way_to_the_next_and_to_shorter_prefixes() {
    for (prefix, host, shorter) in [
        ("172.16.0.0/16", "172.16.0.1", "172.0.0.0/8"),
        ("2001:db8:f::/48", "2001:db8:f::1", "2001::/16"),
    ] {
        let mut lab = with_gateways();
        let gateways = match ip(host) {
            IpAddr::V4(_) => ["10.0.1.9", "10.0.2.9"],
            IpAddr::V6(_) => ["fe80::1", "fe80::2"],
        };
        gateways.iter().zip(1..).for_each(|(gateway, ifindex)| {
            lab.neighbour(ifindex, gateway, Reachable);
        });
        lab.set(prefix, with_metric(10, via(1, gateways[0])));
        lab.set(prefix, with_metric(20, via(2, gateways[1])));
        lab.set(shorter, on_link(3));
        let down = |index| {
            let up = false;
            Event::LinkSet(Link { up, ..link(index) })
        };
        lab.event(down(1));
        assert_eq!(lab.way(host), to(resolved(2)), "{host}");
        lab.event(down(2));
        assert_eq!(lab.way(host), to(Adjacency::Foreign), "{host}");
        assert_eq!(lab.prefix(host), shorter);
    }
}

#[test]
fn ipv6_routes_that_stay_while_their_link_is_down_count_again_when_it_is_up() {
    let mut lab = Lab::new();
    let up = false;
    lab.event(Event::LinkSet(Link { up, ..link(1) }));
    assert_eq!(lab.way("2001:db8:1::9"), Way::Punt(PuntReason::NoRoute));
    lab.event(Event::LinkSet(link(1)));
    assert_eq!(lab.way("2001:db8:1::9"), to(connected(1)));
}

#[test]
fn multipath_legs_share_by_weight_and_dead_ones_get_nothing() {
    let legs = [(1, "10.0.1.9", 1), (2, "10.0.2.9", 3)];
    let mut lab = with_gateways();
    lab.set("172.16.0.0/16", multipath(&legs));
    let both = Way::To {
        legs: vec![(resolved(1), 1), (resolved(2), 3)],
        mtu: u16::MAX,
    };
    assert_eq!(lab.way("172.16.0.1"), both);
    let weights: Vec<usize> = lab
        .answer("172.16.0.1")
        .legs
        .iter()
        .map(|leg| leg.weight)
        .collect();
    assert_eq!(weights, [1, 3]);

    let mut dead = multipath(&legs);
    dead.paths[1].dead = true;
    lab.set("172.17.0.0/16", dead);
    assert_eq!(lab.way("172.17.0.1"), to(resolved(1)));

    let up = false;
    lab.event(Event::LinkSet(Link { up, ..link(2) }));
    assert_eq!(lab.way("172.16.0.1"), to(resolved(1)));
}

#[test]
fn legs_and_their_flows_do_not_depend_on_the_order_told() {
    let mut lab = with_gateways();
    lab.set(
        "172.16.0.0/16",
        multipath(&[(1, "10.0.1.9", 1), (2, "10.0.2.9", 3)]),
    );
    lab.set(
        "172.17.0.0/16",
        multipath(&[(2, "10.0.2.9", 3), (1, "10.0.1.9", 1)]),
    );
    assert_eq!(lab.group("172.16.0.1"), lab.group("172.17.0.1"));
}

#[test]
fn more_legs_than_a_group_holds_are_left_to_the_kernel() {
    let mut lab = Lab::new();
    let paths = (0..300)
        .map(|n| leg(1, Some(&format!("fe80::{n:x}")), 1))
        .collect();
    let many = route(RouteKind::Unicast, paths);
    lab.set("2001:db8:f::/48", many.clone());
    assert_eq!(lab.way("2001:db8:f::1"), Way::Punt(PuntReason::KernelRoute));
    lab.set("2001:db8:e::/48", many.clone());
    assert_eq!(lab.resolver.oversized_groups(), 1, "they share it");
    lab.gone("2001:db8:f::/48", many.clone());
    assert_eq!(lab.resolver.oversized_groups(), 1);
    lab.gone("2001:db8:e::/48", many);
    assert_eq!(lab.resolver.oversized_groups(), 0);
}

#[test]
fn among_ipv4_default_routes_of_equal_metric_the_kernel_chooses() {
    let mut lab = Lab::new();
    let kernel = Way::Punt(PuntReason::KernelRoute);
    lab.set("0.0.0.0/0", via(1, "10.0.1.9"));
    lab.set("0.0.0.0/0", with_metric(10, via(2, "10.0.2.9")));
    lab.set("::/0", via(1, "fe80::9"));
    assert_eq!(lab.way("172.16.0.1"), to(unresolved(1)));
    let key = key(MAIN, "0.0.0.0/0");
    let place = Placement {
        append: true,
        ..Placement::default()
    };
    let other = via(2, "10.0.2.9");
    let route = other.clone();
    lab.event(Event::RouteSet { key, route, place });
    assert_eq!(lab.way("172.16.0.1"), kernel);
    lab.gone("0.0.0.0/0", other);
    assert_eq!(lab.way("172.16.0.1"), to(unresolved(1)));
    // One without a gateway is no choice, nor is one behind a link that is down.
    let route = on_link(2);
    lab.event(Event::RouteSet { key, route, place });
    assert_eq!(lab.way("172.16.0.1"), to(unresolved(1)));
    assert_eq!(lab.way("2001:db8:f::1"), to(unresolved(1)));
}

#[test]
fn a_route_of_which_the_first_leg_has_ended_is_left_to_the_kernel() {
    let mut lab = Lab::new();
    let legs = multipath(&[(1, "fe80::9", 1), (2, "fe80::9", 1)]);
    let lapsed = true;
    lab.set("2001:db8:f::/48", Route { lapsed, ..legs });
    assert_eq!(lab.way("2001:db8:f::1"), Way::Punt(PuntReason::KernelRoute));
}

#[test]
fn routes_that_say_more_than_the_fast_path_knows_are_left_to_the_kernel() {
    let plain = || via(1, "fe80::9");
    let source = Some("2001:db8:9::/48".parse().unwrap());
    let routes = [
        ("172.16.0.0/16", "172.16.0.1", Route { tos: 8, ..plain() }),
        (
            "172.16.0.0/16",
            "172.16.0.1",
            Route {
                encapsulated: true,
                ..plain()
            },
        ),
        (
            "2001:db8:f::/48",
            "2001:db8:f::1",
            Route { source, ..plain() },
        ),
        (
            "2001:db8:f::/48",
            "2001:db8:f::1",
            Route {
                nexthop_id: Some(7),
                ..route(RouteKind::Unicast, vec![])
            },
        ),
    ];
    for (prefix, host, special) in routes {
        let mut lab = Lab::new();
        // The kernel chooses among both, packet by packet.
        lab.set(prefix, special.clone());
        lab.set(prefix, with_metric(10, plain()));
        let list = lab.mirror.routes(&key(MAIN, prefix));
        assert_eq!((&list[0], list.len()), (&special, 2));
        let expected = Way::Punt(PuntReason::KernelRoute);
        assert_eq!(lab.way(host), expected, "{special:?}");
        lab.gone(prefix, special);
        assert_eq!(lab.way(host), to(unresolved(1)));
    }
}

#[test]
fn the_mtu_of_a_route_goes_into_its_group() {
    let mut lab = with_gateways();
    for (mtu, expected) in [(1280, 1280), (100_000, u16::MAX)] {
        let prefix = "172.16.0.0/16";
        let narrow = Route {
            mtu: Some(mtu),
            ..via(1, "10.0.1.9")
        };
        lab.set(prefix, narrow.clone());
        let legs = vec![(resolved(1), 1)];
        assert_eq!(
            lab.way("172.16.0.1"),
            Way::To {
                legs,
                mtu: expected
            }
        );
        lab.gone(prefix, narrow);
    }
}

#[test]
fn all_routes_are_listed_in_order_and_within_a_prefix() {
    let mut lab = with_gateways();
    lab.set("10.0.2.128/25", route(RouteKind::Blackhole, vec![]));
    let list = |within: Option<&str>| -> Vec<String> {
        let within = within.map(|net| net.parse().unwrap());
        let routes = lab
            .resolver
            .routes(within, Arc::new(lab.world.clone()), &lab.mirror);
        routes
            .map(|answer| answer.prefix.unwrap().to_string())
            .collect()
    };
    assert_eq!(list(Some("10.0.2.0/24")), ["10.0.2.0/24", "10.0.2.128/25"]);
    assert_eq!(list(Some("2001:db8:1::/48")), ["2001:db8:1::/64"]);
    assert_eq!(
        list(None).len(),
        7,
        "neighbours' host routes are none of the kernel's"
    );
}

#[test]
fn of_routes_of_equal_metric_the_preferred_one_is_used() {
    let mut lab = with_gateways();
    lab.neighbour(1, "2001:db8:1::9", Reachable);
    lab.neighbour(2, "2001:db8:2::9", Reachable);
    let by = |ifindex, gateway, preference| Route {
        preference,
        // RTPROT_RA: never joined into one multipath route.
        protocol: 9,
        ..via(ifindex, gateway)
    };
    lab.set("2001:db8:9::/48", by(1, "2001:db8:1::9", Preference::Low));
    assert_eq!(lab.way("2001:db8:9::1"), to(resolved(1)));
    lab.set("2001:db8:9::/48", by(2, "2001:db8:2::9", Preference::High));
    assert_eq!(lab.way("2001:db8:9::1"), to(resolved(2)));
    let better = with_metric(0, by(1, "2001:db8:1::8", Preference::Medium));
    lab.set(
        "2001:db8:9::/48",
        with_metric(1, by(2, "2001:db8:2::9", Preference::High)),
    );
    lab.set("2001:db8:9::/48", better);
    assert_eq!(
        lab.way("2001:db8:9::1"),
        to(resolved(2)),
        "still the high one"
    );
}

#[test]
fn a_route_for_some_sources_leaves_its_prefix_to_the_kernel_whatever_its_metric() {
    let mut lab = with_gateways();
    lab.neighbour(1, "2001:db8:1::9", Reachable);
    lab.set("2001:db8:9::/48", via(1, "2001:db8:1::9"));
    assert_eq!(lab.way("2001:db8:9::1"), to(resolved(1)));
    let specific = Route {
        source: Some("2001:db8:7::/48".parse().unwrap()),
        ..with_metric(5000, via(1, "2001:db8:1::9"))
    };
    lab.set("2001:db8:9::/48", specific);
    assert_eq!(lab.way("2001:db8:9::1"), Way::Punt(PuntReason::KernelRoute));
}

#[test]
fn answers_are_the_workers_worlds_and_not_the_mirrors() {
    let mut lab = with_gateways();
    lab.set("172.16.0.0/16", via(1, "10.0.1.9"));
    lab.set("172.16.1.0/24", via(2, "10.0.2.9"));
    let (prefix, within) = ("172.16.0.0/16", "172.16.1.0/24");
    let behind = lab.world.clone();
    lab.gone(within, via(2, "10.0.2.9"));
    let answer =
        |lab: &Lab, world: &World| lab.resolver.route(ip("172.16.1.1"), world, &lab.mirror);
    let current = answer(&lab, &lab.world).unwrap();
    assert_eq!(current.prefix, prefix.parse().ok());
    // Workers that have not heard of it go on as before.
    let stale = answer(&lab, &behind).unwrap();
    assert_eq!((stale.prefix, stale.kind), (None, None));
    assert!(matches!(stale.action, Action::Forward(_)), "{stale:?}");
    assert_eq!(stale.legs[0].ifindex, Some(2));
    lab.gone(prefix, via(1, "10.0.1.9"));
    assert_eq!(answer(&lab, &lab.world), None);
    assert!(answer(&lab, &behind).is_some(), "the mirror has no route");
    // And what they have not heard of, they do not have.
    let before = lab.world.clone();
    lab.set(within, via(2, "10.0.2.9"));
    assert_eq!(answer(&lab, &before), None);
}
