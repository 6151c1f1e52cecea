//! The daemon's own life: ready, counting, restarted, stopped, killed.

use std::thread;
use std::time::{Duration, Instant};

use ixmap_lab::{Family, Lab, Ports, Result, wait_until};
use nix::sys::signal::Signal;

use crate::packet::{Datagram, ETHERNET};
use crate::suite::{ixmapd_lab, router};

#[test]
fn ready_means_that_every_tap_exists_with_its_devices_mac() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    for host in [&lab.a, &lab.b] {
        let link = lab.router.ip(&format!("link show dev {}", host.port()))?;
        assert!(link.contains(&host.gateway_mac_text()), "{link}");
        assert!(
            lab.router.has_xdp(&host.device())?,
            "{} has no XDP program",
            host.device()
        );
    }
    Ok(())
}

/// Received, and the sum of what became of it, at one port.
fn balance(lab: &Lab, port: &str) -> Result<(u64, u64)> {
    let ports = lab.ctl(&["ports"])?;
    let entry = ports
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["name"] == port)
        .unwrap_or_else(|| panic!("no port {port} in {ports}"));
    let count = |key: &str| {
        entry[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key} in {entry}"))
    };
    let forwarded = count("forwarded_ipv4") + count("forwarded_ipv6");
    Ok((
        count("rx_packets"),
        forwarded + count("punted") + count("dropped"),
    ))
}

#[test]
fn counters_balance_once_traffic_rests() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let near = lab.a.tap()?;
    for family in Family::BOTH {
        // Forwarded, punted and dropped packets, of each some.
        lab.a.ping(lab.b.address(family), 20)?;
        lab.a.ping(lab.b.gateway(family), 5)?;
        let mut last_hop = Datagram::new(&lab.a, lab.b.address(family), "last hop");
        last_hop.ttl = 1;
        let mut bad = Datagram::new(&lab.a, lab.b.address(family), "bad").frame();
        bad[ETHERNET] = 0x55;
        for frame in [last_hop.frame(), bad] {
            near.send(&frame)?;
        }
    }
    for port in ["p0", "p1"] {
        wait_until(
            &format!("{port}: received = forwarded + punted + dropped"),
            || {
                let (received, known) = balance(&lab, port)?;
                Ok(received > 0 && received == known)
            },
        )?;
    }
    wait_until("the metrics balance as well", || {
        let metrics = lab.metrics()?;
        let total = |name: &str| metrics.sum(name, &[]);
        let forwarded = total("ixmap_forwarded_packets_total");
        let punted = total("ixmap_punted_packets_total");
        let dropped = total("ixmap_drops_total");
        assert!(forwarded > 0.0 && punted > 0.0 && dropped > 0.0);
        Ok(total("ixmap_port_rx_packets_total") == forwarded + punted + dropped)
    })?;
    Ok(())
}

#[test]
fn traffic_resumes_after_a_restart() -> Result<()> {
    let Some(mut lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    for _ in 0..2 {
        lab.restart()?;
        for family in Family::BOTH {
            let ping = lab.a.ping(lab.b.address(family), 10)?;
            assert_eq!(ping.received, 10, "{}", ping.output);
        }
    }
    Ok(())
}

/// Asserts that within a second no TAP and no XDP program is left.
fn assert_cleaned_up(lab: &Lab) -> Result<()> {
    let start = Instant::now();
    loop {
        let in_time = start.elapsed() < Duration::from_secs(1);
        let mut left = Vec::new();
        for host in [&lab.a, &lab.b] {
            if lab.router.has_link(&host.port())? {
                left.push(format!("TAP {}", host.port()));
            }
            if lab.router.has_xdp(&host.device())? {
                left.push(format!("XDP program on {}", host.device()));
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        assert!(in_time, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sigterm_and_sigint_stop_cleanly_and_leave_nothing_behind() -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let Some(mut lab) = ixmapd_lab(Ports::Two)? else {
            return Ok(());
        };
        let daemon = lab.take_daemon()?;
        let socket = daemon.socket().to_owned();
        let exit = daemon.end_by(signal)?;
        assert_eq!(exit.status.code(), Some(0), "{signal}: {exit:?}");
        assert_cleaned_up(&lab)?;
        assert!(
            !socket.exists(),
            "{signal}: the control socket is left behind"
        );
    }
    Ok(())
}

#[test]
fn sigkill_leaves_nothing_behind_and_the_next_start_works() -> Result<()> {
    let Some(mut lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    lab.take_daemon()?.end_by(Signal::SIGKILL)?;
    assert_cleaned_up(&lab)?;
    // The socket file of the killed daemon is in the way of nothing.
    lab.start()
}

#[test]
fn ixmapctl_without_a_daemon_exits_with_3() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let nobody = lab.scratch.path().join("nobody.sock");
    let ixmap_lab::Router::Ixmapd { ctl, .. } = router() else {
        return Ok(());
    };
    let words = [
        &ctl.to_string_lossy(),
        "--socket",
        &nobody.to_string_lossy(),
        "status",
    ];
    let output = lab.router.output(&words)?;
    let reason = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{reason}");
    assert_eq!(reason.trim_end().lines().count(), 1, "{reason}");
    Ok(())
}
