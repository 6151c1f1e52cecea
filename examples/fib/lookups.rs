//! `--bench`: how long a lookup takes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ixmap::shared::fib::{Address, Fib, GroupId, Table};
use ixmap_tables::Stream;
use serde::Serialize;

use crate::rounded;

/// A round takes this long or longer.
const ROUND: Duration = Duration::from_millis(50);

/// What is printed.
#[derive(Serialize)]
pub(crate) struct Report {
    ns_per_lookup: f64,
    mlookups: f64,
    hot_bytes: usize,
    heap_bytes: usize,
    build_seconds: f64,
    path: String,
    stream: &'static str,
    burst: usize,
    routes: usize,
}

impl Report {
    pub(crate) fn new<A: Address>(
        table: &Table<A>,
        fib: &Fib<A>,
        ns_per_lookup: f64,
        build: Duration,
        stream: Stream,
        burst: usize,
    ) -> Report {
        Report {
            ns_per_lookup: rounded(ns_per_lookup),
            mlookups: rounded(1e3 / ns_per_lookup),
            hot_bytes: hot_bytes(fib),
            heap_bytes: heap_bytes(table),
            build_seconds: build.as_secs_f64(),
            path: path(fib),
            stream: stream.name(),
            burst,
            routes: fib.routes(),
        }
    }
}

// PLACEHOLDERS, to be replaced with the engine's own: Fib::hot_bytes(), Table::heap_bytes(),
// Fib::path().
fn hot_bytes<A: Address>(_: &Fib<A>) -> usize {
    0
}
fn heap_bytes<A: Address>(_: &Table<A>) -> usize {
    0
}
fn path<A: Address>(_: &Fib<A>) -> String {
    "scalar".to_owned()
}

/// Nanoseconds per lookup: the median over the rounds.
pub(crate) fn measure<A: Address>(
    fib: &Fib<A>,
    addresses: &[A],
    burst: usize,
    rounds: usize,
) -> f64 {
    let mut groups = vec![GroupId::NO_ROUTE; burst];
    let mut round = |passes: u32| {
        let start = Instant::now();
        for _ in 0..passes {
            pass(fib, addresses, &mut groups);
        }
        start.elapsed() / passes
    };
    // The first pass brings the table into the caches, the second tells how many make a round.
    round(1);
    let once = round(1).max(Duration::from_nanos(1));
    let passes = u32::try_from(ROUND.as_nanos().div_ceil(once.as_nanos())).unwrap_or(u32::MAX);
    let mut times: Vec<Duration> = (0..rounds).map(|_| round(passes)).collect();
    times.sort_unstable();
    times[rounds / 2].as_secs_f64() * 1e9 / addresses.len() as f64
}

/// Looks all addresses up, in bursts.
fn pass<A: Address>(fib: &Fib<A>, addresses: &[A], groups: &mut [GroupId]) {
    for burst in addresses.chunks(groups.len()) {
        fib.lookup_burst(black_box(burst), &mut groups[..burst.len()]);
        black_box(&mut *groups);
    }
}
