//! BGP multipath over two ixmapd routers, by FRR and by BIRD, and BFD across ixmapd's TAPs.

use std::collections::BTreeSet;

use ixmap_lab::{Family, Result, wait_until};

use crate::bird::Bird;
use crate::frr::{self, Frr, Neighbour};
use crate::multipath::Multipath;
use crate::node::Node;

const R0_BIRD: &str = r#"
router id 192.0.2.100;
protocol device { }
protocol direct { ipv4; ipv6; interface "h1"; }
protocol bfd { }
protocol kernel { ipv4 { export all; }; merge paths on; }
protocol kernel { ipv6 { export all; }; merge paths on; }
template bgp transit {
    local as 65000;
    bfd on;
    connect retry time 1;
    # A BFD session that starts on one side first counts as an error, for a minute by default.
    error wait time 1, 5;
}
protocol bgp from transit { neighbor 10.0.2.2 as 65001; ipv4 { import all; export all; }; }
protocol bgp from transit { neighbor 10.0.3.2 as 65002; ipv4 { import all; export all; }; }
protocol bgp from transit { neighbor fd00:0:0:2::2 as 65001; ipv6 { import all; export all; }; }
protocol bgp from transit { neighbor fd00:0:0:3::2 as 65002; ipv6 { import all; export all; }; }
"#;

/// What is behind h2, which BGP brings.
const FAR: [&str; 2] = ["10.0.6.0/24", "fd00:0:0:6::/64"];

/// How FRR and the kernel speak of next hops.
#[derive(Debug)]
struct NextHops {
    /// `net.ipv4.nexthop_compat_mode`: whether the kernel tells of every route when an object
    /// changes, and of a route's own next hops beside its object.
    compat: u8,
    /// Whether zebra puts next-hop objects into the kernel.
    objects: bool,
}

const NEXT_HOPS: [NextHops; 3] = [
    NextHops {
        compat: 1,
        objects: true,
    },
    NextHops {
        compat: 0,
        objects: true,
    },
    NextHops {
        compat: 1,
        objects: false,
    },
];

fn start_frr(r0: &Node, next_hops: &NextHops) -> Result<Frr> {
    let compat = format!("net.ipv4.nexthop_compat_mode={}", next_hops.compat);
    r0.namespace.sysctl(&[&compat])?;
    let neighbours = [(2, 65001), (3, 65002)].map(|(cable, system)| Neighbour {
        cable,
        end: 2,
        system,
        bfd: true,
    });
    let mut config = frr::bgp(0, &neighbours, Some(["10.0.1.0/24", "fd00:0:0:1::/64"]));
    if !next_hops.objects {
        config += "no zebra nexthop kernel enable\n";
    }
    Frr::start(&r0.namespace, &["bgpd", "bfdd"], &config)
}

/// Waits until FRR's BFD sessions with r1 are `up` or `down`.
fn wait_bfd(frr: &Frr, r0: &Node, status: &str) -> Result<()> {
    wait_until(&format!("the BFD sessions with r1 are {status}"), || {
        let peers = frr.json(&r0.namespace, "show bfd peers json")?;
        let peers = peers.as_array().expect("a list");
        let is = |address| {
            let mut peers = peers.iter();
            peers.any(|peer| peer["peer"] == address && peer["status"] == status)
        };
        Ok(is("10.0.2.2") && is("fd00:0:0:2::2"))
    })
}

/// Whether the kernel's routes to h2 lead to next-hop objects.
fn check_objects(r0: &Node, objects: bool) -> Result<()> {
    for (family, far) in Family::BOTH.iter().zip(FAR) {
        let route = r0
            .namespace
            .run(&["ip", family.flag(), "route", "show", far])?;
        assert_eq!(route.contains("nhid"), objects, "{route}");
    }
    Ok(())
}

/// All routes of the dataplane, without the numbers of groups, and legs in any order.
fn dataplane(r0: &Node) -> Result<BTreeSet<String>> {
    let routes = r0.ctl(&["routes"])?;
    let routes = routes.as_array().expect("a list").iter().map(|route| {
        let legs = route["group"]["legs"].as_array().into_iter().flatten();
        let legs: BTreeSet<String> = legs
            .map(|leg| format!("{} {} {}", leg["port"], leg["via"], leg["weight"]))
            .collect();
        let (prefix, kind, action) = (&route["prefix"], &route["kind"], &route["action"]);
        format!("{prefix} {kind} {action} {legs:?}")
    });
    Ok(routes.collect())
}

/// How many of the dataplane's routes lead to what is behind h2.
fn far_routes(dataplane: &BTreeSet<String>) -> usize {
    let is_far = |route: &&String| FAR.iter().any(|far| route.contains(far));
    dataplane.iter().filter(is_far).count()
}

#[test]
fn frr_uses_both_legs_and_bfd_takes_a_cut_one_out_however_next_hops_are_told() -> Result<()> {
    let net = Multipath::new()?;
    let mut first = None;
    for next_hops in &NEXT_HOPS {
        println!("{next_hops:?}");
        let frr = start_frr(&net.r0, next_hops)?;
        net.wait_legs(2)?;
        wait_bfd(&frr, &net.r0, "up")?;
        check_objects(&net.r0, next_hops.objects)?;
        let routes = dataplane(&net.r0)?;
        assert_eq!(far_routes(&routes), 2, "{routes:#?}");
        assert_eq!(&routes, first.get_or_insert_with(|| routes.clone()));
        net.both_forward()?;

        net.lose_a_leg()?;
        wait_bfd(&frr, &net.r0, "down")?;
        drop(frr);
        wait_until("r0 has no route to h2", || {
            Ok(far_routes(&dataplane(&net.r0)?) == 0)
        })?;
        net.mend()?;
    }
    Ok(())
}

#[test]
fn bird_merges_paths_and_bfd_takes_a_cut_one_out() -> Result<()> {
    let net = Multipath::new()?;
    let bird = Bird::start(&net.r0.namespace, R0_BIRD)?;
    net.wait_legs(2)?;
    wait_until("the BFD sessions are up", || {
        let sessions = bird.ask(&net.r0.namespace, "show bfd sessions")?;
        Ok(sessions.matches(" Up ").count() == 4)
    })?;
    net.both_forward()?;
    net.lose_a_leg()
}
