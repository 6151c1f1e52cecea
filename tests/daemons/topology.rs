//! Four routers with an ixmapd and an FRR each, by OSPFv2 and OSPFv3: how users outgrow one machine.
//!
//! ```text
//!           ┌── r2 ──┐
//!  h1 ── r1 ┤        ├ r4 ── h2     the way by r2 is the cheaper one
//!           └── r3 ──┘
//! ```

use std::net::IpAddr;
use std::time::Instant;

use ixmap_lab::{Family, Result, wait_until};
use nix::sys::signal::Signal;

use crate::frr::Frr;
use crate::node::{Network, Node, address, cable};
use crate::traffic::Traffic;

struct Topology {
    // Ended before the nodes that they run in; `None` for a router that was lost.
    frr: [Option<Frr>; 4],
    routers: [Node; 4],
    h1: Node,
    _h2: Node,
}

/// An interface in area 0. Its neighbour counts as lost after a second of silence; with OSPFv3,
/// whose hellos FRR sends a second apart at the soonest, after three.
fn interface(name: &str, cost: u8) -> String {
    format!(
        "interface {name}\n ip ospf area 0\n ip ospf cost {cost}\n \
         ip ospf network point-to-point\n ip ospf dead-interval minimal hello-multiplier 4\n \
         ipv6 ospf6 area 0\n ipv6 ospf6 cost {cost}\n ipv6 ospf6 network point-to-point\n \
         ipv6 ospf6 hello-interval 1\n ipv6 ospf6 dead-interval 3\nexit\n"
    )
}

/// With FRR's defaults a router says news of its links 5 seconds apart, and so takes as long to
/// converge when they follow each other. (OSPFv3's have no such setting.)
fn config(router: u8, interfaces: &[String], hosts: &str) -> String {
    let interfaces = interfaces.concat();
    format!(
        "{interfaces}{hosts}router ospf\n ospf router-id 192.0.2.{router}\n \
         timers throttle spf 10 50 500\n timers throttle lsa all 50\n \
         timers lsa min-arrival 0\nexit\n\
         router ospf6\n ospf6 router-id 192.0.2.{router}\n \
         timers throttle spf 10 50 500\n timers lsa min-arrival 0\nexit\n"
    )
}

fn host(name: &str) -> String {
    format!(
        "interface {name}\n ip ospf area 0\n ip ospf passive\n \
         ipv6 ospf6 area 0\n ipv6 ospf6 passive\nexit\n"
    )
}

/// h2's address.
fn far(family: Family) -> IpAddr {
    address(family, 6, 2)
}

fn topology() -> Result<Topology> {
    let network = Network::new();
    let mut h1 = network.plain("h1")?;
    let mut h2 = network.plain("h2")?;
    let [mut r1, mut r2, mut r3, mut r4] = [
        network.router("r1")?,
        network.router("r2")?,
        network.router("r3")?,
        network.router("r4")?,
    ];
    cable(1, &mut h1, &mut r1)?;
    cable(2, &mut r1, &mut r2)?;
    cable(3, &mut r1, &mut r3)?;
    cable(4, &mut r2, &mut r4)?;
    cable(5, &mut r3, &mut r4)?;
    cable(6, &mut r4, &mut h2)?;
    for node in [&mut h1, &mut h2, &mut r1, &mut r2, &mut r3, &mut r4] {
        node.start()?;
    }
    h1.default_route(1, 2)?;
    h2.default_route(6, 1)?;
    let configs = [
        config(1, &[interface("r2", 10), interface("r3", 20)], &host("h1")),
        config(2, &[interface("r1", 10), interface("r4", 10)], ""),
        config(3, &[interface("r1", 20), interface("r4", 20)], ""),
        config(4, &[interface("r2", 10), interface("r3", 20)], &host("h2")),
    ];
    let routers = [r1, r2, r3, r4];
    let mut frr = [None, None, None, None];
    for ((frr, node), config) in frr.iter_mut().zip(&routers).zip(&configs) {
        *frr = Some(Frr::start(&node.namespace, &["ospfd", "ospf6d"], config)?);
    }
    Ok(Topology {
        frr,
        routers,
        h1,
        _h2: h2,
    })
}

/// Waits until the kernel's ways to h2 leave by `port`, and then ixmapd's, and says when they did.
fn wait_ways(r1: &Node, port: &str) -> Result<()> {
    let start = Instant::now();
    for family in Family::BOTH {
        let label = family.label();
        wait_until(&format!("FRR's {label} way to h2 is by {port}"), || {
            // Between one way and the next there may be none, which is an error of the command.
            let to = far(family).to_string();
            let route = r1.namespace.output(&["ip", "route", "get", &to])?;
            let route = String::from_utf8_lossy(&route.stdout);
            Ok(route.contains(&format!("dev {port} ")))
        })?;
        let kernel = start.elapsed().as_secs_f64();
        r1.wait_route(far(family), port)?;
        let ixmapd = start.elapsed().as_secs_f64();
        println!("{label} by {port}: the kernel after {kernel:.2} s, ixmapd after {ixmapd:.2} s");
    }
    Ok(())
}

fn wait_answers(h1: &Node) -> Result<()> {
    Family::BOTH
        .iter()
        .try_for_each(|family| h1.wait_answers(far(*family)))
}

#[test]
fn traffic_converges_when_a_link_and_then_a_router_is_lost() -> Result<()> {
    let Topology {
        mut frr,
        mut routers,
        h1,
        _h2,
    } = topology()?;
    wait_ways(&routers[0], "r2")?;
    wait_answers(&h1)?;

    // A link far from r1, which hears of it by flooding.
    let pings = Traffic::start(&h1, far)?;
    let before = Family::BOTH.map(|family| routers[2].forwarded(family).unwrap());
    let device = routers[3].device("r2");
    routers[3]
        .namespace
        .ip(&format!("link set {device} down"))?;
    wait_ways(&routers[0], "r3")?;
    wait_answers(&h1)?;
    pings.finish("link r2-r4 lost")?;
    for (family, before) in Family::BOTH.into_iter().zip(before) {
        wait_until("r3 forwards by its fast path", || {
            h1.ping(far(family), 1)?;
            Ok(routers[2].forwarded(family)? > before)
        })?;
    }

    let pings = Traffic::start(&h1, far)?;
    routers[3].namespace.ip(&format!("link set {device} up"))?;
    wait_ways(&routers[0], "r2")?;
    wait_answers(&h1)?;
    pings.finish("link r2-r4 back")?;

    // A crash: the cables keep their carrier, and the neighbours miss r2's hellos.
    let pings = Traffic::start(&h1, far)?;
    routers[1].take_ixmapd().end_by(Signal::SIGKILL)?;
    frr[1].take().expect("r2 has FRR").crash();
    wait_ways(&routers[0], "r3")?;
    wait_answers(&h1)?;
    pings.finish("router r2 lost").map(drop)
}
