//! Limits of ixmapd that the kernel's tables outgrow: the operator is told which one, in the log and in
//! the status, and all the rest is forwarded.

use ixmap_lab::{Family, Lab, Ports, Result, wait_until};
use serde_json::Value;

use crate::crowd::Limits;
use crate::suite::ixmapd_lab;

/// More than a group has.
const LEGS: u16 = 300;
/// More than the kernel is asked to manage.
const GATEWAYS: u16 = 1100;

/// The warning under one of the status's keys, and the lines of it that people see.
fn warning(lab: &Lab, part: &str) -> Result<(Value, String)> {
    let text = lab.daemon()?.ctl(&lab.router, &["status"])?.stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok((lab.ctl(&["status"])?[part]["warning"].take(), text))
}

/// The operator is told once, of the limit by its number, and everything else goes on.
fn assert_told(lab: &Lab, part: &str, limit: &str) -> Result<()> {
    wait_until("the status warns", || Ok(warning(lab, part)?.0.is_string()))?;
    let (warning, text) = warning(lab, part)?;
    let warning = warning.as_str().unwrap_or_default().to_owned();
    assert!(warning.contains(limit), "{warning}");
    assert!(text.contains(&format!("warning: {warning}\n")), "{text}");
    let log = lab.daemon()?.log();
    assert_eq!(log.matches(limit).count(), 1, "{log}");
    wait_until("the mirror is in sync", || {
        Ok(lab.ctl(&["status"])?["mirror"]["in_sync"] == true)
    })?;
    for family in Family::BOTH {
        lab.wait_fast_path(family)?;
    }
    Ok(())
}

fn wait_silence(lab: &Lab, part: &str) -> Result<()> {
    wait_until("the status has nothing to say", || {
        let (warning, text) = warning(lab, part)?;
        Ok(warning.is_null() && !text.contains("warning: "))
    })
}

#[test]
fn more_legs_than_a_group_has_are_the_kernels_and_the_limit_is_named() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let gateway = |n: u16| format!("fe80::1:{n:x} dev p1");
    // What ip(8) puts into one request ends before.
    let legs = " nexthop dev p1".repeat(LEGS.into());
    let append = |n| format!("route append 2001:db8:f::/48 via {}", gateway(n));
    for (add, del, address) in [
        (
            vec![format!("route add 172.20.2.0/24{legs}")],
            "route del 172.20.2.0/24",
            "172.20.2.1",
        ),
        (
            (0..LEGS).map(append).collect(),
            "-6 route del 2001:db8:f::/48",
            "2001:db8:f::1",
        ),
    ] {
        let first = !lab.daemon()?.log().contains("256 legs");
        match add.as_slice() {
            // More words than a line of a batch may have.
            [only] => drop(lab.router.ip(only)?),
            many => lab.router.ip_batch(many)?,
        }
        wait_until("the route is the kernel's", || {
            Ok(lab.ctl(&["route", address])?["reason"] == "kernel_route")
        })?;
        wait_until("the status counts it", || {
            Ok(lab.ctl(&["status"])?["next_hops"]["oversized_groups"] == 1)
        })?;
        if first {
            assert_told(&lab, "next_hops", "more than 256 legs")?;
        }
        assert_eq!(
            lab.metrics()?.sum("ixmap_oversized_next_hop_groups", &[]),
            1.0
        );
        lab.router.ip(del)?;
        wait_silence(&lab, "next_hops")?;
    }
    Ok(())
}

#[test]
fn more_gateways_than_the_kernel_is_to_manage_are_counted_and_the_limit_is_named() -> Result<()> {
    // The kernel makes room for all of them, until the lab is gone.
    let limits = Limits::keep(Family::Ipv6)?;
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    limits.set(8192)?;
    let routes = |verb: &str| -> Vec<String> {
        let line = |n| format!("route {verb} 3001:{n:x}::/32 via fe80::1:{n:x} dev p1");
        (1..=GATEWAYS).map(line).collect()
    };
    lab.router.ip_batch(&routes("add"))?;
    let care = |key: &str| Ok(lab.ctl(&["status"])?["neighbour_care"][key].as_u64());
    let left = Some(u64::from(GATEWAYS) - 1024);
    wait_until("some are left out", || {
        Ok(care("unmanaged_gateways")? >= left && care("managed_gateways")? == Some(1024))
    })?;
    assert_told(&lab, "neighbour_care", "1024 is the most")?;
    let unmanaged = lab
        .metrics()?
        .sum("ixmap_neighbour_unmanaged_gateways", &[]);
    assert!(unmanaged >= 76.0, "{unmanaged}");
    lab.router.ip_batch(&routes("del"))?;
    wait_silence(&lab, "neighbour_care")
}
