//! BGP multipath over two ixmapd routers, by FRR and by BIRD, and BFD across ixmapd's TAPs.
//!
//! ```text
//!           ┌─ s1 ── r1 ─┐
//!  h1 ── r0 ┤            ├ n1 (kernel, BIRD) ── h2     r0, r1, r2: ixmapd; s1: a switch
//!           └─────── r2 ─┘
//! ```
//!
//! Behind a switch a link is lost without a loss of carrier: BFD notices before BGP's own timers.

use std::time::Instant;

use ixmap_lab::{Family, Result, wait_until};

use crate::bird::Bird;
use crate::frr::Frr;
use crate::node::{Network, Node, address, cable, cable_by_switch};

const R0_FRR: &str = "
router bgp 65000
 bgp router-id 192.0.2.100
 no bgp ebgp-requires-policy
 bgp bestpath as-path multipath-relax
 neighbor 10.0.2.2 remote-as 65001
 neighbor 10.0.2.2 bfd
 neighbor 10.0.2.2 timers connect 1
 neighbor 10.0.3.2 remote-as 65002
 neighbor 10.0.3.2 bfd
 neighbor 10.0.3.2 timers connect 1
 address-family ipv4 unicast
  network 10.0.1.0/24
  maximum-paths 4
 exit-address-family
exit
";

const R0_BIRD: &str = r#"
router id 192.0.2.100;
protocol device { }
protocol direct { ipv4; interface "h1"; }
protocol bfd { }
protocol kernel { ipv4 { export all; }; merge paths on; }
template bgp transit {
    local as 65000;
    bfd on;
    connect retry time 1;
    # A BFD session that starts on one side first counts as an error, for a minute by default.
    error wait time 1, 5;
    ipv4 { import all; export all; };
}
protocol bgp from transit { neighbor 10.0.2.2 as 65001; }
protocol bgp from transit { neighbor 10.0.3.2 as 65002; }
"#;

const N1: &str = r#"
router id 192.0.2.104;
protocol device { }
protocol direct { ipv4; interface "h2"; }
protocol kernel { ipv4 { export all; }; }
template bgp edge { local as 65004; connect retry time 1; ipv4 { import all; export all; }; }
protocol bgp from edge { neighbor 10.0.4.1 as 65001; }
protocol bgp from edge { neighbor 10.0.5.1 as 65002; }
"#;

/// A transit router between r0 and n1.
fn transit(number: u8, r0: &str, n1: &str) -> String {
    let system = 65000 + u32::from(number);
    format!(
        "router bgp {system}\n bgp router-id 192.0.2.{number}\n no bgp ebgp-requires-policy\n \
         neighbor {r0} remote-as 65000\n neighbor {r0} bfd\n neighbor {r0} timers connect 1\n \
         neighbor {n1} remote-as 65004\n neighbor {n1} timers connect 1\nexit\n"
    )
}

/// h2's addresses, apart enough for a hash.
const TARGETS: u8 = 32;

struct Multipath {
    // Ended before the nodes that they run in.
    _transits: [Frr; 2],
    _far: Bird,
    r0: Node,
    r1: Node,
    r2: Node,
    s1: Node,
    h1: Node,
    _n1: Node,
    _h2: Node,
}

fn network() -> Result<Multipath> {
    let network = Network::new();
    let [mut r0, mut r1, mut r2] = [
        network.router("r0")?,
        network.router("r1")?,
        network.router("r2")?,
    ];
    let [mut h1, mut n1, mut h2, s1] = [
        network.plain("h1")?,
        network.plain("n1")?,
        network.plain("h2")?,
        network.plain("s1")?,
    ];
    cable(1, &mut h1, &mut r0)?;
    cable_by_switch(2, &mut r0, &s1, &mut r1)?;
    cable(3, &mut r0, &mut r2)?;
    cable(4, &mut r1, &mut n1)?;
    cable(5, &mut r2, &mut n1)?;
    cable(6, &mut n1, &mut h2)?;
    for node in [&mut r0, &mut r1, &mut r2, &mut h1, &mut n1, &mut h2] {
        node.start()?;
    }
    h1.default_route(1, 2)?;
    h2.default_route(6, 1)?;
    let targets = (0..TARGETS).map(|n| format!("addr add 10.0.6.{}/24 dev n1", 100 + n));
    h2.namespace.ip_batch(&targets.collect::<Vec<_>>())?;
    let daemons = ["bgpd", "bfdd"];
    let transits = [
        Frr::start(&r1.namespace, &daemons, &transit(1, "10.0.2.1", "10.0.4.2"))?,
        Frr::start(&r2.namespace, &daemons, &transit(2, "10.0.3.1", "10.0.5.2"))?,
    ];
    let far = Bird::start(&n1.namespace, N1)?;
    Ok(Multipath {
        _transits: transits,
        _far: far,
        r0,
        r1,
        r2,
        s1,
        h1,
        _n1: n1,
        _h2: h2,
    })
}

/// Waits until r0's route to h2 has this many legs.
fn wait_legs(r0: &Node, count: usize) -> Result<()> {
    let to = address(Family::Ipv4, 6, 2).to_string();
    wait_until(&format!("the route to h2 has {count} legs"), || {
        let route = r0.ctl(&["route", &to])?;
        let legs = route["group"]["legs"].as_array().map(Vec::len);
        Ok(legs == Some(count))
    })
}

/// Pings all of h2's addresses by both routers. The replies take one way, whichever BIRD on n1
/// found best: so that router forwards more than the replies, and the other one something.
fn both_forward(net: &Multipath) -> Result<()> {
    net.h1.wait_answers(address(Family::Ipv4, 6, 2))?;
    let family = Family::Ipv4;
    let before = [net.r1.forwarded(family)?, net.r2.forwarded(family)?];
    for target in 0..TARGETS {
        let target = address(family, 6, 100 + target);
        assert_eq!(net.h1.ping(target, 1)?, 1, "{target}");
    }
    let grown = [
        net.r1.forwarded(family)? - before[0],
        net.r2.forwarded(family)? - before[1],
    ];
    println!("forwarded by r1 and r2, replies included: {grown:?}");
    let (less, more) = (grown[0].min(grown[1]), grown[0].max(grown[1]));
    assert!(less > 0.0 && more > f64::from(TARGETS), "{grown:?}");
    Ok(())
}

/// Cuts the way to r1 behind the switch: nobody on r0's side loses its carrier.
fn cut(net: &Multipath) -> Result<()> {
    net.s1.namespace.ip("link set r1 down").map(drop)
}

#[test]
fn frr_uses_both_legs_and_bfd_takes_a_cut_one_out() -> Result<()> {
    let net = network()?;
    let frr = Frr::start(&net.r0.namespace, &["bgpd", "bfdd"], R0_FRR)?;
    let peer_is = |status: &str| {
        wait_until(&format!("the BFD session with r1 is {status}"), || {
            let peers = frr.json(&net.r0.namespace, "show bfd peers json")?;
            let mut peers = peers.as_array().expect("a list").iter();
            let peer = peers.find(|peer| peer["peer"] == "10.0.2.2");
            Ok(peer.is_some_and(|peer| peer["status"] == status))
        })
    };
    wait_legs(&net.r0, 2)?;
    peer_is("up")?;
    both_forward(&net)?;

    cut(&net)?;
    let start = Instant::now();
    peer_is("down")?;
    wait_legs(&net.r0, 1)?;
    println!("down {:.2} s after the cut", start.elapsed().as_secs_f64());
    net.r0.wait_route(address(Family::Ipv4, 6, 2), "r2")?;
    Ok(())
}

#[test]
fn bird_merges_paths_and_bfd_takes_a_cut_one_out() -> Result<()> {
    let net = network()?;
    let bird = Bird::start(&net.r0.namespace, R0_BIRD)?;
    wait_legs(&net.r0, 2)?;
    wait_until("the BFD sessions are up", || {
        let sessions = bird.ask(&net.r0.namespace, "show bfd sessions")?;
        Ok(sessions.matches(" Up ").count() == 2)
    })?;
    both_forward(&net)?;

    cut(&net)?;
    let start = Instant::now();
    wait_legs(&net.r0, 1)?;
    println!("down {:.2} s after the cut", start.elapsed().as_secs_f64());
    net.r0.wait_route(address(Family::Ipv4, 6, 2), "r2")?;
    Ok(())
}
