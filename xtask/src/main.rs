//! The project's chores: `cargo xtask demo` and `cargo xtask test [FILTER]`. Each does all of its
//! own set-up on a fresh Debian machine with a Rust toolchain.

mod demo;
mod parts;
mod setup;
mod test;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask demo | cargo xtask test [FILTER]

  demo            build the release, lay a lab of network namespaces, forward traffic through ixmapd
  test [FILTER]   run every part of the tests whose name contains FILTER, all without one";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["demo"] => demo::main(),
        ["test"] => test::main(""),
        ["test", filter] if !filter.starts_with('-') => test::main(filter),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
