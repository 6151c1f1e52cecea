//! Hellos amid a flood of packets for the router itself: what the kernel is asked to take is bounded
//! for each kind apart, so OSPF stays up however many others come by the same port.
//!
//! `n1 (BIRD, and the flood) ── r1 (ixmapd, FRR)`

use std::time::{Duration, Instant};

use ixmap_lab::{Family, Metrics, Namespace, Result, Tap, wait_until};

use crate::bird::Bird;
use crate::frr::Frr;
use crate::line::Line;
use crate::node::address;
use crate::ospf::{BIRD, FRR};

/// Three times as long as a neighbour may be silent (4 s).
const FLOOD: Duration = Duration::from_secs(12);
/// More than the limit of class `local` lets through in that time, many times over.
const MOST_FRAMES: u32 = 20_000_000;

#[test]
fn ospf_adjacencies_survive_a_flood_of_punts() -> Result<()> {
    let mut line = Line::new()?;
    line.r1.start()?;
    let Line { r1, n1, .. } = &line;
    let frr = Frr::start(&r1.namespace, &["ospfd", "ospf6d"], FRR)?;
    let _bird = Bird::start(&n1.namespace, BIRD)?;
    let full = |version: &str| -> Result<bool> {
        let neighbours = frr.vtysh(&r1.namespace, &format!("show {version} neighbor"))?;
        Ok(neighbours.contains("192.0.2.2") && neighbours.contains("Full"))
    };
    wait_until("the adjacencies are full", || {
        Ok(full("ip ospf")? && full("ipv6 ospf6")?)
    })?;
    let before = Metrics::scrape(&r1.namespace)?;
    n1.wait_answers(address(Family::Ipv4, 2, 1))?;

    let tap = Tap::open(&n1.namespace, "r1")?;
    let frame = datagram(mac(&r1.namespace, "n1")?, mac(&n1.namespace, "r1")?);
    let start = Instant::now();
    let mut sent = 0;
    let mut looked = start;
    while start.elapsed() < FLOOD && sent < MOST_FRAMES {
        for _ in 0..1000 {
            // ENOBUFS and the like: the flood is at the most that this machine can send.
            sent += u32::from(tap.send(&frame).is_ok());
        }
        if looked.elapsed() > Duration::from_secs(1) {
            looked = Instant::now();
            assert!(full("ip ospf")?, "OSPFv2 is down after {sent} frames");
            assert!(full("ipv6 ospf6")?, "OSPFv3 is down after {sent} frames");
        }
    }
    let after = Metrics::scrape(&r1.namespace)?;
    let grown = |of: fn(&Metrics) -> f64| of(&after) - of(&before);
    let punted = grown(|metrics| metrics.punts("n1", "local"));
    let hellos = grown(|metrics| metrics.punts("n1", "routing"));
    println!("{sent} frames sent, {punted} punted, {hellos} of routing protocols punted");
    assert!(punted > 100_000.0, "no flood: {punted} of {sent} punted");
    assert!(hellos >= 20.0, "{hellos} hellos of two protocols");
    Ok(())
}

/// A datagram of 64 bytes from n1 to r1's own address; nobody listens there.
fn datagram(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let mut frame = [&to[..], &from, &[8, 0]].concat();
    let mut ip = [
        0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 2, 2, 10, 0, 2, 1,
    ];
    let sum: u32 = ip
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).expect("a short header");
    ip[10..12].copy_from_slice(&(!folded).to_be_bytes());
    frame.extend(ip);
    frame.extend([0x9c, 0x40, 0, 9, 0, 30, 0, 0]);
    frame.resize(64, 0);
    frame
}

fn mac(namespace: &Namespace, link: &str) -> Result<[u8; 6]> {
    let shown = namespace.ip(&format!("-br link show {link}"))?;
    let text = shown.split_whitespace().nth(2).expect("a MAC");
    let mut mac = [0; 6];
    for (slot, byte) in mac.iter_mut().zip(text.split(':')) {
        *slot = u8::from_str_radix(byte, 16).expect("a byte in hex");
    }
    Ok(mac)
}
