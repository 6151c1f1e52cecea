//! How soon, and in how much memory, ixmapd follows a kernel that has the Internet's table: in a
//! namespace of its own, with routes set by `ip` and read by nobody else. Root only, so it runs
//! when named: `cargo bench --bench mirror`.

#![allow(clippy::expect_used, reason = "a benchmark that cannot go on ends")]

mod probe;
mod router;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ixmap_lab::{Metrics, Result};

use crate::probe::Probe;
use crate::router::{Lines, Router};

/// Each time is taken so often; the table has the median, the least and the most.
const ROUNDS: usize = 5;
/// Routes through the one next hop that is replaced.
const SHARED: usize = 300_000;
/// The gateways that the shared next hop takes in turn.
const GATEWAYS: u8 = 5;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mirror: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    println!("| what | median (least-most) |\n|---|---|");
    let lines = Lines::read();
    let mut router = Router::new()?;
    follows(&mut router, &lines)?;
    starts(&mut router)?;
    loses_a_link(&router, &lines)?;
    router.stop()?;
    for compat in [0, 1] {
        replaces_a_next_hop(&mut router, &lines, compat)?;
    }
    Ok(())
}

/// A daemon that runs while `ip` fills the kernel, and while it empties it.
fn follows(router: &mut Router, lines: &Lines) -> Result<()> {
    router.start()?;
    let before = router.routes()?;
    let quiet = Metrics::scrape(&router.namespace)?;
    let (filling, behind) = timed_pair(
        || router.fill(lines),
        || router.until_routes(before + lines.count()),
    )?;
    row("`ip -batch` sets all routes", &[filling]);
    row("then ixmapd has all", &[behind]);
    let full = router.print_lag("while they are set", &quiet)?;
    println!("| memory then, at most | {} MiB |", router.most_memory()?);
    let (flushing, behind) = timed_pair(|| router.flush(), || router.until_routes(before))?;
    row("`ip route flush` of all", &[flushing]);
    row("then ixmapd has none", &[behind]);
    router.print_lag("meanwhile", &full)?;
    router.fill(lines)?;
    router.stop()
}

/// A kernel that has the table already.
fn starts(router: &mut Router) -> Result<()> {
    let dump = repeated(|| timed(|| router.dump()))?;
    row("the kernel's dump of all routes, to nowhere", &dump);
    let mut start = Vec::new();
    for _ in 0..ROUNDS {
        start.push(timed(|| {
            router.start()?;
            router.until_in_sync()
        })?);
        router.stop()?;
    }
    row("ixmapd from its start to in sync", &start);
    router.start()?;
    router.until_in_sync()?;
    println!("| memory then, at most | {} MiB |", router.most_memory()?);
    for _ in 0..3 {
        router.dump_again()?;
    }
    println!(
        "| memory after three more dumps, at most | {} MiB |",
        router.most_memory()?
    );
    Ok(())
}

/// The link of all routes goes down: the kernel drops them and says nothing of IPv4.
fn loses_a_link(router: &Router, lines: &Lines) -> Result<()> {
    let all = router.routes()?;
    let (down, behind) = timed_pair(
        || router.uplink("down"),
        || router.until_at_most(all - lines.count()),
    )?;
    row("`ip link set down` under all routes", &[down]);
    row("then ixmapd has none", &[behind]);
    router.uplink("up")
}

/// 300,000 routes change their gateway by one message; a frame shows when packets follow.
fn replaces_a_next_hop(router: &mut Router, lines: &Lines, compat: u8) -> Result<()> {
    router.start()?;
    router.share_a_next_hop(lines, SHARED, GATEWAYS, compat)?;
    let probe = Probe::open(router, lines.destination())?;
    let mut took = Vec::new();
    let mut redirected = Vec::new();
    for round in 0..ROUNDS {
        let gateway = u8::try_from(1 + (round + 1) % usize::from(GATEWAYS)).unwrap_or(1);
        let (command, first) =
            probe.until_redirected(gateway, || router.replace_next_hop(gateway))?;
        took.push(command);
        redirected.push(first);
        router.until_in_sync()?;
    }
    let mode = format!("of {SHARED} routes, `nexthop_compat_mode` {compat}");
    row(&format!("`ip nexthop replace` {mode}"), &took);
    row(
        "the first packet to the new gateway after it began",
        &redirected,
    );
    router.stop()
}

fn repeated(mut measure: impl FnMut() -> Result<Duration>) -> Result<Vec<Duration>> {
    (0..ROUNDS).map(|_| measure()).collect()
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn timed_pair(
    first: impl FnOnce() -> Result<()>,
    then: impl FnOnce() -> Result<()>,
) -> Result<(Duration, Duration)> {
    Ok((timed(first)?, timed(then)?))
}

fn row(what: &str, times: &[Duration]) {
    let mut millis: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    millis.sort_by(f64::total_cmp);
    let median = millis[millis.len() / 2];
    match millis.as_slice() {
        [_] => println!("| {what} | {median:.1} ms |"),
        [least, .., most] => println!("| {what} | {median:.1} ms ({least:.1}-{most:.1}) |"),
        [] => {}
    }
}
