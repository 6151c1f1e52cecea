//! CPU time by thread, as the scheduler counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ixmap_lab::{Error, Result};

/// What the threads of a process have spent, in nanoseconds.
pub(crate) struct Spent {
    worker: u64,
    control: u64,
}

impl Spent {
    pub(crate) fn read(process: u32) -> Result<Spent> {
        let tasks = format!("/proc/{process}/task");
        let mut spent = Spent {
            worker: 0,
            control: 0,
        };
        for task in fs::read_dir(&tasks).map_err(Error::io(tasks))? {
            let task = task.map_err(Error::io("read a thread"))?.path();
            // A thread that has ended meanwhile has nothing to say.
            let (Some(name), Some(time)) = (read(&task, "comm"), read(&task, "schedstat")) else {
                continue;
            };
            let time = time.split(' ').next().and_then(|time| time.parse().ok());
            let side = match name.starts_with("ixmap-core") {
                true => &mut spent.worker,
                false => &mut spent.control,
            };
            *side += time.unwrap_or(0);
        }
        Ok(spent)
    }

    pub(crate) fn since(&self, before: &Spent) -> Spent {
        Spent {
            worker: self.worker - before.worker,
            // Less a thread that ended.
            control: self.control.saturating_sub(before.control),
        }
    }

    /// Of a core, in percent: the worker's and control's.
    pub(crate) fn shares(&self, time: Duration) -> [f64; 2] {
        [self.worker, self.control]
            .map(|spent| Duration::from_nanos(spent).as_secs_f64() / time.as_secs_f64() * 100.0)
    }
}

fn read(task: &Path, file: &str) -> Option<String> {
    fs::read_to_string(task.join(file)).ok()
}
