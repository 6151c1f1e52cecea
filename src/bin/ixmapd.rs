//! The router's daemon: arguments in, one library call, exit code out.
//!
//! Exit codes: 0 clean, 1 runtime failure, 2 bad arguments or configuration.

use std::path::Path;
use std::process::ExitCode;

use ixmap::control::args::{self, Arguments};
use ixmap::control::config::Machine;
use ixmap::control::logging;
use ixmap::control::supervisor::{self, Options};

fn main() -> ExitCode {
    let arguments: Arguments = match args::parse("ixmapd") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let machine = Machine::read();
    let config = match arguments.load(&machine) {
        Ok(config) => config,
        Err(error) => return fail(2, &error),
    };
    if arguments.check {
        let source = arguments.file().unwrap_or(Path::new("command line"));
        println!("{}: ok", source.display());
        return ExitCode::SUCCESS;
    }
    let log = match logging::start(&config.log) {
        Ok(log) => log,
        Err(error) => return fail(2, &error),
    };
    match supervisor::run(Options {
        arguments,
        machine,
        config,
        log,
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    eprintln!("ixmapd: {error}");
    ExitCode::from(code)
}
