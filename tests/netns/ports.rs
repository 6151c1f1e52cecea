//! Ports that come and go while the daemon runs.

use ixmap_lab::{Family, Lab, Ping, Ports, Result, wait_until};
use serde_json::Value;

use crate::suite::ixmapd_lab;

/// The names in `ixmapctl ports --json`.
fn listed_ports(lab: &Lab) -> Result<Vec<String>> {
    let ports = lab.ctl(&["ports"])?;
    let names = ports.as_array().into_iter().flatten();
    Ok(names
        .filter_map(|port| port["name"].as_str().map(str::to_owned))
        .collect())
}

/// `ixmapctl WORDS` that has to succeed.
fn ctl_done(lab: &Lab, words: &[&str]) -> Result<()> {
    let output = lab.daemon()?.ctl(&lab.router, words)?;
    assert!(output.status.success(), "ixmapctl {words:?}: {output:?}");
    Ok(())
}

#[test]
fn a_port_added_at_run_time_forwards() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    ctl_done(&lab, &["port", "add", "p2=afxdp:v2"])?;
    assert_eq!(listed_ports(&lab)?, ["p0", "p1", "p2"]);
    lab.address_port(&lab.c)?;
    lab.wait_reachable(&lab.a, &lab.c)?;
    for family in Family::BOTH {
        let before = lab.metrics()?.forwarded(family);
        let ping = lab.a.ping(lab.c.address(family), 10)?;
        assert_eq!(ping.received, 10, "{}", ping.output);
        wait_until(
            "the new port's traffic is forwarded by the fast path",
            || {
                lab.a.ping(lab.c.address(family), 1)?;
                Ok(lab.metrics()?.forwarded(family) > before)
            },
        )?;
    }
    Ok(())
}

#[test]
fn a_deleted_port_leaves_nothing_behind_and_disturbs_no_other() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Three)? else {
        return Ok(());
    };
    let b = lab.b.address(Family::Ipv4).to_string();
    let pinging = lab.a.spawn(&["ping", "-n", "-q", "-i", "0.05", &b])?;
    ctl_done(&lab, &["port", "del", "p2"])?;
    assert!(!lab.router.has_link("p2")?, "the TAP is still there");
    assert!(!lab.router.has_xdp("v2")?, "the XDP program is still there");
    assert_eq!(listed_ports(&lab)?, ["p0", "p1"]);
    for family in Family::BOTH {
        let ping = lab.a.ping(lab.b.address(family), 10)?;
        assert_eq!(ping.received, 10, "{}", ping.output);
    }
    let ping = Ping::parse(pinging.finish()?)?;
    // The interrupt may come between the last request and its reply.
    assert!(
        ping.received + 1 >= ping.sent && ping.sent > 1,
        "{}",
        ping.output
    );
    Ok(())
}

#[test]
fn a_deleted_port_can_be_added_again() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Three)? else {
        return Ok(());
    };
    for _ in 0..3 {
        // No wait in between: a port is gone with all that it had when its removal is answered.
        ctl_done(&lab, &["port", "del", "p2"])?;
        ctl_done(&lab, &["port", "add", "p2=afxdp:v2"])?;
        lab.address_port(&lab.c)?;
        lab.wait_reachable(&lab.a, &lab.c)?;
    }
    Ok(())
}

#[test]
fn a_refused_port_command_says_why_and_changes_nothing() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    for words in [
        &["port", "add", "p2=afxdp:missing0"][..],
        &["port", "add", "p2=afxdp:v1"],
        &["port", "add", "p1=afxdp:v2"],
        // Its own TAP.
        &["port", "add", "p2=afxdp:p0"],
        &["port", "del", "p2"],
        // The ports came by --port: there is no file.
        &["reload"],
    ] {
        let output = lab.daemon()?.ctl(&lab.router, words)?;
        let reason = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {reason}");
        assert_eq!(reason.trim_end().lines().count(), 1, "{words:?}: {reason}");
    }
    assert_eq!(listed_ports(&lab)?, ["p0", "p1"]);
    assert!(!lab.router.has_link("p2")?);
    assert!(!lab.router.has_xdp("v2")?);
    lab.wait_reachable(&lab.a, &lab.b)
}

#[test]
fn a_deleted_tap_takes_its_port_along() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Three)? else {
        return Ok(());
    };
    lab.router.ip("link del p2")?;
    wait_until("the port is gone", || {
        Ok(listed_ports(&lab)? == ["p0", "p1"])
    })?;
    assert!(!lab.router.has_xdp("v2")?, "the XDP program is still there");
    lab.wait_reachable(&lab.a, &lab.b)
}

#[test]
fn the_mtu_of_a_tap_stays_within_its_device_s() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    lab.router.ip("link set p1 mtu 3000")?;
    wait_until("the TAP has its device's MTU again", || {
        let mtu = lab.router.run(&["cat", "/sys/class/net/p1/mtu"])?;
        Ok(mtu.trim() == "1500")
    })
}

#[test]
fn route_tells_what_workers_decide_before_any_lookup() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    for (address, action, reason) in [
        ("224.0.0.5", "punt", "multicast"),
        ("255.255.255.255", "punt", "multicast"),
        ("127.0.0.1", "drop", "martian_destination"),
        ("fe80::1", "punt", "link_local"),
        ("ff02::5", "punt", "multicast"),
        ("::1", "drop", "martian_destination"),
    ] {
        let route = lab.ctl(&["route", address])?;
        let told = (&route["action"], &route["reason"], &route["port"]);
        assert_eq!(
            told,
            (&action.into(), &reason.into(), &Value::Null),
            "{route}"
        );
    }
    Ok(())
}

#[test]
fn status_and_ports_describe_the_running_router() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    // The kernel keeps talking while neighbours settle, so the mirror is in sync time and again.
    wait_until("the mirror is in sync", || {
        let status = lab.ctl(&["status"])?;
        let in_sync = status["mirror"]["in_sync"].as_bool();
        Ok(in_sync.unwrap_or_else(|| panic!("no mirror.in_sync in {status}")))
    })?;
    let ports = lab.ctl(&["ports"])?;
    for (port, host) in [(&ports[0], &lab.a), (&ports[1], &lab.b)] {
        assert_eq!(port["name"], Value::from(host.port()), "{ports}");
        assert_eq!(port["driver"], "afxdp", "{ports}");
        assert_eq!(port["device"], Value::from(host.device()), "{ports}");
        assert_eq!(port["link_up"], Value::Bool(true), "{ports}");
    }
    for (family, prefix) in [(Family::Ipv4, "10.66.0.0/16"), (Family::Ipv6, "fd66::/32")] {
        let (via, within) = (lab.b.address(family), prefix.split('/').next().unwrap());
        lab.router
            .ip(&format!("route add {prefix} via {via} dev p1"))?;
        wait_until("the route is the one to B", || {
            let route = lab.ctl(&["route", within])?;
            let leg = (&route["port"], &route["via"]);
            Ok(route["prefix"] == prefix && leg == (&"p1".into(), &via.to_string().into()))
        })?;
    }
    let nowhere = lab.ctl(&["route", "10.77.0.1"])?;
    assert_eq!(nowhere["prefix"], Value::Null, "{nowhere}");
    Ok(())
}

#[test]
fn a_deleted_device_leaves_its_port_without_carrier_until_it_is_added_again() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Three)? else {
        return Ok(());
    };
    let c = lab.c.address(Family::Ipv4).to_string();
    let pinging = lab.a.spawn(&["ping", "-n", "-q", "-i", "0.01", &c])?;
    lab.router.ip("link del v2")?;
    lab.router.ip("link add v2 type veth peer name w2")?;
    lab.router.ip("link set v2 mtu 1400 up")?;
    lab.router.ip("link set w2 up")?;
    wait_until("the port has lost its carrier", || {
        Ok(lab.ctl(&["ports"])?[2]["link_up"] == false)
    })?;
    // Two looks at the carrier later the namesake is still not the device.
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(lab.ctl(&["ports"])?[2]["link_up"], false);
    drop(pinging.finish());
    wait_until("the worker rests", || {
        let workers = lab.ctl(&["workers"])?;
        Ok(workers[0]["busy_ratio"]
            .as_f64()
            .is_some_and(|ratio| ratio < 0.2))
    })?;
    ctl_done(&lab, &["port", "del", "p2"])?;
    assert_eq!(
        lab.router.run(&["cat", "/sys/class/net/v2/mtu"])?.trim(),
        "1400"
    );
    ctl_done(&lab, &["port", "add", "p2=afxdp:v2"])?;
    wait_until("the port has a carrier", || {
        Ok(lab.ctl(&["ports"])?[2]["link_up"] == true)
    })?;
    lab.wait_reachable(&lab.a, &lab.b)
}

#[test]
fn the_kernel_acts_on_a_lost_carrier_as_soon_as_its_port_says_so() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Three)? else {
        return Ok(());
    };
    let link_is = |up: bool| {
        wait_until(&format!("link up: {up}"), || {
            Ok(lab.ctl(&["ports"])?[2]["link_up"] == up)
        })
    };
    // The second time the kernel would let a second pass since the first.
    for _ in 0..3 {
        lab.router.ip("link set v2 down")?;
        link_is(false)?;
        // Not by `dev p2`: `ip` would ask for the link, and the kernel look at its carrier.
        let routes = lab.router.ip("route show")?;
        let mut through = routes.lines().filter(|route| route.contains("dev p2"));
        assert!(through.all(|route| route.contains("linkdown")), "{routes}");
        assert!(routes.contains("dev p2"), "{routes}");
        lab.router.ip("link set v2 up")?;
        link_is(true)?;
    }
    Ok(())
}
