//! The worker's clock: one look a turn serves token buckets and the busy ratio alike.

use std::time::{Duration, Instant};

use crate::shared::stats::WorkerCounters;

#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    now: Duration,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            start: Instant::now(),
            now: Duration::ZERO,
        }
    }

    /// Time since the worker started, as of the last [`Self::turn`].
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Ends a turn: books the time since the last one as busy or not.
    pub(super) fn turn(&mut self, busy: bool, counters: &WorkerCounters) {
        let now = self.start.elapsed();
        let spent = nanos(now.saturating_sub(self.now));
        self.now = now;
        counters.total_ns.add(spent);
        if busy {
            counters.busy_ns.add(spent);
        }
        counters.turns.add(1);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
