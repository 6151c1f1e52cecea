//! `fib`: the router's FIB with a table from a file, asked and measured. See `--help`.
//!
//! Scripts rely on what it prints; docs say what the lines mean.

mod answer;
mod engine;
mod frames;
mod lookups;
mod replay;

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{ArgGroup, Parser};
use ixmap::control::args;
use ixmap::shared::fib;
use ixmap_tables::{Route, Routes, SEED, Stream, read_updates};

/// The largest id in files: there must be a group for it, and one is where no route leads.
const LARGEST_ID: u32 = fib::GroupId::MAX_SLOT - 1;

/// Builds the router's FIB from a table, then answers addresses or measures.
///
/// TABLE has a route a line, `PREFIX ID`, all IPv4 or all IPv6, plain or xz. Without --bench and
/// --write-stream, addresses are read from stdin, one a line, and the id of the longest matching
/// prefix of each is printed, or "-" where there is none.
///
/// A prefix with host bits set is refused, the last line of several for a prefix counts.
///
/// Bad input is exit 2, with file, line number and line on stderr.
#[derive(Parser, Debug)]
#[command(name = "fib")]
#[command(group(ArgGroup::new("measurement").args(["bench", "write_stream"]).multiple(true)))]
struct Arguments {
    /// Routes: `PREFIX ID` a line
    table: PathBuf,
    /// Measure lookups and print a line of JSON
    ///
    /// ns_per_lookup is the median over the rounds, each of whole passes through the stream's
    /// 1,048,576 addresses and 50 ms or longer; mlookups is millions a second. build_seconds is the
    /// time from the parsed list of routes to the first snapshot. hot_bytes is what lookups may
    /// touch, heap_bytes all that the table and its snapshots hold.
    #[arg(long)]
    bench: bool,
    /// The addresses: uniform-address, uniform-prefix, zipf or sequential [default: uniform-prefix]
    #[arg(long, value_name = "STREAM", requires = "measurement")]
    stream: Option<Stream>,
    /// Addresses looked up at once, 1 to 4096 [default: 64]
    #[arg(long, value_name = "N", requires = "bench", value_parser = clap::value_parser!(u16).range(1..=4096))]
    burst: Option<u16>,
    /// Rounds to take the median of, 1 to 1000 [default: 9]
    #[arg(long, value_name = "N", requires = "bench", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// Forward packets, too, out of N frames and in bursts of 64; 1 to 1048576
    ///
    /// Adds frames, ns_per_packet and ns_per_packet_without_lookup to the line: the time to read the
    /// destinations of a burst from its frames, look them up, and write TTL, checksum and MAC
    /// addresses; and the time of all that but the lookup. A frame takes 2 KiB of memory.
    #[arg(long, value_name = "N", requires = "bench", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    frames: Option<u32>,
    /// Replay updates first, `TIME a PREFIX ID` or `TIME w PREFIX [ID]` a line, and print a line of JSON
    ///
    /// An op's cost is its change to the table and its share of the commit, in which the snapshot
    /// before the last one is freed. ns_per_op_mean is the whole time by the number of ops.
    /// ns_per_op_p99 is the 99th percentile over the commits of: the commit and the changes in it,
    /// by the number of these changes.
    #[arg(long, value_name = "FILE")]
    updates: Option<PathBuf>,
    /// Updates in a commit [default: 256]
    #[arg(long, value_name = "N", requires = "updates")]
    commit_every: Option<NonZeroUsize>,
    /// Look up by avx512, avx2 or scalar instructions [default: the best that this machine has]
    #[arg(long, requires = "bench")]
    path: Option<fib::Path>,
    /// Write the stream's addresses to a file, one a line, for other programs
    #[arg(long, value_name = "FILE")]
    write_stream: Option<PathBuf>,
}

/// Why the program ends early.
#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Input(#[from] ixmap_tables::Error),
    #[error(transparent)]
    Exhausted(#[from] fib::Exhausted),
    #[error("no memory for frames: {0}")]
    Frames(io::Error),
    #[error("cannot write {0}: {1}")]
    Output(String, io::Error),
}

impl Error {
    fn stdout(source: io::Error) -> Error {
        Error::Output("to stdout".to_owned(), source)
    }
}

fn main() -> ExitCode {
    let arguments: Arguments = match args::parse("fib") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let error = match run(&arguments) {
        Ok(()) => return ExitCode::SUCCESS,
        // A reader that has seen enough: `fib TABLE < addresses | head`.
        Err(Error::Output(_, error)) if error.kind() == ErrorKind::BrokenPipe => {
            return ExitCode::SUCCESS;
        }
        Err(error) => error,
    };
    eprintln!("fib: {error}");
    ExitCode::from(match error {
        Error::Input(_) => 2,
        Error::Output(..) | Error::Exhausted(_) | Error::Frames(_) => 1,
    })
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    match Routes::read(&arguments.table, LARGEST_ID)? {
        Routes::Ipv4(routes) => serve(arguments, &routes),
        Routes::Ipv6(routes) => serve(arguments, &routes),
    }
}

/// Everything but reading the table, for one family.
fn serve<A: frames::Packet + ixmap_tables::Address>(
    arguments: &Arguments,
    routes: &[Route<A>],
) -> Result<(), Error> {
    let updates = match &arguments.updates {
        Some(path) => Some(read_updates(path, LARGEST_ID)?),
        None => None,
    };
    let stream = arguments.stream.unwrap_or(Stream::UniformPrefix);
    if let Some(path) = &arguments.write_stream {
        write_stream(path, &stream.addresses(routes, SEED))
            .map_err(|error| Error::Output(path.display().to_string(), error))?;
    }
    let start = Instant::now();
    let (mut table, mut fib) = engine::load(routes)?;
    let build = start.elapsed();
    if let Some(updates) = updates {
        let every = arguments.commit_every.map_or(256, NonZeroUsize::get);
        let (after, report) = replay::replay(&mut table, fib, &updates, every)?;
        fib = after;
        print(&report)?;
    }
    if arguments.bench {
        let addresses = stream.addresses(routes, SEED);
        let burst = usize::from(arguments.burst.unwrap_or(64));
        let rounds = usize::from(arguments.rounds.unwrap_or(9));
        let path = arguments.path.unwrap_or_else(fib::Path::best);
        let ns = lookups::measure(&fib, &addresses, burst, rounds, path);
        let frames = match arguments.frames {
            Some(count) => {
                let measured = frames::measure(&fib, &addresses, count as usize, rounds, path);
                Some(measured.map_err(Error::Frames)?)
            }
            None => None,
        };
        print(&lookups::Report::new(
            &table, &fib, ns, build, stream, burst, path, frames,
        ))?;
    } else if arguments.write_stream.is_none() {
        answer::stdin(&fib)?;
    }
    Ok(())
}

/// A report on a line of its own.
fn print(report: &impl serde::Serialize) -> Result<(), Error> {
    let line = serde_json::to_string(report).map_err(|error| Error::stdout(error.into()))?;
    writeln!(io::stdout(), "{line}").map_err(Error::stdout)
}

fn write_stream<A: ixmap_tables::Address>(path: &Path, addresses: &[A]) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for address in addresses {
        writeln!(out, "{}", address.to_ip())?;
    }
    out.flush()
}

/// Three decimals are more than a measurement is good for.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
