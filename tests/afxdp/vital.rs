//! Frames that keep routes alive, and those that keep neighbours, have receive rings of their own, which no
//! flood of others fills.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use ixmap::dataplane::mem::Pool;
use ixmap::dataplane::port::afxdp::{Device, Mode, Statistics};
use ixmap::dataplane::port::{Burst, PortQueue};

use crate::{FRAMES, Host, attach, close, open, own_network, pool, run};

/// A frame with this EtherType and these bytes at these offsets from its beginning.
fn frame(ethertype: [u8; 2], bytes: &[(usize, u8)]) -> Vec<u8> {
    let mut frame = vec![0; 80];
    frame[..14].copy_from_slice(&[
        0x02,
        0,
        0,
        0,
        0,
        1,
        0x02,
        0,
        0,
        0,
        0,
        2,
        ethertype[0],
        ethertype[1],
    ]);
    if ethertype == [8, 0] {
        frame[14] = 0x45;
    }
    for &(at, byte) in bytes {
        frame[at] = byte;
    }
    frame
}

const IPV4: [u8; 2] = [8, 0];
const IPV6: [u8; 2] = [0x86, 0xdd];

fn routing_frames() -> Vec<Vec<u8>> {
    let ospf = frame(IPV4, &[(23, 89)]);
    vec![
        [&ospf[..12], &[0x81, 0, 0, 5], &ospf[12..]].concat(),
        ospf,
        frame([0, 60], &[]),
        frame(IPV4, &[(23, 112)]),
        frame(IPV4, &[(23, 89), (20, 0x20)]),
        frame(IPV4, &[(23, 6), (35, 179)]),
        frame(IPV4, &[(23, 6), (37, 179)]),
        frame(IPV4, &[(23, 17), (36, 0x0e), (37, 0xc8)]),
        frame(IPV6, &[(20, 89)]),
        frame(IPV6, &[(20, 44), (54, 89)]),
        frame(IPV6, &[(20, 6), (55, 179)]),
        frame(IPV6, &[(20, 17), (56, 0x12), (57, 0xb0)]),
    ]
}

fn neighbour_frames() -> Vec<Vec<u8>> {
    let solicitation = frame(IPV6, &[(20, 58), (21, 255), (54, 135)]);
    vec![
        frame([8, 6], &[]),
        [&solicitation[..12], &[0x81, 0, 0, 5], &solicitation[12..]].concat(),
        solicitation,
    ]
}

fn ordinary_frames() -> Vec<Vec<u8>> {
    let ospf = frame(IPV4, &[(23, 89)]);
    vec![
        ospf[..30].to_vec(),
        frame(IPV6, &[(20, 89)])[..50].to_vec(),
        frame([0x88, 0xcc], &[]),
        frame(IPV4, &[(23, 6), (36, 1), (37, 0xbb)]),
        frame(IPV4, &[(23, 6), (35, 179), (20, 0x20)]),
        frame(IPV4, &[(23, 6), (35, 179), (21, 1)]),
        frame(IPV4, &[(23, 6), (35, 179), (14, 0x46)]),
        frame(IPV4, &[(23, 17), (37, 179)]),
        frame(IPV6, &[(20, 58), (21, 64), (54, 135)]),
        frame(IPV6, &[(20, 58), (21, 255), (54, 128)]),
        frame(IPV6, &[(20, 60), (54, 6), (63, 179)]),
    ]
}

/// Sends frames as they are by the host's end of the veth.
fn send(host: &Host, frames: Vec<Vec<u8>>) {
    let work = host.thread(move || {
        // SAFETY: takes no pointers; the descriptor is nobody else's.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0) };
        assert!(socket >= 0);
        // SAFETY: a new descriptor that nobody else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: a live name that ends with a zero.
        let index = unsafe { libc::if_nametoindex(c"wire".as_ptr()) };
        // SAFETY: zeros are an address.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET.try_into().unwrap();
        to.sll_ifindex = index.try_into().unwrap();
        for frame in frames {
            // SAFETY: a live frame and a live address, with their lengths.
            let sent = unsafe {
                libc::sendto(
                    socket.as_raw_fd(),
                    frame.as_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw const to).cast(),
                    size_of_val(&to).try_into().unwrap(),
                )
            };
            assert_eq!(usize::try_from(sent), Ok(frame.len()));
        }
    });
    work.join().unwrap();
}

/// Waits until the kernel has counted as much.
fn wait_counted(device: &Device, counted: Statistics) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while device.statistics() != counted {
        assert!(Instant::now() < deadline, "{:?}", device.statistics());
        thread::yield_now();
    }
}

/// Sends this frame until some found a full ring.
fn fill(host: &Host, device: &Device, frame: &[u8]) {
    let lost = || {
        let lost = device.statistics();
        lost.rx_ring_full + lost.rx_neighbour_ring_full + lost.rx_routing_ring_full
    };
    let before = lost();
    for _ in 0..200 {
        // A veth's own ring takes 256.
        send(host, vec![frame.to_vec(); 64]);
        let mut now = lost();
        while now > before {
            thread::sleep(Duration::from_millis(50));
            match lost() {
                same if same == now => return,
                more => now = more,
            }
        }
    }
    panic!("no ring was full: {:?}", device.statistics());
}

/// A host that sends nothing by itself.
fn silent_host() -> Host {
    let host = Host::new("p0", "10.0.0.1");
    let ipv6 = "/proc/sys/net/ipv6/conf/wire/disable_ipv6";
    let silenced = host.thread(move || fs::write(ipv6, "1").unwrap());
    silenced.join().unwrap();
    host
}

/// A port whose ring for ordinary frames is full.
fn full_port(host: &Host, mode: Mode) -> (Device, Pool, PortQueue) {
    let mut pool = pool();
    let mut p0 = open("p0");
    assert_eq!(p0.facts().mode, mode);
    let mut port = attach(&mut p0, &pool, 0);
    let mut burst = Burst::new();
    port.receive(&mut pool, &mut burst);
    assert!(burst.is_empty());
    fill(host, &p0, &frame(IPV4, &[(23, 17)]));
    (p0, pool, port)
}

fn vital_frames_come_by_a_full_ring(host: &Host, mode: Mode) {
    let (p0, mut pool, mut port) = full_port(host, mode);
    let (routing, neighbours, ordinary) = (routing_frames(), neighbour_frames(), ordinary_frames());
    let mut counted = p0.statistics();
    let frames = [&neighbours[..], &routing, &ordinary].concat();
    send(host, frames);
    counted.rx_ring_full += ordinary.len() as u64;
    wait_counted(&p0, counted);
    let mut burst = Burst::new();
    port.receive(&mut pool, &mut burst);
    assert_eq!(burst.len(), 64);
    for (came, sent) in burst.iter().zip(routing.iter().chain(&neighbours)) {
        assert_eq!(pool.bytes(came), sent);
    }
    let next = pool.bytes(&burst[routing.len() + neighbours.len()]);
    assert_eq!(next[23], 17, "then ordinary ones");
    burst.drain(..).for_each(|frame| pool.give(frame));
    assert_eq!((counted.rx_fill_ring_empty, counted.rx_dropped), (0, 0));
    close(port, &mut pool);
    assert_eq!(pool.available(), FRAMES as usize);
}

#[test]
fn vital_frames_come_by_a_full_ring_of_others() {
    own_network();
    vital_frames_come_by_a_full_ring(&silent_host(), Mode::Native);
}

#[test]
fn vital_frames_come_by_a_full_ring_of_others_in_generic_mode_too() {
    own_network();
    let a = silent_host();
    // A veth takes no program for packets of one buffer when its peer's may be longer.
    run(&format!("ip -n {} link set wire mtu 9000", a.name));
    vital_frames_come_by_a_full_ring(&a, Mode::Generic);
}

#[test]
fn every_ring_full_each_kind_has_its_share_of_a_burst() {
    own_network();
    let a = silent_host();
    let (p0, mut pool, mut port) = full_port(&a, Mode::Native);
    fill(&a, &p0, &frame([8, 6], &[]));
    fill(&a, &p0, &frame(IPV4, &[(23, 89)]));
    let mut burst = Burst::new();
    let mut shares = |left: [usize; 3]| {
        port.receive(&mut pool, &mut burst);
        let count = |is: fn(&[u8]) -> bool| burst.iter().filter(|f| is(pool.bytes(f))).count();
        let routing = count(|frame| frame[23] == 89);
        let neighbours = count(|frame| frame[12..14] == [8, 6]);
        let shares = [routing, neighbours, burst.len() - routing - neighbours];
        burst.drain(..).for_each(|frame| pool.give(frame));
        assert_eq!(shares, [left[0].min(32), left[1].min(16), shares[2]]);
        std::array::from_fn(|kind| left[kind] - shares[kind])
    };
    // As many as the rings hold.
    let mut left = [512, 256, 2048];
    for _ in 0..16 {
        left = shares(left);
    }
    assert_eq!(left, [0, 0, 2048 - 16 * 16], "a quarter for the others");
    while left[2] > 0 {
        left = shares(left);
    }
    let lost = p0.statistics();
    assert!(lost.rx_routing_ring_full > 0 && lost.rx_neighbour_ring_full > 0);
    assert_eq!((lost.rx_fill_ring_empty, lost.rx_dropped), (0, 0));
}

#[test]
fn a_frame_that_finds_no_buffer_is_counted_once() {
    own_network();
    let a = silent_host();
    let pool = pool();
    let mut p0 = open("p0");
    let _port = attach(&mut p0, &pool, 0);
    // Nothing was received yet, so nothing was lent.
    send(&a, vec![frame(IPV4, &[(23, 17)]); 5]);
    send(&a, vec![frame([8, 6], &[]); 4]);
    let counted = Statistics {
        rx_fill_ring_empty: 9,
        ..Statistics::default()
    };
    wait_counted(&p0, counted);
}
