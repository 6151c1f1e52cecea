//! The tokio side: mirrors the kernel, publishes worlds, serves operators.

pub mod args;
pub mod config;
pub mod ctl;
pub mod fault;
pub mod logging;
pub mod metrics;
pub mod mirror;

use args::Arguments;
use config::Machine;

use crate::shared::config::Config;

/// What ends the daemon other than a signal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Socket(#[from] ctl::BindError),
    #[error(transparent)]
    Metrics(#[from] metrics::MetricsError),
    #[error("this build cannot forward: build the branch that has the supervisor")]
    NoSupervisor,
}

/// Runs the daemon until a signal stops it. `arguments` are there to load the configuration again.
pub fn run(
    _arguments: Arguments,
    _machine: Machine,
    _config: Config,
    _log: logging::Handle,
) -> Result<(), Error> {
    Err(Error::NoSupervisor)
}
