//! `ixmap-fib-peers`: other crates for longest-prefix match over the files that the router's
//! `--example fib` reads, timed in the same way. See `--help` and `benches/README.md`.
//!
//! `peer` has the crates behind one trait, `measure` the clock, `rte_fib.c` beside this crate does
//! for DPDK what this program does for crates.

mod measure;
mod peer;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ixmap_tables::{Addresses, Route, Routes, read_updates};

use crate::peer::{Family, Peer};

/// Builds another crate's table, measures its lookups and writes its answers.
///
/// TABLE has a route a line, `PREFIX ID`, ADDRESSES an address a line; both plain or xz. Each file
/// of addresses is measured on its own, for a line of JSON in the files' order.
#[derive(Parser, Debug)]
#[command(name = "ixmap-fib-peers")]
struct Arguments {
    /// The crate
    #[arg(value_enum)]
    peer: Name,
    /// Routes: `PREFIX ID` a line
    table: PathBuf,
    /// Addresses to look up, one a line
    #[arg(required = true)]
    addresses: Vec<PathBuf>,
    /// Rounds to take the median of, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Write the id of each address of all files, or "-", a line each
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Replay updates first, `TIME a PREFIX ID` or `TIME w PREFIX` a line, and print a line of JSON
    #[arg(long, value_name = "FILE")]
    updates: Option<PathBuf>,
    /// Give up, with exit 3, when the table is not built after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    build_limit: u64,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Name {
    Treebitmap,
    PrefixTrie,
    Poptrie,
}

/// Why the program ends early.
#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Input(#[from] ixmap_tables::Error),
    #[error("{0} has no addresses")]
    NoAddresses(String),
    #[error("cannot read /proc/self/status: {0}")]
    Memory(io::Error),
    #[error("cannot write {0}: {1}")]
    Output(String, io::Error),
    #[error("not built in {0:?}: {1} of {2} routes; --build-limit allows more time")]
    Slow(Duration, usize, usize),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Err(error) = run(&arguments) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("ixmap-fib-peers: {error}");
    ExitCode::from(match error {
        Error::Input(_) | Error::NoAddresses(_) => 2,
        Error::Slow(..) => 3,
        Error::Memory(_) | Error::Output(..) => 1,
    })
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    match Routes::read(&arguments.table, u32::MAX)? {
        Routes::Ipv4(routes) => choose(arguments, &routes),
        Routes::Ipv6(routes) => choose(arguments, &routes),
    }
}

fn choose<A: Family>(arguments: &Arguments, routes: &[Route<A>]) -> Result<(), Error> {
    match arguments.peer {
        Name::Treebitmap => serve::<A, A::Treebitmap>(arguments, routes),
        Name::PrefixTrie => serve::<A, A::PrefixTrie>(arguments, routes),
        Name::Poptrie => serve::<A, A::Poptrie>(arguments, routes),
    }
}

/// Everything but reading the table, for one family and one crate.
fn serve<A: Family, P: Peer<A>>(arguments: &Arguments, routes: &[Route<A>]) -> Result<(), Error> {
    let streams = arguments.addresses.iter().map(|path| read_addresses(path));
    let streams: Vec<Vec<A>> = streams.collect::<Result<_, Error>>()?;
    let updates = arguments.updates.as_ref();
    let updates = updates
        .map(|path| read_updates(path, u32::MAX))
        .transpose()?;
    let limit = Duration::from_secs(arguments.build_limit);
    let (mut peer, built) = measure::build::<A, P>(routes, limit)?;
    if let Some(updates) = updates {
        print(&measure::updates(&mut peer, &updates))?;
    }
    if let Some(path) = &arguments.answers {
        answer(&peer, &streams.concat(), path)
            .map_err(|error| Error::Output(path.display().to_string(), error))?;
    }
    for addresses in &streams {
        let rounds = usize::from(arguments.rounds);
        print(&measure::lookups(&peer, addresses, rounds, &built))?;
    }
    Ok(())
}

fn read_addresses<A: Family>(path: &Path) -> Result<Vec<A>, Error> {
    let addresses = Addresses::open(path)?.all(usize::MAX)?;
    if addresses.is_empty() {
        return Err(Error::NoAddresses(path.display().to_string()));
    }
    Ok(addresses)
}

/// The id for each address, or `-`, on a line of its own.
fn answer<A: Family>(peer: &impl Peer<A>, addresses: &[A], path: &Path) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for address in addresses {
        match peer.lookup(*address) {
            Some(id) => writeln!(out, "{id}")?,
            None => writeln!(out, "-")?,
        }
    }
    out.flush()
}

/// A report on a line of its own.
fn print(report: &impl serde::Serialize) -> Result<(), Error> {
    let write = || writeln!(io::stdout(), "{}", serde_json::to_string(report)?);
    write().map_err(|error| Error::Output("to stdout".to_owned(), error))
}
