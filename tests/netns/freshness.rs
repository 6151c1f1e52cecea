//! Neighbours kept fresh: the kernel sees no traffic that the fast path forwards, and yet probes those
//! that it goes to, finds those that moved, and keeps gateways resolved.

use std::net::IpAddr;
use std::time::Instant;

use ixmap_lab::{Family, Host, Lab, Ports, Result, wait_until};

use crate::suite::{ixmapd_lab, lab};

/// Has neighbours on p1 stay REACHABLE, DELAY and PROBE for seconds instead of half a minute.
fn hasten(lab: &Lab) -> Result<()> {
    for family in ["ipv4", "ipv6"] {
        let settings = [
            "base_reachable_time_ms=3000",
            "delay_first_probe_time=1",
            "retrans_time_ms=200",
        ];
        let settings = settings.map(|setting| format!("net.{family}.neigh.p1.{setting}"));
        lab.router
            .sysctl(&settings.each_ref().map(String::as_str))?;
    }
    // Entries keep the times that they began with.
    for flag in ["-4", "-6"] {
        lab.router.ip(&format!("{flag} neigh flush dev p1"))?;
    }
    lab.wait_reachable(&lab.a, &lab.b)
}

/// The entry of an address on p1, as `ip neigh` prints it.
fn entry(lab: &Lab, address: IpAddr) -> Result<String> {
    lab.router.ip(&format!("neigh show {address} dev p1"))
}

fn wait_for(lab: &Lab, address: IpAddr, words: &[&str]) -> Result<()> {
    wait_until(&format!("{address} is {words:?}"), || {
        let entry = entry(lab, address)?;
        Ok(words.iter().all(|word| entry.contains(word)))
    })
}

/// One more address of a host.
fn second_address(host: &Host, family: Family) -> Result<IpAddr> {
    let address = host.neighbour(family, 9);
    host.ip(&format!(
        "addr add {address}/{} dev eth0",
        family.host_prefix()
    ))?;
    Ok(address)
}

#[test]
fn a_stale_neighbour_is_confirmed_when_traffic_goes_to_it_and_stays_stale_when_none_does()
-> Result<()> {
    let lab = lab(Ports::Two)?;
    hasten(&lab)?;
    for family in Family::BOTH {
        let (busy, quiet) = (lab.b.address(family), second_address(&lab.b, family)?);
        wait_until("the quiet address is resolved", || {
            Ok(lab.a.ping(quiet, 1)?.received == 1)
        })?;
        wait_for(&lab, quiet, &["STALE"])?;
        let announced = lab.router.spawn(&["ip", "monitor", "neigh"])?;
        for _ in 0..2 {
            wait_for(&lab, busy, &["STALE"])?;
            let traffic = lab
                .a
                .spawn(&["ping", "-q", "-i", "0.1", &busy.to_string()])?;
            wait_for(&lab, busy, &["REACHABLE"])?;
            traffic.finish()?;
        }
        let announced = announced.finish()?;
        let start = format!("{quiet} ");
        assert!(!announced.contains(&start), "{announced}");
        assert!(entry(&lab, quiet)?.contains("STALE"));
    }
    Ok(())
}

#[test]
fn a_host_that_moved_to_another_mac_without_a_word_is_found_by_its_traffic() -> Result<()> {
    let lab = lab(Ports::Two)?;
    hasten(&lab)?;
    for (family, mac) in Family::BOTH.into_iter().zip(["0b:98", "0b:99"]) {
        let address = lab.b.address(family);
        lab.wait_reachable(&lab.a, &lab.b)?;
        let mac = format!("02:00:00:00:{mac}");
        lab.b.ip(&format!("link set eth0 address {mac}"))?;
        let moved = Instant::now();
        assert!(!entry(&lab, address)?.contains(&mac), "it told");
        wait_until("the host answers at its new MAC", || {
            Ok(lab.a.ping_with(address, 1, &["-W", "0.2"])?.received == 1)
        })?;
        println!(
            "{family:?}: found after {:.1} s",
            moved.elapsed().as_secs_f64()
        );
        assert!(entry(&lab, address)?.contains(&mac));
        let then = lab.a.ping(address, 10)?;
        assert_eq!(then.received, 10, "{}", then.output);
    }
    Ok(())
}

#[test]
fn a_gateway_is_resolved_before_the_first_packet_and_managed_until_its_last_route_goes()
-> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    for (family, routes) in Family::BOTH.into_iter().zip([
        ["10.99.0.0/24", "10.99.1.0/24"],
        ["2001:db8:99::/48", "2001:db8:98::/48"],
    ]) {
        let gateway = second_address(&lab.b, family)?;
        for route in routes {
            lab.router
                .ip(&format!("route add {route} via {gateway} dev p1"))?;
        }
        wait_for(&lab, gateway, &["managed", "REACHABLE", &lab.b.mac_text()])?;
        // The kernel looks after it by itself, whatever happens to the entry.
        lab.router.ip(&format!("neigh del {gateway} dev p1"))?;
        wait_for(&lab, gateway, &["managed", "REACHABLE"])?;

        lab.router.ip(&format!("route del {}", routes[0]))?;
        wait_until("the route is gone", || {
            let found = lab.ctl(&["routes", routes[0]])?;
            Ok(found.as_array().is_none_or(Vec::is_empty))
        })?;
        let managed = |lab: &Lab| {
            let status = lab.ctl(&["status"])?;
            Ok(status["neighbour_care"]["managed_gateways"].as_u64())
        };
        assert_eq!(managed(&lab)?, Some(1), "one route is left");
        assert!(entry(&lab, gateway)?.contains("managed"));
        lab.router.ip(&format!("route del {}", routes[1]))?;
        wait_until("the gateway is a neighbour like any other", || {
            Ok(!entry(&lab, gateway)?.contains("managed"))
        })?;
        assert!(entry(&lab, gateway)?.contains(&lab.b.mac_text()));
        wait_until("it is forgotten", || Ok(managed(&lab)? == Some(0)))?;
    }
    assert_eq!(
        lab.metrics()?
            .sum("ixmap_neighbour_probes_refused_total", &[]),
        0.0
    );
    Ok(())
}

#[test]
fn a_gateway_that_the_operator_made_permanent_stays_so() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    for (family, route) in Family::BOTH
        .into_iter()
        .zip(["10.99.0.0/24", "2001:db8:99::/48"])
    {
        let (fixed, free) = (second_address(&lab.b, family)?, lab.b.address(family));
        let mac = lab.b.mac_text();
        lab.router.ip(&format!(
            "neigh replace {fixed} lladdr {mac} dev p1 nud permanent"
        ))?;
        lab.router.ip(&format!(
            "route add {route} nexthop via {fixed} dev p1 nexthop via {free} dev p1"
        ))?;
        wait_for(&lab, free, &["managed"])?;
        assert!(entry(&lab, fixed)?.contains("PERMANENT"));
        // What was managed and is made permanent is the operator's from then on.
        lab.router.ip(&format!(
            "neigh replace {free} lladdr {mac} dev p1 nud permanent"
        ))?;
        let status = || lab.ctl(&["status"]);
        wait_until("it is let go", || {
            Ok(status()?["neighbour_care"]["managed_gateways"] == 0)
        })?;
        lab.router.ip(&format!("route del {route}"))?;
        for address in [fixed, free] {
            let entry = entry(&lab, address)?;
            assert!(
                entry.contains("PERMANENT") && !entry.contains("managed"),
                "{entry}"
            );
        }
    }
    Ok(())
}
