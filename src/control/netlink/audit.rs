//! The audit: now and then, while the kernel rests, its state is dumped and compared with what was
//! followed. They must be the same; where they are not, ixmap or the kernel has a fault.
//!
//! Nothing is judged before the event socket has been silent for a while after the dump too: a
//! change that was dumped may still be on its way as an event. Neighbours in use are never silent
//! for long: where one moved meanwhile, the rest is judged without them.

use std::time::{Duration, Instant};

use crate::control::mirror::{Changes, Mirror};

/// Silence before the dump, and after it before its result is compared.
const REST: Duration = Duration::from_secs(1);
/// An audit that came to nothing is tried again after this part of the period: a dump costs time.
const RETRY_PART: u32 = 10;
/// Differences that the log names.
const NAMED: usize = 8;

/// Where the audit is.
enum Stage {
    /// The next dump begins when this has come, and the kernel rests.
    Waiting(Instant),
    Off,
    Dumping,
    /// A dump with which the mirror is compared if no event comes before.
    Judging {
        fresh: Box<Mirror>,
        at: Instant,
    },
}

impl Stage {
    fn after(pause: Option<Duration>, now: Instant) -> Stage {
        pause.map_or(Stage::Off, |pause| Stage::Waiting(now + pause))
    }
}

/// When to audit, and what came of it.
pub(super) struct Audit {
    /// The period; none without audits.
    every: Option<Duration>,
    stage: Stage,
    last_event: Instant,
    /// A neighbour moved since the dump began.
    stirred: bool,
    /// Differences found since the start.
    pub(super) drift: u64,
    /// Comparisons made.
    pub(super) audits: u64,
}

impl Audit {
    pub(super) fn new(every: Option<Duration>, now: Instant) -> Audit {
        Audit {
            every,
            stage: Stage::after(every, now),
            last_event: now,
            stirred: false,
            drift: 0,
            audits: 0,
        }
    }

    fn is_dumping(&self) -> bool {
        matches!(self.stage, Stage::Dumping)
    }

    pub(super) fn is_judging(&self) -> bool {
        matches!(self.stage, Stage::Judging { .. })
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting(at) => Some((*at).max(self.last_event + REST)),
            Stage::Dumping | Stage::Off => None,
            Stage::Judging { at, .. } => Some(*at),
        }
    }

    /// The kernel spoke, or is in doubt: what was dumped proves nothing.
    pub(super) fn disturb(&mut self, now: Instant) {
        self.last_event = now;
        if matches!(self.stage, Stage::Dumping | Stage::Judging { .. }) {
            self.stage = Stage::after(self.every.map(|every| every / RETRY_PART), now);
        }
    }

    /// The kernel spoke of neighbours, and of nothing else.
    pub(super) fn stir(&mut self) {
        self.stirred = true;
    }

    /// The dump that begins is an audit's.
    pub(super) fn begin(&mut self) {
        self.stirred = false;
        self.stage = Stage::Dumping;
    }

    /// The next one is a whole period away.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.stage = Stage::after(self.every, now);
    }

    /// What an audit dumped, to be judged after a rest; a disturbed one is dropped.
    pub(super) fn dumped(&mut self, fresh: Mirror, now: Instant) {
        if self.is_dumping() {
            self.stage = Stage::Judging {
                fresh: Box::new(fresh),
                at: now + REST,
            };
        }
    }

    /// Compares a dump that waited long enough, puts it in use if it differs, and says what did.
    pub(super) fn judge(&mut self, mirror: &mut Mirror, now: Instant) -> Changes {
        let stage = std::mem::replace(&mut self.stage, Stage::after(self.every, now));
        let Stage::Judging { mut fresh, .. } = stage else {
            return Changes::default();
        };
        if self.stirred {
            fresh.take_neighbours(mirror);
        }
        self.audits += 1;
        let neighbours = mirror.moved_neighbours(&fresh);
        let changes = mirror.replace_with(*fresh);
        let different = differences(&changes, &neighbours);
        if !different.is_empty() {
            self.drift += u64::try_from(different.len()).unwrap_or(u64::MAX);
            tracing::error!("{}", complaint(&different));
        }
        changes
    }
}

/// What the changes of an audit that nothing explains are, in the words of `ip`.
fn differences(changes: &Changes, neighbours: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let prefixes = changes.prefixes.iter();
    found.extend(prefixes.map(|prefix| format!("route {prefix}")));
    found.extend(neighbours.iter().map(|name| format!("neighbour {name}")));
    let objects = changes.nexthops.iter();
    found.extend(objects.map(|id| format!("nexthop id {id}")));
    let links = changes.links.iter();
    found.extend(links.map(|index| format!("interface {index}")));
    for (differ, name) in [
        (changes.addresses, "addresses"),
        (changes.rules, "rules"),
        (changes.settings, "settings"),
    ] {
        found.extend(differ.then(|| name.to_owned()));
    }
    found
}

fn complaint(different: &[String]) -> String {
    let named = different[..different.len().min(NAMED)].join(", ");
    let others = match different.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!(
        "the kernel differed from what it had told: {named}{others}; ixmapd has taken over the \
         kernel's state; please report this with `uname -r` and what was changed before"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::mirror::{Event, Neighbour, NeighbourFlags, NeighbourState, Rule};

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

    /// An audit whose dump was not disturbed.
    fn judged(mirror: &mut Mirror, fresh: Mirror) -> (Audit, Changes) {
        let now = Instant::now();
        let mut audit = Audit::new(Some(EVERY), now);
        audit.begin();
        audit.dumped(fresh, now);
        assert_eq!(audit.due(), Some(now + REST));
        let changes = audit.judge(mirror, now + REST);
        (audit, changes)
    }

    #[test]
    fn an_audit_waits_for_its_time_and_for_the_kernel_to_rest() {
        let now = Instant::now();
        let mut audit = Audit::new(Some(EVERY), now);
        assert_eq!(audit.due(), Some(now + EVERY));
        audit.disturb(now + EVERY);
        assert_eq!(audit.due(), Some(now + EVERY + REST));
        assert_eq!(Audit::new(None, now).due(), None);
    }

    #[test]
    fn an_event_during_or_after_the_dump_makes_it_worth_nothing() {
        let now = Instant::now();
        let mut mirror = Mirror::default();
        for before_its_end in [true, false] {
            let mut audit = Audit::new(Some(EVERY), now);
            audit.begin();
            if before_its_end {
                audit.disturb(now);
            }
            audit.dumped(Mirror::blank(), now);
            audit.disturb(now);
            assert!(!audit.is_judging());
            assert!(audit.judge(&mut mirror, now).is_empty());
            assert_eq!((audit.audits, audit.drift), (0, 0));
        }
        assert_eq!(mirror, Mirror::default());
    }

    #[test]
    fn agreement_is_counted_and_nothing_else() {
        let (audit, changes) = judged(&mut Mirror::default(), Mirror::default());
        assert_eq!((audit.audits, audit.drift), (1, 0));
        assert!(changes.is_empty());
    }

    #[test]
    fn drift_is_counted_and_repaired() {
        let mut mirror = Mirror::default();
        let mut fresh = Mirror::default();
        let rule = Rule {
            ipv6: false,
            priority: 7,
            text: "from all nop".to_owned(),
            protocol: 3,
        };
        fresh.load(Event::RuleSet(rule));
        let (audit, changes) = judged(&mut mirror, fresh.clone());
        assert_eq!((audit.audits, audit.drift), (1, 1));
        assert!(changes.rules);
        assert_eq!(mirror, fresh);
    }

    #[test]
    fn neighbours_that_move_meanwhile_are_not_judged_and_hold_up_no_one() {
        let now = Instant::now();
        let mut audit = Audit::new(Some(EVERY), now);
        audit.begin();
        audit.stir();
        audit.dumped(Mirror::blank(), now);
        assert_eq!(audit.due(), Some(now + REST));
        let mut mirror = neighbour(NeighbourState::Reachable);
        let changes = audit.judge(&mut mirror, now + REST);
        assert!(changes.rules && changes.neighbours.is_empty());
        assert_eq!((audit.audits, audit.drift), (1, 1), "the rules");
        let kept = Mirror::blank().moved_neighbours(&mirror);
        assert_eq!(kept.len(), 1, "the neighbour is as it was followed");
    }

    #[test]
    fn a_neighbours_unannounced_states_are_no_drift_but_its_loss_is() {
        use NeighbourState::{Delay, Failed, Stale};
        let (audit, changes) = judged(&mut neighbour(Stale), neighbour(Delay));
        assert_eq!((audit.drift, changes.neighbours.len()), (0, 1));
        let (audit, _) = judged(&mut neighbour(Stale), neighbour(Failed));
        assert_eq!(audit.drift, 1);
        let (audit, _) = judged(&mut neighbour(Stale), Mirror::default());
        assert_eq!(audit.drift, 1);
    }

    #[test]
    fn a_neighbour_that_needs_no_resolution_comes_silently_but_does_not_go_so() {
        use NeighbourState::{NoArp, Permanent};
        let (audit, _) = judged(&mut Mirror::default(), neighbour(NoArp));
        assert_eq!(audit.drift, 0);
        let (audit, _) = judged(&mut Mirror::default(), neighbour(Permanent));
        assert_eq!(audit.drift, 1);
        let (audit, _) = judged(&mut neighbour(NoArp), Mirror::default());
        assert_eq!(audit.drift, 1);
    }

    #[test]
    fn the_log_names_a_bounded_number_of_differences() {
        let many: Vec<String> = (0..20).map(|n| format!("route 10.{n}.0.0/16")).collect();
        let line = complaint(&many);
        assert!(line.contains("route 10.7.0.0/16 and 12 more;"), "{line}");
        assert!(line.contains("please report this"), "{line}");
    }
}
