//! `ixgbe`: what the driver of the 82599 and the pipeline cost without a card. See `--help`.

#[path = "../common/arguments.rs"]
mod arguments;
mod card;
#[path = "../common/packet.rs"]
mod packet;
#[path = "../common/port.rs"]
mod port;
mod router;
#[path = "../common/world.rs"]
mod world;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ixmap::control::args;
use ixmap::shared::fib::{Exhausted, World};
use ixmap_tables::{Route, Routes, SEED, Stream};
use serde::Serialize;

use crate::packet::{Family, Packet};
use crate::router::{Router, Work};
use crate::world::load;

/// Bare and whole take turns this long.
const ROUND: Duration = Duration::from_millis(50);

/// Measures the way of a packet through the driver of the 82599, without a card.
///
/// The rings of two ports lie in plain memory. A stand-in for the card fills the receive ring of the
/// first with 64-byte packets and reports those that the second sends, off the clock; in between
/// a worker takes its turns: the driver receives, the pipeline forwards, the driver sends. Beside it,
/// on the same rings, the driver receives and sends with nothing between. Prints a line of JSON each,
/// medians over rounds of 50 ms, then the ratio of whole to bare.
#[derive(Parser, Debug)]
#[command(name = "ixgbe")]
struct Arguments {
    /// Routes: `PREFIX ID` a line, all IPv4 or all IPv6, plain or xz
    #[arg(long, value_name = "FILE")]
    table: PathBuf,
    /// How long to measure, in whole seconds
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = arguments::seconds)]
    seconds: u64,
    /// Run on this core
    #[arg(long, value_name = "C")]
    core: Option<usize>,
    /// Different packets, in the order of the table's prefixes drawn at random
    #[arg(long, value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    frames: u32,
}

#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Input(#[from] ixmap_tables::Error),
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    #[error("no memory for rings and frames: {0}")]
    Memory(#[from] io::Error),
    #[error("core {0} is not there, or not for this process")]
    Core(usize),
}

#[derive(Serialize)]
struct Report {
    path: &'static str,
    mpps: f64,
    ns_per_packet: f64,
}

#[derive(Serialize)]
struct Summary {
    ratio: f64,
    routes: usize,
    packets: u64,
    not_forwarded: u64,
}

fn main() -> ExitCode {
    let arguments: Arguments = match args::parse("ixgbe") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ixgbe: {error}");
            let input = matches!(error, Error::Input(_) | Error::Core(_));
            ExitCode::from(if input { 2 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    if let Some(core) = arguments.core
        && !arguments::pin(core)
    {
        return Err(Error::Core(core));
    }
    match Routes::read(&arguments.table, arguments::LARGEST_ID)? {
        Routes::Ipv4(routes) => {
            let ipv4 = load(&routes)?;
            let world = World {
                ipv4,
                ..World::default()
            };
            measure(arguments, &routes, world)
        }
        Routes::Ipv6(routes) => {
            let ipv6 = load(&routes)?;
            let world = World {
                ipv6,
                ..World::default()
            };
            measure(arguments, &routes, world)
        }
    }
}

fn measure<A: Family + ixmap_tables::Address>(
    arguments: &Arguments,
    routes: &[Route<A>],
    world: World,
) -> Result<(), Error> {
    let largest = routes.iter().map(|route| route.id).max().unwrap_or(0);
    let packets: Vec<Packet> = Stream::UniformPrefix
        .addresses(routes, SEED)
        .into_iter()
        .take(arguments.frames as usize)
        .map(A::packet)
        .collect();
    let mut router = Router::new(world, largest)?;
    let mut stream = packets.iter().cycle();
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    while Instant::now() < end {
        bare.push(router.round(Work::Bare, &mut stream, ROUND)?);
        whole.push(router.round(Work::Whole, &mut stream, ROUND)?);
    }
    let [bare, whole] = [bare, whole].map(median);
    for (path, ns_per_packet) in [("bare", bare), ("whole", whole)] {
        print(&Report {
            path,
            mpps: rounded(1e3 / ns_per_packet),
            ns_per_packet: rounded(ns_per_packet),
        });
    }
    print(&Summary {
        ratio: rounded(bare / whole),
        routes: routes.len(),
        packets: router.packets,
        not_forwarded: router.not_forwarded,
    });
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn print(line: &impl Serialize) {
    // Numbers and words: nothing that JSON cannot say.
    println!("{}", serde_json::to_string(line).unwrap_or_default());
}
