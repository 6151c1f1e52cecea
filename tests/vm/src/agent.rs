//! The host's end of the conversation with `init.sh`: steps out, results in.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::process::PATIENCE;

/// How often a wait looks whether there is still somebody to wait for.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// How many ticks a process may take to end after its channel was closed.
const CLOSED_TICKS: u32 = 20;

/// The longest output of a step that is taken.
const OUTPUT_LIMIT: usize = 16 << 20;

/// How a step ended and what it printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// The exit code of the script: 0 is success.
    pub status: u32,
    /// Standard output and error, as they came.
    pub stdout: String,
}

/// Whoever can say that waiting is in vain.
pub(crate) type Watch<'a> = &'a mut dyn FnMut() -> Result<()>;

/// The channel; `watch` ends a wait early.
pub(crate) struct Agent {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Agent {
    pub(crate) fn new(stream: UnixStream) -> Result<Agent> {
        stream
            .set_read_timeout(Some(TICK))
            .map_err(Error::io("set up the guest's channel"))?;
        Ok(Agent {
            stream,
            received: Vec::new(),
        })
    }

    /// Waits until the guest has booted.
    pub(crate) fn ready(&mut self, watch: Watch<'_>) -> Result<()> {
        match self.line(watch)?.as_str() {
            "ready" => Ok(()),
            other => Err(unreadable(other)),
        }
    }

    /// Sends a step that no answer is expected of.
    pub(crate) fn send(&mut self, script: &str) -> Result<()> {
        let message = format!("{}\n{script}", script.len());
        self.stream
            .write_all(message.as_bytes())
            .map_err(Error::io("send a step to the guest"))
    }

    /// Runs a script in the guest to its end.
    pub(crate) fn run(&mut self, script: &str, watch: Watch<'_>) -> Result<Output> {
        self.send(script)?;
        let line = self.line(watch)?;
        let (status, length) = line.split_once(' ').ok_or_else(|| unreadable(&line))?;
        let status = status.parse().map_err(|_| unreadable(&line))?;
        let length: usize = length.parse().map_err(|_| unreadable(&line))?;
        if length > OUTPUT_LIMIT {
            return Err(unreadable(&line));
        }
        let output = self.take(
            |received| (received.len() >= length).then_some(length),
            watch,
        )?;
        Ok(Output {
            status,
            stdout: String::from_utf8_lossy(&output).into_owned(),
        })
    }

    fn line(&mut self, watch: Watch<'_>) -> Result<String> {
        let end = |received: &[u8]| Some(received.iter().position(|&byte| byte == b'\n')? + 1);
        let line = self.take(end, watch)?;
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Receives until `end` says how many of the received bytes belong together; these it returns.
    fn take(&mut self, end: impl Fn(&[u8]) -> Option<usize>, watch: Watch<'_>) -> Result<Vec<u8>> {
        let start = Instant::now();
        let mut chunk = [0; 4096];
        loop {
            if let Some(length) = end(&self.received) {
                return Ok(self.received.drain(..length).collect());
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(gone(ErrorKind::UnexpectedEof.into(), watch)),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => watch()?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(gone(error, watch)),
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::Timeout {
                    what: "the guest's answer".to_owned(),
                    log: String::new(),
                });
            }
        }
    }
}

/// Why the channel was closed: what the watch says, when it finds out soon, tells more.
fn gone(error: std::io::Error, watch: Watch<'_>) -> Error {
    for _ in 0..CLOSED_TICKS {
        if let Err(reason) = watch() {
            return reason;
        }
        thread::sleep(TICK);
    }
    Error::io("listen to the guest")(error)
}

fn unreadable(text: &str) -> Error {
    Error::Parse {
        what: "the guest's answer",
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing_wrong() -> Result<()> {
        Ok(())
    }

    #[test]
    fn a_step_is_sent_with_its_length_and_its_output_taken_by_length() {
        let (host, mut guest) = UnixStream::pair().unwrap();
        guest.write_all(b"ready\n3 6\nab\ncd\n").unwrap();
        let mut agent = Agent::new(host).unwrap();
        agent.ready(&mut nothing_wrong).unwrap();
        let output = agent.run("exit 3", &mut nothing_wrong).unwrap();
        assert_eq!((output.status, output.stdout.as_str()), (3, "ab\ncd\n"));
        let mut sent = [0; 8];
        guest.read_exact(&mut sent).unwrap();
        assert_eq!(&sent, b"6\nexit 3");
    }

    #[test]
    fn a_guest_that_went_away_is_an_error() {
        let (host, guest) = UnixStream::pair().unwrap();
        drop(guest);
        let mut agent = Agent::new(host).unwrap();
        let error = agent.ready(&mut nothing_wrong).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        let (host, mut guest) = UnixStream::pair().unwrap();
        guest.write_all(b"0 99999999999\n").unwrap();
        let mut agent = Agent::new(host).unwrap();
        let error = agent.run("true", &mut nothing_wrong).unwrap_err();
        assert!(matches!(error, Error::Parse { .. }), "{error}");
    }
}
