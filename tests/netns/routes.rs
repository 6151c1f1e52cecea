//! Routes that come, move and go while traffic runs.

use ixmap_lab::{Family, Host, Lab, Ports, Result, carries, wait_until};

use crate::packet::{Datagram, IcmpError};
use crate::service::{serve, service, wait_arrival};
use crate::suite::{ixmapd_lab, lab};

/// `ip route VERB` of a prefix by way of `host`.
fn route(lab: &Lab, verb: &str, prefix: &str, host: &Host, family: Family) -> Result<()> {
    let (via, port) = (host.address(family), host.port());
    lab.router
        .ip(&format!("route {verb} {prefix} via {via} dev {port}"))?;
    Ok(())
}

#[test]
fn traffic_follows_a_route_as_it_is_added_replaced_and_deleted() -> Result<()> {
    let lab = lab(Ports::Three)?;
    for family in Family::BOTH {
        serve(&lab, family)?;
        let service = service(family);
        let pinging = lab.a.spawn(&["ping", "-n", "-q", "-i", "0.05", service])?;

        route(&lab, "add", service, &lab.b, family)?;
        wait_arrival(&lab, &lab.b, family)?;
        route(&lab, "replace", service, &lab.c, family)?;
        wait_arrival(&lab, &lab.c, family)?;
        let at_b = lab.b.tap()?;
        wait_arrival(&lab, &lab.c, family)?;
        let stray = at_b.collect("to the service")?.len();
        assert_eq!(stray, 0, "{family:?}: B still gets what is C's");
        // Replaced in place: the running ping loses nothing while the route stays.
        let ping = lab.a.ping(service.parse().unwrap(), 10)?;
        assert_eq!(ping.received, 10, "{}", ping.output);

        lab.router
            .ip(&format!("route del {service}/{}", family.host_prefix()))?;
        let near = lab.a.tap()?;
        let datagram = Datagram::new(&lab.a, service.parse().unwrap(), "gone").frame();
        wait_until("the deleted route is unreachable", || {
            near.send(&datagram)?;
            let frames = near.collect("gone")?;
            Ok(frames.iter().any(|f| IcmpError::parse(f, "gone").is_some()))
        })?;
        drop(pinging);
    }
    Ok(())
}

#[test]
fn a_route_replaced_under_a_running_ping_loses_nothing() -> Result<()> {
    let lab = lab(Ports::Three)?;
    for family in Family::BOTH {
        serve(&lab, family)?;
        let service = service(family);
        route(&lab, "add", service, &lab.b, family)?;
        wait_arrival(&lab, &lab.b, family)?;
        let pinging = lab.a.spawn(&["ping", "-n", "-q", "-i", "0.02", service])?;
        for _ in 0..10 {
            for host in [&lab.c, &lab.b] {
                route(&lab, "replace", service, host, family)?;
                wait_ping(host)?;
            }
        }
        let ping = ixmap_lab::Ping::parse(pinging.finish()?)?;
        // The interrupt may come between the last request and its reply.
        assert!(
            ping.received + 1 >= ping.sent && ping.sent > 1,
            "{}",
            ping.output
        );
    }
    Ok(())
}

/// Waits for a request of the running ping at `host`; ping's filler ends in the digits.
fn wait_ping(host: &Host) -> Result<()> {
    let far = host.tap()?;
    far.wait_for("the running ping", |frame| carries(frame, "01234567"))
        .map(drop)
}

#[test]
fn the_longest_prefix_wins() -> Result<()> {
    let lab = lab(Ports::Three)?;
    for (family, wide) in [(Family::Ipv4, "10.99.0.0/16"), (Family::Ipv6, "fd99::/16")] {
        serve(&lab, family)?;
        route(&lab, "add", wide, &lab.b, family)?;
        wait_arrival(&lab, &lab.b, family)?;
        route(&lab, "add", service(family), &lab.c, family)?;
        wait_arrival(&lab, &lab.c, family)?;
        lab.router.ip(&format!(
            "route del {}/{}",
            service(family),
            family.host_prefix()
        ))?;
        wait_arrival(&lab, &lab.b, family)?;
    }
    Ok(())
}

#[test]
fn a_default_route_takes_what_nothing_else_does() -> Result<()> {
    let lab = lab(Ports::Three)?;
    for family in Family::BOTH {
        serve(&lab, family)?;
        let flag = family.flag();
        let (via, port) = (lab.c.address(family), lab.c.port());
        lab.router
            .ip(&format!("{flag} route add default via {via} dev {port}"))?;
        wait_arrival(&lab, &lab.c, family)?;
    }
    Ok(())
}

#[test]
fn the_better_metric_wins() -> Result<()> {
    let lab = lab(Ports::Three)?;
    for family in Family::BOTH {
        serve(&lab, family)?;
        let service = service(family);
        for (host, metric) in [(&lab.b, 2000), (&lab.c, 100)] {
            let (via, port) = (host.address(family), host.port());
            let words = format!("route add {service} via {via} dev {port} metric {metric}");
            lab.router.ip(&words)?;
        }
        wait_arrival(&lab, &lab.c, family)?;
        let length = family.host_prefix();
        lab.router
            .ip(&format!("route del {service}/{length} metric 100"))?;
        wait_arrival(&lab, &lab.b, family)?;
    }
    Ok(())
}

#[test]
fn ipv4_is_routed_via_an_ipv6_next_hop() -> Result<()> {
    let lab = lab(Ports::Three)?;
    serve(&lab, Family::Ipv4)?;
    let via = lab.b.address(Family::Ipv6);
    let service = service(Family::Ipv4);
    lab.router
        .ip(&format!("route add {service} via inet6 {via} dev p1"))?;
    wait_arrival(&lab, &lab.b, Family::Ipv4)?;
    let ping = lab.a.ping(service.parse().unwrap(), 10)?;
    assert_eq!(ping.received, 10, "{}", ping.output);
    Ok(())
}

#[test]
fn what_leaves_by_an_interface_that_is_no_port_is_forwarded_by_the_kernel() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    for family in Family::BOTH {
        let gateway = lab.c.gateway(family);
        let length = if family == Family::Ipv4 { 24 } else { 64 };
        lab.router
            .ip(&format!("addr add {gateway}/{length} dev v2"))?;
        lab.router.ip("link set v2 up")?;
        let far = lab.c.address(family);
        wait_until("C answers A", || Ok(lab.a.ping(far, 1)?.received == 1))?;
        let route = lab.ctl(&["route", &far.to_string()])?;
        assert_eq!(route["action"], "punt", "{route}");
        assert_eq!(route["reason"], "foreign_interface", "{route}");
        let before = lab.metrics()?.punts("p0", "foreign_interface");
        assert_eq!(lab.a.ping(far, 10)?.received, 10);
        assert!(lab.metrics()?.punts("p0", "foreign_interface") >= before + 10.0);
    }
    Ok(())
}

#[test]
fn a_next_hop_object_is_followed_when_it_changes() -> Result<()> {
    let lab = lab(Ports::Three)?;
    for (family, id) in [(Family::Ipv4, 4), (Family::Ipv6, 6)] {
        serve(&lab, family)?;
        let next_hop = |verb: &str, host: &Host| {
            let (via, port) = (host.address(family), host.port());
            lab.router
                .ip(&format!("nexthop {verb} id {id} via {via} dev {port}"))
        };
        next_hop("add", &lab.b)?;
        lab.router
            .ip(&format!("route add {} nhid {id}", service(family)))?;
        wait_arrival(&lab, &lab.b, family)?;
        next_hop("replace", &lab.c)?;
        wait_arrival(&lab, &lab.c, family)?;
    }
    Ok(())
}
