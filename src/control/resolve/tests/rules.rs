//! Rules that only the kernel follows.

use super::*;
use crate::control::mirror::Rule;

fn added(ipv6: bool) -> Rule {
    Rule {
        ipv6,
        priority: 100,
        text: "from all iif lan lookup 7".to_owned(),
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
        let answer = lab.resolver.route(ip(address), &lab.world);
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
