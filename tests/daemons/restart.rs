//! Either side restarted: FRR under ixmapd, and ixmapd under FRR.
//!
//! `h1 ── r1 (ixmapd, FRR) ── n1 (kernel, BIRD) ── h2`, with eBGP between r1 and n1

use std::net::IpAddr;
use std::time::Instant;

use ixmap_lab::{Family, Result, wait_until};

use crate::bird::Bird;
use crate::frr::Frr;
use crate::node::{Network, Node, address, cable};
use crate::traffic::Traffic;

/// The TAPs' addresses are FRR's: a TAP that comes back gets them again.
const FRR: &str = "
interface h1
 ip address 10.0.1.2/24
exit
interface n1
 ip address 10.0.2.1/24
exit
router bgp 65001
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor 10.0.2.2 remote-as 65002
 neighbor 10.0.2.2 timers connect 1
 address-family ipv4 unicast
  network 10.0.1.0/24
 exit-address-family
exit
";

const BIRD: &str = r#"
router id 192.0.2.2;
protocol device { }
protocol direct { ipv4; interface "h2"; }
protocol kernel { ipv4 { export all; }; }
protocol bgp {
    local 10.0.2.2 as 65002;
    neighbor 10.0.2.1 as 65001;
    graceful restart on;
    connect retry time 1;
    error wait time 1, 5;
    ipv4 { import all; export all; };
}
"#;

/// Keeps the routes in the kernel for a minute after a start, for BGP to find them again.
const ZEBRA: &[&str] = &["--graceful_restart", "60"];

struct Restart {
    bird: Bird,
    r1: Node,
    h1: Node,
    n1: Node,
    _h2: Node,
}

fn network() -> Result<Restart> {
    let network = Network::new();
    let mut h1 = network.plain("h1")?;
    let mut r1 = network.router("r1")?;
    let mut n1 = network.plain("n1")?;
    let mut h2 = network.plain("h2")?;
    cable(1, &mut h1, &mut r1)?;
    cable(2, &mut r1, &mut n1)?;
    cable(3, &mut n1, &mut h2)?;
    r1.start_ixmapd()?;
    for node in [&mut h1, &mut n1, &mut h2] {
        node.start()?;
    }
    h1.default_route(1, 2)?;
    h2.default_route(3, 1)?;
    let bird = Bird::start(&n1.namespace, BIRD)?;
    Ok(Restart {
        bird,
        r1,
        h1,
        n1,
        _h2: h2,
    })
}

fn start_frr(r1: &Node) -> Result<Frr> {
    Frr::start_with(&r1.namespace, &["bgpd"], FRR, ZEBRA)
}

fn far() -> IpAddr {
    address(Family::Ipv4, 3, 2)
}

/// Waits until BIRD's session with r1 is established and has brought h1's subnet.
fn wait_session(net: &Restart) -> Result<()> {
    wait_until("the session is up", || {
        let sessions = net.bird.ask(&net.n1.namespace, "show protocols bgp1")?;
        let route = net
            .bird
            .ask(&net.n1.namespace, "show route all 10.0.1.0/24")?;
        Ok(sessions.contains("Established") && route.contains("via 10.0.2.1"))
    })
}

/// The session's start, which tells one session from the next.
fn session(net: &Restart) -> Result<String> {
    net.bird.ask(&net.n1.namespace, "show protocols bgp1")
}

#[test]
fn forwarding_goes_on_while_frr_crashes_and_starts_again() -> Result<()> {
    let net = network()?;
    let frr = start_frr(&net.r1)?;
    net.r1.wait_route(far(), "n1")?;
    wait_session(&net)?;
    net.h1.wait_answers(far())?;

    let pings = Traffic::start(&net.h1, far())?;
    let before = session(&net)?;
    frr.crash();
    wait_until("BIRD notices", || Ok(session(&net)? != before))?;
    let frr = start_frr(&net.r1)?;
    wait_session(&net)?;
    // zebra took the route over from the kernel; now it has bgpd's own.
    wait_until("BGP has installed its route again", || {
        let routes = frr.json(&net.r1.namespace, "show ip route bgp json")?;
        let route = &routes["10.0.3.0/24"][0];
        Ok(route["installed"] == true && route["nexthops"][0]["fib"] == true)
    })?;
    net.h1.wait_answers(far())?;
    let loss = pings.finish("FRR crashed and started again")?;
    assert_eq!(loss.lost, 0, "of {}", loss.sent);
    net.r1.wait_route(far(), "n1").map(drop)
}

#[test]
fn traffic_comes_back_when_ixmapd_is_restarted_under_frr() -> Result<()> {
    let mut net = network()?;
    let _frr = start_frr(&net.r1)?;
    net.r1.wait_route(far(), "n1")?;
    net.h1.wait_answers(far())?;

    let pings = Traffic::start(&net.h1, far())?;
    let start = Instant::now();
    net.r1.take_ixmapd().stop()?;
    net.r1.start_ixmapd()?;
    println!(
        "ixmapd is ready again after {:.2} s",
        start.elapsed().as_secs_f64()
    );
    net.r1.wait_route(far(), "n1")?;
    println!(
        "the route is back after {:.2} s",
        start.elapsed().as_secs_f64()
    );
    net.h1.wait_answers(far())?;
    pings.finish("ixmapd restarted")?;
    wait_session(&net)
}
