//! When a quiet worker sleeps, and on what.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Attachment;
use crate::dataplane::bell::Bell;

/// Quiet time before a worker sleeps: longer than the gaps of a busy link, short against a wake-up.
const PATIENCE: Duration = Duration::from_micros(50);

/// A sleeping worker looks around this often, so that the supervisor can tell sleep from a stall.
const HEARTBEAT: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Counts how long nothing has happened.
#[derive(Debug, Default)]
pub(super) struct Patience {
    quiet_since: Option<Duration>,
}

impl Patience {
    /// Notes a turn's outcome; true when it is time to sleep.
    pub(super) fn is_spent(&mut self, busy: bool, now: Duration) -> bool {
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
