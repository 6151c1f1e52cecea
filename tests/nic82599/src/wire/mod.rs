//! What the port is plugged into: a TAP interface, a Unix socket to a peer, or itself.
//! Frames carry no FCS; none of the calls blocks.

mod loopback;
mod tap;
mod unix;

use crate::SocketFileError;
use loopback::Loopback;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::str::FromStr;
use tap::Tap;
use thiserror::Error;
use unix::Unix;

/// The largest frame that a wire carries: what the 82599 can be set to receive, without FCS.
pub const MAX_FRAME: usize = 15_872 - 4;

/// What the command line asks for: `tap:NAME`, `unix:PATH` or `loop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WireSpec {
    Tap(String),
    Unix(PathBuf),
    Loop,
}

#[derive(Debug, Error)]
pub enum WireError {
    #[error("wire {0:?}: say tap:NAME, unix:PATH or loop")]
    Unknown(String),
    #[error("wire tap:{0}: an interface's name is 1 to 15 bytes, without '/' or blanks")]
    TapName(String),
    #[error("wire tap:{name}: {error}; creating a TAP takes CAP_NET_ADMIN")]
    Tap { name: String, error: std::io::Error },
    #[error("wire unix:{0}")]
    Unix(#[from] SocketFileError),
}

/// A wire that is plugged in.
pub enum Wire {
    Tap(Tap),
    Unix(Unix),
    Loop(Loopback),
}

impl FromStr for WireSpec {
    type Err = WireError;

    fn from_str(text: &str) -> Result<WireSpec, WireError> {
        match text.split_once(':') {
            Some(("tap", name)) => Ok(WireSpec::Tap(name.to_owned())),
            Some(("unix", path)) if !path.is_empty() => Ok(WireSpec::Unix(path.into())),
            None if text == "loop" => Ok(WireSpec::Loop),
            _ => Err(WireError::Unknown(text.to_owned())),
        }
    }
}

impl fmt::Display for WireSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireSpec::Tap(name) => write!(f, "tap:{name}"),
            WireSpec::Unix(path) => write!(f, "unix:{}", path.display()),
            WireSpec::Loop => f.write_str("loop"),
        }
    }
}

impl Wire {
    pub fn open(spec: &WireSpec) -> Result<Wire, WireError> {
        Ok(match spec {
            WireSpec::Tap(name) => Wire::Tap(Tap::open(name)?),
            WireSpec::Unix(path) => Wire::Unix(Unix::open(path.clone())?),
            WireSpec::Loop => Wire::Loop(Loopback::default()),
        })
    }

    /// What to poll for reading, when there is something to wait for.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Wire::Tap(tap) => tap.fd(),
            Wire::Unix(unix) => unix.fd(),
            Wire::Loop(_) => None,
        }
    }

    /// Whether there is a frame that `fd` does not tell of.
    pub fn is_waiting(&self) -> bool {
        matches!(self, Wire::Loop(own) if own.is_waiting())
    }

    /// Whether there is somebody at the other end.
    pub fn is_up(&self) -> bool {
        match self {
            Wire::Tap(tap) => tap.is_there(),
            Wire::Loop(_) => true,
            Wire::Unix(unix) => unix.is_connected(),
        }
    }

    /// The next frame, copied into `frame`; none when none waits.
    pub fn receive(&mut self, frame: &mut [u8; MAX_FRAME]) -> Option<usize> {
        match self {
            Wire::Tap(tap) => tap.receive(frame),
            Wire::Unix(unix) => unix.receive(frame),
            Wire::Loop(own) => own.receive(frame),
        }
    }

    /// Sends a frame; one that the other end has no room for is lost, as on a wire.
    pub fn transmit(&mut self, frame: &[u8]) {
        match self {
            Wire::Tap(tap) => tap.transmit(frame),
            Wire::Unix(unix) => unix.transmit(frame),
            Wire::Loop(own) => own.transmit(frame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_is_named_as_on_the_command_line() {
        for text in ["tap:port0", "unix:/tmp/wire.sock", "loop"] {
            assert_eq!(text.parse::<WireSpec>().unwrap().to_string(), text);
        }
        for text in ["", "tap", "unix:", "loop:1", "veth:a"] {
            assert!(text.parse::<WireSpec>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_tap_needs_a_name_that_the_kernel_takes() {
        for name in ["", "sixteen-bytes-xx", "a/b", "a b", "..", "a%d"] {
            assert!(
                matches!(Tap::open(name), Err(WireError::TapName(_))),
                "{name}"
            );
        }
    }
}
