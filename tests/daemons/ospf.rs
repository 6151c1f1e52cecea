//! OSPFv2 and OSPFv3 between FRR on ixmapd's TAPs and BIRD on a neighbour. Hellos are multicast:
//! an adjacency comes up only if ixmapd punts and injects them.
//!
//! `h1 ── r1 (ixmapd, FRR) ── n1 (kernel, BIRD) ── h2`

use ixmap_lab::{Family, Result, wait_until};

use crate::bird::Bird;
use crate::frr::Frr;
use crate::line::Line;

/// As FRR writes it: an interface that joins an area before its intervals are known waits the
/// default 40 seconds for a designated router.
pub(crate) const FRR: &str = "
interface n1
 ip ospf area 0
 ip ospf hello-interval 1
 ip ospf dead-interval 4
 ipv6 ospf6 area 0
 ipv6 ospf6 hello-interval 1
 ipv6 ospf6 dead-interval 4
exit
interface h1
 ip ospf area 0
 ip ospf passive
 ipv6 ospf6 area 0
 ipv6 ospf6 passive
exit
router ospf
 ospf router-id 192.0.2.1
exit
router ospf6
 ospf6 router-id 192.0.2.1
exit
";

pub(crate) const BIRD: &str = r#"
router id 192.0.2.2;
protocol device { scan time 1; }
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
protocol ospf v2 {
    ipv4;
    area 0 {
        interface "r1" { hello 1; dead count 4; };
        interface "h2" { stub; };
    };
}
protocol ospf v3 {
    ipv6;
    area 0 {
        interface "r1" { hello 1; dead count 4; };
        interface "h2" { stub; };
    };
}
"#;

#[test]
fn an_ospfv2_adjacency_comes_up_and_its_routes_forward() -> Result<()> {
    routes_forward(Family::Ipv4, "10.0.3.0/24")
}

#[test]
fn an_ospfv3_adjacency_comes_up_and_its_routes_forward() -> Result<()> {
    routes_forward(Family::Ipv6, "fd00:0:0:3::/64")
}

fn routes_forward(family: Family, prefix: &str) -> Result<()> {
    let mut line = Line::new()?;
    line.r1.start()?;
    let Line { r1, h1, n1, .. } = &line;
    let frr = Frr::start(&r1.namespace, &["ospfd", "ospf6d"], FRR)?;
    let _bird = Bird::start(&n1.namespace, BIRD)?;

    let version = if family == Family::Ipv4 {
        "ip ospf"
    } else {
        "ipv6 ospf6"
    };
    wait_until("the adjacency is full", || {
        let neighbours = frr.vtysh(&r1.namespace, &format!("show {version} neighbor"))?;
        Ok(neighbours.contains("192.0.2.2") && neighbours.contains("Full"))
    })?;
    let far = Line::far(family);
    let route = r1.wait_route(far, "n1")?;
    assert_eq!(route["prefix"], prefix, "{route}");
    h1.wait_answers(far)?;
    // The first ones may go by the kernel, until neighbours are in force.
    wait_until("a ping is forwarded by the fast path", || {
        let before = r1.forwarded(family)?;
        h1.ping(far, 1)?;
        Ok(r1.forwarded(family)? >= before + 2.0)
    })?;
    let before = r1.forwarded(family)?;
    assert_eq!(h1.ping(far, 10)?, 10);
    wait_until("requests and replies have gone by the fast path", || {
        Ok(r1.forwarded(family)? >= before + 20.0)
    })?;
    Ok(())
}
