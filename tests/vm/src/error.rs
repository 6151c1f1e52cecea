//! What can go wrong with a virtual machine, in words that a failing test can print as they are.

use std::fmt;
use std::io;

/// The harness's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a virtual machine, or a step in it, failed.
#[derive(thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Lab(#[from] ixmap_lab::Error),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        command: String,
        status: String,
        output: String,
    },
    #[error(
        "apt knows no {0}: the virtual machine needs Debian's archive in the machine's apt sources"
    )]
    NotInApt(&'static str),
    #[error("{who} ended ({status}):\n{log}")]
    Ended {
        who: &'static str,
        status: String,
        log: String,
    },
    #[error("gave up waiting for {what}; the last lines of the log:\n{log}")]
    Timeout { what: String, log: String },
    #[error("the guest's kernel panicked:\n{0}")]
    Panic(String),
    #[error("cannot read {what}: {text}")]
    Parse { what: &'static str, text: String },
}

impl Error {
    /// For `map_err`: names what was attempted when an operation of the system failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}

/// libtest prints a returned error with `Debug`; ours is made for reading.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
