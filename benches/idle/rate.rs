//! More packets than a worker can forward: sent by an AF_XDP port of our own on host A's link. B's
//! kernel throws them away, which on a veth is work of the sender's core, and so of the worker's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ixmap::dataplane::mem::{Arena, Pool};
use ixmap::dataplane::port::afxdp::{Device, FRAMES_PER_QUEUE};
use ixmap::dataplane::port::{BURST, Burst, PortQueue};
use ixmap::shared::config::{Driver, PortConfig};
use ixmap::shared::port::PortId;
use ixmap_lab::{Error, Family, Host, Lab, Result};

use crate::on_core;

const FRAME_SIZE: u32 = 2048;
/// Until everything runs, and the time that is measured.
const WARM: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(3);

/// Millions of packets a second.
pub(crate) struct Rates {
    pub(crate) forwarded: f64,
    pub(crate) offered: f64,
}

pub(crate) fn measure(lab: &Lab) -> Result<Rates> {
    // B will have no time to answer.
    let (address, mac) = (lab.b.address(Family::Ipv4), lab.b.mac_text());
    let neighbour = format!("neigh replace {address} lladdr {mac} dev p1 nud permanent");
    lab.router.ip(&neighbour)?;
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let source = scope.spawn(|| on_core(0, || flood(&lab.a, &packet(lab), &over, &sent)));
        thread::sleep(WARM);
        let counts = || {
            Ok((
                forwarded(lab)?,
                sent.load(Ordering::Relaxed),
                Instant::now(),
            ))
        };
        let rates = counts().and_then(|before| {
            thread::sleep(MEASURED);
            let after = counts()?;
            let micros = (after.2 - before.2).as_secs_f64() * 1e6;
            Ok(Rates {
                forwarded: (after.0 - before.0) as f64 / micros,
                offered: (after.1 - before.1) as f64 / micros,
            })
        });
        over.store(true, Ordering::Relaxed);
        let ended = source.join();
        ended.unwrap_or_else(|cause| std::panic::resume_unwind(cause))?;
        rates
    })
}

/// What left by the port towards B.
fn forwarded(lab: &Lab) -> Result<u64> {
    let ports = lab.ctl(&["ports"])?;
    let port = ports
        .as_array()
        .into_iter()
        .flatten()
        .find(|port| port["name"] == "p1");
    let sent = port.and_then(|port| port["tx_packets"].as_u64());
    sent.ok_or_else(|| Error::NotReady("no counters of p1".to_owned()))
}

/// Claims `eth0` of the namespace that the thread is in.
fn open() -> Result<Device> {
    let config = PortConfig {
        name: "tap".to_owned(),
        driver: Driver::Afxdp,
        device: "eth0".to_owned(),
        bind: None,
        mtu: None,
        queues: None,
        promiscuous: false,
    };
    Device::open(&config, FRAME_SIZE).map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::NotReady(error.to_string())
}

/// Sends as fast as it goes.
fn flood(host: &Host, packet: &[u8], over: &AtomicBool, count: &AtomicU64) -> Result<()> {
    host.enter(|| {
        let mut device = open()?;
        let (arena, _) = Arena::new(2 * FRAMES_PER_QUEUE, FRAME_SIZE).map_err(refused)?;
        let arena = Arc::new(arena);
        let port = PortId::new(0).ok_or_else(|| refused("no such port"))?;
        let queue = device.attach_queue(&arena, port, &[0]).map_err(refused)?;
        let mut pool = Pool::new(arena).ok_or_else(|| refused("a second pool"))?;
        let mut queue = PortQueue::Afxdp(queue);
        let mut list = Burst::new();
        while !over.load(Ordering::Relaxed) {
            while list.len() < BURST
                && let Some(mut frame) = pool.take()
            {
                pool.fill(&mut frame, packet);
                list.push(frame);
            }
            let waiting = list.len();
            queue.transmit(&mut pool, &mut list);
            count.fetch_add((waiting - list.len()) as u64, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// A UDP datagram from A to B in a frame of 64 bytes, of which the last four are the wire's.
fn packet(lab: &Lab) -> Vec<u8> {
    let octets = |host: &Host| match host.address(Family::Ipv4) {
        std::net::IpAddr::V4(address) => address.octets(),
        std::net::IpAddr::V6(_) => [0; 4],
    };
    let mut header = vec![0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0];
    header.extend(octets(&lab.a));
    header.extend(octets(&lab.b));
    let words = header
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let [.., high, low] = (!((sum & 0xffff) + (sum >> 16))).to_be_bytes();
    header[10..12].copy_from_slice(&[high, low]);
    let mut frame = Vec::new();
    frame.extend(lab.a.gateway_mac());
    frame.extend(lab.a.mac());
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend([0x9c, 0x40, 0, 9, 0, 26, 0, 0]);
    frame.resize(60, 0);
    frame
}
