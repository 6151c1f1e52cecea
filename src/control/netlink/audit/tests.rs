use super::*;
use crate::control::mirror::{
    Neighbour, NeighbourFlags, NeighbourState, Placement, Route, RouteKey, RouteKind, Rule,
};

const EVERY: Duration = Duration::from_secs(300);

fn neighbour(state: NeighbourState) -> Mirror {
    let mut mirror = Mirror::default();
    let entry = Neighbour {
        ifindex: 1,
        address: "10.0.0.9".parse().unwrap(),
        mac: Some(crate::shared::mac::MacAddr([2; 6])),
        state,
        flags: NeighbourFlags::default(),
    };
    mirror.apply(Event::NeighbourSet(entry), &mut Changes::default());
    mirror
}

/// An audit of which both dumps said the same, and whether the mirror had drifted by it.
fn judged(mirror: &Mirror, fresh: &Mirror) -> (Audit, bool) {
    let now = Instant::now();
    let mut audit = Audit::new(Some(EVERY), now);
    let mut drifted = dump(&mut audit, mirror, fresh, now);
    if audit.suspects.is_some() {
        assert!(!drifted && audit.audits == 0, "one dump proves nothing");
        assert_eq!(audit.due(), Some(now), "and is repeated at once");
        drifted = dump(&mut audit, mirror, fresh, now);
    }
    assert_eq!(audit.due(), Some(now + EVERY));
    (audit, drifted)
}

fn dump(audit: &mut Audit, mirror: &Mirror, fresh: &Mirror, now: Instant) -> bool {
    audit.begin();
    audit.dumped(fresh.clone(), now);
    assert_eq!(audit.due(), Some(now + REST));
    audit.judge(mirror, now, |_| false)
}

fn rule() -> Event {
    Event::RuleSet(Rule {
        ipv6: false,
        priority: 7,
        text: "from all nop".to_owned(),
        protocol: 3,
    })
}

#[test]
fn an_audit_that_is_given_up_is_tried_again_before_its_time() {
    let now = Instant::now();
    let mut audit = Audit::new(Some(EVERY), now);
    audit.abandon(now);
    assert_eq!(audit.due(), Some(now + EVERY), "it had not begun");
    for before_its_end in [true, false] {
        audit.begin();
        if before_its_end {
            audit.abandon(now);
        }
        audit.dumped(Mirror::blank(), now);
        audit.abandon(now);
        assert_eq!(audit.due(), Some(now + EVERY / RETRY_PART));
        assert!(!audit.judge(&Mirror::default(), now, |_| false));
        assert_eq!((audit.audits, audit.drift), (0, 0));
    }
    assert_eq!(Audit::new(None, now).due(), None);
}

#[test]
fn agreement_is_counted_and_nothing_else() {
    let (audit, drifted) = judged(&Mirror::default(), &Mirror::default());
    assert_eq!((audit.audits, audit.drift, drifted), (1, 0, false));
}

#[test]
fn drift_is_what_two_dumps_say() {
    let (mirror, mut fresh) = (Mirror::default(), Mirror::default());
    fresh.load(rule());
    let (audit, drifted) = judged(&mirror, &fresh);
    assert_eq!((audit.audits, audit.drift, drifted), (1, 1, true));
    for second in [mirror.clone(), neighbour(NeighbourState::Reachable)] {
        let now = Instant::now();
        let mut audit = Audit::new(Some(EVERY), now);
        assert!(!dump(&mut audit, &mirror, &fresh, now));
        assert!(!dump(&mut audit, &mirror, &second, now), "another one");
        assert_eq!((audit.audits, audit.drift), (1, 0));
    }
}

#[test]
fn what_an_event_touched_is_not_judged_and_all_else_is() {
    let mirror = neighbour(NeighbourState::Reachable);
    let mut fresh = Mirror::default();
    fresh.load(rule());
    let gone = Event::NeighbourGone {
        ifindex: 1,
        address: "10.0.0.9".parse().unwrap(),
    };
    let now = Instant::now();
    for (heeds, touches, drift) in [(false, false, 2), (true, false, 1), (true, true, 0)] {
        let mut audit = Audit::new(Some(EVERY), now);
        audit.heed(&gone);
        audit.begin();
        if heeds {
            audit.heed(&gone);
        }
        audit.dumped(fresh.clone(), now);
        audit.judge(&mirror, now, |_| false);
        // Between the dumps as well.
        if touches {
            let changes = Changes {
                rules: true,
                ..Changes::default()
            };
            audit.touch(&changes, now);
        }
        if audit.suspects.is_some() {
            dump(&mut audit, &mirror, &fresh, now);
        }
        assert_eq!((audit.audits, audit.drift), (1, drift));
    }
}

fn blackhole(prefix: &str, metric: u32) -> Event {
    let key = RouteKey {
        table: 254,
        prefix: prefix.parse().unwrap(),
    };
    let route = Route {
        metric,
        ..Route::ordinary(RouteKind::Blackhole, Vec::new())
    };
    let place = Placement::default();
    Event::RouteSet { key, route, place }
}

#[test]
fn of_ipv6_routes_that_dumps_lack_while_others_change_the_kernel_is_asked() {
    let (moving, lacking, ipv4) = ("2001:db8:1::/48", "2001:db8:2::/48", "192.0.2.0/24");
    let mut mirror = Mirror::default();
    let mut fresh = Mirror::default();
    mirror.load(blackhole(lacking, 1));
    mirror.load(blackhole(ipv4, 1));
    mirror.load(blackhole("2001:db8:3::/48", 1));
    fresh.load(blackhole("2001:db8:3::/48", 2));
    let now = Instant::now();
    for (moves, has_gone, drift) in [(false, false, 3), (true, false, 2), (true, true, 3)] {
        let mut audit = Audit::new(Some(EVERY), now);
        audit.begin();
        if moves {
            audit.heed(&blackhole(moving, 1));
        }
        for _ in 0..2 {
            audit.dumped(fresh.clone(), now);
            audit.judge(&mirror, now, |prefix| {
                assert_eq!(prefix.to_string(), lacking);
                has_gone
            });
            audit.stage = Stage::Dumping;
        }
        assert_eq!((audit.audits, audit.drift), (1, drift));
    }
}

#[test]
fn after_many_ipv6_routes_that_dumps_lack_the_kernel_is_asked_in_turn() {
    let mut mirror = Mirror::default();
    let all: BTreeSet<String> = (1..=ASKED + 100)
        .map(|n| format!("2001:{n:x}::/32"))
        .collect();
    all.iter()
        .for_each(|prefix| mirror.load(blackhole(prefix, 1)));
    let now = Instant::now();
    let mut audit = Audit::new(Some(EVERY), now);
    let mut asked = BTreeSet::new();
    for round in 1..=2 {
        for _ in 0..2 {
            audit.begin();
            audit.heed(&blackhole("2001:db8::/48", 1));
            audit.dumped(Mirror::default(), now);
            audit.judge(&mirror, now, |prefix| {
                asked.insert(prefix.to_string());
                false
            });
        }
        assert_eq!((audit.audits, audit.drift), (round, 0));
        assert!(round == 2 || asked.len() == ASKED);
    }
    assert!(asked == all, "{} of {} asked", asked.len(), all.len());
}

/// The kernel moves the ends of routes without a word, before and after they have come.
#[test]
fn ends_that_the_kernel_moved_are_taken_over_and_are_no_drift() {
    let prefix = "2001:db8:1::/48";
    let set = || blackhole(prefix, 1);
    let Event::RouteSet { key, route, .. } = set() else {
        unreachable!();
    };
    let [mut has, mut ends, mut ended] = [(); 3].map(|()| Mirror::default());
    has.load(set());
    ends.load(set());
    let at = Instant::now() + EVERY;
    ends.load(Event::SilentChange {
        at,
        ends: Some((key, at)),
    });
    ended.load(Event::RouteGone { key, route });
    let without = Mirror::default();
    for (mirror, fresh, drift) in [
        (&ended, &has, 0),
        (&ends, &ended, 0),
        (&without, &has, 1),
        (&has, &ended, 1),
        (&ends, &without, 1),
    ] {
        let (audit, outdated) = judged(mirror, fresh);
        assert_eq!((audit.audits, audit.drift, outdated), (1, drift, true));
    }
    assert!(!judged(&ended, &without).1, "the kernel has forgotten it");
}

#[test]
fn a_neighbours_unannounced_states_are_no_drift_but_its_loss_is() {
    use NeighbourState::{Delay, Failed, Stale};
    let (audit, _) = judged(&neighbour(Stale), &neighbour(Delay));
    assert_eq!(audit.drift, 0);
    let (audit, _) = judged(&neighbour(Stale), &neighbour(Failed));
    assert_eq!(audit.drift, 1);
    let (audit, _) = judged(&neighbour(Stale), &Mirror::default());
    assert_eq!(audit.drift, 1);
}

#[test]
fn a_neighbour_that_needs_no_resolution_comes_silently_but_does_not_go_so() {
    use NeighbourState::{NoArp, Permanent};
    let (audit, _) = judged(&Mirror::default(), &neighbour(NoArp));
    assert_eq!(audit.drift, 0);
    let (audit, _) = judged(&Mirror::default(), &neighbour(Permanent));
    assert_eq!(audit.drift, 1);
    let (audit, _) = judged(&neighbour(NoArp), &Mirror::default());
    assert_eq!(audit.drift, 1);
}

#[test]
fn the_log_names_a_bounded_number_of_differences() {
    let many: Vec<String> = (0..20).map(|n| format!("route 10.{n}.0.0/16")).collect();
    let line = complaint(&many);
    assert!(line.contains("route 10.7.0.0/16 and 12 more;"), "{line}");
    assert!(line.contains("please report this"), "{line}");
}
