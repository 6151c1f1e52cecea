//! Rules (ip-rule(8)): traffic goes where they say, by the kernel while they are not the default
//! ones, and by the fast path again afterwards.

use ixmap_lab::{Family, Host, Lab, Ports, Result, wait_until};

use crate::packet::Datagram;
use crate::service::{serve, service, wait_arrival};
use crate::suite::{ixmapd_lab, lab};

/// Routes the service to a host in a table.
fn route(lab: &Lab, host: &Host, family: Family, table: &str) -> Result<()> {
    let (service, via, port) = (service(family), host.address(family), host.port());
    lab.router.ip(&format!(
        "route add {service} via {via} dev {port} table {table}"
    ))?;
    Ok(())
}

/// `ip rule`, in words that suit both families.
fn rule(lab: &Lab, family: Family, words: &str) -> Result<()> {
    let flag = family.flag();
    lab.router.ip(&format!("{flag} rule {words}")).map(drop)
}

#[test]
fn a_rule_decides_while_it_is_there() -> Result<()> {
    let lab = lab(Ports::Three)?;
    for family in Family::BOTH {
        serve(&lab, family)?;
        route(&lab, &lab.b, family, "main")?;
        route(&lab, &lab.c, family, "100")?;
        wait_arrival(&lab, &lab.b, family)?;
        let words = format!("iif {} lookup 100 priority 50", lab.a.port());
        rule(&lab, family, &format!("add {words}"))?;
        wait_arrival(&lab, &lab.c, family)?;
        let ping = lab.a.ping(service(family).parse().unwrap(), 10)?;
        assert_eq!(ping.received, 10, "{}", ping.output);
        rule(&lab, family, &format!("del {words}"))?;
        wait_arrival(&lab, &lab.b, family)?;
    }
    Ok(())
}

#[test]
fn the_table_that_is_asked_last_counts_where_main_has_no_route() -> Result<()> {
    let lab = lab(Ports::Three)?;
    let family = Family::Ipv4;
    serve(&lab, family)?;
    route(&lab, &lab.c, family, "default")?;
    wait_arrival(&lab, &lab.c, family)?;
    route(&lab, &lab.b, family, "main")?;
    wait_arrival(&lab, &lab.b, family)
}

#[test]
fn an_address_without_a_route_has_none_beside_the_table_that_is_asked_last() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let family = Family::Ipv4;
    serve(&lab, family)?;
    route(&lab, &lab.b, family, "default")?;
    wait_arrival(&lab, &lab.b, family)?;
    let answer = lab.ctl(&["route", service(family)])?;
    assert_eq!(answer["reason"], "kernel_route", "{answer}");
    let answer = lab.ctl(&["route", "203.0.113.9"])?;
    assert!(answer["prefix"].is_null(), "{answer}");
    assert_eq!(answer["reason"], "no_route", "{answer}");
    let port = lab.a.port();
    let punts = |reason: &str| -> Result<f64> { Ok(lab.metrics()?.punts(&port, reason)) };
    let before = (punts("no_route")?, punts("kernel_route")?);
    let datagram = Datagram::new(&lab.a, "203.0.113.9".parse().unwrap(), "nowhere");
    lab.a.tap()?.send(&datagram.frame())?;
    wait_until("the packet is counted", || {
        Ok(punts("no_route")? + punts("kernel_route")? > before.0 + before.1)
    })?;
    assert_eq!(punts("no_route")?, before.0 + 1.0);
    assert_eq!(punts("kernel_route")?, before.1);
    Ok(())
}

#[test]
fn a_family_with_odd_rules_is_punted_and_the_operator_told_until_they_go() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let odd = |family: Family| -> Result<Vec<String>> {
        let rules = lab.ctl(&["status"])?["mirror"]["rules"][family.label()].take();
        Ok(serde_json::from_value(rules).expect("a list of rules"))
    };
    for (family, other) in [(Family::Ipv4, Family::Ipv6), (Family::Ipv6, Family::Ipv4)] {
        assert_eq!(odd(family)?, Vec::<String>::new());
        lab.wait_fast_path(family)?;
        rule(&lab, family, "add from all lookup 100 priority 50")?;
        wait_until("the rule is in the status", || Ok(!odd(family)?.is_empty()))?;
        assert_eq!(odd(family)?, ["50: from all lookup 100"]);
        assert_eq!(odd(other)?, Vec::<String>::new());
        let name = match family {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        };
        let told = |lab: &Lab, text: &str| -> Result<usize> {
            let log = lab.daemon()?.log();
            let lines = log.lines().filter(|line| line.contains(name));
            Ok(lines.filter(|line| line.contains(text)).count())
        };
        assert_eq!(told(&lab, "rule `50: from all lookup 100`")?, 1);

        // All of it goes by the kernel, and arrives.
        let before = lab.metrics()?;
        let ping = lab.a.ping(lab.b.address(family), 10)?;
        assert_eq!(ping.received, 10, "{}", ping.output);
        let ping = lab.a.ping(lab.a.gateway(family), 10)?;
        assert_eq!(ping.received, 10, "the router itself: {}", ping.output);
        let port = lab.a.port();
        let after = lab.metrics()?;
        assert_eq!(after.forwarded(family), before.forwarded(family));
        let punts = after.punts(&port, "kernel_route") - before.punts(&port, "kernel_route");
        assert!(punts >= 10.0, "{punts}");
        let answer = lab.ctl(&["route", &lab.b.address(family).to_string()])?;
        assert_eq!(answer["action"], "punt", "{answer}");
        assert_eq!(answer["reason"], "kernel_route", "{answer}");
        lab.wait_fast_path(other)?;

        rule(&lab, family, "del priority 50")?;
        lab.wait_fast_path(family)?;
        assert_eq!(odd(family)?, Vec::<String>::new());
        assert_eq!(told(&lab, "the default ones again")?, 1);
    }
    assert_eq!(lab.ctl(&["status"])?["mirror"]["drift"], 0);
    Ok(())
}
