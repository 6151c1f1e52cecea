//! Either side restarted: FRR under ixmapd, and ixmapd under FRR.
//!
//! `h1 ── r1 (ixmapd, FRR) ── n1 (kernel, BIRD) ── h2`, with eBGP of both families between r1 and n1

use std::time::Instant;

use ixmap_lab::{Family, Result, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bird::Bird;
use crate::frr::Frr;
use crate::line::Line;
use crate::node::Node;
use crate::traffic::Traffic;

/// The TAPs' addresses are FRR's: a TAP that comes back gets them again.
const FRR: &str = "
interface h1
 ip address 10.0.1.2/24
 ipv6 address fd00:0:0:1::2/64
exit
interface n1
 ip address 10.0.2.1/24
 ipv6 address fd00:0:0:2::1/64
exit
router bgp 65001
 bgp router-id 192.0.2.1
 no bgp ebgp-requires-policy
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor 10.0.2.2 remote-as 65002
 neighbor 10.0.2.2 timers connect 1
 neighbor fd00:0:0:2::2 remote-as 65002
 neighbor fd00:0:0:2::2 timers connect 1
 address-family ipv4 unicast
  network 10.0.1.0/24
  no neighbor fd00:0:0:2::2 activate
 exit-address-family
 address-family ipv6 unicast
  network fd00:0:0:1::/64
  neighbor fd00:0:0:2::2 activate
 exit-address-family
exit
";

const BIRD: &str = r#"
router id 192.0.2.2;
protocol device { }
protocol direct { ipv4; ipv6; interface "h2"; }
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
template bgp edge {
    local as 65002;
    graceful restart on;
    connect retry time 1;
    error wait time 1, 5;
}
protocol bgp over_ipv4 from edge {
    neighbor 10.0.2.1 as 65001;
    ipv4 { import all; export all; };
}
protocol bgp over_ipv6 from edge {
    neighbor fd00:0:0:2::1 as 65001;
    ipv6 { import all; export all; };
}
"#;

/// BIRD's sessions with r1, by family.
const SESSIONS: [&str; 2] = ["over_ipv4", "over_ipv6"];

/// Keeps the routes in the kernel for a minute after a start, for BGP to find them again.
const ZEBRA: &[&str] = &["--graceful_restart", "60"];

struct Restart {
    // Ended before the nodes.
    bird: Bird,
    line: Line,
}

fn network() -> Result<Restart> {
    let mut line = Line::new()?;
    line.r1.start_ixmapd()?;
    let bird = Bird::start(&line.n1.namespace, BIRD)?;
    Ok(Restart { bird, line })
}

impl Restart {
    fn start_frr(&self) -> Result<Frr> {
        Frr::start_with(&self.line.r1.namespace, &["bgpd"], FRR, ZEBRA)
    }

    fn ask_bird(&self, command: &str) -> Result<String> {
        self.bird.ask(&self.line.n1.namespace, command)
    }

    /// What BIRD says about its sessions: their start tells one session from the next.
    fn sessions(&self) -> Result<[String; 2]> {
        let [ipv4, ipv6] = SESSIONS.map(|name| self.ask_bird(&format!("show protocols {name}")));
        Ok([ipv4?, ipv6?])
    }

    /// Waits until BIRD's sessions with r1 are established and have brought h1's subnets.
    fn wait_sessions(&self) -> Result<()> {
        let subnets = ["10.0.1.0/24", "fd00:0:0:1::/64"];
        wait_until("the sessions are up", || {
            let sessions = self.sessions()?;
            let up = sessions.iter().all(|said| said.contains("Established"));
            let routes = SESSIONS.map(|name| self.ask_bird(&format!("show route protocol {name}")));
            let mut brought = routes.iter().zip(subnets);
            Ok(up
                && brought.all(|(routes, subnet)| {
                    routes.as_ref().is_ok_and(|routes| routes.contains(subnet))
                }))
        })
    }
}

/// What zebra says about its routes to h2, by BGP.
fn far_routes(frr: &Frr, line: &Line) -> Result<[Value; 2]> {
    let ask = |family, prefix: &str| {
        let routes = frr.json(&line.r1.namespace, &format!("show {family} route bgp json"))?;
        Ok(routes[prefix][0].clone())
    };
    Ok([ask("ip", "10.0.3.0/24")?, ask("ipv6", "fd00:0:0:3::/64")?])
}

#[test]
fn forwarding_goes_on_while_frr_crashes_and_starts_again() -> Result<()> {
    let net = network()?;
    let frr = net.start_frr()?;
    net.wait_sessions()?;
    net.line.wait_through()?;

    let pings = Traffic::start(&net.line.h1, Line::far)?;
    let before = net.sessions()?;
    frr.crash();
    wait_until("BIRD notices", || {
        let now = net.sessions()?;
        Ok(now.iter().zip(&before).all(|(now, before)| now != before))
    })?;
    let frr = net.start_frr()?;
    net.wait_sessions()?;
    // zebra took the routes over from the kernel; now it has bgpd's own.
    wait_until("BGP has installed its routes again", || {
        let routes = far_routes(&frr, &net.line)?;
        let installed =
            |route: &Value| route["installed"] == true && route["nexthops"][0]["fib"] == true;
        Ok(routes.iter().all(installed))
    })?;
    net.line.wait_through()?;
    let losses = pings.finish("FRR crashed and started again")?;
    assert!(losses.iter().all(|loss| loss.lost == 0), "{losses:?}");
    net.line.wait_through()
}

/// FRR that ends in good order takes its routes with it, whatever is said about graceful restart.
#[test]
fn traffic_comes_back_when_frr_is_stopped_and_started_again() -> Result<()> {
    let net = network()?;
    let frr = net.start_frr()?;
    net.wait_sessions()?;
    net.line.wait_through()?;

    let pings = Traffic::start(&net.line.h1, Line::far)?;
    drop(frr);
    check_no_routes(&net.line.r1)?;
    for far in Family::BOTH.map(Line::far) {
        wait_until("ixmapd has no way to h2 either", || {
            let route = net.line.r1.ctl(&["route", &far.to_string()])?;
            Ok(route["prefix"].is_null())
        })?;
    }
    let _frr = net.start_frr()?;
    net.wait_sessions()?;
    net.line.wait_through()?;
    pings.finish("FRR stopped and started again").map(drop)
}

#[test]
fn traffic_comes_back_when_ixmapd_is_restarted_under_frr() -> Result<()> {
    let mut net = network()?;
    let _frr = net.start_frr()?;
    net.line.wait_through()?;

    let pings = Traffic::start(&net.line.h1, Line::far)?;
    let start = Instant::now();
    net.line.r1.take_ixmapd().stop()?;
    comes_back(&mut net, start)?;
    pings.finish("ixmapd restarted").map(drop)
}

#[test]
fn traffic_comes_back_by_itself_when_ixmapd_is_killed_under_frr() -> Result<()> {
    let mut net = network()?;
    let frr = net.start_frr()?;
    net.line.wait_through()?;

    let pings = Traffic::start(&net.line.h1, Line::far)?;
    let start = Instant::now();
    net.line.r1.take_ixmapd().end_by(Signal::SIGKILL)?;
    // The TAPs have gone with it, and so have the kernel's routes and FRR's.
    wait_until("FRR has no way to h2", || {
        let routes = far_routes(&frr, &net.line)?;
        Ok(routes.iter().all(|route| route["installed"] != true))
    })?;
    check_no_routes(&net.line.r1)?;
    assert!(net.line.r1.namespace.ip("link show n1").is_err());
    comes_back(&mut net, start)?;
    pings.finish("ixmapd killed and started again").map(drop)
}

/// The kernel has no route of BGP's.
fn check_no_routes(r1: &Node) -> Result<()> {
    for family in Family::BOTH {
        let words = ["ip", family.flag(), "route", "show", "proto", "bgp"];
        assert_eq!(r1.namespace.run(&words)?, "");
    }
    Ok(())
}

/// Starts ixmapd again and does nothing but watch.
fn comes_back(net: &mut Restart, start: Instant) -> Result<()> {
    let say = |what: &str| println!("{what} after {:.2} s", start.elapsed().as_secs_f64());
    net.line.r1.start_ixmapd()?;
    say("ixmapd is ready again");
    for family in Family::BOTH {
        net.line.r1.wait_route(Line::far(family), "n1")?;
        say(&format!("the {} route is back", family.label()));
    }
    net.line.wait_through()?;
    net.wait_sessions()
}
