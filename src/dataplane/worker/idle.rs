//! When a quiet worker sleeps, on what, and how it makes sure that nothing is slept through.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Attachment;
use crate::dataplane::bell::Bell;
use crate::shared::config::Idle;

/// Quiet time before a worker sleeps: longer than the gaps of a busy link, short against a wake-up.
const PATIENCE: Duration = Duration::from_micros(50);

/// A sleeping worker looks around this often, so that the supervisor can tell sleep from a stall.
const HEARTBEAT: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Who works until told to stop, and rests when there is nothing to do: a worker, or a model of one.
pub(super) trait Restful {
    /// Looks at everything there may be to do and does it: whether there was any, or `None` at the end.
    fn turn(&mut self) -> Option<bool>;
    /// Time as of the last turn.
    fn now(&self) -> Duration;
    /// From here on, whatever comes ends a sleep, or the next turn finds it.
    fn arm(&mut self);
    /// Sleeps.
    fn sleep(&mut self);
    /// Awake: nothing needs to end a sleep.
    fn disarm(&mut self);
}

/// Turns until the end. Between the last turn that finds nothing and a sleep there is always `arm`.
pub(super) fn run(worker: &mut impl Restful, idle: Idle) {
    let mut patience = Patience::default();
    while let Some(busy) = worker.turn() {
        if idle == Idle::Poll || !patience.is_spent(busy, worker.now()) {
            continue;
        }
        worker.arm();
        // What came before is for this look to find; what comes from here on wakes the sleeper.
        let looked = worker.turn();
        if looked == Some(false) {
            worker.sleep();
        }
        worker.disarm();
        if looked.is_none() {
            return;
        }
        patience = Patience::default();
    }
}

/// Counts how long nothing has happened.
#[derive(Debug, Default)]
struct Patience {
    quiet_since: Option<Duration>,
}

impl Patience {
    /// Notes a turn's outcome; true when it is time to sleep.
    fn is_spent(&mut self, busy: bool, now: Duration) -> bool {
        if busy {
            self.quiet_since = None;
            return false;
        }
        let since = *self.quiet_since.get_or_insert(now);
        now.saturating_sub(since) > PATIENCE
    }
}

/// Sleeps until a port has a packet, the bell rings, or the heartbeat is due. Packets that wait
/// already end it at once: readiness of the ports' descriptors is a level.
pub(super) fn sleep<'a>(bell: &Bell, ports: impl Iterator<Item = &'a Attachment>) {
    let mut fds = vec![PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN)];
    for port in ports {
        let waits = port.queue.wait_fds().into_iter();
        fds.extend(waits.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    }
    // EINTR and the rest: the next turn finds out whether there is work.
    let _ = poll(&mut fds, Some(&HEARTBEAT));
}
