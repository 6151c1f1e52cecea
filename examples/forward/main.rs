//! `forward`: how many packets a worker forwards between ports in memory. See `--help`.

#[path = "../common/arguments.rs"]
mod arguments;
mod naive;
#[path = "../common/packet.rs"]
mod packet;
#[path = "../common/port.rs"]
mod port;
mod router;
#[path = "../common/world.rs"]
mod world;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use clap::Parser;
use ixmap::control::{args, config};
use ixmap::shared::fib::{Exhausted, Path, World};
use ixmap_tables::{Address, Addresses, Route, Routes};
use serde::Serialize;

use crate::arguments::LARGEST_ID;
use crate::naive::Naive;
use crate::packet::{Family, Packet};
use crate::router::{Published, Router};

/// More destinations than any measurement has frames.
const MOST: usize = 1 << 20;

/// Measures a worker between two ports in memory.
///
/// 64-byte packets to the destinations, in the order of the file, lie in frames of the worker's pool.
/// They arrive at the first port, go the way of every packet of ixmapd, and leave by the second, from
/// where they arrive again. First, one pass is checked, every byte of it, against a forwarder that is
/// slow and evidently right. Those that it does not forward (`not_forwarded`) are not measured: others take
/// their place. Prints a line of JSON, the median over passes; with several cores the sum of their
/// workers' medians, which run at the same time.
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
    /// How long to measure, in whole seconds
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = arguments::seconds)]
    seconds: u64,
    /// Run on this core
    #[arg(long, value_name = "C")]
    core: Option<usize>,
    /// Run a worker on each of these cores, such as 0-1: each has frames and ports of its own
    #[arg(long, value_name = "CORES", value_parser = cores, conflicts_with = "core")]
    cores: Option<Cores>,
}

/// `--cores`: one argument, several cores.
#[derive(Clone, Debug)]
struct Cores(Vec<usize>);

fn cores(text: &str) -> Result<Cores, String> {
    let list = config::core_list(text).map_err(|fault| fault.to_string());
    let list = list?;
    let mut seen = HashSet::new();
    match list.iter().find(|core| !seen.insert(**core)) {
        Some(core) => Err(format!("core {core} is named twice")),
        None => Ok(Cores(list)),
    }
}

impl Arguments {
    /// Where each worker runs.
    fn workers(&self) -> Vec<Option<usize>> {
        match &self.cores {
            Some(Cores(cores)) => cores.iter().copied().map(Some).collect(),
            None => vec![self.core],
        }
    }
}

#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Input(#[from] ixmap_tables::Error),
    #[error("{}: no destinations of the table's family", .0.display())]
    NoDestinations(PathBuf),
    #[error("{}: the table has a route to none of these destinations", .0.display())]
    NothingForwarded(PathBuf),
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    #[error("no memory for frames: {0}")]
    Memory(#[from] io::Error),
    #[error("core {0} is not there, or not for this process")]
    Core(usize),
    #[error("{0}")]
    Wrong(String),
    #[error("a worker has panicked")]
    Died,
}

#[derive(Serialize)]
struct Report {
    mpps: f64,
    ns_per_packet: f64,
    frames: u32,
    burst: u8,
    path: String,
    routes: usize,
    /// Of the pass that is checked: packets that no router forwards, for want of a route mostly.
    not_forwarded: usize,
    workers: Vec<Share>,
}

/// What one worker did.
#[derive(Serialize)]
struct Share {
    core: Option<usize>,
    mpps: f64,
    ns_per_packet: f64,
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
            let input = matches!(
                error,
                Error::Input(_)
                    | Error::NoDestinations(_)
                    | Error::NothingForwarded(_)
                    | Error::Core(_)
            );
            ExitCode::from(if input { 2 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    match Routes::read(&arguments.table, LARGEST_ID)? {
        Routes::Ipv4(routes) => {
            let ipv4 = world::load(&routes)?;
            let world = World {
                ipv4,
                ..World::default()
            };
            measure(arguments, &routes, &world)
        }
        Routes::Ipv6(routes) => {
            let ipv6 = world::load(&routes)?;
            let world = World {
                ipv6,
                ..World::default()
            };
            measure(arguments, &routes, &world)
        }
    }
}

fn measure<A: Family + Address>(
    arguments: &Arguments,
    routes: &[Route<A>],
    world: &World,
) -> Result<(), Error> {
    let destinations: Vec<A> = Addresses::open(&arguments.destinations)?.all(MOST)?;
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
    let naive = Naive::new(routes);
    let is_forwarded = |(destination, packet): &&(A, Packet)| {
        let forwarded = naive.forward(*destination, packet);
        forwarded.is_some()
    };
    let forwarded: Vec<_> = packets.iter().filter(is_forwarded).copied().collect();
    let not_forwarded = packets.len() - forwarded.len();
    if forwarded.is_empty() {
        return Err(Error::NothingForwarded(arguments.destinations.clone()));
    }
    let round: Vec<_> = forwarded.into_iter().cycle().take(frames).collect();
    let published = Published::new(world, routes)?;
    let workers = share_out(arguments, &published, &naive, [&packets, &round])?;
    let mpps = workers.iter().map(|worker| worker.mpps).sum();
    let report = Report {
        mpps: rounded(mpps),
        ns_per_packet: rounded(1e3 / mpps),
        frames: arguments.frames,
        burst: arguments.burst,
        path: Path::best().to_string(),
        routes: routes.len(),
        not_forwarded,
        workers,
    };
    // Numbers and words: nothing that JSON cannot say.
    println!("{}", serde_json::to_string(&report).unwrap_or_default());
    Ok(())
}

/// Runs all workers at once, each on a thread and with frames of its own: a pass with all packets, then
/// the measurement with those that go round. All passes are right before any worker waits for the others:
/// one that has failed or panicked would never come.
fn share_out<A: Family + Address>(
    arguments: &Arguments,
    published: &Published,
    naive: &Naive,
    [all, round]: [&[(A, Packet)]; 2],
) -> Result<Vec<Share>, Error> {
    let checked = on_threads(arguments.workers(), |core| {
        // First, so that the worker's memory is near.
        pin(core)?;
        let burst = usize::from(arguments.burst);
        let mut router = Router::new(published, arguments.frames, burst)?;
        router.check(all, naive).map_err(Error::Wrong)?;
        Ok((core, router))
    })?;
    let together = Barrier::new(checked.len());
    let time = Duration::from_secs(arguments.seconds);
    on_threads(checked, |(core, mut router)| {
        let pinned = pin(core);
        // Also with an error: the others wait for everybody.
        together.wait();
        pinned?;
        let ns_per_packet = router.measure(round, time);
        Ok(Share {
            core,
            mpps: rounded(1e3 / ns_per_packet),
            ns_per_packet: rounded(ns_per_packet),
        })
    })
}

/// What `work` makes of each, on a thread of its own; the first error when there is one.
fn on_threads<T: Send, U: Send>(
    each: Vec<T>,
    work: impl Fn(T) -> Result<U, Error> + Sync,
) -> Result<Vec<U>, Error> {
    thread::scope(|scope| {
        let work = &work;
        let threads = each.into_iter().map(|one| scope.spawn(move || work(one)));
        let threads: Vec<_> = threads.collect();
        // All of them, before the first error is told.
        let done: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let made = done.into_iter();
        made.map(|one| one.unwrap_or(Err(Error::Died))).collect()
    })
}

fn pin(core: Option<usize>) -> Result<(), Error> {
    match core {
        Some(core) if !arguments::pin(core) => Err(Error::Core(core)),
        _ => Ok(()),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
