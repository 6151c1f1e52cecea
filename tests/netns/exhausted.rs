//! A forwarding table that outgrows its memory: what fitted goes on, and what fits again is followed.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use ixmap_lab::{Error, Family, Lab, Ports, Result, wait_until};
use serde_json::Value;

use crate::packet::Datagram;
use crate::suite::{TestLab, cabled_lab};

/// IPv6 host routes that take twice what there is: each has three blocks of 64 bytes to itself.
const MANY: u128 = 20_000;

/// A service behind B from the start, and one that comes later.
const SERVICES: [&str; 2] = ["10.99.0.1", "10.99.0.2"];

/// A lab that forwards, whose daemon has the least memory that it takes for its tables.
fn small_lab() -> Result<Option<TestLab>> {
    let Some(mut lab) = cabled_lab(Ports::Two)? else {
        return Ok(None);
    };
    let file = configure(&lab, 2)?;
    lab.start_with(&["-c", file.to_str().expect("UTF-8")])?;
    for service in SERVICES {
        lab.b.ip(&format!("addr add {service}/32 dev lo"))?;
    }
    serve(&lab, SERVICES[0])?;
    lab.wait_fast_path(Family::Ipv4)?;
    Ok(Some(lab))
}

/// Writes the daemon's file.
fn configure(lab: &Lab, fib_memory_mib: u16) -> Result<PathBuf> {
    let file = lab.scratch.path().join("small.toml");
    std::fs::write(
        &file,
        format!("[daemon]\nfib_memory_mib = {fib_memory_mib}\n"),
    )
    .map_err(Error::io("write the configuration"))?;
    Ok(file)
}

/// Routes a service to B.
fn serve(lab: &Lab, service: &str) -> Result<()> {
    let (via, port) = (lab.b.address(Family::Ipv4), lab.b.port());
    lab.router
        .ip(&format!("route add {service} via {via} dev {port}"))
        .map(drop)
}

/// Adds or deletes the many routes: they lead to A and lie scattered over 4000::/3.
fn scatter(lab: &Lab, verb: &str) -> Result<()> {
    let (via, port) = (lab.a.address(Family::Ipv6), lab.a.port());
    let line = |n: u128| {
        let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let address = Ipv6Addr::from_bits(scattered >> 3 | 1 << 126);
        format!("route {verb} {address} via {via} dev {port}")
    };
    let lines: Vec<String> = (0..MANY).map(line).collect();
    lab.router.ip_batch(&lines)
}

/// `mirror` of `ixmapctl status`.
fn mirror_status(lab: &Lab) -> Result<Value> {
    Ok(lab.ctl(&["status"])?["mirror"].take())
}

fn exhaust(lab: &Lab) -> Result<()> {
    scatter(lab, "add")?;
    wait_until("the table does not fit", || {
        Ok(mirror_status(lab)?["fault"].is_string())
    })
}

fn relieve(lab: &Lab) -> Result<()> {
    scatter(lab, "del")?;
    wait_until("the mirror is in sync again", || {
        let mirror = mirror_status(lab)?;
        Ok(mirror["in_sync"] == true && mirror["fault"].is_null())
    })
}

/// Lines of the log that say that the table does not fit.
fn complaints(lab: &Lab) -> Result<Vec<String>> {
    let log = lab.daemon()?.log();
    let lines = log.lines().filter(|line| line.contains("needs more than"));
    Ok(lines.map(str::to_owned).collect())
}

/// Ten pings to a service behind B, answered and forwarded by the fast path.
fn assert_forwarded(lab: &Lab, service: &str) -> Result<()> {
    let before = lab.metrics()?.forwarded(Family::Ipv4);
    let ping = lab.a.ping(service.parse().unwrap(), 10)?;
    assert_eq!(ping.received, 10, "{service}: {}", ping.output);
    wait_until("request and reply have gone by the fast path", || {
        Ok(lab.metrics()?.forwarded(Family::Ipv4) >= before + 20.0)
    })
}

#[test]
fn a_table_that_does_not_fit_leaves_what_fitted_in_force_until_it_fits_again() -> Result<()> {
    let Some(lab) = small_lab()? else {
        return Ok(());
    };
    let [old, new] = SERVICES;
    assert_forwarded(&lab, old)?;
    for _ in 0..2 {
        let before = complaints(&lab)?.len();
        exhaust(&lab)?;
        let mirror = mirror_status(&lab)?;
        assert_eq!(mirror["in_sync"], false, "{mirror}");
        assert_forwarded(&lab, old)?;

        // Changes go on, and are tried: the log has said it all.
        for _ in 0..5 {
            serve(&lab, new)?;
            lab.router.ip(&format!("route del {new}"))?;
            assert!(mirror_status(&lab)?["fault"].is_string());
        }
        assert_forwarded(&lab, old)?;
        let lines = complaints(&lab)?;
        assert_eq!(lines.len(), before + 1, "{lines:?}");
        let line = lines.last().unwrap();
        assert!(
            line.contains("ERROR") && line.contains("2 MiB") && line.contains("fib_memory_mib"),
            "{line}"
        );

        relieve(&lab)?;
        serve(&lab, new)?;
        wait_until("the new route is in force", || {
            Ok(lab.ctl(&["route", new])?["port"] == "p1")
        })?;
        assert_forwarded(&lab, new)?;
        lab.router.ip(&format!("route del {new}"))?;
    }
    Ok(())
}

#[test]
fn a_port_added_while_the_table_does_not_fit_gets_no_packet_of_one_that_went() -> Result<()> {
    let Some(lab) = small_lab()? else {
        return Ok(());
    };
    exhaust(&lab)?;
    for words in [&["port", "del", "p1"], &["port", "add", "p2=afxdp:v2"]] {
        let output = lab.daemon()?.ctl(&lab.router, words)?;
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    assert!(
        mirror_status(&lab)?["fault"].is_string(),
        "it fits without p1"
    );

    // The table in force still leads to p1.
    let (near, far) = (lab.a.tap()?, lab.c.tap()?);
    let datagram = Datagram::new(&lab.a, lab.b.address(Family::Ipv4), "to B").frame();
    wait_until("what A sends to B has nowhere to go", || {
        near.send(&datagram)?;
        Ok(lab.metrics()?.drops("p0", "egress_gone") >= 10.0)
    })?;
    let stray = far.collect("to B")?.len();
    assert_eq!(stray, 0, "C gets what is B's");

    relieve(&lab)?;
    lab.address_port(&lab.c)?;
    lab.wait_reachable(&lab.a, &lab.c)
}

#[test]
fn a_reload_does_not_change_the_memory_of_tables_and_says_what_does() -> Result<()> {
    let Some(lab) = small_lab()? else {
        return Ok(());
    };
    for (mib, reason) in [(3, "takes a restart"), (0, "use 2 to 512")] {
        configure(&lab, mib)?;
        let output = lab.daemon()?.ctl(&lab.router, &["reload"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
        assert!(
            said.contains("fib_memory_mib") && said.contains(reason),
            "{said}"
        );
    }
    Ok(())
}
