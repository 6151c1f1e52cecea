//! `cargo xtask demo`: the README's promise in a minute. Two hosts, ixmapd between them, traffic
//! through its fast path, and nothing left behind.

use std::env;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ixmap_lab::{Family, Lab, Ports, Router};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::setup;

type Result<T, E = String> = std::result::Result<T, E>;

/// Echo requests for each family; the proof counts both directions.
const PINGS: u32 = 20;

pub(crate) fn main() -> ExitCode {
    let interrupted = Arc::new(AtomicBool::new(false));
    match prepare(&interrupted).and_then(|router| show(&router, &interrupted)) {
        Ok(()) => {
            println!("\nEverything is cleaned up: the namespaces and the daemon are gone.");
            ExitCode::SUCCESS
        }
        Err(_) if interrupted.load(Ordering::Relaxed) => {
            eprintln!("\nInterrupted; everything is cleaned up.");
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("\nThe demo failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Root, tools, signals and a release build.
fn prepare(interrupted: &Arc<AtomicBool>) -> Result<Router> {
    setup::root().map_err(|reason| format!("{reason}: run it as root"))?;
    setup::tools()?;
    // Ctrl-C only raises a flag, so that the lab's guards clean up before we leave.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(interrupted))
            .map_err(|error| format!("cannot handle signals: {error}"))?;
    }
    let router = build()?;
    stop_if(interrupted)?;
    Ok(router)
}

/// Builds the release binaries, unless the kernel is asked for in ixmapd's place.
fn build() -> Result<Router> {
    heading("Building the release");
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let status = Command::new(&cargo)
        .args(["build", "--release", "--package", "ixmap", "--bins"])
        .current_dir(&root)
        .status()
        .map_err(|error| format!("cannot run {cargo}: {error}"))?;
    if !status.success() {
        return Err("the build failed; its errors are above".to_owned());
    }
    let target = env::var("CARGO_TARGET_DIR").map_or_else(|_| root.join("target"), PathBuf::from);
    let binary = |name: &str| target.join("release").join(name).display().to_string();
    Ok(Router::from_environment(
        &binary("ixmapd"),
        &binary("ixmapctl"),
    ))
}

fn show(router: &Router, interrupted: &AtomicBool) -> Result<()> {
    heading("Laying the lab");
    println!(
        "Network namespaces stand for machines:\n\n  \
         host A ── p0 [ router ] p1 ── host B\n\n\
         ixmapd drives both links of the router with AF_XDP. The kernel sees the TAP interfaces p0\n\
         and p1 in their place; addresses, routes and neighbours live there as usual."
    );
    let mut lab = Lab::new(router, Ports::Two).map_err(|error| error.to_string())?;
    println!("\n$ ip -brief address   # in the router");
    print!(
        "{}",
        lab.router
            .ip("-brief address")
            .map_err(|error| error.to_string())?
    );
    let outcome = traffic(&lab, interrupted);
    if lab.is_ixmapd() {
        heading("Stopping the daemon");
        let exit = lab.stop().map_err(|error| error.to_string())?;
        if !exit.status.success() {
            return Err(format!("ixmapd stopped with {}: {}", exit.status, exit.log));
        }
        println!("ixmapd has ended: {}", exit.status);
    }
    outcome
}

fn traffic(lab: &Lab, interrupted: &AtomicBool) -> Result<()> {
    for family in Family::BOTH {
        let name = match family {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        };
        let to = lab.b.address(family);
        heading(&format!("{name}: ping from A to B"));
        ping(lab, family, to)?;
        stop_if(interrupted)?;
        heading(&format!("{name}: the way to B, by traceroute"));
        let target = to.to_string();
        let words = [
            "traceroute",
            family.flag(),
            "-n",
            "-q",
            "1",
            "-m",
            "5",
            &target,
        ];
        print!("{}", run(lab, &words)?);
        stop_if(interrupted)?;
        heading(&format!(
            "{name}: throughput from A to B, by iperf3 (veth, copy mode)"
        ));
        throughput(lab, family, to)?;
        stop_if(interrupted)?;
    }
    heading("What the daemon says: ixmapctl status");
    if !lab.is_ixmapd() {
        println!("The kernel was the router: there is no daemon to ask.");
        return Ok(());
    }
    let output = lab
        .daemon()
        .and_then(|daemon| daemon.ctl(&lab.router, &["status"]))
        .map_err(|error| error.to_string())?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(format!("ixmapctl status: {}", reason.trim_end()))
}

fn ping(lab: &Lab, family: Family, to: IpAddr) -> Result<()> {
    if lab.is_ixmapd() {
        lab.wait_fast_path(family)
            .map_err(|error| error.to_string())?;
    }
    let before = forwarded(lab, family)?;
    let ping = lab.a.ping(to, PINGS).map_err(|error| error.to_string())?;
    print!("{}", ping.output);
    if ping.received < PINGS {
        return Err(format!(
            "{} of {PINGS} pings were lost",
            PINGS - ping.received
        ));
    }
    prove(lab, family, before, f64::from(2 * PINGS))
}

fn throughput(lab: &Lab, family: Family, to: IpAddr) -> Result<()> {
    let before = forwarded(lab, family)?;
    let run = lab
        .a
        .iperf(&lab.b, to, &["-t", "3"])
        .map_err(|error| error.to_string())?;
    println!(
        "{:.0} Mbit/s, {:.1} MB, {} retransmits",
        run.bits_per_second / 1e6,
        run.received_bytes / 1e6,
        run.retransmits
    );
    prove(lab, family, before, run.segments.floor())
}

/// The fast path's own counter; the kernel has none.
fn forwarded(lab: &Lab, family: Family) -> Result<f64> {
    if !lab.is_ixmapd() {
        return Ok(0.0);
    }
    let metrics = lab.metrics().map_err(|error| error.to_string())?;
    Ok(metrics.forwarded(family))
}

/// Fails unless the fast path has forwarded at least this many packets since `before`.
fn prove(lab: &Lab, family: Family, before: f64, sent: f64) -> Result<()> {
    if !lab.is_ixmapd() {
        return Ok(());
    }
    let mut grown = 0.0;
    let counted = ixmap_lab::wait_until("the fast path has counted the traffic", || {
        grown = lab.metrics()?.forwarded(family) - before;
        Ok(grown >= sent)
    });
    if counted.is_err() {
        return Err(format!(
            "the fast path forwarded {grown} packets of {sent}: the kernel did the rest"
        ));
    }
    println!("The fast path forwarded {grown} packets (at least {sent} were sent).");
    Ok(())
}

fn run(lab: &Lab, words: &[&str]) -> Result<String> {
    lab.a.run(words).map_err(|error| error.to_string())
}

fn stop_if(interrupted: &AtomicBool) -> Result<()> {
    if interrupted.load(Ordering::Relaxed) {
        return Err("interrupted".to_owned());
    }
    Ok(())
}

fn heading(text: &str) {
    println!("\n── {text}");
}
