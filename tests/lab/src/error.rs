//! What can go wrong in the lab, in words that a failing test can print as they are.

use std::fmt;
use std::io;

/// The lab's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a step in the lab failed.
#[derive(thiserror::Error)]
pub enum Error {
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        command: String,
        status: String,
        output: String,
    },
    #[error("gave up waiting until {0}")]
    Timeout(String),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("cannot read {what}: {text}")]
    Parse { what: &'static str, text: String },
    #[error("ixmapd did not become ready: {0}")]
    NotReady(String),
    #[error("the router under test is the kernel: there is no {0}")]
    KernelRouter(&'static str),
}

impl Error {
    /// For `map_err`: names what was attempted when an operation of the system failed.
    pub fn io<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
        let what = what.into();
        move |source| Error::Io {
            what,
            source: source.into(),
        }
    }
}

/// libtest prints a returned error with `Debug`; ours is made for reading.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
