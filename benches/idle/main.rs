//! What an idle worker costs, how soon it is back, and how long a packet takes: ixmapd in both modes
//! beside the kernel as the router, in turns, between hosts in network namespaces. Root only, so it
//! runs when named: `cargo bench --bench idle`, or `-- PART...` for some of cpu, latency and rate.

mod cpu;
mod packets;
mod rate;
mod subject;
mod wake;

use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use ixmap_lab::{Error, Family, Lab, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::packets::Crossing;
use crate::subject::Subject;

/// Each is measured so often, the others in between.
const ROUNDS: usize = 3;
/// Packets of a round.
const PACKETS: usize = 300;
/// Between two packets: a worker has long gone to sleep.
const QUIET: Duration = Duration::from_millis(2);
/// How long a worker is left alone.
const ALONE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let has = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    for (name, part) in [
        ("cpu", cpu as fn() -> Result<()>),
        ("latency", latency),
        ("rate", rate),
    ] {
        if has(name)
            && let Err(error) = part()
        {
            eprintln!("idle: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// CPU time of the daemon with ports that nothing arrives at.
fn cpu() -> Result<()> {
    println!(
        "| no load, {} s | worker | control |\n|---|---|---|",
        ALONE.as_secs()
    );
    for subject in [Subject::Adaptive, Subject::Poll] {
        let lab = subject.lab()?;
        // What the hosts' kernels say when a link comes up is over by then.
        thread::sleep(Duration::from_secs(2));
        let pid = lab.daemon()?.pid();
        let before = cpu::Spent::read(pid)?;
        thread::sleep(ALONE);
        let [worker, control] = cpu::Spent::read(pid)?.since(&before).shares(ALONE);
        println!("| {} | {worker:.2} % | {control:.2} % |", subject.name());
    }
    Ok(())
}

/// Times of single packets, one way and there and back.
fn latency() -> Result<()> {
    let mut times: Vec<[Vec<Duration>; 3]> = Subject::ALL.map(|_| Default::default()).into();
    let (mut bare, mut sleeps, mut lost) = (Vec::new(), 0, 0);
    for _ in 0..ROUNDS {
        bare.extend(wake::times(PACKETS, QUIET)?);
        for (subject, [first, paced, flood]) in Subject::ALL.iter().zip(&mut times) {
            let lab = subject.lab()?;
            let asleep = subject.sleeps(&lab)?;
            let crossings = on_core(0, || Crossing::open(&lab)?.times(PACKETS, QUIET))?;
            sleeps += subject.sleeps(&lab)? - asleep;
            lost += PACKETS - crossings.len();
            first.extend(crossings);
            paced.extend(pings(&lab, &["-i", "0.002"])?);
            flood.extend(pings(&lab, &["-A"])?);
        }
    }
    println!("\n| median, p99 | kernel | ixmapd, poll | ixmapd, adaptive |\n|---|---|---|---|");
    let what = [
        "one way, after 2 ms without packets",
        "`ping -i 0.002`, there and back",
        "`ping -A`, there and back",
    ];
    for (at, what) in what.iter().enumerate() {
        let cells = times.iter_mut().map(|series| quantiles(&mut series[at]));
        println!("| {what} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    println!(
        "\n{lost} of {} packets lost; the adaptive worker slept {sleeps} times for its third of them.\n\
         The machine wakes a thread on the worker's core, asleep in `poll(2)`, in {}.",
        PACKETS * ROUNDS * Subject::ALL.len(),
        quantiles(&mut bare)
    );
    Ok(())
}

/// The most packets that a worker forwards when more arrive.
fn rate() -> Result<()> {
    println!("\n| 64-byte frames over veth, Mpps | forwarded | offered |\n|---|---|---|");
    let mut series: [Vec<rate::Rates>; 2] = Default::default();
    let subjects = [Subject::Poll, Subject::Adaptive];
    for _ in 0..ROUNDS {
        for (subject, rates) in subjects.iter().zip(&mut series) {
            rates.push(rate::measure(&subject.lab()?)?);
        }
    }
    for (subject, rates) in subjects.iter().zip(&mut series) {
        rates.sort_by(|a, b| a.forwarded.total_cmp(&b.forwarded));
        let (least, median, most) = (&rates[0], &rates[rates.len() / 2], &rates[rates.len() - 1]);
        println!(
            "| {} | {:.3} ({:.3}-{:.3}) | {:.3} |",
            subject.name(),
            median.forwarded,
            least.forwarded,
            most.forwarded,
            median.offered
        );
    }
    Ok(())
}

/// Round-trip times as ping tells them.
fn pings(lab: &Lab, pace: &[&str]) -> Result<Vec<Duration>> {
    let (count, to) = (PACKETS.to_string(), lab.b.address(Family::Ipv4).to_string());
    let mut words = vec!["taskset", "-c", "0", "ping", "-n", "-c", &count];
    words.extend(pace);
    words.push(&to);
    let output = lab.a.run(&words)?;
    let times = output.lines().filter_map(|line| {
        let millis: f64 = line
            .split_once("time=")?
            .1
            .strip_suffix(" ms")?
            .parse()
            .ok()?;
        Some(Duration::from_secs_f64(millis / 1e3))
    });
    Ok(times.collect())
}

/// On a thread of its own, as what a pinned thread starts is pinned, too.
fn on_core<T: Send>(core: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            let mut set = CpuSet::new();
            set.set(core)
                .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
                .map_err(Error::io(format!("run on core {core}")))?;
            work()
        });
        let ended = pinned.join();
        ended.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    })
}

/// Median and 99th percentile.
fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100);
    match (at(50), at(99)) {
        (Some(median), Some(late)) => {
            format!("{:.1} µs, {:.1} µs", micros(*median), micros(*late))
        }
        _ => "-".to_owned(),
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
