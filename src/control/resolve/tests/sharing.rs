//! Groups and adjacencies are shared and freed, and a commit copies only what changed.

use super::*;
use NeighbourState::Reachable;

#[test]
fn equal_routes_share_a_group_and_the_last_one_frees_it() {
    let mut lab = Lab::new();
    let (groups, adjacencies) = lab.resolver.next_hop_counts();
    let prefixes: Vec<String> = (0..50).map(|n| format!("172.16.{n}.0/24")).collect();
    for prefix in &prefixes {
        lab.set(prefix, via(1, "10.0.1.9"));
    }
    assert_eq!(
        lab.resolver.next_hop_counts(),
        (groups + 1, adjacencies + 1)
    );
    // The neighbour's host route is a group and an adjacency of its own: a gateway is looked after
    // while routes go through it, a host while packets go to it.
    lab.neighbour(1, "10.0.1.9", Reachable);
    assert_eq!(
        lab.resolver.next_hop_counts(),
        (groups + 2, adjacencies + 2)
    );
    assert_ne!(lab.group("172.16.7.1"), lab.group("10.0.1.9"));
    assert_eq!(lab.way("172.16.7.1"), lab.way("10.0.1.9"));
    for prefix in &prefixes {
        lab.gone(prefix, via(1, "10.0.1.9"));
    }
    assert_eq!(
        lab.resolver.next_hop_counts(),
        (groups + 1, adjacencies + 1)
    );
    lab.neighbour(1, "10.0.1.9", NeighbourState::Failed);
    assert_eq!(lab.resolver.next_hop_counts(), (groups, adjacencies));
}

#[test]
fn nothing_is_left_when_everything_is_deleted() {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    lab.neighbour(2, "2001:db8:2::9", Reachable);
    lab.set(
        "172.16.0.0/16",
        multipath(&[(1, "10.0.1.9", 1), (2, "10.0.2.9", 2)]),
    );
    lab.set("172.17.0.0/16", via(1, "fe80::1"));
    lab.set(
        "2001:db8:f::/48",
        multipath(&[(1, "fe80::1", 1), (2, "fe80::2", 2)]),
    );
    lab.set_in(LOCAL, "10.0.1.1/32", route(RouteKind::Local, vec![]));
    lab.set("10.0.1.9/32", route(RouteKind::Prohibit, vec![]));
    assert!(lab.resolver.next_hop_counts() > (5, 5));
    while let Some((key, route)) = first_route(&lab.mirror) {
        lab.event(Event::RouteGone { key, route });
    }
    assert_eq!(lab.resolver.route_counts(), (0, 0));
    assert_eq!((lab.world.ipv4.routes(), lab.world.ipv6.routes()), (0, 0));
    assert_eq!(lab.resolver.next_hop_counts(), (0, 0));
}

fn first_route(mirror: &Mirror) -> Option<(RouteKey, Route)> {
    let (key, list) = mirror.all_routes().next()?;
    Some((key, list[0].clone()))
}

#[test]
fn a_changed_route_copies_neither_groups_nor_adjacencies_that_stay() {
    let mut lab = Lab::new();
    lab.set("172.16.0.0/16", via(1, "10.0.1.9"));
    lab.set("172.17.0.0/16", via(2, "10.0.2.9"));
    let before = lab.world.clone();
    lab.set("172.18.0.0/16", via(1, "10.0.1.9"));
    lab.set("172.16.0.0/16", via(2, "10.0.2.9"));
    assert_eq!(lab.way("172.16.0.1"), to(unresolved(2)));
    assert_eq!(lab.way("172.18.0.1"), to(unresolved(1)));
    assert!(Arc::ptr_eq(&before.groups, &lab.world.groups));
    assert!(Arc::ptr_eq(&before.adjacencies, &lab.world.adjacencies));
    assert!(Arc::ptr_eq(&before.interfaces, &lab.world.interfaces));
    assert!(Arc::ptr_eq(&before.locals, &lab.world.locals));
    assert!(before.ipv6.is_same(&lab.world.ipv6));
    assert!(!before.ipv4.is_same(&lab.world.ipv4));
}

#[test]
fn looking_at_everything_again_copies_nothing() {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    lab.set("172.16.0.0/16", via(1, "10.0.1.9"));
    lab.set(
        "2001:db8:f::/48",
        multipath(&[(1, "fe80::1", 1), (2, "fe80::2", 2)]),
    );
    let before = lab.world.clone();
    lab.resolver.apply(&lab.mirror, &everything());
    let after = lab.resolver.world().unwrap();
    assert!(Arc::ptr_eq(&before.groups, &after.groups));
    assert!(Arc::ptr_eq(&before.adjacencies, &after.adjacencies));
    assert!(Arc::ptr_eq(&before.interfaces, &after.interfaces));
    assert!(Arc::ptr_eq(&before.locals, &after.locals));
    assert!(before.ipv4.is_same(&after.ipv4) && before.ipv6.is_same(&after.ipv6));
}

#[test]
fn an_interface_that_no_route_uses_changes_no_table() {
    let mut lab = Lab::new();
    let before = lab.world.clone();
    lab.event(Event::LinkSet(link(9)));
    lab.event(Event::LinkGone { index: 9 });
    assert!(before.ipv4.is_same(&lab.world.ipv4) && before.ipv6.is_same(&lab.world.ipv6));
    assert!(Arc::ptr_eq(&before.groups, &lab.world.groups));
    assert!(Arc::ptr_eq(&before.interfaces, &lab.world.interfaces));
}
