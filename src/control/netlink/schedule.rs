//! When to dump next, and what for: doubts, and since when each waits for its answer.

use std::time::{Duration, Instant};

use crate::control::mirror::Doubt;

/// A dump starts when doubts have rested this long,
const SETTLE: Duration = Duration::from_millis(50);
/// or when the first of them is this old.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest rest between dumps.
const REST: Duration = Duration::from_secs(1);

/// Doubts that no running dump answers.
#[derive(Clone, Copy)]
struct Waiting {
    /// Of the oldest, or of the word behind it.
    since: Instant,
    /// When the first and the last of them came up, again after a dump that did not settle it.
    first: Instant,
    last: Instant,
}

/// When to dump next, and why.
pub(super) struct Schedule {
    doubts: Option<Waiting>,
    /// The first doubt that the running dump answers.
    answering: Option<Instant>,
    /// The dump must find nothing new, or it is repeated.
    confirm: bool,
    /// Not before: after a failure, or to leave the machine half of its time.
    earliest: Instant,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Schedule {
        Schedule {
            doubts: None,
            answering: None,
            confirm: false,
            earliest: now,
        }
    }

    /// A doubt about what the kernel said, or did, at `since`.
    pub(super) fn note(&mut self, doubt: &Doubt, since: Instant, now: Instant) {
        let known = self.doubts.unwrap_or(Waiting {
            since,
            first: now,
            last: now,
        });
        self.doubts = Some(Waiting {
            since: known.since.min(since),
            first: known.first,
            last: now,
        });
        self.confirm |= matches!(doubt, Doubt::Interface(_));
    }

    /// What the dump that has ended leaves in doubt is as old as what it was to answer.
    pub(super) fn note_unsettled(&mut self, why: &str, now: Instant) {
        let doubt = Doubt::Message(why.to_owned());
        self.note(&doubt, self.answering.unwrap_or(now), now);
    }

    /// Nothing is in doubt, or the running dump answers it.
    pub(super) fn is_clear(&self) -> bool {
        self.doubts.is_none()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let Waiting { first, last, .. } = self.doubts?;
        Some((last + SETTLE).min(first + PATIENCE).max(self.earliest))
    }

    /// Since when the oldest doubt waits to be settled.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let waiting = self.doubts.map(|doubts| doubts.since);
        [self.answering, waiting].into_iter().flatten().min()
    }

    /// A dump begins, which answers all doubts so far.
    pub(super) fn begin(&mut self) {
        self.answering = self.doubts.take().map(|doubts| doubts.since);
    }

    /// The dump has given its answer; since when that was waited for.
    pub(super) fn answered(&mut self) -> Option<Instant> {
        self.answering.take()
    }

    /// The dump gave none: what it was for waits on, since when it does, and for another.
    pub(super) fn failed(&mut self, now: Instant) {
        let since = self.oldest().unwrap_or(now);
        self.answering = None;
        self.doubts = Some(Waiting {
            since,
            first: since,
            last: now,
        });
    }

    pub(super) fn rest_until(&mut self, earliest: Instant) {
        self.earliest = earliest;
    }

    /// Between dumps the kernel and control rest as long as the last one took, but not for as long as
    /// this process stood still meanwhile.
    pub(super) fn rest_after(&mut self, took: Duration, now: Instant) {
        self.rest_until(now + took.min(REST));
    }

    /// After a doubt about an interface a dump that still found news is repeated.
    pub(super) fn confirm(&mut self, news: bool, now: Instant) {
        if self.confirm && news {
            self.note_unsettled("the last dump still found news", now);
        } else if self.doubts.is_none() {
            self.confirm = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_waits_for_doubts_to_rest_but_not_for_ever() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        assert_eq!((schedule.due(), schedule.oldest()), (None, None));
        schedule.note(&Doubt::Silent, now, now);
        assert_eq!(schedule.due(), Some(now + SETTLE));
        schedule.note(&Doubt::Silent, now + PATIENCE, now + PATIENCE);
        assert_eq!(schedule.due(), Some(now + PATIENCE));
        schedule.rest_until(now + 2 * PATIENCE);
        assert_eq!(schedule.due(), Some(now + 2 * PATIENCE));
    }

    #[test]
    fn a_doubt_is_as_old_as_its_first_word_until_a_dump_has_answered_it() {
        let now = Instant::now();
        let later = |n| now + n * PATIENCE;
        let mut schedule = Schedule::new(now);
        schedule.note(&Doubt::Silent, now, now);
        schedule.begin();
        schedule.note(&Doubt::Silent, later(1), later(1));
        assert!(!schedule.is_clear());
        assert_eq!(schedule.oldest(), Some(now), "while the dump runs");
        schedule.failed(later(2));
        assert_eq!(schedule.oldest(), Some(now), "after it failed");
        assert!(schedule.due().is_some(), "and is repeated");
        schedule.begin();
        assert_eq!(schedule.answered(), Some(now));
        assert_eq!((schedule.oldest(), schedule.due()), (None, None));
    }

    /// Seen when ixmapd was stopped for half a minute within a dump: the lost events waited as long again.
    #[test]
    fn a_pause_within_a_dump_does_not_keep_the_next_one_waiting() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        for (took, rest) in [(30, REST), (0, Duration::ZERO)] {
            schedule.rest_after(Duration::from_secs(took), now);
            schedule.note(&Doubt::Silent, now, now);
            assert_eq!(schedule.due(), Some(now + rest.max(SETTLE)));
        }
    }

    #[test]
    fn a_doubt_that_a_dump_did_not_settle_is_as_old_as_it_was() {
        let now = Instant::now();
        let later = |n| now + n * PATIENCE;
        let mut schedule = Schedule::new(now);
        schedule.note(&Doubt::Interface(7), now, now);
        for n in 1..4 {
            schedule.begin();
            schedule.confirm(true, later(n));
            assert_eq!(schedule.answered(), Some(now));
            assert_eq!(schedule.oldest(), Some(now), "after dump {n}");
            assert_eq!(schedule.due(), Some(later(n) + SETTLE), "as any doubt");
        }
        schedule.begin();
        schedule.confirm(false, later(4));
        assert_eq!(schedule.answered(), Some(now));
        assert_eq!(schedule.oldest(), None);
        schedule.note(&Doubt::Silent, later(5), later(5));
        assert_eq!(schedule.oldest(), Some(later(5)), "another one");
    }

    /// The kernel announces a link's change before it has flushed all that goes with it.
    #[test]
    fn after_a_doubt_about_an_interface_a_dump_with_news_is_repeated() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now);
        schedule.confirm(true, now);
        assert_eq!(schedule.due(), None, "nobody doubted an interface");
        schedule.note(&Doubt::Interface(7), now, now);
        for _ in 0..2 {
            // The dump that answers begins, and ends with news.
            schedule.begin();
            schedule.confirm(true, now);
            assert!(schedule.due().is_some());
        }
        schedule.begin();
        schedule.confirm(false, now);
        assert_eq!(schedule.due(), None, "the last found nothing");
        schedule.note(&Doubt::Silent, now, now);
        schedule.begin();
        schedule.confirm(true, now);
        assert_eq!(schedule.due(), None, "no doubt of an interface");
    }
}
