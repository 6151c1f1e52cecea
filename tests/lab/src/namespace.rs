//! A network namespace as a value: made by `new`, gone with all its processes on drop.

use std::fs::File;
use std::io::Write;
use std::panic;
use std::path::Path;
use std::process::{self, Child, Command, Output, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::names;

/// Seconds after which a command in the lab is killed: none is meant to take that long.
const COMMAND_LIMIT: &str = "60";

/// A network namespace of `ip netns`, with its loopback up.
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace. Duplicate address detection is off, so that IPv6 addresses work at
    /// once.
    pub fn new(name: String) -> Result<Namespace> {
        execute(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Namespace { name };
        namespace.sysctl(&[
            "net.ipv6.conf.all.accept_dad=0",
            "net.ipv6.conf.default.accept_dad=0",
        ])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Removes the namespaces of labs whose process was killed before it could clean up.
    pub(crate) fn sweep() -> Result<()> {
        let names = execute(Command::new("ip").args(["netns", "list"]))?;
        for name in names
            .lines()
            .filter_map(|line| line.split_whitespace().next())
        {
            let owner = names::owner(name);
            if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                drop(Namespace {
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run in here.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words);
        command
    }

    /// Runs a command to its end, whatever its exit code; its input is empty.
    pub fn output(&self, words: &[&str]) -> Result<Output> {
        let mut limited = vec!["timeout", "--foreground", COMMAND_LIMIT];
        limited.extend(words);
        let mut command = self.command(&limited);
        command
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io(format!("run {}", words.join(" "))))
    }

    /// Runs a command that has to succeed and returns what it printed.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.output(words)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(command_error(&words.join(" "), &output))
    }

    /// `ip WORDS` in here: `namespace.ip("link set eth0 up")`.
    pub fn ip(&self, words: &str) -> Result<String> {
        let mut command = vec!["ip"];
        command.extend(words.split_whitespace());
        self.run(&command)
    }

    /// Many `ip` commands at the price of one, a line each.
    pub fn ip_batch(&self, lines: &[String]) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("run ip -batch"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A failed write means that ip gave up: its exit code and stderr say why.
            let _ = stdin.write_all(lines.join("\n").as_bytes());
        }
        let output = child
            .wait_with_output()
            .map_err(Error::io("wait for ip -batch"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(command_error(&lines.join("; "), &output))
    }

    /// Sets `key=value` pairs; keys below `net.` belong to this namespace alone.
    pub fn sysctl(&self, settings: &[&str]) -> Result<()> {
        let mut words = vec!["sysctl", "-q", "-w"];
        words.extend(settings);
        self.run(&words).map(drop)
    }

    /// Starts a command that ends with the returned guard.
    pub fn spawn(&self, words: &[&str]) -> Result<Background> {
        let child = self
            .command(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io(format!("start {}", words.join(" "))))?;
        Ok(Background { child: Some(child) })
    }

    /// Runs `work` on a thread inside the namespace. Sockets that it returns stay inside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        let namespace = File::open(&path).map_err(Error::io(path))?;
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET)
                    .map_err(Error::io("enter the namespace"))?;
                work()
            });
            inside
                .join()
                .unwrap_or_else(|cause| panic::resume_unwind(cause))
        })
    }

    /// Whether the interface exists.
    pub fn has_link(&self, link: &str) -> Result<bool> {
        let output = self.output(&["ip", "link", "show", "dev", link])?;
        Ok(output.status.success())
    }

    /// Whether an XDP program is attached to the interface.
    pub fn has_xdp(&self, link: &str) -> Result<bool> {
        let json = self.ip(&format!("-j link show dev {link}"))?;
        Ok(json.contains("\"xdp\""))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Ok(pids) = execute(Command::new("ip").args(["netns", "pids", &self.name])) {
            for pid in pids.lines().filter_map(|line| line.trim().parse().ok()) {
                if u32::try_from(pid).is_ok_and(|pid| pid != process::id()) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
        let _ = execute(Command::new("ip").args(["netns", "del", &self.name]));
    }
}

/// A process that is killed on drop.
pub struct Background {
    child: Option<Child>,
}

impl Background {
    /// Asks the process to finish and returns what it printed: by SIGINT, on which `ping` adds up, and
    /// after a while by SIGTERM, as a suite that runs in the background has its children ignore the first.
    pub fn finish(mut self) -> Result<String> {
        let Some(mut child) = self.child.take() else {
            return Ok(String::new());
        };
        let pid = i32::try_from(child.id()).map_err(|_| Error::Parse {
            what: "a process id",
            text: child.id().to_string(),
        })?;
        let ask = |signal| kill(Pid::from_raw(pid), signal).map_err(Error::io("end a process"));
        ask(Signal::SIGINT)?;
        let patience = Instant::now() + Duration::from_secs(3);
        let ended = |child: &mut Child| child.try_wait().map_err(Error::io("wait for a process"));
        while ended(&mut child)?.is_none() {
            if Instant::now() > patience {
                ask(Signal::SIGTERM)?;
                break;
            }
            sleep(Duration::from_millis(10));
        }
        let output = child
            .wait_with_output()
            .map_err(Error::io("wait for a process"))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn execute(command: &mut Command) -> Result<String> {
    let words = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io(format!("run {words}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(command_error(&words, &output))
}

fn command_error(command: &str, output: &Output) -> Error {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    Error::Command {
        command: command.to_owned(),
        status: output.status.to_string(),
        output: format!("{stdout}{stderr}").trim_end().to_owned(),
    }
}
