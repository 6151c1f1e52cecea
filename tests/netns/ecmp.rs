//! Multipath routes: flows are split by weight, and a flow keeps to its leg.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

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

/// The same once the hash over ports is in force as well: both legs carry flows, the same twice. The
/// kernel tells nobody when a sysctl changes, so that may take the router a moment.
fn split_by_ports(lab: &Lab, family: Family) -> Result<[BTreeSet<u16>; 2]> {
    let mut before = None;
    split_when(lab, family, "both legs carry flows", |now| {
        let stays = before.replace(now.clone()).as_ref() == Some(now);
        stays && now.iter().all(|leg| !leg.is_empty())
    })
}

fn split_when(
    lab: &Lab,
    family: Family,
    what: &str,
    mut settled: impl FnMut(&[BTreeSet<u16>; 2]) -> bool,
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
fn the_kernels_seed_decides_which_leg_a_flow_takes() -> Result<()> {
    if !Path::new("/proc/sys/net/ipv4/fib_multipath_hash_seed").exists() {
        println!("not before Linux 6.11");
        return Ok(());
    }
    let lab = multipath_lab(1, [1, 1])?;
    let seed = |seed: u32| {
        let setting = format!("net.ipv4.fib_multipath_hash_seed={seed}");
        lab.router.sysctl(&[&setting])
    };
    for family in Family::BOTH {
        seed(7)?;
        let mut first = split_by_ports(&lab, family)?;
        split_when(&lab, family, "flows stay on their legs", |now| {
            // Settings that the kernel does not tell of are read once a second.
            std::thread::sleep(Duration::from_millis(1500));
            std::mem::replace(&mut first, now.clone()) == *now
        })?;
        seed(8)?;
        split_when(&lab, family, "flows change legs", |now| *now != first)?;
        seed(7)?;
        split_when(&lab, family, "flows return", |now| *now == first)?;
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

/// The flows of all of them, once they go where they should.
fn all_at(lab: &Lab, family: Family, leg: usize) -> Result<()> {
    let what = format!("{family:?}: every flow arrives at {}", ["B", "C"][leg]);
    let all = |arrived: &[BTreeSet<u16>; 2]| arrived[leg].len() == usize::from(FLOWS);
    split_when(lab, family, &what, all)?;
    Ok(())
}

#[test]
fn flows_follow_next_hop_objects_whether_the_kernel_tells_of_routes_or_not() -> Result<()> {
    for (mode, told) in [(1, "and of each route"), (0, "of the object only")] {
        println!("the kernel tells {told}");
        let lab = lab(Ports::Three)?;
        lab.router.sysctl(&[
            &format!("net.ipv4.nexthop_compat_mode={mode}"),
            "net.ipv4.fib_multipath_hash_policy=1",
            "net.ipv6.fib_multipath_hash_policy=1",
        ])?;
        for (family, base) in Family::BOTH.into_iter().zip([10, 20]) {
            let [b, c, group] = [base, base + 1, base + 2];
            let leg = |host: &Host| format!("via {} dev {}", host.address(family), host.port());
            let ip = |words: &str| lab.router.ip(words);
            ip(&format!("nexthop add id {b} {}", leg(&lab.b)))?;
            ip(&format!("nexthop add id {c} {}", leg(&lab.c)))?;
            ip(&format!("nexthop add id {group} group {b}/{c}"))?;
            ip(&format!("route add {} nhid {group}", target(family)))?;
            let [at_b, at_c] = split_by_ports(&lab, family)?;
            assert!(at_b.len().min(at_c.len()) > 140, "{family:?}");
            ip(&format!("nexthop replace id {b} {}", leg(&lab.c)))?;
            all_at(&lab, family, 1)?;
            ip(&format!("nexthop replace id {b} {}", leg(&lab.b)))?;
            ip(&format!("nexthop del id {c}"))?;
            all_at(&lab, family, 0)?;
        }
    }
    Ok(())
}

/// What a resilient group does with its buckets the kernel does not tell: it is taken as a plain one.
#[test]
fn flows_of_a_resilient_group_are_spread_and_stay_while_the_other_leg_is_replaced() -> Result<()> {
    let lab = lab(Ports::Three)?;
    lab.router.sysctl(&[
        "net.ipv4.fib_multipath_hash_policy=1",
        "net.ipv6.fib_multipath_hash_policy=1",
    ])?;
    for (family, base) in Family::BOTH.into_iter().zip([10, 20]) {
        let [b, c, group] = [base, base + 1, base + 2];
        let ip = |words: &str| lab.router.ip(words);
        let leg = |id: u32, verb: &str, via: IpAddr, host: &Host| {
            ip(&format!(
                "nexthop {verb} id {id} via {via} dev {}",
                host.port()
            ))
        };
        leg(b, "add", lab.b.address(family), &lab.b)?;
        leg(c, "add", lab.c.address(family), &lab.c)?;
        ip(&format!(
            "nexthop add id {group} group {b}/{c} type resilient buckets 64"
        ))?;
        ip(&format!("route add {} nhid {group}", target(family)))?;
        let before = split_by_ports(&lab, family)?;
        let [at_b, at_c] = &before;
        assert!(at_b.len().min(at_c.len()) > 140, "{family:?}");
        let other = lab.c.neighbour(family, 77);
        let length = if family == Family::Ipv4 { 24 } else { 64 };
        lab.c
            .ip(&format!("addr add {other}/{length} dev eth0 nodad"))?;
        // Until the neighbour is known, flows to it are the kernel's, which spreads by a hash of its own.
        assert!(lab.a.ping(other, 3)?.received > 0, "{family:?}");
        leg(c, "replace", other, &lab.c)?;
        let after = split_by_ports(&lab, family)?;
        assert!(before == after, "{family:?}: flows have changed their legs");
        ip(&format!("nexthop del id {c}"))?;
        all_at(&lab, family, 0)?;
    }
    Ok(())
}
