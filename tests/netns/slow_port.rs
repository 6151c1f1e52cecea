//! A port that takes nothing more: what would leave by it is lost and counted, and nothing else is.

use ixmap_lab::{Family, Ports, Result, wait_until};

use crate::packet::Datagram;
use crate::suite::ixmapd_lab;

/// More than a transmit ring holds, several times over.
const FRAMES: u32 = 10_000;
/// Frames in a transmit ring, at most.
const RING: f64 = 2048.0;

#[test]
fn a_port_that_cannot_send_costs_what_leaves_by_it_and_nothing_else() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Three)? else {
        return Ok(());
    };
    let (address, mac) = (lab.b.address(Family::Ipv4), lab.b.mac_text());
    let (port, device) = (lab.b.port(), lab.b.device());
    // Known even without a carrier: packets go on to the port.
    lab.router.ip(&format!(
        "neigh replace {address} lladdr {mac} nud permanent dev {port}"
    ))?;
    lab.router.ip(&format!("link set {device} down"))?;
    wait_until("the port is without a carrier", || {
        Ok(lab
            .router
            .ip(&format!("link show {port}"))?
            .contains("NO-CARRIER"))
    })?;

    let before = lab.metrics()?;
    let sender = lab.a.tap()?;
    let frame = Datagram::new(&lab.a, address, "to a port that is down").frame();
    let mut answers = 0;
    for n in 0..FRAMES {
        sender.send(&frame)?;
        // In between, and by another port.
        if n.is_multiple_of(FRAMES / 5) {
            answers += lab.a.ping(lab.c.address(Family::Ipv4), 2)?.received;
        }
    }
    assert_eq!(answers, 10, "answers from C");
    let full = || Ok(lab.metrics()?.drops("p0", "tx_full") - before.drops("p0", "tx_full"));
    wait_until("all but a ring of them are counted as dropped", || {
        Ok(full()? >= f64::from(FRAMES) - RING)
    })?;
    assert!(full()? <= f64::from(FRAMES), "{} dropped", full()?);

    lab.router.ip(&format!("link set {device} up"))?;
    lab.wait_reachable(&lab.a, &lab.b)
}
