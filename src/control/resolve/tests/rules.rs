//! Rules that only the kernel follows.

use super::*;
use crate::control::mirror::Rule;

fn added(ipv6: bool) -> Rule {
    Rule {
        ipv6,
        priority: 100,
        text: "from all iif lan lookup 7".to_owned(),
        protocol: 3,
    }
}

#[test]
fn a_familys_odd_rule_makes_it_the_kernels_until_the_rule_goes() {
    let mut lab = Lab::new();
    let before = lab.way("10.0.1.9");
    assert_eq!(lab.world.kernel_only, KernelOnly::default());
    for (ipv6, expected) in [(false, (true, false)), (true, (false, true))] {
        lab.event(Event::RuleSet(added(ipv6)));
        let KernelOnly { ipv4, ipv6: six } = lab.world.kernel_only;
        assert_eq!((ipv4, six), expected);
        assert_eq!(lab.way("10.0.1.9"), before, "the FIB is ready for the day");
        lab.event(Event::RuleGone(added(ipv6)));
        assert_eq!(lab.world.kernel_only, KernelOnly::default());
    }
}

#[test]
fn answers_name_the_kernel_but_local_ones_stay() {
    let mut lab = Lab::new();
    let own = Route {
        scope: 254,
        ..route(RouteKind::Local, vec![])
    };
    lab.set_in(LOCAL, "10.0.1.1/32", own);
    lab.event(Event::RuleSet(added(false)));
    let action = |address: &str| {
        let answer = lab.resolver.route(ip(address), &lab.world, &lab.mirror);
        answer.map(|answer| (answer.action, answer.legs.len()))
    };
    let punt = |reason| Some((Action::Punt(reason), 0));
    assert_eq!(action("10.0.1.9"), punt(PuntReason::KernelRoute));
    assert_eq!(action("10.0.1.1"), punt(PuntReason::Local));
    assert!(matches!(
        action("2001:db8:1::9"),
        Some((Action::Forward(_), 1))
    ));
}

#[test]
fn a_dump_without_the_default_rules_is_the_kernels() {
    let lab = Lab::new();
    let mut mirror = lab.mirror.clone();
    let changes = mirror.replace_with(Mirror::blank());
    assert!(changes.rules);
    let mut resolver = lab.resolver;
    resolver.apply(&mirror, &changes);
    let world = resolver.world().unwrap();
    assert!(world.kernel_only.ipv4 && world.kernel_only.ipv6);
}

#[test]
fn the_table_that_is_asked_last_is_the_kernels_where_main_has_no_route() {
    let mut lab = Lab::new();
    let kernel = Way::Punt(PuntReason::KernelRoute);
    let nowhere = Way::Punt(PuntReason::NoRoute);
    let connected = lab.way("10.0.1.9");
    assert_eq!(lab.way("172.16.0.1"), nowhere);
    let last = via(1, "10.0.1.9");
    lab.set_in(LAST, "172.16.0.0/16", last.clone());
    assert_eq!(lab.way("172.16.0.1"), kernel);
    assert_eq!(lab.way("172.17.0.1"), nowhere, "nor has the last table");
    assert_eq!(lab.way("10.0.1.9"), connected, "main has one");
    lab.set("0.0.0.0/0", via(2, "10.0.2.9"));
    assert_eq!(lab.way("172.16.0.1"), to(unresolved(2)));
    lab.gone("0.0.0.0/0", via(2, "10.0.2.9"));
    assert_eq!(lab.way("172.16.0.1"), kernel);
    lab.event(Event::RouteGone {
        key: key(LAST, "172.16.0.0/16"),
        route: last,
    });
    assert_eq!(lab.way("172.16.0.1"), nowhere);
    // IPv6 does not ask it.
    lab.set_in(LAST, "::/0", via(1, "2001:db8:1::9"));
    assert_eq!(lab.way("2001:db8:f::1"), nowhere);
}

#[test]
fn a_throw_route_leads_to_the_table_that_is_asked_last() {
    let mut lab = Lab::new();
    let throw = || route(RouteKind::Throw, vec![]);
    let kernel = Way::Punt(PuntReason::KernelRoute);
    let nowhere = Way::Punt(PuntReason::NoRoute);
    lab.set("172.16.0.0/16", throw());
    lab.set("2001:db8:f::/48", throw());
    lab.set("172.17.0.0/16", route(RouteKind::Blackhole, vec![]));
    assert_eq!(lab.way("172.16.0.1"), nowhere);
    let last = via(1, "10.0.1.9");
    lab.set_in(LAST, "172.16.0.0/24", last.clone());
    assert_eq!(lab.way("172.16.0.1"), kernel);
    assert_eq!(lab.way("172.16.1.1"), nowhere, "beside it");
    assert_eq!(lab.way("2001:db8:f::1"), nowhere);
    assert_eq!(lab.way("172.17.0.1"), Way::Drop(DropReason::Blackhole));
    lab.event(Event::RouteGone {
        key: key(LAST, "172.16.0.0/24"),
        route: last,
    });
    assert_eq!(lab.way("172.16.0.1"), nowhere);
    // What the next table is, IPv4 does not tell.
    for (prefix, host) in [
        ("172.16.0.0/16", "172.16.0.1"),
        ("2001:db8:f::/48", "2001:db8:f::1"),
    ] {
        lab.set_in(LOCAL, prefix, throw());
        assert_eq!(lab.way(host), kernel);
    }
}

#[test]
fn a_dump_tells_of_the_last_table_too() {
    let mut mirror = Lab::new().mirror;
    mirror.load(set_event(key(LAST, "0.0.0.0/0"), via(1, "10.0.1.9")));
    let mut resolver = Resolver::default();
    let everything = Changes {
        everything: true,
        ..Changes::default()
    };
    resolver.apply(&mirror, &everything);
    let world = resolver.world().unwrap();
    let expected = Way::Punt(PuntReason::KernelRoute);
    assert_eq!(way(&world, ip("172.16.0.1")), expected);
}
