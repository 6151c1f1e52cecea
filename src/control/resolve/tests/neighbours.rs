//! Neighbours: host routes on connected prefixes, gateways, MACs.

use super::*;
use NeighbourState::{Failed, Incomplete, Permanent, Reachable, Stale};

#[test]
fn a_host_on_a_connected_prefix_follows_its_neighbour_entry() {
    for host in ["10.0.1.9", "2001:db8:1::9"] {
        let mut lab = Lab::new();
        let prefix = lab.prefix(host);
        assert_eq!(lab.way(host), to(connected(1)));
        for (state, expected) in [
            (Incomplete, connected(1)),
            (Reachable, resolved(1)),
            (Stale, resolved(1)),
            (Failed, connected(1)),
            (Permanent, resolved(1)),
        ] {
            lab.neighbour(1, host, state);
            assert_eq!(lab.way(host), to(expected), "{host} {state:?}");
            let answer = lab.answer(host);
            assert_eq!(
                answer.prefix.unwrap().to_string(),
                prefix,
                "the kernel's prefix"
            );
            assert_eq!(
                (answer.legs[0].ifindex, answer.legs[0].via),
                (Some(1), None)
            );
            assert_eq!(answer.legs[0].adjacency, expected);
        }
        lab.event(Event::NeighbourGone {
            ifindex: 1,
            address: ip(host),
        });
        assert_eq!(lab.way(host), to(connected(1)));
    }
}

#[test]
fn a_neighbour_stays_within_its_prefix_and_interface() {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    assert_eq!(lab.way("10.0.1.8"), to(connected(1)));
    // An entry on another interface than the route's is not the kernel's choice.
    lab.neighbour(2, "10.0.1.8", Reachable);
    assert_eq!(lab.way("10.0.1.8"), to(connected(1)));
    lab.neighbour(1, "172.16.0.1", Reachable);
    assert_eq!(lab.way("172.16.0.1"), Way::Punt(PuntReason::NoRoute));
}

#[test]
fn a_gateway_may_resolve_before_or_after_its_route() {
    for (prefix, gateway, host) in [
        ("172.16.0.0/16", "10.0.1.9", "172.16.5.5"),
        ("2001:db8:f::/48", "fe80::9", "2001:db8:f::5"),
        // RFC 8950: RTA_VIA.
        ("172.16.0.0/16", "fe80::9", "172.16.5.5"),
    ] {
        let mut later = Lab::new();
        later.set(prefix, via(1, gateway));
        assert_eq!(later.way(host), to(unresolved(1)));
        later.neighbour(1, gateway, Reachable);
        assert_eq!(later.way(host), to(resolved(1)), "{prefix} via {gateway}");
        assert_eq!(later.answer(host).legs[0].via, Some(ip(gateway)));

        let mut before = Lab::new();
        before.neighbour(1, gateway, Reachable);
        before.set(prefix, via(1, gateway));
        assert_eq!(before.way(host), to(resolved(1)), "{prefix} via {gateway}");

        before.neighbour(1, gateway, Failed);
        assert_eq!(before.way(host), to(unresolved(1)));
    }
}

#[test]
fn a_new_mac_changes_the_adjacency_table_and_nothing_else() {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    lab.set("172.16.0.0/16", via(1, "10.0.1.9"));
    let before = lab.world.clone();
    let other = MacAddr([2, 9, 9, 9, 9, 9]);
    lab.event(Event::NeighbourSet(Neighbour {
        mac: Some(other),
        ..neighbour(1, "10.0.1.9", Reachable)
    }));
    for host in ["172.16.0.1", "10.0.1.9"] {
        assert_eq!(lab.way(host), to(resolved_to(1, other)));
        assert_eq!(way(&before, ip(host)), to(resolved(1)), "the old world");
        assert_eq!(group_id(&before, ip(host)), lab.group(host));
    }
    assert!(!Arc::ptr_eq(&before.adjacencies, &lab.world.adjacencies));
    assert!(Arc::ptr_eq(&before.groups, &lab.world.groups));
    assert!(before.ipv4.is_same(&lab.world.ipv4) && before.ipv6.is_same(&lab.world.ipv6));
}

#[test]
fn a_state_without_news_changes_nothing() {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    let before = lab.world.clone();
    lab.neighbour(1, "10.0.1.9", Stale);
    assert!(Arc::ptr_eq(&before.adjacencies, &lab.world.adjacencies));
    assert!(Arc::ptr_eq(&before.groups, &lab.world.groups));
    assert!(before.ipv4.is_same(&lab.world.ipv4));
}

#[test]
fn a_more_specific_route_hides_a_neighbour_and_gives_it_back() {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    lab.neighbour(2, "10.0.2.1", Reachable);
    let mac = MacAddr([2, 7, 7, 7, 7, 7]);
    lab.event(Event::NeighbourSet(Neighbour {
        mac: Some(mac),
        ..neighbour(1, "10.0.1.9", Reachable)
    }));
    for prefix in ["10.0.1.8/29", "10.0.1.9/32"] {
        lab.set(prefix, via(2, "10.0.2.1"));
        assert_eq!(lab.way("10.0.1.9"), to(resolved(2)), "{prefix}");
        lab.gone(prefix, via(2, "10.0.2.1"));
        assert_eq!(lab.way("10.0.1.9"), to(resolved_to(1, mac)), "{prefix}");
        lab.set(prefix, route(RouteKind::Blackhole, vec![]));
        assert_eq!(lab.way("10.0.1.9"), Way::Drop(DropReason::Blackhole));
        lab.gone(prefix, route(RouteKind::Blackhole, vec![]));
        assert_eq!(lab.way("10.0.1.9"), to(resolved_to(1, mac)), "{prefix}");
    }
}

#[test]
fn a_connected_host_prefix_is_a_neighbour_of_its_own() {
    let mut lab = Lab::new();
    lab.set("192.0.2.1/32", on_link(2));
    assert_eq!(lab.way("192.0.2.1"), to(connected(2)));
    lab.neighbour(2, "192.0.2.1", Reachable);
    assert_eq!(lab.way("192.0.2.1"), to(resolved(2)));
    lab.neighbour(2, "192.0.2.1", Failed);
    assert_eq!(lab.way("192.0.2.1"), to(connected(2)));
    lab.neighbour(2, "192.0.2.1", Reachable);
    lab.gone("192.0.2.1/32", on_link(2));
    assert_eq!(lab.way("192.0.2.1"), Way::Punt(PuntReason::NoRoute));
}

#[test]
fn a_connected_prefix_that_moves_takes_its_neighbours_along() {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    lab.neighbour(2, "10.0.1.9", Reachable);
    lab.neighbour(2, "10.0.1.10", Reachable);
    lab.set("10.0.1.0/24", on_link(2));
    lab.gone("10.0.1.0/24", on_link(1));
    assert_eq!(lab.way("10.0.1.9"), to(resolved(2)));
    assert_eq!(lab.way("10.0.1.10"), to(resolved(2)));
}

#[test]
fn the_mtu_of_a_connected_route_holds_for_its_neighbours() {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    let narrow = Route {
        mtu: Some(1400),
        ..on_link(1)
    };
    let expected = Way::To {
        legs: vec![(resolved(1), 1)],
        mtu: 1400,
    };
    lab.set("10.0.1.0/24", narrow.clone());
    assert_eq!(lab.way("10.0.1.9"), expected);
    lab.gone("10.0.1.0/24", narrow);
    assert_eq!(lab.way("10.0.1.9"), to(resolved(1)));
}

#[test]
fn link_local_neighbours_get_no_host_route() {
    let mut lab = Lab::new();
    lab.set("fe80::/64", on_link(1));
    let before = lab.world.ipv6.routes();
    lab.neighbour(1, "fe80::9", Reachable);
    assert_eq!(lab.world.ipv6.routes(), before);
    lab.neighbour(1, "2001:db8:1::9", Reachable);
    assert_eq!(lab.world.ipv6.routes(), before + 1, "others do");
    assert_eq!(lab.resolver.route_counts().1, before, "not a kernel route");
}

#[test]
fn neighbours_in_use_are_told_as_gateways_and_hosts_behind_ports() {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    lab.neighbour(3, "10.0.3.9", Reachable);
    lab.set("172.16.0.0/16", via(1, "10.0.1.9"));
    lab.set(
        "2001:db8:f::/48",
        multipath(&[(2, "fe80::2", 1), (3, "fe80::3", 1)]),
    );
    let used = |lab: &Lab| -> Vec<(u32, IpAddr, bool)> {
        let used = lab.resolver.used_neighbours();
        let mut used: Vec<_> = used
            .map(|neighbour| (neighbour.ifindex, neighbour.address, neighbour.gateway))
            .collect();
        used.sort();
        used
    };
    let host = (1, ip("10.0.1.9"), false);
    let gateways = [(1, ip("10.0.1.9"), true), (2, ip("fe80::2"), true)];
    assert_eq!(used(&lab), [host, gateways[0], gateways[1]]);
    for neighbour in lab.resolver.used_neighbours() {
        let adjacency = lab.world.adjacency(neighbour.adjacency);
        assert_eq!(
            adjacency == resolved(1),
            neighbour.ifindex == 1,
            "{adjacency:?}"
        );
    }
    lab.gone("172.16.0.0/16", via(1, "10.0.1.9"));
    assert_eq!(used(&lab), [host, gateways[1]]);
    lab.neighbour(1, "10.0.1.9", Failed);
    assert_eq!(used(&lab), [gateways[1]]);
}
