//! `made-up`: a table of made-up prefixes, `prefix id` a line, the same every time.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use ixmap_tables::{Address, SEED, made_up};

const USAGE: &str = "usage: made-up 4|6 N: so many routes, 1 to 4194304";
/// There are enough prefixes for so many.
const MOST: usize = 1 << 22;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let count = |text: &str| text.parse().ok().filter(|n| (1..=MOST).contains(n));
    let written = match words[..] {
        ["4", number] => count(number).map(write::<u32>),
        ["6", number] => count(number).map(write::<u128>),
        _ => None,
    };
    match written {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("made-up: {error}");
            ExitCode::from(1)
        }
        None => {
            eprintln!("made-up: {USAGE}");
            ExitCode::from(2)
        }
    }
}

fn write<A: Address>(count: usize) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for route in made_up::<A>(count, SEED) {
        writeln!(out, "{}/{} {}", route.prefix.to_ip(), route.len, route.id)?;
    }
    out.flush()
}
