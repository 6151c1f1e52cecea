//! Processes that cannot outlive their test, however it ends.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use crate::error::{Error, Result};

/// How long a boot or a step may take before it counts as broken: eight times what the slowest
/// takes on an idle machine without KVM.
pub const PATIENCE: Duration = Duration::from_secs(160);

/// Lines of a log that an error quotes.
const QUOTED_LINES: usize = 40;

/// A command whose process the kernel kills when the thread that starts it is gone.
pub(crate) fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A process in the background: its output goes to a log file, and it is killed on drop.
pub(crate) struct Process {
    who: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its standard output and error in the file `log`.
    pub(crate) fn start(who: &'static str, command: &mut Command, log: PathBuf) -> Result<Process> {
        let file = File::create(&log).map_err(Error::io(format!("create {who}'s log")))?;
        let copy = file
            .try_clone()
            .map_err(Error::io(format!("create {who}'s log")))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(copy)
            .stderr(file)
            .spawn()
            .map_err(Error::io(format!("start {who}")))?;
        Ok(Process { who, child, log })
    }

    /// An error if the process has ended, which none does by itself.
    pub(crate) fn alive(&mut self) -> Result<()> {
        let who = self.who;
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Error::Ended {
                who,
                status: status.to_string(),
                log: tail(&self.log),
            }),
            Err(source) => Err(Error::io(format!("watch {who}"))(source)),
        }
    }

    /// What the process has written so far.
    pub(crate) fn log(&self) -> String {
        read_log(&self.log)
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let who = self.who;
        let sent = i32::try_from(self.child.id())
            .map_err(|_| Errno::ESRCH)
            .and_then(|pid| signal::kill(Pid::from_raw(pid), signal));
        sent.map_err(|errno| Error::io(format!("signal {who}"))(errno.into()))
    }

    /// Kills the process at once and waits for its end.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        // A process that has ended already is as good as killed.
        let _ = self.child.kill();
        self.child
            .wait()
            .map_err(Error::io(format!("wait for {}", self.who)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Runs a command to its end; it has to succeed. Returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let words = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(format!("run {words}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(words, &output))
}

fn failed(command: String, output: &Output) -> Error {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    Error::Command {
        command,
        status: output.status.to_string(),
        output: format!("{stdout}{stderr}").trim_end().to_owned(),
    }
}

/// A log as text; what is not UTF-8 is replaced.
pub(crate) fn read_log(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The last lines of a log.
pub(crate) fn tail(path: &Path) -> String {
    let log = read_log(path);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
}

/// Tells whoever watches the test what takes long.
pub(crate) fn note(what: &str) {
    // libtest captures `println!` of a passing test; this line is for now or never.
    let _ = writeln!(std::io::stderr(), "ixmap-vm: {what}");
}
