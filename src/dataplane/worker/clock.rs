//! The worker's clock: one look serves token buckets and the busy ratio alike. A busy worker looks once
//! in a few turns, some microseconds.

use std::time::{Duration, Instant};

use crate::shared::stats::WorkerCounters;

#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    now: Duration,
    /// Busy turns since the last look.
    unseen: u32,
}

/// Busy turns from one look to the next.
const BUSY_TURNS: u32 = 8;

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            start: Instant::now(),
            now: Duration::ZERO,
            unseen: 0,
        }
    }

    /// Time since the worker started, as of the last look.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Ends a turn: books the time since the last look as busy or not. Of busy turns and an idle one
    /// after them, it is busy.
    pub(super) fn turn(&mut self, busy: bool, counters: &WorkerCounters) {
        counters.turns.add(1);
        let was_busy = self.unseen > 0;
        if busy && self.unseen < BUSY_TURNS {
            self.unseen += 1;
            return;
        }
        self.unseen = 0;
        let now = self.start.elapsed();
        let spent = nanos(now.saturating_sub(self.now));
        self.now = now;
        counters.total_ns.add(spent);
        if busy | was_busy {
            counters.busy_ns.add(spent);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
