//! What the FIB costs on the Internet's tables: lookups in bursts of 64, commits of one and of 256
//! real updates, and a full load. `cargo bench --bench fib`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "../examples/fib/engine.rs"]
mod engine;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use ixmap::shared::fib::{self, GroupId};
use ixmap_tables::{Change, Family, LENGTH, Route, SEED, Stream, Update, data};

const BURST: usize = 64;

fn all(criterion: &mut Criterion) {
    family::<u32>(criterion);
    family::<u128>(criterion);
}

fn family<A: fib::Address + ixmap_tables::Address>(criterion: &mut Criterion) {
    let routes = data::table::<A>().unwrap();
    let name = match A::FAMILY {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    };
    lookups(criterion, name, &routes);
    commits(criterion, name, &routes);
    load(criterion, name, &routes);
}

/// Whole passes through each stream; criterion shows lookups a second.
fn lookups<A: fib::Address + ixmap_tables::Address>(
    criterion: &mut Criterion,
    name: &str,
    routes: &[Route<A>],
) {
    let mut group = criterion.benchmark_group(format!("{name}/lookup"));
    group.throughput(Throughput::Elements(LENGTH as u64));
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    let (_table, fib) = engine::load(routes);
    for stream in Stream::ALL {
        let addresses = stream.addresses(routes, SEED);
        let mut groups = [GroupId::NO_ROUTE; BURST];
        group.bench_function(stream.name(), |bencher| {
            bencher.iter(|| {
                for burst in addresses.chunks(BURST) {
                    fib.lookup_burst(black_box(burst), &mut groups[..burst.len()]);
                    black_box(&mut groups);
                }
            });
        });
    }
}

/// The real updates over and over, every other time with other ids, so that they go on changing
/// something. The snapshot before the current one stays alive, as when a worker has yet to load the
/// next.
fn commits<A: fib::Address + ixmap_tables::Address>(
    criterion: &mut Criterion,
    name: &str,
    routes: &[Route<A>],
) {
    let mut updates: Vec<Update<A>> = data::updates().unwrap();
    updates.extend_from_within(..);
    let half = updates.len() / 2;
    for update in &mut updates[half..] {
        if let Change::Announce(id) = &mut update.change {
            *id ^= 1;
        }
    }
    let mut group = criterion.benchmark_group(format!("{name}/commit"));
    for size in [1, 256] {
        let (mut table, mut current) = engine::load(routes);
        let mut previous = None;
        let mut batches = updates.chunks_exact(size).cycle();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(size.to_string(), |bencher| {
            bencher.iter(|| {
                for update in batches.next().unwrap() {
                    engine::apply(&mut table, update);
                }
                let next = engine::commit(&mut table);
                drop(previous.replace(std::mem::replace(&mut current, next)));
            });
        });
    }
}

/// From a list of routes to the first snapshot.
fn load<A: fib::Address>(criterion: &mut Criterion, name: &str, routes: &[Route<A>]) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(routes.len() as u64));
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.bench_function("load", |bencher| {
        bencher.iter_with_large_drop(|| engine::load(routes));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = all
}
criterion_main!(benches);
