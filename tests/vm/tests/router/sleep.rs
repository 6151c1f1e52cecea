//! A worker with nothing to do: it sleeps, and what comes ends its sleep by an interrupt. Without one it
//! would still look around every second, so that a packet late by that much is the sign of its absence.

use crate::bench::{Bench, HOSTS4, PORTS, Through};
use crate::ready;
use ixmap_vm::Result;

/// Echo requests, each after the answer to the one before.
const PINGS: u64 = 20;

/// Half of the time after which a sleeping worker looks around.
const PROMPT_MS: f64 = 500.0;

fn sleeps_until_interrupted(through: Through) -> Result<()> {
    let mut bench = ready(through)?;
    bench.ping_across(1, 56)?;
    let ticks = cpu_of_ten_quiet_seconds(&mut bench)?;
    assert!(ticks < 500, "{ticks} ticks of 10 ms in ten quiet seconds");

    let (slept, raised) = (sleeps(&mut bench)?, interrupts(&mut bench)?);
    let median = median_round_trip(&bench)?;
    let (slept_then, raised_then) = (sleeps(&mut bench)?, interrupts(&mut bench)?);
    println!(
        "{through:?}: {ticks} ticks of 10 ms in ten quiet seconds; round trip {median} ms; sleeps {slept} -> \
         {slept_then}; interrupts {raised:?} -> {raised_then:?}"
    );
    assert!(slept_then >= slept + PINGS, "{slept} -> {slept_then}");
    // The request comes by one port and the answer by the other. On a busy host a worker may find the
    // next one before it sleeps.
    for ((port, before), after) in PORTS.iter().zip(raised).zip(raised_then) {
        assert!(after >= before + PINGS / 2, "{port}: {before} -> {after}");
    }
    assert!(median < PROMPT_MS, "{median} ms from ping to answer");
    bench.judge()
}

#[test]
fn a_quiet_worker_sleeps_until_a_packet_interrupts_it() -> Result<()> {
    sleeps_until_interrupted(Through::Ixmap)
}

#[test]
fn a_quiet_worker_sleeps_until_a_packet_interrupts_it_through_vfio() -> Result<()> {
    sleeps_until_interrupted(Through::Vfio)
}

/// Ticks of 10 ms that the worker ran for.
fn cpu_of_ten_quiet_seconds(bench: &mut Bench) -> Result<u64> {
    let cpu = r"awk '{print $14 + $15}' /proc/$(cat /tmp/ixmapd.pid)/task/$(
        grep -l ixmap-core /proc/$(cat /tmp/ixmapd.pid)/task/*/comm | cut -d/ -f5)/stat";
    let quiet = format!("a=$({cpu}); sleep 10; b=$({cpu}); echo $((b - a))");
    let ticks = bench.guest.check("ten quiet seconds", &quiet)?;
    Ok(ticks.trim().parse().unwrap_or(u64::MAX))
}

fn sleeps(bench: &mut Bench) -> Result<u64> {
    let sleeps = bench.ask("workers")?[0]["sleeps"].as_u64();
    Ok(sleeps.unwrap_or_default())
}

/// How often the guest's kernel saw the interrupt of each port's receive queue.
fn interrupts(bench: &mut Bench) -> Result<[u64; 2]> {
    let status = bench.ask("status")?;
    let mut counts = [0; 2];
    for (at, count) in counts.iter_mut().enumerate() {
        let irq = &status["ports"][at]["interrupts"][0]["irq"];
        // The guest has three cores, and a column for each.
        let sum = format!("awk '$1 == \"{irq}:\" {{ print $2 + $3 + $4 }}' /proc/interrupts");
        let sum = bench.guest.check("interrupts", &sum)?;
        assert!(!sum.is_empty(), "no interrupt {irq}: {status}");
        *count = sum.trim().parse().unwrap_or_default();
    }
    Ok(counts)
}

/// The median of the round trips, in milliseconds; every request is answered.
fn median_round_trip(bench: &Bench) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..PINGS {
        let ping = ["ping", "-c", "1", "-W", "10", HOSTS4[1]];
        let output = bench.wires[0].host().run(&ping)?;
        let time = output.split_once("time=").and_then(|(_, rest)| {
            let number = rest.split_whitespace().next()?;
            number.parse().ok()
        });
        times.push(time.unwrap_or(f64::INFINITY));
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
