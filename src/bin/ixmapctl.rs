//! Asks and tells a running ixmapd over its control socket.

use std::process::ExitCode;

fn main() -> ExitCode {
    ixmap::control::ctl::cli::main()
}
