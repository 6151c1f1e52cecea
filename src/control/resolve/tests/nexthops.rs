//! Routes through next-hop objects.

use super::*;
use NeighbourState::Reachable;

fn object(id: u32, path: Path) -> Event {
    let object = NextHopObject::Leg(path);
    Event::NextHopSet { id, object }
}

fn group(id: u32, members: &[(u32, u16)]) -> Event {
    let object = NextHopObject::Group(members.to_vec());
    Event::NextHopSet { id, object }
}

fn through(id: u32) -> Route {
    Route {
        nexthop_id: Some(id),
        ..route(RouteKind::Unicast, vec![])
    }
}

/// Objects 1 and 2 are gateways behind ports 1 and 2, object 10 is both.
fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    lab.neighbour(2, "10.0.2.9", Reachable);
    lab.event(object(1, leg(1, Some("10.0.1.9"), 1)));
    lab.event(object(2, leg(2, Some("10.0.2.9"), 1)));
    lab.event(group(10, &[(1, 1), (2, 1)]));
    lab
}

#[test]
fn a_replaced_object_changes_no_table_however_many_routes_go_through_it() {
    let mut lab = lab();
    lab.set("172.16.0.0/16", through(1));
    lab.set("172.17.0.0/16", through(1));
    assert_eq!(lab.way("172.16.0.1"), to(resolved(1)));
    let (before, group) = (lab.world.clone(), lab.group("172.16.0.1"));
    lab.event(object(1, leg(2, Some("10.0.2.9"), 1)));
    assert_eq!(lab.way("172.16.0.1"), to(resolved(2)));
    assert_eq!(lab.way("172.17.0.1"), to(resolved(2)));
    assert_eq!(lab.group("172.16.0.1"), group);
    assert!(before.ipv4.is_same(&lab.world.ipv4));
    assert_eq!(
        way(&before, ip("172.16.0.1")),
        to(resolved(1)),
        "old worlds stay"
    );
}

#[test]
fn a_group_follows_its_members_and_their_end() {
    let mut lab = lab();
    lab.set("172.16.0.0/16", through(10));
    let Way::To { legs, .. } = lab.way("172.16.0.1") else {
        panic!("both legs");
    };
    assert_eq!(legs.len(), 2);
    lab.event(Event::NextHopGone { id: 1 });
    assert_eq!(lab.way("172.16.0.1"), to(resolved(2)));
    lab.event(object(2, leg(1, Some("10.0.1.9"), 1)));
    assert_eq!(lab.way("172.16.0.1"), to(resolved(1)));
    lab.event(Event::NextHopGone { id: 2 });
    assert_eq!(lab.mirror.nexthops().len(), 0, "the group is empty");
    assert_eq!(lab.way("172.16.0.1"), Way::Punt(PuntReason::NoRoute));
    assert_eq!(
        lab.resolver.next_hop_counts().0,
        5,
        "connected prefixes and neighbours"
    );
}

#[test]
fn a_link_that_goes_down_takes_the_objects_behind_it() {
    let mut lab = lab();
    lab.set("172.16.0.0/16", through(10));
    lab.set("172.17.0.0/16", through(1));
    lab.event(Event::LinkSet(Link {
        up: false,
        ..link(1)
    }));
    assert_eq!(lab.way("172.16.0.1"), to(resolved(2)));
    assert_eq!(lab.way("172.17.0.1"), Way::Punt(PuntReason::NoRoute));
    assert_eq!(
        lab.mirror.nexthop(10),
        Some(&NextHopObject::Group(vec![(2, 1)]))
    );
}

#[test]
fn a_link_without_carrier_takes_them_as_well_and_no_routes_of_others() {
    let mut lab = lab();
    lab.set("172.16.0.0/16", through(1));
    lab.set("172.17.0.0/16", via(1, "10.0.1.9"));
    lab.event(Event::LinkSet(Link {
        carrier: false,
        running: false,
        ..link(1)
    }));
    assert_eq!(lab.way("172.16.0.1"), Way::Punt(PuntReason::NoRoute));
    assert_eq!(lab.way("172.17.0.1"), to(resolved(1)));
}

#[test]
fn an_object_drops_or_leaves_to_the_kernel_what_goes_through_it() {
    let mut lab = lab();
    lab.set("172.16.0.0/16", through(1));
    let unknown = through(77);
    lab.set("172.17.0.0/16", unknown);
    let to_kernel = Way::Punt(PuntReason::KernelRoute);
    assert_eq!(lab.way("172.17.0.1"), to_kernel, "not heard of yet");
    for (object, expected) in [
        (NextHopObject::Foreign, to_kernel.clone()),
        (NextHopObject::Group(vec![(99, 1)]), to_kernel),
        (NextHopObject::Blackhole, Way::Drop(DropReason::Blackhole)),
    ] {
        lab.event(Event::NextHopSet { id: 1, object });
        assert_eq!(lab.way("172.16.0.1"), expected);
    }
    lab.event(object(77, leg(1, Some("10.0.1.9"), 1)));
    assert_eq!(lab.way("172.17.0.1"), to(resolved(1)));
}

#[test]
fn a_group_of_one_blackhole_drops() {
    let mut lab = lab();
    let id = 9;
    let object = NextHopObject::Blackhole;
    lab.event(Event::NextHopSet { id, object });
    lab.event(group(11, &[(9, 1)]));
    lab.set("172.16.0.0/16", through(11));
    assert_eq!(lab.way("172.16.0.1"), Way::Drop(DropReason::Blackhole));
}

#[test]
fn a_route_that_refuses_does_so_whatever_object_it_names() {
    for (kind, expected) in [
        (RouteKind::Blackhole, Way::Drop(DropReason::Blackhole)),
        (RouteKind::Prohibit, Way::Punt(PuntReason::Prohibit)),
        (RouteKind::Unreachable, Way::Punt(PuntReason::Unreachable)),
        (RouteKind::Throw, Way::Punt(PuntReason::NoRoute)),
        (RouteKind::Local, Way::Punt(PuntReason::Local)),
        (RouteKind::Multicast, Way::Punt(PuntReason::Multicast)),
    ] {
        let mut lab = lab();
        for prefix in ["172.16.0.0/16", "2001:db8:f::/48"] {
            lab.set(prefix, Route { kind, ..through(1) });
        }
        assert_eq!(lab.way("172.16.0.1"), expected);
        assert_eq!(lab.way("2001:db8:f::1"), expected);
    }
}

#[test]
fn neighbours_get_host_routes_when_an_object_makes_their_prefix_connected() {
    let mut lab = lab();
    lab.neighbour(1, "172.16.0.7", Reachable);
    lab.set("172.16.0.0/16", through(2));
    assert_eq!(lab.way("172.16.0.7"), to(resolved(2)));
    lab.event(object(2, leg(1, None, 1)));
    assert_eq!(lab.way("172.16.0.7"), to(resolved(1)));
    assert_eq!(lab.prefix("172.16.0.7"), "172.16.0.0/16");
    lab.event(object(2, leg(2, Some("10.0.2.9"), 1)));
    assert_eq!(lab.way("172.16.0.7"), to(resolved(2)));
}

#[test]
fn an_object_with_more_legs_than_a_group_holds_counts_until_it_has_fewer() {
    let mut lab = lab();
    let members = [(1, 1), (2, 1)].repeat(150);
    lab.event(group(11, &members));
    assert_eq!(lab.resolver.oversized_groups(), 0, "no route uses it");
    lab.set("172.16.0.0/16", through(11));
    assert_eq!(lab.way("172.16.0.1"), Way::Punt(PuntReason::KernelRoute));
    assert_eq!(lab.resolver.oversized_groups(), 1);
    lab.event(group(11, &members[..256]));
    assert!(matches!(lab.way("172.16.0.1"), Way::To { .. }));
    assert_eq!(lab.resolver.oversized_groups(), 0);
    lab.event(group(11, &members));
    lab.gone("172.16.0.0/16", through(11));
    assert_eq!(lab.resolver.oversized_groups(), 0);
}
