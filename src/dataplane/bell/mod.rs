//! A doorbell between threads: the sleeper arms it, looks once more for work, then waits on its
//! descriptor; whoever brings work rings, which costs a system call only while it is armed.

mod flag;
#[cfg(test)]
pub(crate) mod model;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic as atomics;

use rustix::pipe::{PipeFlags, pipe_with};

use self::flag::Flag;

/// One sleeper, any number of ringers. Read whenever something is brought, so on a line of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Bell {
    armed: Flag,
    /// Both ends of a pipe: a descriptor that any event loop takes.
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Bell {
    pub fn new() -> io::Result<Bell> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Bell {
            armed: Flag::new(),
            reader,
            writer,
        })
    }

    /// Announces a sleep. After this every `ring` makes the descriptor readable; work brought
    /// before it must be looked for once more, now.
    pub fn arm(&self) {
        self.armed.raise();
    }

    /// Ends the announcement and swallows rings that came meanwhile.
    pub fn disarm(&self) {
        self.armed.lower();
        let mut rings = [0; 16];
        // EAGAIN means that nobody rang. At most one ring an arming is ever written.
        let _ = rustix::io::read(&self.reader, &mut rings);
    }

    /// Wakes the sleeper if there is one. Call it after the work is in place.
    pub fn ring(&self) {
        if self.armed.take() {
            // A full pipe (EAGAIN) is readable already, which is all that matters.
            let _ = rustix::io::write(&self.writer, &[1]);
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn rang(bell: &Bell) -> bool {
        let mut fds = [PollFd::new(bell, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut fds, Some(&now)).unwrap() == 1
    }

    #[test]
    fn a_ring_is_heard_only_while_armed() {
        let bell = Bell::new().unwrap();
        bell.ring();
        assert!(!rang(&bell));
        bell.arm();
        assert!(!rang(&bell));
        bell.ring();
        assert!(rang(&bell));
        bell.disarm();
        assert!(!rang(&bell));
    }

    #[test]
    fn no_work_is_slept_through() {
        let bell = Arc::new(Bell::new().unwrap());
        let work = Arc::new(AtomicU64::new(0));
        let (ringer_bell, ringer_work) = (Arc::clone(&bell), Arc::clone(&work));
        const ITEMS: u64 = 20_000;
        let ringer = std::thread::spawn(move || {
            for _ in 0..ITEMS {
                ringer_work.fetch_add(1, Ordering::Relaxed);
                ringer_bell.ring();
            }
        });
        while work.load(Ordering::Relaxed) < ITEMS {
            bell.arm();
            let before = work.load(Ordering::Relaxed);
            if before < ITEMS {
                // Work keeps coming, so a poll that is not woken is a lost wake-up.
                let mut fds = [PollFd::new(&*bell, PollFlags::IN)];
                let limit = Timespec {
                    tv_sec: 30,
                    tv_nsec: 0,
                };
                assert_eq!(
                    poll(&mut fds, Some(&limit)).unwrap(),
                    1,
                    "slept through work"
                );
            }
            bell.disarm();
        }
        ringer.join().unwrap();
    }
}
