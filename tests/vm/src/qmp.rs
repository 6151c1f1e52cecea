//! QEMU's own control channel (QMP): one JSON object a line, a command and its return.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::process::PATIENCE;

/// The channel, ready for commands.
pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects to a QEMU that listens here.
    pub(crate) fn connect(path: &Path) -> Result<Qmp> {
        let what = "connect to QMP";
        let stream = UnixStream::connect(path).map_err(Error::io(what))?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(Error::io(what))?;
        Qmp::greet(stream)
    }

    /// Negotiates, before which no other command is taken.
    fn greet(stream: UnixStream) -> Result<Qmp> {
        let stream = BufReader::new(stream);
        let mut qmp = Qmp { stream };
        let greeting = qmp.line()?;
        if greeting.get("QMP").is_none() {
            return Err(unreadable(&greeting));
        }
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Carries out a command without arguments.
    pub(crate) fn execute(&mut self, command: &str) -> Result<()> {
        let line = format!("{}\n", json!({ "execute": command }));
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .map_err(Error::io(format!("send QMP's {command}")))?;
        loop {
            let answer = self.line()?;
            if answer.get("return").is_some() {
                return Ok(());
            }
            // Events come in between.
            if answer.get("event").is_none() {
                return Err(unreadable(&answer));
            }
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .map_err(Error::io("listen to QMP"))?;
        serde_json::from_str(&line).map_err(|_| unreadable(&line))
    }
}

fn unreadable(answer: &impl ToString) -> Error {
    Error::Parse {
        what: "QMP's answer",
        text: answer.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_with_its_return_and_events_are_passed_over() {
        let (host, mut qemu) = UnixStream::pair().unwrap();
        qemu.write_all(b"{\"QMP\":{}}\n{\"return\":{}}\n{\"event\":\"STOP\"}\n{\"return\":{}}\n")
            .unwrap();
        let mut qmp = Qmp::greet(host).unwrap();
        qmp.execute("stop").unwrap();
        drop(qmp);
        let sent = std::io::read_to_string(qemu).unwrap();
        let expected =
            ["qmp_capabilities", "stop"].map(|name| format!("{{\"execute\":\"{name}\"}}"));
        assert_eq!(sent.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_qemu_refuses_is_an_error_in_its_words() {
        let (host, mut qemu) = UnixStream::pair().unwrap();
        qemu.write_all(b"{\"QMP\":{}}\n{\"error\":{\"desc\":\"no\"}}\n")
            .unwrap();
        let error = Qmp::greet(host).map(drop).unwrap_err();
        assert!(error.to_string().contains("no"), "{error}");
    }
}
