//! `forward`: how many packets a worker forwards between ports in memory. See `--help`.

mod naive;
#[path = "../common/packet.rs"]
mod packet;
mod router;
#[path = "../common/world.rs"]
mod world;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ixmap::control::args;
use ixmap::shared::fib::{Exhausted, GroupId, Path, World};
use ixmap_tables::{Address, Addresses, Route, Routes};
use serde::Serialize;

use crate::naive::Naive;
use crate::packet::{Family, Packet};
use crate::router::Router;

/// The largest id in files.
const LARGEST_ID: u32 = GroupId::MAX_SLOT - 1;
/// More destinations than any measurement has frames.
const MOST: usize = 1 << 20;

/// Measures a worker between two ports in memory.
///
/// 64-byte packets to the destinations, in the order of the file, lie in frames of the worker's pool.
/// They arrive at the first port, go the way of every packet of ixmapd, and leave by the second, from
/// where they arrive again. First, one pass is checked, every byte of it, against a forwarder that is
/// slow and evidently right. Prints a line of JSON, the median over passes.
#[derive(Parser, Debug)]
#[command(name = "forward")]
struct Arguments {
    /// Routes: `PREFIX ID` a line, all IPv4 or all IPv6, plain or xz
    #[arg(long, value_name = "FILE")]
    table: PathBuf,
    /// Destinations, one a line, plain or xz
    #[arg(long, value_name = "FILE")]
    destinations: PathBuf,
    /// Frames that go round; destinations are used again when there are more
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    frames: u32,
    /// The most packets that are received at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u8).range(1..=64))]
    burst: u8,
    /// How long to measure
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Run on this core
    #[arg(long, value_name = "C")]
    core: Option<usize>,
}

#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Input(#[from] ixmap_tables::Error),
    #[error("{}: no destinations of the table's family", .0.display())]
    NoDestinations(PathBuf),
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    #[error("no memory for frames: {0}")]
    Memory(#[from] io::Error),
    #[error("core {0} is not there, or not for this process")]
    Core(usize),
    #[error("{0}")]
    Wrong(String),
}

#[derive(Serialize)]
struct Report {
    mpps: f64,
    ns_per_packet: f64,
    frames: u32,
    burst: u8,
    path: String,
    routes: usize,
    /// Of a pass: addresses without a route.
    not_forwarded: usize,
}

fn main() -> ExitCode {
    let arguments: Arguments = match args::parse("forward") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forward: {error}");
            let input = matches!(error, Error::Input(_) | Error::NoDestinations(_));
            ExitCode::from(if input { 2 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    if let Some(id) = arguments.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Err(Error::Core(id));
    }
    match Routes::read(&arguments.table, LARGEST_ID)? {
        Routes::Ipv4(routes) => {
            let ipv4 = world::load(&routes)?;
            let world = World {
                ipv4,
                ..World::default()
            };
            measure(arguments, &routes, world)
        }
        Routes::Ipv6(routes) => {
            let ipv6 = world::load(&routes)?;
            let world = World {
                ipv6,
                ..World::default()
            };
            measure(arguments, &routes, world)
        }
    }
}

fn measure<A: Family + Address>(
    arguments: &Arguments,
    routes: &[Route<A>],
    world: World,
) -> Result<(), Error> {
    let mut destinations: Vec<A> = Vec::new();
    Addresses::open(&arguments.destinations)?.fill(&mut destinations, MOST)?;
    if destinations.is_empty() {
        return Err(Error::NoDestinations(arguments.destinations.clone()));
    }
    let frames = arguments.frames as usize;
    let packets: Vec<(A, Packet)> = destinations
        .iter()
        .cycle()
        .take(frames)
        .map(|destination| (*destination, destination.packet()))
        .collect();
    let mut router = Router::new(
        world,
        routes,
        arguments.frames,
        usize::from(arguments.burst),
    )?;
    let naive = Naive::new(routes);
    let not_forwarded = router.check(&packets, &naive).map_err(Error::Wrong)?;
    let ns_per_packet = router.measure(&packets, Duration::from_secs(arguments.seconds));
    let report = Report {
        mpps: rounded(1e3 / ns_per_packet),
        ns_per_packet: rounded(ns_per_packet),
        frames: arguments.frames,
        burst: arguments.burst,
        path: Path::best().to_string(),
        routes: routes.len(),
        not_forwarded,
    };
    // Numbers and words: nothing that JSON cannot say.
    println!("{}", serde_json::to_string(&report).unwrap_or_default());
    Ok(())
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
