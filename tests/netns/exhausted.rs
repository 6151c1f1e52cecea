//! A forwarding table that outgrows its memory: what fitted goes on, the other family follows the
//! kernel, and what fits again is followed.

use std::net::{IpAddr, Ipv6Addr};
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

/// Ten pings from A, answered and forwarded by the fast path.
fn assert_forwarded(lab: &Lab, to: IpAddr) -> Result<()> {
    let family = if to.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    };
    let before = lab.metrics()?.forwarded(family);
    let ping = lab.a.ping(to, 10)?;
    assert_eq!(ping.received, 10, "{to}: {}", ping.output);
    wait_until("requests and replies have gone by the fast path", || {
        Ok(lab.metrics()?.forwarded(family) >= before + 20.0)
    })
}

/// Where the fast path sends packets to a service behind B, if it does.
fn port_of(lab: &Lab, service: &str) -> Result<Value> {
    Ok(lab.ctl(&["route", service])?["port"].take())
}

#[test]
fn a_table_that_does_not_fit_leaves_what_fitted_in_force_until_it_fits_again() -> Result<()> {
    let Some(lab) = small_lab()? else {
        return Ok(());
    };
    let far = lab.b.address(Family::Ipv6);
    lab.wait_fast_path(Family::Ipv6)?;
    for _ in 0..2 {
        let before = complaints(&lab)?.len();
        exhaust(&lab)?;
        let mirror = mirror_status(&lab)?;
        assert_eq!(mirror["in_sync"], false, "{mirror}");

        // Changes go on, and are tried: the log has said it all.
        for _ in 0..5 {
            lab.router.ip("route add blackhole 2001:db8:99::/48")?;
            lab.router.ip("route del blackhole 2001:db8:99::/48")?;
            assert!(mirror_status(&lab)?["fault"].is_string());
        }
        assert_forwarded(&lab, far)?;
        let lines = complaints(&lab)?;
        assert_eq!(lines.len(), before + 1, "{lines:?}");
        let line = lines.last().unwrap();
        for word in ["ERROR", "IPv6", "2 MiB", "fib_memory_mib"] {
            assert!(line.contains(word), "{line}");
        }

        relieve(&lab)?;
    }
    Ok(())
}

#[test]
fn one_family_follows_the_kernel_while_the_other_does_not_fit() -> Result<()> {
    let Some(lab) = small_lab()? else {
        return Ok(());
    };
    let [old, new] = SERVICES;
    assert_forwarded(&lab, old.parse().unwrap())?;
    exhaust(&lab)?;
    serve(&lab, new)?;
    wait_until("the new route is in force", || {
        Ok(port_of(&lab, new)? == "p1")
    })?;
    assert_forwarded(&lab, new.parse().unwrap())?;
    lab.router.ip(&format!("route replace blackhole {old}"))?;
    wait_until("the replaced route is in force", || {
        Ok(port_of(&lab, old)?.is_null())
    })?;
    assert_eq!(lab.a.ping(old.parse().unwrap(), 2)?.received, 0);
    assert!(mirror_status(&lab)?["fault"].is_string());
    relieve(&lab)
}

#[test]
fn a_port_added_while_the_table_does_not_fit_gets_no_packet_of_one_that_went() -> Result<()> {
    let Some(lab) = small_lab()? else {
        return Ok(());
    };
    let behind = "2001:db8:77::1";
    let route = format!(
        "2001:db8:77::/48 via {} dev p1",
        lab.b.address(Family::Ipv6)
    );
    lab.router.ip(&format!("route add {route}"))?;
    lab.wait_fast_path(Family::Ipv6)?;
    wait_until("what is behind B is routed", || {
        Ok(port_of(&lab, behind)? == "p1")
    })?;
    exhaust(&lab)?;
    // Nobody looks after its next hop any more, but the table in force still leads there.
    lab.router.ip(&format!("route del {route}"))?;
    wait_until("the deletion was heard", || {
        Ok(lab.ctl(&["route", behind])?["prefix"].is_null())
    })?;
    for words in [&["port", "del", "p1"], &["port", "add", "p2=afxdp:v2"]] {
        let output = lab.daemon()?.ctl(&lab.router, words)?;
        assert!(output.status.success(), "{words:?}: {output:?}");
    }
    assert!(
        mirror_status(&lab)?["fault"].is_string(),
        "it fits without p1"
    );

    let (near, stray) = (lab.a.tap()?, lab.c.tap()?);
    let datagram = Datagram::new(&lab.a, behind.parse().unwrap(), "to B").frame();
    wait_until("what A sends behind B has nowhere to go", || {
        near.send(&datagram)?;
        Ok(lab.metrics()?.drops("p0", "egress_gone") >= 10.0)
    })?;
    let stray = stray.collect("to B")?.len();
    assert_eq!(stray, 0, "C gets what is B's");

    // The other family has followed.
    lab.address_port(&lab.c)?;
    let (near, far) = (lab.a.address(Family::Ipv4), lab.c.address(Family::Ipv4));
    wait_until("C reaches A", || Ok(lab.c.ping(near, 1)?.received == 1))?;
    assert_eq!(lab.a.ping(far, 3)?.received, 3);

    relieve(&lab)?;
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
