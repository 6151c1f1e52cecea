//! A routing daemon in the foreground: ended when its guard goes, and nothing else with it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ixmap_lab::{Error, Namespace, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long an end may take: zebra needs half a minute to take the Internet's table out of the kernel.
const END: Duration = Duration::from_secs(120);

/// A child that ends by SIGTERM on drop, and by SIGKILL if it does not heed that.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a command in the namespace; what it says goes to `log`.
    pub(crate) fn start(namespace: &Namespace, words: &[&str], log: &Path) -> Result<Process> {
        let what = words.join(" ");
        let output = File::create(log).map_err(Error::io("create a daemon's log"))?;
        let errors = output.try_clone().map_err(Error::io("share a log"))?;
        let mut command = namespace.command(words);
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn();
        child
            .map(Process)
            .map_err(Error::io(format!("start {what}")))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.0.id()).expect("process ids are positive");
        kill(Pid::from_raw(pid), signal).map_err(Error::io("signal a routing daemon"))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits for the end, however it came about.
    fn wait(&mut self) {
        let start = Instant::now();
        while self.is_running() && start.elapsed() < END {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn crash(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() && self.signal(Signal::SIGTERM).is_ok() {
            self.wait();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
