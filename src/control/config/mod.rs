//! Configuration from file and command line, checked against the machine before anything starts.
//!
//! `value` reads single values, `file` the TOML around them, `machine` is what they are
//! checked against. Every error is one line that names the place and the way out.

mod file;
mod machine;
mod value;

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::control::fault::Fault;
use crate::shared::config::Config;

pub use machine::Machine;
pub use value::{Conflict, check_ports, core_list, port_spec};
pub(crate) use value::{metrics, socket, split_port};

/// Where the file is unless `-c` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/ixmap/ixmap.toml";

/// The largest file that is read: far beyond what [`crate::shared::port::MAX_PORTS`] ports need.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a configuration cannot be used, on one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{}: cannot be read ({source}): write it, or name ports with --port NAME=DRIVER:DEVICE", .path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: more than {MAX_FILE} bytes: give the file that configures ixmap", .path.display())]
    TooLong { path: PathBuf },
    #[error("{}:{line}: {}: {}", .path.display(), one_line(.key), one_line(&.fault.to_string()))]
    Line {
        path: PathBuf,
        line: usize,
        key: String,
        fault: Fault,
    },
    #[error("{option}: {}", one_line(&.fault.to_string()))]
    Option { option: &'static str, fault: Fault },
}

/// Reads and checks a configuration file.
pub fn load(path: &Path, machine: &Machine) -> Result<Config, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(ConfigError::TooLong {
            path: path.to_owned(),
        });
    }
    file::parse(&text, machine).map_err(|error| ConfigError::Line {
        path: path.to_owned(),
        line: error.line,
        key: error.key,
        fault: error.fault,
    })
}

/// Escapes what would break the line or the terminal: keys and values may hold anything.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests;
