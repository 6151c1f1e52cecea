//! Next hops: resolved on the first packet, followed when their MAC changes.

use ixmap_lab::{Family, Lab, Ports, Result, wait_until};

use crate::suite::lab;

const NEW_MAC: &str = "02:00:00:00:0b:99";

#[test]
fn neighbours_resolve_on_the_first_packet_without_loss_after_it() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        for host in [&lab.a, &lab.b] {
            let flag = family.flag();
            lab.router
                .ip(&format!("{flag} neigh flush dev {}", host.port()))?;
            host.ip(&format!("{flag} neigh flush dev eth0"))?;
        }
        let first = lab.a.ping(lab.b.address(family), 5)?;
        assert!(
            first.received >= 4,
            "more than the first was lost: {}",
            first.output
        );
        let then = lab.a.ping(lab.b.address(family), 10)?;
        assert_eq!(then.received, 10, "{}", then.output);
    }
    Ok(())
}

#[test]
fn a_host_that_announces_a_new_mac_stays_reachable() -> Result<()> {
    let lab = lab(Ports::Two)?;
    lab.b.sysctl(&[
        "net.ipv4.conf.eth0.arp_notify=1",
        "net.ipv6.conf.eth0.ndisc_notify=1",
    ])?;
    lab.b.ip(&format!("link set eth0 address {NEW_MAC}"))?;
    assert_b_recovers(&lab)
}

#[test]
fn a_neighbour_replaced_by_hand_is_followed() -> Result<()> {
    let lab = lab(Ports::Two)?;
    lab.b.ip(&format!("link set eth0 address {NEW_MAC}"))?;
    for family in Family::BOTH {
        let address = lab.b.address(family);
        let entry = format!("{address} lladdr {NEW_MAC} dev p1 nud permanent");
        lab.router.ip(&format!("neigh replace {entry}"))?;
    }
    assert_b_recovers(&lab)
}

#[test]
fn a_wrong_permanent_neighbour_cuts_the_traffic_off() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        let address = lab.b.address(family);
        let entry = format!("{address} lladdr {NEW_MAC} dev p1 nud permanent");
        lab.router.ip(&format!("neigh replace {entry}"))?;
        wait_until("the wrong MAC is in use", || {
            Ok(lab.a.ping(address, 1)?.received == 0)
        })?;
        lab.router.ip(&format!("neigh del {address} dev p1"))?;
    }
    assert_b_recovers(&lab)
}

/// B answers again, and from then on without loss.
fn assert_b_recovers(lab: &Lab) -> Result<()> {
    lab.wait_reachable(&lab.a, &lab.b)?;
    for family in Family::BOTH {
        let ping = lab.a.ping(lab.b.address(family), 10)?;
        assert_eq!(ping.received, 10, "{}", ping.output);
    }
    Ok(())
}
