//! AF_XDP ports on real netdevs. Needs root: `cargo test --test afxdp`.
//!
//! Every test has a network of its own: the test's thread moves into a fresh namespace, where the
//! router's end of each veth lies; the hosts at the other ends are named namespaces. The router is
//! a bare loop that hands every frame of one port to the other, so the hosts see one Ethernet.

#![allow(unsafe_code, reason = "unshare and setns by libc")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod vital;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ixmap::dataplane::mem::{Arena, Pool};
use ixmap::dataplane::port::afxdp::{Device, Mode, OpenError};
use ixmap::dataplane::port::{Burst, PortQueue};
use ixmap::shared::config::{Driver, PortConfig};
use ixmap::shared::port::PortId;

const FRAMES: u32 = 16384;
/// Of 16 KiB each, for two ports.
const JUMBO_FRAMES: u32 = 10240;
const JUMBO_MTU: u16 = 9000;

fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A named namespace with one end of a veth, `wire`; gone with the value. The other end is in the
/// thread's own namespace.
struct Host {
    name: String,
}

impl Host {
    fn new(port: &str, address: &str) -> Host {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xa-{}-{number}", std::process::id());
        run(&format!("ip netns add {name}"));
        let host = Host { name };
        let name = &host.name;
        run(&format!(
            "ip link add {port} type veth peer name wire netns {name}"
        ));
        run(&format!("ip -n {name} address add {address}/24 dev wire"));
        run(&format!("ip -n {name} link set wire up"));
        host
    }

    /// Runs `work` on a thread in this namespace.
    fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = File::open(format!("/run/netns/{}", self.name)).unwrap();
        thread::spawn(move || {
            // SAFETY: takes a live descriptor; only this thread changes its namespace.
            let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(result, 0);
            work()
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.name));
    }
}

/// Moves the test's thread into a namespace of its own.
fn own_network() {
    // SAFETY: takes no pointers; only this thread changes its namespace.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "needs root");
}

fn config(device: &str) -> PortConfig {
    PortConfig {
        name: "tap".into(),
        driver: Driver::Afxdp,
        device: device.into(),
        bind: None,
        mtu: None,
        queues: None,
        promiscuous: false,
    }
}

fn open(device: &str) -> Device {
    Device::open(&config(device), 2048).unwrap()
}

/// Opens a port for packets of several buffers.
fn open_jumbo(device: &str) -> Device {
    let mut jumbo = config(device);
    jumbo.mtu = Some(JUMBO_MTU);
    Device::open(&jumbo, 16384).unwrap()
}

fn pool() -> Pool {
    Pool::new(Arc::new(Arena::new(FRAMES, 2048).unwrap().0)).unwrap()
}

fn attach(device: &mut Device, pool: &Pool, slot: usize) -> PortQueue {
    let queues: Vec<u32> = (0..device.facts().queues).collect();
    let port = PortId::new(slot).unwrap();
    PortQueue::Afxdp(device.attach_queue(pool.arena(), port, &queues).unwrap())
}

fn close(mut port: PortQueue, pool: &mut Pool) {
    port.retire(pool);
    let start = Instant::now();
    while port.tend(pool) && start.elapsed() < Duration::from_secs(1) {
        std::thread::yield_now();
    }
    let PortQueue::Afxdp(queue) = port else {
        panic!("not an AF_XDP queue")
    };
    assert_eq!(queue.bad_descriptors(), 0);
    let holder = queue.holder();
    drop(queue);
    pool.reclaim(holder);
}

/// Hands the frames of each port to the other until `work` is done; returns its result, how many
/// frames went over, and the longest.
fn bridge<T>(
    pool: &mut Pool,
    ports: &mut [PortQueue; 2],
    work: JoinHandle<T>,
) -> (T, usize, usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let (mut burst, mut list) = (Burst::new(), Burst::new());
    let (mut count, mut longest) = (0, 0);
    while !work.is_finished() {
        assert!(Instant::now() < deadline, "the hosts are stuck");
        for (from, to) in [(0, 1), (1, 0)] {
            ports[from].receive(pool, &mut burst);
            count += burst.len();
            longest = burst.iter().map(|f| f.len()).fold(longest, usize::max);
            list.extend(burst.drain(..));
            ports[to].transmit(pool, &mut list);
            list.drain(..).for_each(|frame| pool.give(frame));
            ports[to].tend(pool);
        }
        thread::yield_now();
    }
    (work.join().unwrap(), count, longest)
}

/// Sends 4 MB over TCP from one host to the other; true when they arrive as they were.
fn tcp_transfer(client: &Host, server: &Host, address: &'static str) -> JoinHandle<bool> {
    let data: Arc<Vec<u8>> = Arc::new((0..4_000_000u32).map(|i| i.to_le_bytes()[1]).collect());
    let listening = server.thread(move || TcpListener::bind(address).unwrap());
    let listener = listening.join().unwrap();
    let sent = Arc::clone(&data);
    client.thread(move || {
        let sender = {
            let mut stream = TcpStream::connect(address).unwrap();
            thread::spawn(move || stream.write_all(&sent).unwrap())
        };
        let mut received = Vec::new();
        listener
            .accept()
            .unwrap()
            .0
            .read_to_end(&mut received)
            .unwrap();
        sender.join().unwrap();
        received == *data
    })
}

#[test]
fn hosts_with_default_offloads_talk_tcp_through_two_ports() {
    own_network();
    let a = Host::new("p0", "10.0.0.1");
    let b = Host::new("p1", "10.0.0.2");
    let mut pool = pool();
    let (mut p0, mut p1) = (open("p0"), open("p1"));
    assert_eq!(p0.facts().mode, Mode::Native);
    assert!(p0.facts().is_virtual);
    let mut ports = [attach(&mut p0, &pool, 0), attach(&mut p1, &pool, 1)];
    // Frames that come before the first receive find an empty fill ring.
    bridge(&mut pool, &mut ports, thread::spawn(|| ()));
    let work = tcp_transfer(&a, &b, "10.0.0.2:7000");
    let (intact, frames, longest) = bridge(&mut pool, &mut ports, work);
    assert!(intact);
    assert!(frames > 4_000_000 / 1460, "{frames} frames");
    assert_eq!(longest, 1514, "segments of more than one MTU");
    for port in ports {
        close(port, &mut pool);
    }
    assert_eq!(pool.available(), FRAMES as usize);
}

#[test]
fn every_datagram_arrives_with_a_valid_checksum() {
    own_network();
    let a = Host::new("p0", "10.0.0.1");
    let b = Host::new("p1", "10.0.0.2");
    let mut pool = pool();
    let (mut p0, mut p1) = (open("p0"), open("p1"));
    let mut ports = [attach(&mut p0, &pool, 0), attach(&mut p1, &pool, 1)];
    let receiver = b.thread(|| UdpSocket::bind("10.0.0.2:7000").unwrap());
    let receiver = receiver.join().unwrap();
    let work = a.thread(move || {
        let sender = UdpSocket::bind("10.0.0.1:0").unwrap();
        let mut got = [0; 2000];
        for i in 0..500u32 {
            let payload = vec![i.to_le_bytes()[0]; i as usize];
            sender.send_to(&payload, "10.0.0.2:7000").unwrap();
            let len = receiver.recv(&mut got).unwrap();
            assert_eq!(got[..len], payload);
        }
    });
    bridge(&mut pool, &mut ports, work);
}

/// Two hosts, each behind a port for packets of several buffers.
fn jumbo_hosts() -> (Host, Host, Pool, [Device; 2], [PortQueue; 2]) {
    own_network();
    let (a, b) = (Host::new("p0", "10.0.0.1"), Host::new("p1", "10.0.0.2"));
    for host in [&a, &b] {
        let name = &host.name;
        run(&format!("ip -n {name} link set wire mtu {JUMBO_MTU}"));
    }
    let pool = Pool::new(Arc::new(Arena::new(JUMBO_FRAMES, 16384).unwrap().0)).unwrap();
    let mut devices = ["p0", "p1"].map(open_jumbo);
    let [p0, p1] = &mut devices;
    assert_eq!(p0.facts().mode, Mode::Native);
    let mut ports = [attach(p0, &pool, 0), attach(p1, &pool, 1)];
    let mut pool = pool;
    bridge(&mut pool, &mut ports, thread::spawn(|| ()));
    (a, b, pool, devices, ports)
}

#[test]
fn tcp_in_packets_of_several_buffers_comes_whole_in_both_directions() {
    let (a, b, mut pool, _devices, mut ports) = jumbo_hosts();
    for (client, server, address) in [(&a, &b, "10.0.0.2:7000"), (&b, &a, "10.0.0.1:7000")] {
        let work = tcp_transfer(client, server, address);
        let (intact, frames, longest) = bridge(&mut pool, &mut ports, work);
        assert!(intact);
        assert!(frames > 4_000_000 / 8960, "{frames} frames");
        assert_eq!(longest, 9014);
    }
    for port in ports {
        close(port, &mut pool);
    }
    assert_eq!(pool.available(), JUMBO_FRAMES as usize);
}

#[test]
fn a_datagram_of_any_number_of_buffers_arrives_as_it_was() {
    let (a, b, mut pool, _devices, mut ports) = jumbo_hosts();
    let receiver = b.thread(|| UdpSocket::bind("10.0.0.2:7000").unwrap());
    let receiver = receiver.join().unwrap();
    let work = a.thread(move || {
        let sender = UdpSocket::bind("10.0.0.1:0").unwrap();
        let mut got = [0; 10_000];
        // Headers are 42 bytes; a first buffer holds 3840 bytes of a packet, as any other does.
        let edges = [3840, 4096, 7680, 8192].map(|edge| edge - 42);
        let around = edges.map(|edge| edge - 2..edge + 3).into_iter().flatten();
        for len in (0..8972usize).step_by(97).chain(around).chain([8972]) {
            let payload: Vec<u8> = (0..len).map(|at| (at * 7 + len).to_le_bytes()[0]).collect();
            sender.send_to(&payload, "10.0.0.2:7000").unwrap();
            let received = receiver.recv(&mut got).unwrap();
            assert!(got[..received] == payload, "{len} bytes");
        }
    });
    bridge(&mut pool, &mut ports, work);
    for port in ports {
        close(port, &mut pool);
    }
    assert_eq!(pool.available(), JUMBO_FRAMES as usize);
}

#[test]
fn the_program_and_the_settings_go_with_the_device() {
    own_network();
    let _a = Host::new("p0", "10.0.0.1");
    let ipv6 = || fs::read_to_string("/proc/sys/net/ipv6/conf/p0/disable_ipv6").unwrap();
    let link = || run("ip link show p0");
    let address = || run("ip -6 address show dev p0 scope global");
    assert!(link().contains("mtu 1500") && link().contains("state DOWN"));
    run("ip address add fd00::1/64 dev p0 nodad");
    assert_eq!(ipv6().trim(), "0");
    let mut with_mtu = config("p0");
    with_mtu.mtu = Some(1400);
    let mut device = Device::open(&with_mtu, 2048).unwrap();
    assert!(link().contains("prog/xdp"), "{}", link());
    assert!(
        link().contains("mtu 1400") && link().contains("UP"),
        "{}",
        link()
    );
    assert_eq!(ipv6().trim(), "1");
    assert_eq!(address(), "");
    assert_eq!(device.restore(), Vec::<String>::new());
    assert!(!link().contains("xdp"), "{}", link());
    assert!(
        link().contains("mtu 1500") && link().contains("state DOWN"),
        "{}",
        link()
    );
    assert_eq!(ipv6().trim(), "0");
    assert!(address().contains("fd00::1/64"));
    drop(Device::open(&with_mtu, 2048).unwrap());
    assert!(
        !link().contains("xdp") && link().contains("mtu 1500"),
        "{}",
        link()
    );
}

#[test]
fn a_netdev_is_opened_once_and_refusals_say_why() {
    own_network();
    let _a = Host::new("p0", "10.0.0.1");
    let first = open("p0");
    let second = Device::open(&config("p0"), 2048).unwrap_err();
    assert!(matches!(second, OpenError::Busy(_)), "{second}");
    assert!(
        second
            .to_string()
            .starts_with("p0 already has an XDP program")
    );
    drop(first);
    let mut large = config("p0");
    large.mtu = Some(1771);
    let error = Device::open(&large, 2048).unwrap_err().to_string();
    assert!(
        error.starts_with("p0: mtu 1771 is too large, at most 1770"),
        "{error}"
    );
    let mut wide = config("p0");
    wide.queues = Some(3);
    let error = Device::open(&wide, 2048).unwrap_err().to_string();
    assert!(
        error.starts_with("p0 cannot have 3 queues, at most "),
        "{error}"
    );
    let mut device = open("p0");
    let nine = device.attach_queue(pool().arena(), PortId::new(0).unwrap(), &[9]);
    let error = nine.unwrap_err().to_string();
    assert!(error.starts_with("p0 has no queue 9"), "{error}");
}

#[test]
fn a_closed_netdev_is_free_though_a_forked_process_still_has_copies_of_its_descriptors() {
    own_network();
    let _a = Host::new("p0", "10.0.0.1");
    let first = open("p0");
    // SAFETY: the child makes no call but two that are safe after a fork of many threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: take no pointers.
        unsafe {
            libc::pause();
            libc::_exit(0);
        }
    }
    drop(first);
    let second = Device::open(&config("p0"), 2048);
    // SAFETY: the child of this thread, which is waited for once; no status is asked for.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    second.unwrap();
}

#[test]
fn a_port_comes_and_goes_beside_another_and_leaves_the_pool_whole() {
    own_network();
    let a = Host::new("p0", "10.0.0.1");
    let b = Host::new("p1", "10.0.0.2");
    let mut pool = pool();
    let mut p0 = open("p0");
    let mut ports = [
        attach(&mut p0, &pool, 0),
        PortQueue::Memory(Default::default()),
    ];
    for _ in 0..3 {
        let mut p1 = open("p1");
        ports[1] = attach(&mut p1, &pool, 1);
        let before = pool.available();
        let work = tcp_transfer(&a, &b, "10.0.0.2:7000");
        assert!(bridge(&mut pool, &mut ports, work).0);
        assert!(pool.available() < before);
        let memory = PortQueue::Memory(Default::default());
        close(std::mem::replace(&mut ports[1], memory), &mut pool);
    }
    let [first, _] = ports;
    close(first, &mut pool);
    assert_eq!(pool.available(), FRAMES as usize);
}

#[test]
fn a_netdev_without_xdp_in_its_driver_works_by_the_generic_program() {
    own_network();
    let a = Host::new("low0", "10.0.0.1");
    let b = Host::new("p1", "10.0.0.2");
    run("ip link set low0 up");
    run("ip link add m0 link low0 type macvlan mode passthru");
    let mut pool = pool();
    let (mut m0, mut p1) = (open("m0"), open("p1"));
    assert_eq!(m0.facts().mode, Mode::Generic);
    assert!(m0.warnings()[0].contains("generic mode"));
    assert_eq!(p1.warnings(), Vec::<String>::new());
    let mut ports = [attach(&mut m0, &pool, 0), attach(&mut p1, &pool, 1)];
    let work = tcp_transfer(&b, &a, "10.0.0.1:7000");
    let (intact, frames, _) = bridge(&mut pool, &mut ports, work);
    assert!(intact && frames > 4_000_000 / 1460, "{frames} frames");
    for port in ports {
        close(port, &mut pool);
    }
    assert_eq!(pool.available(), FRAMES as usize);
}

#[test]
fn several_hardware_queues_are_served_by_one_worker() {
    own_network();
    let a = Host::new("p0", "10.0.0.1");
    let b = Host::new("p1", "10.0.0.2");
    let mut four = config("p0");
    four.queues = Some(2);
    let mut pool = pool();
    let (mut p0, mut p1) = (Device::open(&four, 2048).unwrap(), open("p1"));
    assert_eq!(p0.facts().queues, 2);
    let mut ports = [attach(&mut p0, &pool, 0), attach(&mut p1, &pool, 1)];
    assert_eq!(ports[0].wait_fds().len(), 6, "three sockets a queue");
    let work = tcp_transfer(&a, &b, "10.0.0.2:7000");
    assert!(bridge(&mut pool, &mut ports, work).0);
}

/// True when a frame waits at the port within ten seconds.
fn readable(port: &PortQueue) -> bool {
    let poll = |fd: &BorrowedFd<'_>| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut fds: Vec<_> = port.wait_fds().iter().map(poll).collect();
    // SAFETY: as many live entries as said.
    unsafe { libc::poll(fds.as_mut_ptr(), fds.len().try_into().unwrap(), 10_000) > 0 }
}

#[test]
fn a_waiting_frame_makes_the_port_readable() {
    own_network();
    let a = Host::new("p0", "10.0.0.1");
    let mut pool = pool();
    let mut p0 = open("p0");
    let mut port = attach(&mut p0, &pool, 0);
    let mut burst = Burst::new();
    port.receive(&mut pool, &mut burst);
    let work = a.thread(|| {
        UdpSocket::bind("10.0.0.1:0")
            .unwrap()
            .send_to(&[1], "10.0.0.9:9")
            .is_ok()
    });
    assert!(work.join().unwrap());
    assert!(readable(&port));
    port.receive(&mut pool, &mut burst);
    assert!(!burst.is_empty());
    burst.drain(..).for_each(|frame| pool.give(frame));
}

#[test]
fn a_port_that_is_down_keeps_nobody_awake_and_sends_when_it_is_up_again() {
    own_network();
    let _a = Host::new("p0", "10.0.0.1");
    let mut pool = pool();
    let mut p0 = open("p0");
    let mut port = attach(&mut p0, &pool, 0);
    run("ip link set p0 down");
    let mut list = Burst::new();
    let mut frame = pool.take().unwrap();
    assert!(pool.fill(&mut frame, &[0xff; 60]));
    list.push(frame);
    port.transmit(&mut pool, &mut list);
    assert!(list.is_empty());
    assert_eq!(pool.available(), FRAMES as usize - 1);
    assert!(!port.tend(&mut pool), "nothing moves");
    assert_eq!(pool.available(), FRAMES as usize - 1);
    run("ip link set p0 up");
    let deadline = Instant::now() + Duration::from_secs(10);
    while pool.available() < FRAMES as usize {
        assert!(Instant::now() < deadline, "the frame is stuck");
        port.tend(&mut pool);
    }
}
