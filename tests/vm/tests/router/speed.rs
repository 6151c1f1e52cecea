//! How many small packets a second the guest forwards: ixmapd beside the guest's own ixgbe and its
//! kernel's routing, on the same modelled cards. It measures and asserts nothing about time: run it by
//! hand on an idle machine, `cargo test -p ixmap-vm --test router -- --ignored --nocapture speed`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, HOSTS4, Through};
use ixmap_lab::Tap;
use ixmap_vm::{Result, Rings};

/// What is sent before the count begins, and how long it is counted.
const WARM_UP: Duration = Duration::from_secs(2);
const COUNTED: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;
/// Packets a second that are sent: more than arrive, but not all that this machine's cores could, for
/// they are what the guest runs on.
const OFFERED: u32 = 200_000;
/// Sent together, each of a flow of its own.
const BURST: u8 = 64;

#[test]
#[ignore = "measures, on an idle machine"]
fn speed_beside_the_kernels_own_driver_and_routing() -> Result<()> {
    for rings in [Rings::Trapped, Rings::Mapped] {
        let mut kernel = Bench::boot_on(Through::Kernel, 1500, rings)?;
        let by_kernel = median(&mut kernel)?;
        drop(kernel);
        let mut own = Bench::boot_on(Through::Ixmap, 1500, rings)?;
        own.start()?;
        let by_ixmapd = median(&mut own)?;
        println!(
            "{rings:?} rings: kernel {by_kernel:.0}/s, ixmapd {by_ixmapd:.0}/s, ratio {:.2}",
            by_ixmapd / by_kernel
        );
    }
    Ok(())
}

fn median(bench: &mut Bench) -> Result<f64> {
    bench.wait_for_answer(0, HOSTS4[1])?;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        rates.push(rate(bench)?);
    }
    rates.sort_by(f64::total_cmp);
    println!("rates: {rates:.0?}");
    Ok(rates[ROUNDS / 2])
}

/// Packets a second that come out of the second cable while the first is flooded.
fn rate(bench: &Bench) -> Result<f64> {
    let tap = Tap::open(bench.wires[0].host(), "tap0")?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let frames = (0..BURST).map(datagram).collect::<Vec<_>>();
            let mut due = Instant::now();
            while !done.load(Ordering::Relaxed) {
                // A full queue is what a flood is about.
                frames.iter().for_each(|frame| drop(tap.send(frame)));
                due += Duration::from_secs(1) * u32::from(BURST) / OFFERED;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        thread::sleep(WARM_UP);
        let (before, began) = (received(bench), Instant::now());
        thread::sleep(COUNTED);
        let (after, spent) = (received(bench), began.elapsed());
        done.store(true, Ordering::Relaxed);
        Ok(count(after? - before?) / spent.as_secs_f64())
    })
}

/// Frames that came out of the second cable.
fn received(bench: &Bench) -> Result<u64> {
    let path = "/sys/class/net/tap0/statistics/rx_packets";
    let text = bench.wires[1].host().run(&["cat", path])?;
    Ok(text.trim().parse().unwrap_or_default())
}

fn count(packets: u64) -> f64 {
    f64::from(u32::try_from(packets).unwrap_or(u32::MAX))
}

/// A UDP datagram from the first host to the second, of a flow of its own, in 60 bytes.
fn datagram(flow: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0x82, 1, 2, 0, 0, 0, 0, 0xaa, 8, 0];
    frame.extend([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend([192, 0, 2, 1, 198, 51, 100, 1]);
    let header = &frame[14..34];
    let sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let [_, _, high, low] = (!((folded & 0xffff) + (folded >> 16))).to_be_bytes();
    (frame[24], frame[25]) = (high, low);
    // Port 9 discards; without a checksum.
    frame.extend([0x40, flow, 0, 9, 0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}
