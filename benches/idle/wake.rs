//! What the machine itself takes to wake a thread: one on the worker's core that sleeps in `poll(2)`, as
//! an idle worker does, and that another wakes with one write.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ixmap_lab::{Error, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::on_core;

/// Longer than it takes by orders of magnitude.
const NEVER: Duration = Duration::from_secs(1);

/// The times from the write to the sleeper's first word, of so many with a pause before each.
pub(crate) fn times(count: usize, pause: Duration) -> Result<Vec<Duration>> {
    let event = eventfd(0, EventfdFlags::empty()).map_err(Error::io("make an eventfd"))?;
    let heard = AtomicUsize::new(0);
    let last = thread::available_parallelism().map_or(0, |cores| cores.get() - 1);
    let sleep = || {
        for number in 1..=count {
            let mut waits = [PollFd::new(&event, PollFlags::IN)];
            poll(&mut waits, None).map_err(Error::io("sleep"))?;
            rustix::io::read(&event, &mut [0; 8]).map_err(Error::io("wake up"))?;
            heard.store(number, Ordering::Release);
        }
        Ok(())
    };
    let wake = || {
        let mut times = Vec::with_capacity(count);
        for number in 1..=count {
            thread::sleep(pause);
            let start = Instant::now();
            rustix::io::write(&event, &1u64.to_ne_bytes()).map_err(Error::io("wake"))?;
            while heard.load(Ordering::Acquire) < number {
                if start.elapsed() > NEVER {
                    return Err(Error::Timeout("a thread wakes up".to_owned()));
                }
            }
            times.push(start.elapsed());
        }
        Ok(times)
    };
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| on_core(last, sleep));
        let times = on_core(0, wake)?;
        let ended = sleeper.join();
        ended.unwrap_or_else(|cause| std::panic::resume_unwind(cause))?;
        Ok(times)
    })
}
