//! `--updates`: what a stream of route changes costs.

use std::time::{Duration, Instant};

use ixmap::shared::fib::{Address, Fib, Table};
use ixmap_tables::Update;
use serde::Serialize;

use crate::{engine, rounded};

/// What is printed; the times are null when there was no update.
#[derive(Serialize)]
pub(crate) struct Report {
    ops: usize,
    ns_per_op_mean: Option<f64>,
    ns_per_op_p99: Option<f64>,
    commits: usize,
}

/// Applies all updates with a commit after each `every` of them and after the last. Like workers
/// that are about to load the next snapshot, it keeps the one before the current one alive.
pub(crate) fn replay<A: Address>(
    table: &mut Table<A>,
    mut current: Fib<A>,
    updates: &[Update<A>],
    every: usize,
) -> (Fib<A>, Report) {
    let mut previous = None;
    let mut total = Duration::ZERO;
    let mut costs = Vec::with_capacity(updates.len().div_ceil(every));
    for batch in updates.chunks(every) {
        let start = Instant::now();
        for update in batch {
            engine::apply(table, update);
        }
        let next = engine::commit(table);
        drop(previous.replace(std::mem::replace(&mut current, next)));
        let took = start.elapsed();
        total += took;
        costs.push(nanoseconds(took) / batch.len() as f64);
    }
    costs.sort_unstable_by(f64::total_cmp);
    let p99 = (costs.len() * 99).div_ceil(100).saturating_sub(1);
    let mean = nanoseconds(total) / updates.len() as f64;
    let report = Report {
        ops: updates.len(),
        ns_per_op_mean: (!updates.is_empty()).then(|| rounded(mean)),
        ns_per_op_p99: costs.get(p99).copied().map(rounded),
        commits: costs.len(),
    };
    (current, report)
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
