//! What building, looking up and updating cost, measured as the router's `--example fib` does.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use ixmap_tables::{Change, Route, Update};
use serde::Serialize;

use crate::Error;
use crate::peer::{Family, Peer};

/// A round of lookups takes this long or longer.
const ROUND: Duration = Duration::from_millis(50);
/// None of the crates has a bulk lookup; answers are collected in bursts all the same.
const BURST: usize = 64;
/// The clock is asked once in so many inserts whether building takes too long.
const CLOCK_EVERY: usize = 1024;

/// What building a table took.
pub(crate) struct Built {
    time: Duration,
    /// Resident bytes that building added.
    bytes: u64,
}

#[derive(Serialize)]
pub(crate) struct Lookups {
    peer: &'static str,
    burst: usize,
    ns_per_lookup: f64,
    mlookups: f64,
    build_seconds: f64,
    rss_bytes: u64,
}

/// The times are null when there was no update.
#[derive(Serialize)]
pub(crate) struct Updates {
    peer: &'static str,
    ops: usize,
    ns_per_op_mean: Option<f64>,
    ns_per_op_p50: Option<f64>,
    ns_per_op_p99: Option<f64>,
}

/// Builds a crate's table route by route, within the time that is allowed.
pub(crate) fn build<A: Family, P: Peer<A>>(
    routes: &[Route<A>],
    limit: Duration,
) -> Result<(P, Built), Error> {
    let before = resident_bytes()?;
    let start = Instant::now();
    let mut peer = P::default();
    for (done, some) in routes.chunks(CLOCK_EVERY).enumerate() {
        if start.elapsed() > limit {
            return Err(Error::Slow(limit, done * CLOCK_EVERY, routes.len()));
        }
        for route in some {
            peer.insert(route.prefix, route.len, route.id);
        }
    }
    let time = start.elapsed();
    let bytes = resident_bytes()?.saturating_sub(before);
    Ok((peer, Built { time, bytes }))
}

/// The median over `rounds` of whole passes through the addresses; one pass more warms the caches.
pub(crate) fn lookups<A: Family, P: Peer<A>>(
    peer: &P,
    addresses: &[A],
    rounds: usize,
    built: &Built,
) -> Lookups {
    pass(peer, addresses);
    let mut times: Vec<f64> = (0..rounds).map(|_| round(peer, addresses)).collect();
    times.sort_unstable_by(f64::total_cmp);
    let ns = times[rounds / 2];
    Lookups {
        peer: P::NAME,
        burst: BURST,
        ns_per_lookup: rounded(ns),
        mlookups: rounded(1e3 / ns),
        build_seconds: rounded(built.time.as_secs_f64()),
        rss_bytes: built.bytes,
    }
}

/// Nanoseconds a lookup.
fn round<A: Family>(peer: &impl Peer<A>, addresses: &[A]) -> f64 {
    let start = Instant::now();
    let mut passes = 0;
    loop {
        pass(peer, addresses);
        passes += 1;
        let took = start.elapsed();
        if took >= ROUND {
            return nanoseconds(took) / (passes * addresses.len()) as f64;
        }
    }
}

/// Looks all addresses up.
fn pass<A: Family>(peer: &impl Peer<A>, addresses: &[A]) {
    let mut ids = [None; BURST];
    for burst in addresses.chunks(BURST) {
        for (id, address) in ids.iter_mut().zip(black_box(burst)) {
            *id = peer.lookup(*address);
        }
        black_box(&mut ids);
    }
}

/// Applies all updates and times each.
pub(crate) fn updates<A: Family, P: Peer<A>>(peer: &mut P, updates: &[Update<A>]) -> Updates {
    let apply = |update: &Update<A>| {
        let start = Instant::now();
        match update.change {
            Change::Announce(id) => peer.insert(update.prefix, update.len, id),
            Change::Withdraw => peer.remove(update.prefix, update.len),
        }
        nanoseconds(start.elapsed())
    };
    let mut times: Vec<f64> = updates.iter().map(apply).collect();
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    times.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().map(rounded);
    Updates {
        peer: P::NAME,
        ops: times.len(),
        ns_per_op_mean: (!times.is_empty()).then(|| rounded(mean)),
        ns_per_op_p50: at(50),
        ns_per_op_p99: at(99),
    }
}

fn resident_bytes() -> Result<u64, Error> {
    let status = fs::read_to_string("/proc/self/status").map_err(Error::Memory)?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.unwrap_or(0) * 1024)
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// Three decimals are more than a measurement is good for.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
