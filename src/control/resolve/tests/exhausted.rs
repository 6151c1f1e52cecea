//! A table that does not fit: worlds before go on, nothing is forgotten, and what fits again is right.

use super::*;

/// Each takes a chunk of the table, 16 KiB; the limit is 128.
fn prefix(n: u16) -> String {
    format!("{}.1.0.0/16", n << 4)
}

/// Routes of their own each, by their MTU.
fn to(n: u16) -> Route {
    Route {
        mtu: Some(1000 + u32::from(n)),
        ..via(1, "10.0.1.9")
    }
}

/// The routes that a world leads by.
fn routed(world: &World) -> Vec<u16> {
    let leads = |n: &u16| {
        let expected = Way::To {
            legs: vec![(resolved(1), 1)],
            mtu: 1000 + n,
        };
        match way(world, ip(&format!("{}.1.2.3", n << 4))) {
            Way::Punt(PuntReason::NoRoute) => false,
            way => {
                assert_eq!(way, expected, "route {n}");
                true
            }
        }
    };
    (1..=12).filter(leads).collect()
}

fn try_event(lab: &mut Lab, event: Event) -> Result<World, Exhausted> {
    let mut changes = Changes::default();
    lab.mirror.apply(event, &mut changes);
    lab.resolver.apply(&lab.mirror, &changes);
    lab.resolver.world()
}

#[test]
fn a_table_that_does_not_fit_leaves_worlds_alone_and_is_right_once_it_fits_again() {
    let mut lab = Lab::empty();
    lab.resolver.fib4 = Placed::with(Table::with_limit(1 << 15));
    lab.event(Event::LinkSet(link(1)));
    lab.add_port(1);
    lab.neighbour(1, "10.0.1.9", NeighbourState::Reachable);
    for _ in 0..3 {
        lab.set(&prefix(1), to(1));
        lab.set(&prefix(2), to(2));
        let good = lab.world.clone();
        let set = |n: u16| set_event(key(MAIN, &prefix(n)), to(n));
        let results: Vec<_> = (3..=12).map(|n| try_event(&mut lab, set(n))).collect();
        assert!(results.last().unwrap().is_err(), "too many by far");
        assert_eq!(routed(&good), [1, 2]);
        let gone = |n: u16| Event::RouteGone {
            key: key(MAIN, &prefix(n)),
            route: to(n),
        };
        // The two that the last good world has go first, the last ones stay.
        let results: Vec<_> = (1..=10).map(|n| try_event(&mut lab, gone(n))).collect();
        assert!(results[0].is_err(), "still too many");
        let world = results.into_iter().last().unwrap().unwrap();
        assert_eq!(routed(&world), [11, 12]);
        assert_eq!(routed(&good), [1, 2]);
        for n in 11..=12 {
            lab.event(gone(n));
        }
        assert!(routed(&lab.world).is_empty());
    }
    assert_eq!(lab.resolver.next_hop_counts(), (0, 0));
}

#[test]
fn a_table_that_does_not_follow_leads_where_it_led_while_the_other_family_follows() {
    let mut lab = Lab::empty();
    lab.resolver.fib4 = Placed::with(Table::with_limit(1 << 15));
    lab.event(Event::LinkSet(link(1)));
    lab.add_port(1);
    lab.neighbour(1, "10.0.1.9", NeighbourState::Reachable);
    lab.neighbour(1, "2001:db8:1::9", NeighbourState::Reachable);
    lab.set(&prefix(1), to(1));
    lab.set(&prefix(2), to(2));
    let set = |n: u16| set_event(key(MAIN, &prefix(n)), to(n));
    for n in 3..=12 {
        let _ = try_event(&mut lab, set(n));
    }
    let fitted = routed(&lab.resolver.partial_world());
    assert!(fitted.contains(&1) && !fitted.contains(&12), "{fitted:?}");

    // The first goes, and others come that would have its group.
    let gone = Event::RouteGone {
        key: key(MAIN, &prefix(1)),
        route: to(1),
    };
    assert!(try_event(&mut lab, gone).is_err());
    for n in 0..5u16 {
        let inner = Route {
            mtu: Some(1300 + u32::from(n)),
            ..via(1, "2001:db8:1::9")
        };
        let prefix = format!("2001:db8:{}::/48", 100 + n);
        assert!(try_event(&mut lab, set_event(key(MAIN, &prefix), inner)).is_err());
    }
    let world = lab.resolver.partial_world();
    assert_eq!(routed(&world), fitted);
    let newest = way(&world, ip("2001:db8:104::1"));
    assert!(matches!(newest, Way::To { mtu: 1304, .. }), "{newest:?}");
}
