//! Next-hop objects, and what ends or changes with them.

use super::*;

fn through(id: u32) -> Route {
    Route {
        nexthop_id: Some(id),
        ..route(vec![])
    }
}

fn object(id: u32) -> Event {
    let object = NextHopObject::Leg(leg(1, "10.0.1.2"));
    Event::NextHopSet { id, object }
}

/// The kernel tells `blackhole` of every route through an object that is one.
#[test]
fn routes_through_an_object_are_blackholes_while_it_is_one_and_in_doubt_after() {
    let prohibit = Route {
        kind: RouteKind::Prohibit,
        nexthop_id: Some(21),
        ..route(vec![])
    };
    let object = |id, object| Event::NextHopSet { id, object };
    let leg = || object(9, NextHopObject::Leg(leg(1, "10.0.1.2")));
    let mut mirror = mirror([
        leg(),
        object(21, NextHopObject::Group(vec![(9, 1)])),
        set(key("10.1.0.0/16"), prohibit),
    ]);
    let kind = |mirror: &Mirror| mirror.routes(&key("10.1.0.0/16"))[0].kind;
    let (doubt, changes) = apply(&mut mirror, object(9, NextHopObject::Blackhole));
    assert_eq!((doubt, kind(&mirror)), (None, RouteKind::Blackhole));
    assert_eq!(changes.prefixes, ["10.1.0.0/16".parse().unwrap()].into());
    assert_eq!(apply(&mut mirror, leg()).0, Some(Doubt::Kinds(9)));
    assert_eq!(kind(&mirror), RouteKind::Blackhole, "until the dump");
    apply(&mut mirror, Event::NextHopGone { id: 21 });
    apply(&mut mirror, object(9, NextHopObject::Blackhole));
    assert_eq!(apply(&mut mirror, leg()).0, None, "no route goes there");
}

#[test]
fn the_end_of_many_next_hop_objects_is_followed_in_one_look_at_all_routes() {
    // With a look at all objects or routes for each it takes many minutes.
    const OBJECTS: u32 = 60_000;
    let prefix = |id: u32| key(&format!("{}/32", std::net::Ipv4Addr::from((10 << 24) + id)));
    let mut mirror = Mirror::default();
    for id in 1..=OBJECTS {
        mirror.load(object(id));
        mirror.load(set(prefix(id), through(id)));
    }
    let group = NextHopObject::Group((1..=OBJECTS).map(|id| (id, 1)).take(8).collect());
    mirror.load(Event::NextHopSet {
        id: OBJECTS + 1,
        object: group,
    });
    mirror.load(set(key("192.0.2.0/24"), through(OBJECTS + 1)));
    let mut changes = Changes::default();
    for id in 1..=OBJECTS {
        mirror.begin(Event::NextHopGone { id }, &mut changes);
        if id % 256 == 0 {
            mirror.finish(&mut changes);
        }
    }
    mirror.finish(&mut changes);
    assert_eq!((mirror.route_count(), mirror.nexthops().len()), (0, 0));
    assert_eq!(changes.prefixes.len(), OBJECTS as usize + 1);
    assert_eq!(mirror, Mirror::default(), "nothing is left behind");
}

#[test]
fn a_next_hop_object_that_ends_and_comes_back_in_one_go_has_only_its_new_routes() {
    let mut mirror = Mirror::default();
    let (kept, lost) = (key("192.0.2.0/24"), key("192.0.3.0/24"));
    for event in [
        object(1),
        object(2),
        set(kept, through(1)),
        set(lost, through(1)),
    ] {
        mirror.load(event);
    }
    let mut changes = Changes::default();
    let append = Event::RouteSet {
        key: kept,
        route: through(2),
        place: Placement {
            replace: true,
            ..Placement::default()
        },
    };
    for event in [Event::NextHopGone { id: 1 }, append, object(1)] {
        assert_eq!(mirror.begin(event, &mut changes), None);
    }
    mirror.begin(set(key("192.0.4.0/24"), through(1)), &mut changes);
    mirror.finish(&mut changes);
    assert_eq!(mirror.routes(&kept), [through(2)]);
    assert_eq!(mirror.routes(&lost), []);
    assert_eq!(mirror.routes(&key("192.0.4.0/24")), [through(1)]);
    assert!(mirror.nexthop(1).is_some());
}
