//! Multipath routes: flows are split by weight, and a flow keeps to its leg.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ixmap_lab::{Family, Host, Lab, Ports, Result, wait_until};

use crate::packet::Datagram;
use crate::suite::{TestLab, lab};

const FLOWS: u16 = 400;

fn target(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => "10.88.0.1".parse().unwrap(),
        Family::Ipv6 => "fd88::1".parse().unwrap(),
    }
}

/// A lab whose target is reached by B and by C, with these weights and hash policy.
fn multipath_lab(policy: u8, weights: [u8; 2]) -> Result<TestLab> {
    let lab = lab(Ports::Three)?;
    lab.router.sysctl(&[
        &format!("net.ipv4.fib_multipath_hash_policy={policy}"),
        &format!("net.ipv6.fib_multipath_hash_policy={policy}"),
    ])?;
    for family in Family::BOTH {
        let leg = |host: &Host, weight: u8| {
            let (via, port) = (host.address(family), host.port());
            format!("nexthop via {via} dev {port} weight {weight}")
        };
        let (to_b, to_c) = (leg(&lab.b, weights[0]), leg(&lab.c, weights[1]));
        let target = target(family);
        lab.router
            .ip(&format!("route add {target} {to_b} {to_c}"))?;
    }
    Ok(lab)
}

/// The source ports of A's `FLOWS` flows, as they arrived at B and at C.
fn split(lab: &Lab, family: Family) -> Result<[BTreeSet<u16>; 2]> {
    let near = lab.a.tap()?;
    let far = [lab.b.tap()?, lab.c.tap()?];
    let mut datagram = Datagram::new(&lab.a, target(family), "one of many");
    for flow in 0..FLOWS {
        datagram.source_port = 20_000 + flow;
        near.send(&datagram.frame())?;
    }
    let mut arrived = [BTreeSet::new(), BTreeSet::new()];
    let header = if family == Family::Ipv4 { 34 } else { 54 };
    for (tap, ports) in far.iter().zip(&mut arrived) {
        for frame in tap.collect("one of many")? {
            ports.insert(u16::from_be_bytes([frame[header], frame[header + 1]]));
        }
    }
    Ok(arrived)
}

/// The same once the route is in force, which is when every flow arrives.
fn settled_split(lab: &Lab, family: Family) -> Result<[BTreeSet<u16>; 2]> {
    split_when(lab, family, "every flow arrives", |_| true)
}

/// The same once the hash over ports is in force as well: both legs carry flows. The kernel tells
/// nobody when a sysctl changes, so that may take the router a moment.
fn split_by_ports(lab: &Lab, family: Family) -> Result<[BTreeSet<u16>; 2]> {
    let both = |arrived: &[BTreeSet<u16>; 2]| arrived.iter().all(|leg| !leg.is_empty());
    split_when(lab, family, "both legs carry flows", both)
}

fn split_when(
    lab: &Lab,
    family: Family,
    what: &str,
    settled: impl Fn(&[BTreeSet<u16>; 2]) -> bool,
) -> Result<[BTreeSet<u16>; 2]> {
    let mut arrived = split(lab, family)?;
    wait_until(what, || {
        if arrived[0].len() + arrived[1].len() == usize::from(FLOWS) && settled(&arrived) {
            return Ok(true);
        }
        arrived = split(lab, family)?;
        Ok(false)
    })?;
    Ok(arrived)
}

#[test]
fn equal_legs_share_the_flows() -> Result<()> {
    let lab = multipath_lab(1, [1, 1])?;
    for family in Family::BOTH {
        let [at_b, at_c] = split_by_ports(&lab, family)?;
        let (b, c) = (at_b.len(), at_c.len());
        assert!(
            b.min(c) > 140,
            "{family:?}: {b} flows to B, {c} to C of {FLOWS}"
        );
    }
    Ok(())
}

#[test]
fn weights_are_respected() -> Result<()> {
    let lab = multipath_lab(1, [3, 1])?;
    for family in Family::BOTH {
        let [at_b, at_c] = split_by_ports(&lab, family)?;
        let (b, c) = (at_b.len(), at_c.len());
        // 300 to 100 on average, with a standard deviation below 9.
        assert!(
            (250..=350).contains(&b),
            "{family:?}: {b} flows to B, {c} to C of {FLOWS}"
        );
    }
    Ok(())
}

#[test]
fn a_flow_keeps_to_its_leg() -> Result<()> {
    let lab = multipath_lab(1, [1, 1])?;
    for family in Family::BOTH {
        let first = split_by_ports(&lab, family)?;
        let again = split_by_ports(&lab, family)?;
        assert_eq!(first, again, "{family:?}: flows have changed their legs");
    }
    Ok(())
}

#[test]
fn hash_policy_0_ignores_the_ports() -> Result<()> {
    let lab = multipath_lab(0, [1, 1])?;
    for family in Family::BOTH {
        let [at_b, at_c] = settled_split(&lab, family)?;
        assert!(
            at_b.is_empty() || at_c.is_empty(),
            "{family:?}: {} flows of one host pair to B, {} to C",
            at_b.len(),
            at_c.len()
        );
    }
    Ok(())
}

#[test]
fn a_leg_whose_port_goes_down_loses_its_flows_to_the_other() -> Result<()> {
    let lab = multipath_lab(1, [1, 1])?;
    for family in Family::BOTH {
        split_by_ports(&lab, family)?;
    }
    lab.router.ip("link set p2 down")?;
    for family in Family::BOTH {
        wait_until("all flows arrive at B", || {
            Ok(split(&lab, family)?[0].len() == usize::from(FLOWS))
        })?;
    }
    Ok(())
}
