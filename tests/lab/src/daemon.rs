//! A running ixmapd: started in the router's namespace, ready by `sd_notify`, stopped on drop.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::metrics::METRICS_ADDRESS;
use crate::namespace::Namespace;
use crate::wait::PATIENCE;

/// How a daemon ended, and the last words on its stderr.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    pub log: String,
}

/// An ixmapd that has said READY=1. Dropping it stops it and insists on a clean exit.
pub struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
    ctl: PathBuf,
}

impl Daemon {
    /// Starts `binary` with the given arguments and one worker on the last core, and waits for
    /// READY=1.
    pub fn start(
        router: &Namespace,
        binary: &Path,
        ctl: &Path,
        scratch: &Path,
        arguments: &[String],
    ) -> Result<Daemon> {
        let notify = scratch.join("notify");
        let _ = fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).map_err(Error::io("bind the notify socket"))?;
        ready
            .set_read_timeout(Some(Duration::from_millis(100)))
            .map_err(Error::io("set up the notify socket"))?;

        let socket = scratch.join("ixmapd.sock");
        let log = scratch.join("ixmapd.log");
        let stderr = File::create(&log).map_err(Error::io("create the daemon's log"))?;
        let workers = last_core().to_string();
        let mut words = vec![text(binary)];
        words.extend(arguments.iter().map(String::as_str));
        if !words.contains(&"--workers") {
            words.extend(["--workers", &workers]);
        }
        words.extend(["--socket", text(&socket), "--metrics", METRICS_ADDRESS]);
        let child = router
            .command(&words)
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(Error::io("start ixmapd"))?;
        let mut daemon = Daemon {
            child,
            socket,
            log,
            ctl: ctl.to_owned(),
        };
        daemon.wait_ready(&ready)?;
        Ok(daemon)
    }

    fn wait_ready(&mut self, notify: &UnixDatagram) -> Result<()> {
        let start = Instant::now();
        let mut message = [0; 4096];
        while start.elapsed() < PATIENCE {
            if let Ok(length) = notify.recv(&mut message) {
                let said = String::from_utf8_lossy(&message[..length]);
                if said.lines().any(|line| line == "READY=1") {
                    return Ok(());
                }
            }
            let exited = self.child.try_wait().map_err(Error::io("watch ixmapd"))?;
            if let Some(status) = exited {
                let log = self.log();
                return Err(Error::NotReady(format!("it ended with {status}: {log}")));
            }
        }
        Err(Error::NotReady(format!("no READY=1; {}", self.log())))
    }

    /// What the daemon has written to its stderr.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `ixmapctl WORDS`, whatever its exit code.
    pub fn ctl(&self, router: &Namespace, words: &[&str]) -> Result<std::process::Output> {
        let mut command = vec![text(&self.ctl), "--socket", text(&self.socket)];
        command.extend(words);
        router.output(&command)
    }

    /// `ixmapctl WORDS --json`, which has to succeed, parsed.
    pub fn ctl_json(&self, router: &Namespace, words: &[&str]) -> Result<Value> {
        let mut command = vec![text(&self.ctl), "--socket", text(&self.socket)];
        command.extend(words);
        command.push("--json");
        let json = router.run(&command)?;
        serde_json::from_str(&json).map_err(|_| Error::Parse {
            what: "ixmapctl's JSON",
            text: json,
        })
    }

    /// Sends a signal that ends the daemon and waits for the end.
    pub fn end_by(mut self, signal: Signal) -> Result<Exit> {
        self.signal(signal)?;
        let status = self.wait()?;
        Ok(Exit {
            status,
            log: self.log(),
        })
    }

    /// Stops the daemon as systemd would.
    pub fn stop(self) -> Result<Exit> {
        self.end_by(Signal::SIGTERM)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).map_err(|_| Error::Parse {
            what: "a process id",
            text: self.child.id().to_string(),
        })?;
        kill(Pid::from_raw(pid), signal).map_err(Error::io("signal ixmapd"))
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self
                .child
                .try_wait()
                .map_err(Error::io("wait for ixmapd"))?
            {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(Error::Timeout(format!("ixmapd ends; {}", self.log())))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let ended = self.signal(Signal::SIGTERM).and_then(|()| self.wait());
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let clean = ended.is_ok_and(|status| status.success());
        assert!(
            clean || thread::panicking(),
            "ixmapd did not stop cleanly on SIGTERM: {}",
            self.log()
        );
    }
}

fn last_core() -> usize {
    thread::available_parallelism().map_or(0, |cores| cores.get() - 1)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
