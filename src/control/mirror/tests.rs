//! The tables against a naive model of the kernel, and what it does silently.

mod nexthops;

use proptest::prelude::*;

use super::*;
use crate::shared::mac::MacAddr;

fn key(prefix: &str) -> RouteKey {
    RouteKey {
        table: 254,
        prefix: prefix.parse().unwrap(),
    }
}

fn leg(ifindex: u32, via: &str) -> Path {
    Path {
        ifindex: Some(ifindex),
        via: via.parse().ok(),
        weight: 1,
        onlink: false,
        dead: false,
    }
}

fn route(paths: Vec<Path>) -> Route {
    Route::ordinary(RouteKind::Unicast, paths)
}

fn link(index: u32) -> Link {
    Link {
        index,
        name: format!("e{index}"),
        mac: None,
        mtu: 1500,
        up: true,
        carrier: true,
        running: true,
    }
}

fn set(key: RouteKey, route: Route) -> Event {
    let place = Placement {
        exclusive: true,
        ..Placement::default()
    };
    Event::RouteSet { key, route, place }
}

fn mirror(events: impl IntoIterator<Item = Event>) -> Mirror {
    let mut mirror = Mirror::default();
    for event in events {
        assert_eq!(mirror.apply(event, &mut Changes::default()), None);
    }
    mirror
}

fn apply(mirror: &mut Mirror, event: Event) -> (Option<Doubt>, Changes) {
    let mut changes = Changes::default();
    let doubt = mirror.apply(event, &mut changes);
    (doubt, changes)
}

/// Two ports, and IPv4 and IPv6 routes through one and through both.
fn two_ports() -> Mirror {
    mirror([
        Event::LinkSet(link(1)),
        Event::LinkSet(link(2)),
        set(key("10.1.0.0/16"), route(vec![leg(1, "10.0.1.2")])),
        set(
            key("10.2.0.0/16"),
            route(vec![leg(1, "10.0.1.2"), leg(2, "10.0.2.2")]),
        ),
        set(key("2001:db8::/48"), route(vec![leg(1, "fe80::1")])),
        set(
            key("2001:db8:1::/48"),
            route(vec![leg(1, "fe80::1"), leg(2, "fe80::2")]),
        ),
    ])
}

#[test]
fn a_link_that_goes_down_takes_single_ipv4_routes_and_kills_legs() {
    let mut mirror = two_ports();
    let down = Link {
        up: false,
        ..link(1)
    };
    let (doubt, changes) = apply(&mut mirror, Event::LinkSet(down));
    assert_eq!(doubt, Some(Doubt::Interface(1)));
    assert_eq!(mirror.routes(&key("10.1.0.0/16")), []);
    for prefix in ["10.2.0.0/16", "2001:db8:1::/48"] {
        let dead: Vec<_> = mirror.routes(&key(prefix))[0]
            .paths
            .iter()
            .map(|p| p.dead)
            .collect();
        assert_eq!(dead, [true, false], "{prefix}");
    }
    // Its DELROUTE follows.
    assert_eq!(mirror.routes(&key("2001:db8::/48")).len(), 1);
    let touched = ["10.1.0.0/16", "10.2.0.0/16", "2001:db8:1::/48"].map(|p| p.parse().unwrap());
    assert_eq!(changes.prefixes, touched.into());
    assert_eq!(changes.links, [1].into());
}

#[test]
fn a_link_that_is_deleted_takes_its_entries_and_ipv4_multipath_routes_whole() {
    let mut mirror = two_ports();
    let own = Address {
        ifindex: 1,
        address: "10.0.1.1/24".parse().unwrap(),
        peer: None,
    };
    let neighbour = Neighbour {
        ifindex: 1,
        address: "10.0.1.2".parse().unwrap(),
        mac: Some(MacAddr([2; 6])),
        state: NeighbourState::Stale,
        flags: NeighbourFlags::default(),
    };
    apply(&mut mirror, Event::AddressSet(own));
    apply(&mut mirror, Event::NeighbourSet(neighbour));
    let (doubt, changes) = apply(&mut mirror, Event::LinkGone { index: 1 });
    assert_eq!(doubt, Some(Doubt::Interface(1)));
    assert!(changes.addresses && mirror.addresses().is_empty());
    assert_eq!(changes.neighbours, [(1, neighbour.address)].into());
    assert_eq!(mirror.neighbours().len(), 0);
    assert_eq!(
        mirror
            .neighbours_within("10.0.0.0/8".parse().unwrap())
            .count(),
        0
    );
    let left: Vec<_> = mirror
        .all_routes()
        .map(|(key, list)| (key, list[0].paths.len()))
        .collect();
    assert_eq!(left, [(key("2001:db8:1::/48"), 1)]);
}

#[test]
fn the_last_ipv4_address_takes_ipv4_routes_and_an_earlier_one_does_not() {
    let mut mirror = two_ports();
    let own = ["10.0.1.1/24", "10.0.1.9/24"].map(|text| Address {
        ifindex: 1,
        address: text.parse().unwrap(),
        peer: None,
    });
    own.iter()
        .for_each(|address| drop(apply(&mut mirror, Event::AddressSet(*address))));
    assert_eq!(
        apply(&mut mirror, Event::AddressGone(own[0])).0,
        Some(Doubt::Interface(1))
    );
    assert_eq!(mirror.routes(&key("10.1.0.0/16")).len(), 1);
    assert_eq!(
        apply(&mut mirror, Event::AddressGone(own[1])).0,
        Some(Doubt::Interface(1))
    );
    assert_eq!(mirror.routes(&key("10.1.0.0/16")).len(), 0);
    assert_eq!(mirror.routes(&key("2001:db8::/48")).len(), 1);
}

#[test]
fn of_an_ipv4_address_with_two_peers_one_may_go() {
    let mut mirror = two_ports();
    let own = ["10.0.1.2", "10.0.1.3"].map(|peer| Address {
        ifindex: 1,
        address: "10.0.1.1/32".parse().unwrap(),
        peer: peer.parse().ok(),
    });
    own.iter()
        .for_each(|address| drop(apply(&mut mirror, Event::AddressSet(*address))));
    apply(&mut mirror, Event::AddressGone(own[1]));
    assert_eq!(mirror.addresses().len(), 1);
    assert_eq!(mirror.routes(&key("10.1.0.0/16")).len(), 1);
}

#[test]
fn what_is_known_already_changes_nothing() {
    let mut mirror = two_ports();
    let again = set(key("10.1.0.0/16"), route(vec![leg(1, "10.0.1.2")]));
    assert_eq!(apply(&mut mirror, again), (None, Changes::default()));
    assert_eq!(
        apply(&mut mirror, Event::LinkSet(link(1))),
        (None, Changes::default())
    );
    let unknown = Event::RouteGone {
        key: key("10.9.0.0/16"),
        route: route(vec![]),
    };
    assert_eq!(apply(&mut mirror, unknown), (None, Changes::default()));
}

#[test]
fn deleting_a_route_of_unknown_content_is_a_doubt() {
    let mut mirror = two_ports();
    let key = key("10.1.0.0/16");
    let gone = Event::RouteGone {
        key,
        route: route(vec![leg(2, "10.0.2.9")]),
    };
    assert_eq!(
        apply(&mut mirror, gone),
        (Some(Doubt::Unknown(key)), Changes::default())
    );
}

#[test]
fn deleting_a_leg_of_a_route_whose_first_leg_has_ended_is_a_doubt() {
    let mut mirror = two_ports();
    let key = key("2001:db8:1::/48");
    let lapsed = Route {
        lapsed: true,
        ..route(vec![leg(1, "fe80::1"), leg(2, "fe80::2")])
    };
    apply(&mut mirror, set(key, lapsed.clone()));
    let appended = Event::RouteSet {
        key,
        route: route(vec![
            leg(1, "fe80::1"),
            leg(2, "fe80::2"),
            leg(2, "fe80::3"),
        ]),
        place: Placement {
            append: true,
            ..Placement::default()
        },
    };
    assert_eq!(apply(&mut mirror, appended).0, None);
    assert!(mirror.routes(&key)[0].lapsed, "the first is the same");
    let gone = Event::RouteGone {
        key,
        route: route(vec![leg(1, "fe80::1")]),
    };
    assert_eq!(apply(&mut mirror, gone).0, Some(Doubt::Silent));
}

#[test]
fn a_leg_that_is_appended_to_one_unknown_is_a_doubt() {
    let key = key("2001:db8:f::/48");
    let appended = Event::RouteSet {
        key,
        route: route(vec![leg(1, "fe80::1"), leg(2, "fe80::2")]),
        place: Placement {
            append: true,
            ..Placement::default()
        },
    };
    let mut mirror = two_ports();
    assert_eq!(apply(&mut mirror, appended).0, Some(Doubt::Replaced(key)));
    assert_eq!(mirror.routes(&key)[0].paths.len(), 2);
}

/// A dump, and a message, tell the end of one leg.
#[test]
fn deleting_a_leg_of_a_route_of_which_some_leg_ends_is_a_doubt() {
    let key = key("2001:db8:1::/48");
    let at = std::time::Instant::now();
    let ends = Event::SilentChange {
        at,
        ends: Some((key, at)),
    };
    let mut mirror = two_ports();
    apply(&mut mirror, ends);
    mirror.replace_with(two_ports());
    for (via, doubt) in [("fe80::1", Some(Doubt::Silent)), ("fe80::2", None)] {
        let ifindex = u32::from(via == "fe80::2") + 1;
        let gone = Event::RouteGone {
            key,
            route: route(vec![leg(ifindex, via)]),
        };
        assert_eq!(apply(&mut mirror, gone).0, doubt);
    }
    assert!(mirror.ends().is_empty());
}

#[test]
fn replacing_ipv6_legs_by_another_class_is_a_doubt() {
    let mut mirror = two_ports();
    let key = key("2001:db8::/48");
    let blackhole = Route {
        kind: RouteKind::Blackhole,
        ..route(vec![])
    };
    let event = Event::RouteSet {
        key,
        route: blackhole,
        place: Placement {
            replace: true,
            ..Placement::default()
        },
    };
    assert_eq!(apply(&mut mirror, event).0, Some(Doubt::Replaced(key)));
    assert_eq!(mirror.routes(&key).len(), 2);
}

#[test]
fn a_fresh_dump_reports_exactly_what_differs() {
    let mut old = two_ports();
    let mut fresh = two_ports();
    apply(
        &mut fresh,
        set(key("10.1.0.0/16"), route(vec![leg(2, "10.0.2.2")])),
    );
    apply(
        &mut fresh,
        set(key("10.3.0.0/16"), route(vec![leg(2, "10.0.2.2")])),
    );
    apply(
        &mut fresh,
        Event::LinkSet(Link {
            name: "wan0".to_owned(),
            ..link(2)
        }),
    );
    let gone = Event::RouteGone {
        key: key("2001:db8::/48"),
        route: route(vec![leg(1, "fe80::1")]),
    };
    apply(&mut fresh, gone);
    let changes = old.replace_with(fresh.clone());
    assert_eq!(old, fresh);
    let differing = ["10.1.0.0/16", "10.3.0.0/16", "2001:db8::/48"].map(|p| p.parse().unwrap());
    assert_eq!(changes.prefixes, differing.into());
    assert_eq!(changes.links, [2].into());
    assert!(!changes.addresses && changes.neighbours.is_empty() && !changes.everything);
    assert!(old.replace_with(fresh).is_empty());
}

#[test]
fn an_ipv6_route_that_a_dump_tells_twice_is_one() {
    let mut mirror = Mirror::default();
    let key = key("2001:db8::/48");
    for _ in 0..2 {
        mirror.load(set(key, route(vec![leg(1, "fe80::1")])));
    }
    assert_eq!(mirror.routes(&key), [route(vec![leg(1, "fe80::1")])]);
}

/// What `ip route` can do to the routes of one IPv4 prefix.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Add,
    Append,
    Prepend,
    Replace,
    Delete,
}

/// A naive kernel: one list of routes, each scanned from the start; returns its message.
fn kernel4(list: &mut Vec<Route>, verb: Verb, route: &Route) -> Option<Event> {
    let key = key("192.0.2.0/24");
    let known = list.iter().position(|other| other == route);
    let like = |other: &Route| (other.tos, other.metric) == (route.tos, route.metric);
    let first = list.iter().position(like);
    let message = |replace, append, exclusive| {
        let route = route.clone();
        let place = Placement {
            replace,
            append,
            exclusive,
        };
        Some(Event::RouteSet { key, route, place })
    };
    match (verb, first) {
        (Verb::Delete, _) => {
            list.remove(known?);
            Some(Event::RouteGone {
                key,
                route: route.clone(),
            })
        }
        (_, None) => {
            let behind = |other: &Route| {
                other.tos < route.tos || other.tos == route.tos && other.metric > route.metric
            };
            let at = list.iter().position(behind).unwrap_or(list.len());
            list.insert(at, route.clone());
            message(false, false, true)
        }
        (Verb::Add, Some(_)) => None,
        (_, Some(_)) if known.is_some() => None,
        (Verb::Replace, Some(first)) => {
            list[first] = route.clone();
            message(true, false, false)
        }
        (Verb::Prepend, Some(first)) => {
            list.insert(first, route.clone());
            message(false, false, false)
        }
        (Verb::Append, Some(_)) => {
            let last = list.iter().rposition(like)?;
            list.insert(last + 1, route.clone());
            message(false, true, false)
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(Verb, Route)>> {
    let verb = prop_oneof![
        Just(Verb::Add),
        Just(Verb::Append),
        Just(Verb::Prepend),
        Just(Verb::Replace),
        Just(Verb::Delete)
    ];
    let route = (0u32..3, 0u8..2, 1u32..5).prop_map(|(metric, tos, output)| Route {
        metric,
        tos: tos * 8,
        ..route(vec![leg(output, "10.0.0.1")])
    });
    proptest::collection::vec((verb, route), 1..60)
}

proptest! {
    #[test]
    fn ipv4_lists_follow_a_naive_kernel(steps in steps()) {
        let mut kernel = Vec::new();
        let mut mirror = Mirror::default();
        for (verb, route) in steps {
            if let Some(event) = kernel4(&mut kernel, verb, &route) {
                let (doubt, changes) = apply(&mut mirror, event);
                prop_assert_eq!(doubt, None);
                prop_assert!(!changes.prefixes.is_empty());
            }
            prop_assert_eq!(mirror.routes(&key("192.0.2.0/24")), kernel.as_slice());
        }
        prop_assert_eq!(mirror.route_count(), usize::from(!kernel.is_empty()));
    }

    #[test]
    fn replaying_additions_and_deletions_over_their_result_changes_nothing(steps in steps()) {
        let mut kernel = Vec::new();
        let events: Vec<_> = steps
            .into_iter()
            .filter(|(verb, _)| !matches!(verb, Verb::Replace))
            .filter_map(|(verb, route)| kernel4(&mut kernel, verb, &route))
            .collect();
        let mut mirror = mirror(events.clone());
        for event in events {
            apply(&mut mirror, event);
        }
        prop_assert_eq!(mirror.routes(&key("192.0.2.0/24")), kernel.as_slice());
    }

    #[test]
    fn ipv6_legs_follow_a_set_of_legs(steps in proptest::collection::vec((any::<bool>(), 1u32..6), 1..40)) {
        let key = key("2001:db8::/48");
        let one = |index: u32| leg(index, &format!("fe80::{index}"));
        let mut legs: Vec<Path> = Vec::new();
        let mut mirror = Mirror::default();
        for (add, index) in steps {
            let had = legs.contains(&one(index));
            if add && !had {
                let exclusive = legs.is_empty();
                legs.push(one(index));
                legs.sort_unstable();
                let route = route(legs.clone());
                let place = Placement { replace: false, append: !exclusive, exclusive };
                let event = Event::RouteSet { key, route, place };
                prop_assert_eq!(apply(&mut mirror, event).0, None);
            } else if !add && had {
                legs.retain(|leg| *leg != one(index));
                let event = Event::RouteGone { key, route: route(vec![one(index)]) };
                prop_assert_eq!(apply(&mut mirror, event).0, None);
            }
            let mirrored = mirror.routes(&key).first().map_or(&[][..], |route| &route.paths);
            prop_assert_eq!(mirrored, legs.as_slice());
        }
    }
}
