//! Records netlink streams: `IXMAP_ORACLE_RECORD=DIRECTORY cargo test --test oracle -- recorded`
//! writes them; without the variable they are but replayed, so that the running kernel is known to
//! speak as the recorded one did.

use std::io::ErrorKind;
use std::process::Command;
use std::time::{Duration, Instant};

use ixmap::control::netlink::{Message, Messages};
use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader,
};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::sched::{CloneFlags, unshare};

use crate::compare::difference;
use crate::stream::{Line, Raw, replay};

/// RTNLGRP_* that the monitor listens to as well.
const GROUPS: [u32; 7] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_NEXTHOP,
];
const RTM_GETNEXTHOP: u16 = 106;
/// Request, family, length of its header; in the order in which ixmap asks.
const DUMPS: [(u16, i32, usize); 7] = [
    (libc::RTM_GETLINK, libc::AF_UNSPEC, 16),
    (libc::RTM_GETADDR, libc::AF_UNSPEC, 8),
    (RTM_GETNEXTHOP, libc::AF_UNSPEC, 8),
    (libc::RTM_GETROUTE, libc::AF_INET, 12),
    (libc::RTM_GETROUTE, libc::AF_INET6, 12),
    (libc::RTM_GETNEIGH, libc::AF_INET, 12),
    (libc::RTM_GETNEIGH, libc::AF_INET6, 12),
];
/// Silence that ends a command.
const QUIET: Duration = Duration::from_millis(100);

const PORTS: &[&str] = &[
    "link set lo up",
    "link add e1 type veth peer name p1",
    "link add e2 type veth peer name p2",
    "link set p1 up",
    "link set p2 up",
    "link set e1 up",
    "link set e2 up",
    "addr add 10.0.1.1/24 dev e1",
    "addr add 10.0.2.1/24 dev e2",
    "addr add 2001:db8:1::1/64 dev e1 nodad",
    "addr add 2001:db8:2::1/64 dev e2 nodad",
];

/// Name, commands before the recording, commands recorded.
type Plan = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const PLANS: &[Plan] = &[
    (
        "ipv4-order",
        &[],
        &[
            "route add 192.0.2.0/24 via 10.0.1.2",
            "route append 192.0.2.0/24 via 10.0.1.3",
            "route prepend 192.0.2.0/24 via 10.0.1.4",
            "route add 192.0.2.0/24 via 10.0.1.5 metric 50",
            "route add 192.0.2.0/24 via 10.0.1.5 tos 0x08",
            "route prepend 192.0.2.0/24 via 10.0.1.6 metric 50",
            "route replace 192.0.2.0/24 via 10.0.2.9",
            "route replace blackhole 192.0.2.0/24 metric 50",
            "route del 192.0.2.0/24 via 10.0.1.3",
        ],
    ),
    (
        "ipv6-legs",
        &[],
        &[
            "-6 route add 2001:db8:f::/48 via 2001:db8:1::2",
            "-6 route append 2001:db8:f::/48 via 2001:db8:2::2",
            "-6 route append 2001:db8:f::/48 via 2001:db8:1::3",
            "-6 route del 2001:db8:f::/48 via 2001:db8:1::2",
            "-6 route add 2001:db8:e::/48 nexthop via 2001:db8:1::5 weight 3 nexthop via 2001:db8:2::5",
            "-6 route append 2001:db8:e::/48 nexthop via 2001:db8:1::6 nexthop via 2001:db8:2::6",
            "-6 route del 2001:db8:e::/48 via 2001:db8:2::6",
        ],
    ),
    (
        "ipv6-replace-classes",
        &["-6 route add 2001:db8:f::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2"],
        &[
            "-6 route replace blackhole 2001:db8:f::/48",
            "-6 route append 2001:db8:f::/48 dev e1",
            "-6 route replace 2001:db8:f::/48 dev e2",
        ],
    ),
    (
        "next-hop-objects",
        NEXTHOPS,
        &[
            "nexthop replace id 1 via 10.0.1.3 dev e1",
            "nexthop replace id 10 group 1,3/2",
            "nexthop del id 2",
            "nexthop del id 10",
            "nexthop del id 5",
        ],
    ),
    (
        "next-hop-objects-link-down",
        NEXTHOPS,
        &["link set e2 down"],
    ),
    (
        "carrier-loss",
        &[
            "route add 192.0.2.0/24 nexthop via 10.0.1.2 nexthop via 10.0.2.2",
            "neigh add 10.0.1.2 lladdr 02:00:00:00:00:02 dev e1",
        ],
        &["link set p1 down"],
    ),
    (
        "address-removal",
        &[
            "addr add 10.0.1.7/24 dev e1",
            "route add 192.0.2.0/24 via 10.0.1.2",
            "route add 192.0.3.0/24 nexthop via 10.0.1.2 nexthop via 10.0.2.2",
            "route add 192.0.4.0/24 via 10.0.2.2 src 10.0.1.1",
            "-6 route add 2001:db8:f::/48 via 2001:db8:1::2",
        ],
        &[
            "addr del 10.0.1.1/24 dev e1",
            "addr del 2001:db8:1::1/64 dev e1",
        ],
    ),
    (
        "device-deletion",
        &[
            "route add 192.0.2.0/24 via 10.0.1.2",
            "route add 192.0.3.0/24 nexthop via 10.0.1.2 nexthop via 10.0.2.2",
            "-6 route add 2001:db8:f::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2",
            "neigh add 10.0.1.2 lladdr 02:00:00:00:00:02 dev e1",
        ],
        &["link del e1"],
    ),
];

const NEXTHOPS: &[&str] = &[
    "nexthop add id 1 via 10.0.1.2 dev e1",
    "nexthop add id 2 via 10.0.2.2 dev e2",
    "nexthop add id 5 via 2001:db8:1::2 dev e1",
    "nexthop add id 6 via 2001:db8:2::2 dev e2",
    "nexthop add id 10 group 1/2,5",
    "nexthop add id 11 group 5/6",
    "route add 192.0.2.0/24 nhid 10",
    "route add 192.0.3.0/24 nhid 1",
    "route add 192.0.4.0/24 nhid 2",
    "-6 route add 2001:db8:f::/48 nhid 11",
    "-6 route add 2001:db8:e::/48 nhid 6",
];

#[test]
fn recorded_streams_are_what_this_kernel_says() {
    for (name, before, commands) in PLANS {
        let record = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
            PORTS.iter().chain(*before).for_each(|command| ip(command));
            std::thread::sleep(10 * QUIET);
            record(commands)
        };
        let lines = std::thread::scope(|scope| scope.spawn(record).join().unwrap());
        let replayed = replay(&lines);
        assert!(replayed.events > 0, "{name}");
        let difference = difference(&replayed.mirror, &replayed.kernel);
        println!("{name}: {:?} {difference:?}", replayed.doubts);
        assert!(
            difference.is_none() || !replayed.doubts.is_empty(),
            "{name}: {difference:?}"
        );
        if let Ok(directory) = std::env::var("IXMAP_ORACLE_RECORD") {
            let lines = lines
                .iter()
                .map(|line| serde_json::to_string(line).unwrap());
            let text: String = lines.map(|line| line + "\n").collect();
            std::fs::write(format!("{directory}/{name}.jsonl"), text).unwrap();
        }
    }
}

fn ip(command: &str) {
    let status = Command::new("ip")
        .args(command.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "ip {command}");
}

/// Runs commands in the thread's namespace and writes down what the kernel says.
fn record(commands: &[&str]) -> Vec<Line> {
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket.set_non_blocking(true).unwrap();
    for group in GROUPS {
        socket.add_membership(group).unwrap();
    }
    let began = Instant::now();
    let mut lines: Vec<Line> = dump(began).into_iter().map(Line::Before).collect();
    for command in commands {
        lines.push(Line::Command((*command).to_owned()));
        ip(command);
        // A carrier may be told of a second late.
        let quiet = if command.starts_with("link") {
            12 * QUIET
        } else {
            QUIET
        };
        lines.extend(events(&socket, began, quiet).into_iter().map(Line::Event));
    }
    lines.extend(dump(began).into_iter().map(Line::After));
    lines
}

/// What waits on the event socket, until it has been silent for `quiet`.
fn events(socket: &Socket, began: Instant, quiet: Duration) -> Vec<Raw> {
    let mut events = Vec::new();
    let mut last = Instant::now();
    while last.elapsed() < quiet {
        match socket.recv_from_full() {
            Ok((datagram, _)) => {
                events.extend(messages(&datagram, began));
                last = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
    events
}

/// The kernel's state.
fn dump(began: Instant) -> Vec<Raw> {
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    let mut state = Vec::new();
    for (kind, family, length) in DUMPS {
        let mut header = NetlinkHeader::default();
        header.message_type = kind;
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut request = vec![0; header.buffer_len() + length];
        header.length = u32::try_from(request.len()).unwrap();
        header.emit(&mut request);
        request[header.buffer_len()] = u8::try_from(family).unwrap();
        socket.send(&request, 0).unwrap();
        'dump: loop {
            let (datagram, _) = socket.recv_from_full().unwrap();
            for raw in messages(&datagram, began) {
                match raw.kind {
                    NLMSG_DONE => break 'dump,
                    NLMSG_ERROR => panic!("the kernel refused request {kind}"),
                    _ => state.push(raw),
                }
            }
        }
    }
    state
}

fn messages(datagram: &[u8], began: Instant) -> Vec<Raw> {
    let at = u64::try_from(began.elapsed().as_micros()).unwrap();
    let raw = |message: Message<'_>| Raw {
        at,
        kind: message.kind,
        flags: message.flags,
        payload: message
            .payload
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}")),
    };
    Messages::new(datagram)
        .map(|message| raw(message.unwrap()))
        .collect()
}
