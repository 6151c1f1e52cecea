//! The asking side of the control socket: plain blocking I/O, one request at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::shared::api::{Line, Request};

/// Longer than the daemon takes to refuse a call that hangs.
const TIMEOUT: Duration = Duration::from_secs(40);
/// The longest answer line that is read: a status of every port fits many times.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no ixmapd answers on {} ({source}): start it, or name its socket with --socket", .path.display())]
    NoDaemon { path: PathBuf, source: io::Error },
    #[error("{}: permission denied: run as root or as a member of the socket's group", .0.display())]
    Denied(PathBuf),
    #[error("{0}")]
    Refused(String),
    #[error("the daemon went away ({0}): see its log")]
    Lost(io::Error),
    #[error("the daemon's answer makes no sense ({0}): use the ixmapctl of its version")]
    Nonsense(String),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// A connection to the daemon.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    pub(super) fn connect(path: &Path) -> Result<Client, ClientError> {
        let connected = UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => Ok(Client {
                stream: BufReader::new(stream),
            }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ClientError::Denied(path.to_owned()))
            }
            Err(source) => Err(ClientError::NoDaemon {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Asks for one document.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        self.send(request)?;
        match self.receive()? {
            Line::Ok(answer) => Ok(answer),
            Line::Error(reason) => Err(ClientError::Refused(reason)),
            Line::Item(_) | Line::End(_) => Err(unexpected("a list")),
        }
    }

    /// Asks for a long list and hands over its items one by one.
    pub(super) fn list<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        mut item: impl FnMut(T) -> io::Result<()>,
    ) -> Result<(), ClientError> {
        self.send(request)?;
        loop {
            match self.receive()? {
                Line::Item(entry) => item(entry)?,
                Line::End(_) => return Ok(()),
                Line::Error(reason) => return Err(ClientError::Refused(reason)),
                Line::Ok(_) => return Err(unexpected("no list")),
            }
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(|e| ClientError::Lost(e.into()))?;
        line.push(b'\n');
        let sent = self.stream.get_mut().write_all(&line);
        // A daemon that turns a client away has said why before it closed: let that be read.
        match sent {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(ClientError::Lost(error))
            }
            _ => Ok(()),
        }
    }

    fn receive<T: DeserializeOwned>(&mut self) -> Result<Line<T>, ClientError> {
        let mut line = Vec::new();
        (&mut self.stream)
            .take(MAX_ANSWER)
            .read_until(b'\n', &mut line)
            .map_err(ClientError::Lost)?;
        if line.is_empty() {
            return Err(ClientError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line).map_err(|error| ClientError::Nonsense(error.to_string()))
    }
}

fn unexpected(what: &str) -> ClientError {
    ClientError::Nonsense(format!("{what} was not asked for"))
}
