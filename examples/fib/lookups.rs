//! `--bench`: how long a lookup takes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ixmap::shared::fib::{Fib, GroupId, Lpm, Path, Table};
use ixmap_tables::Stream;
use serde::Serialize;

use crate::{frames, rounded};

/// A round takes this long or longer.
pub(crate) const ROUND: Duration = Duration::from_millis(50);

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
    #[serde(flatten)]
    frames: Option<frames::Report>,
}

impl Report {
    #[allow(clippy::too_many_arguments, reason = "one a field")]
    pub(crate) fn new<A: Lpm>(
        table: &Table<A>,
        fib: &Fib<A>,
        ns_per_lookup: f64,
        build: Duration,
        stream: Stream,
        burst: usize,
        path: Path,
        frames: Option<frames::Report>,
    ) -> Report {
        Report {
            ns_per_lookup: rounded(ns_per_lookup),
            mlookups: rounded(1e3 / ns_per_lookup),
            hot_bytes: fib.hot_bytes(),
            heap_bytes: table.heap_bytes(),
            build_seconds: build.as_secs_f64(),
            path: path.to_string(),
            stream: stream.name(),
            burst,
            routes: fib.routes(),
            frames,
        }
    }
}

/// Nanoseconds per lookup: the median over the rounds.
pub(crate) fn measure<A: Lpm>(
    fib: &Fib<A>,
    addresses: &[A],
    burst: usize,
    rounds: usize,
    path: Path,
) -> f64 {
    let mut groups = vec![GroupId::NO_ROUTE; burst];
    let mut round = |passes: u32| {
        let start = Instant::now();
        for _ in 0..passes {
            pass(fib, addresses, &mut groups, path);
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
fn pass<A: Lpm>(fib: &Fib<A>, addresses: &[A], groups: &mut [GroupId], path: Path) {
    for burst in addresses.chunks(groups.len()) {
        fib.lookup_burst_by(path, black_box(burst), &mut groups[..burst.len()]);
        black_box(&mut *groups);
    }
}
