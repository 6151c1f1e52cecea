//! Routing sessions amid floods of packets for the kernel, at the most that this machine can send: more than
//! a worker takes, so its receive ring is full all the time. Routing protocols have one of their own, and
//! what the kernel is asked to take is bounded for each kind apart. So no packet of OSPF or BGP is lost,
//! however many others come by the same port.
//!
//! `h1 ── r1 (ixmapd, FRR) ── n1 (BIRD, and the flood)`

use std::collections::BTreeSet;
use std::time::Duration;
use std::{fs, thread};

use ixmap_lab::{Error, Family, Flood, Metrics, Namespace, Result, wait_until};

use crate::bird::Bird;
use crate::frr::{self, Frr, Neighbour};
use crate::line::Line;
use crate::node::{Node, address};
use crate::ospf;

/// Twice as long as any neighbour may be silent (4 s, 3 s).
const FLOOD: Duration = Duration::from_secs(8);

/// Frames sent at once: some 200 ms.
const BURST: u32 = 1 << 20;

/// Packets of routing protocols that may be on their way while they are counted.
const ON_THEIR_WAY: f64 = 2.0;

const BIRD_BGP: &str = r#"
template bgp r1 {
    local as 65002;
    hold time 3;
    connect retry time 1;
    error wait time 1, 2;
    bfd on;
}
protocol bfd { }
protocol bgp from r1 { neighbor 10.0.2.1 as 65001; ipv4 { import all; export none; }; }
protocol bgp from r1 { neighbor fd00:0:0:2::1 as 65001; ipv6 { import all; export none; }; }
"#;

/// Hold times of three seconds, as FRR writes them.
const FRR_TIMERS: &str = "
router bgp 65001
 neighbor 10.0.2.2 timers 1 3
 neighbor fd00:0:0:2::2 timers 1 3
exit
";

/// A kind of flood: what its frames are, the byte that differs, and the reason that they count under.
struct Kind {
    name: &'static str,
    frame: fn([u8; 6], [u8; 6]) -> Vec<u8>,
    count: Option<i16>,
    punt: &'static str,
    limit: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "to the router's own address",
        frame: |to, from| ipv4(to, from, 64, [10, 0, 2, 1]),
        count: None,
        punt: "local",
        limit: "limit_local",
    },
    Kind {
        name: "whose TTL ends",
        frame: |to, from| ipv4(to, from, 1, [10, 0, 1, 1]),
        count: None,
        punt: "ttl",
        limit: "limit_ttl",
    },
    Kind {
        name: "without a route",
        frame: |to, from| ipv4(to, from, 64, [203, 0, 113, 1]),
        count: None,
        punt: "no_route",
        limit: "limit_no_route",
    },
    Kind {
        name: "to neighbours that are not there",
        frame: ipv6_to_h1s_link,
        count: Some(53),
        punt: "no_neighbour",
        limit: "limit_no_neighbour",
    },
    Kind {
        name: "of ARP",
        frame: arp,
        count: None,
        punt: "arp",
        limit: "limit_neighbour_discovery",
    },
];

#[test]
fn ospf_bgp_and_bfd_survive_floods_of_punts_at_line_rate() -> Result<()> {
    let mut line = Line::new()?;
    line.r1.start()?;
    let Line { r1, n1, .. } = &line;
    let neighbour = Neighbour {
        cable: 2,
        end: 2,
        system: 65002,
        bfd: true,
    };
    let config = [ospf::FRR, &frr::bgp(1, &[neighbour], None), FRR_TIMERS].concat();
    let frr = Frr::start(&r1.namespace, &["ospfd", "ospf6d", "bgpd", "bfdd"], &config)?;
    let _bird = Bird::start(&n1.namespace, &[ospf::BIRD, BIRD_BGP].concat())?;
    wait_until("the sessions are up", || {
        Ok(down(&frr, &r1.namespace)?.is_empty())
    })?;
    n1.wait_answers(address(Family::Ipv4, 2, 1))?;
    let dropped = connections_dropped(&frr, &r1.namespace)?;

    let (to, from) = (mac(&r1.namespace, "n1")?, mac(&n1.namespace, "r1")?);
    for kind in &KINDS {
        let flood = Flood::new(&n1.namespace, "r1", kind.count)?;
        let frame = (kind.frame)(to, from);
        let before = Counts::take(r1, n1)?;
        let mut lost = BTreeSet::new();
        let sent = thread::scope(|scope| {
            let sending = scope.spawn(|| flood.send(&n1.namespace, &frame, BURST, FLOOD));
            while !sending.is_finished() {
                lost.extend(down(&frr, &r1.namespace)?);
                thread::sleep(Duration::from_millis(500));
            }
            sending.join().expect("the flood")
        })?;
        report(kind, sent, &before, &Counts::take(r1, n1)?);
        assert!(lost.is_empty(), "a flood {}: {lost:?} went down", kind.name);
    }
    assert_eq!(down(&frr, &r1.namespace)?, [""; 0]);
    let after = connections_dropped(&frr, &r1.namespace)?;
    assert_eq!(after, dropped, "BGP went down in between");
    Ok(())
}

/// What either side has counted.
struct Counts {
    /// IP packets that n1's own programs sent, those of BIRD's: just before r1's metrics were read, and
    /// just after. It goes on sending meanwhile.
    sent: [f64; 2],
    /// Those that found no room in the cable, before any program of r1's; the flood's own left out.
    cable_full: f64,
    /// Packets that found the receive buffer of a socket of r1's full: FRR's.
    sockets_full: f64,
    r1: Metrics,
}

impl Counts {
    fn take(r1: &Node, n1: &Node) -> Result<Counts> {
        let link = n1.namespace.ip("-s -j link show r1")?;
        let link: serde_json::Value = serde_json::from_str(&link).expect("ip's JSON");
        let dropped = link[0]["stats64"]["tx"]["dropped"].as_f64();
        let of_flood = n1.namespace.run(&["ethtool", "-S", "r1"])?;
        let before = sent(n1)?;
        let metrics = Metrics::scrape(&r1.namespace)?;
        Ok(Counts {
            sent: [before, sent(n1)?],
            cable_full: dropped.expect("a count") - row(&of_flood, "tx_queue_0_xdp_xmit_errors:"),
            sockets_full: column(&statistics(r1, "snmp")?, "Udp", "RcvbufErrors")
                + row(&statistics(r1, "snmp6")?, "Udp6RcvbufErrors")
                + raw_drops(&statistics(r1, "raw")?)
                + raw_drops(&statistics(r1, "raw6")?),
            r1: metrics,
        })
    }
}

/// IP packets that a node's own programs sent.
fn sent(node: &Node) -> Result<f64> {
    let (ipv4, ipv6) = (statistics(node, "snmp")?, statistics(node, "snmp6")?);
    // But for ICMP: the kernel's.
    let ipv4 = column(&ipv4, "Ip", "OutRequests") - column(&ipv4, "Icmp", "OutMsgs");
    let ipv6 = row(&ipv6, "Ip6OutRequests") - row(&ipv6, "Icmp6OutMsgs");
    Ok(ipv4 + ipv6)
}

/// What the kernel counts in a node's namespace: a file of /proc/net.
fn statistics(node: &Node, file: &str) -> Result<String> {
    let path = format!("/proc/thread-self/net/{file}");
    let read = || fs::read_to_string(&path).map_err(Error::io(path.clone()));
    node.namespace.enter(read)
}

/// Packets that found no room in any socket of /proc/net/raw: the last number of each line.
fn raw_drops(text: &str) -> f64 {
    let sockets = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().last());
    sockets
        .map(|drops| drops.parse::<f64>().expect("a number"))
        .sum()
}

/// A number of /proc/net/snmp: a line of names, and a line of values.
fn column(text: &str, table: &str, name: &str) -> f64 {
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(table)?.strip_prefix(": "));
    let (names, values) = (lines.next(), lines.next());
    let names = names.expect("the table").split(' ');
    let found = names.zip(values.expect("its values").split(' '));
    let (_, value) = { found }.find(|(of, _)| *of == name).expect("the column");
    value.parse().expect("a number")
}

/// A number of a text with a line for each: /proc/net/snmp6, `ethtool -S`.
fn row(text: &str, name: &str) -> f64 {
    let found = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix(name));
    found.expect("the row").trim().parse().expect("a number")
}

/// What became of a flood: that it was one, and that it took nothing from routing protocols.
fn report(kind: &Kind, sent: u64, before: &Counts, after: &Counts) {
    let grown = |of: &dyn Fn(&Metrics) -> f64| of(&after.r1) - of(&before.r1);
    let lost_as = |reason| {
        let labels = [("port", "n1"), ("reason", reason)];
        grown(&|metrics| metrics.sum("ixmap_port_lost_packets_total", &labels))
    };
    let received = grown(&|metrics| metrics.sum("ixmap_port_rx_packets_total", &[("port", "n1")]));
    let lost = grown(&|metrics| metrics.sum("ixmap_port_lost_packets_total", &[("port", "n1")]));
    let full = grown(&|metrics| metrics.drops("n1", "punt_ring_full"));
    let punted = grown(&|metrics| metrics.punts("n1", kind.punt));
    let limited = grown(&|metrics| metrics.drops("n1", kind.limit));
    let hellos = grown(&|metrics| metrics.punts("n1", "routing"));
    // Those that were sent surely after the first reading of r1's metrics, and before the second.
    let expected = after.sent[0] - before.sent[1];
    let cable = after.cable_full - before.cable_full;
    println!(
        "a flood {}: {sent} sent, {received} received, {lost} lost before, {punted} punted, \
         {limited} over the limit, {full} without room;  {hellos} packets of routing protocols \
         of {expected}, {cable} lost before r1",
        kind.name
    );
    assert!(punted + limited > 100_000.0, "no flood");
    assert!(hellos >= 20.0, "{hellos} packets of routing protocols");
    assert_eq!(lost_as("rx_routing_ring_full"), 0.0);
    assert_eq!(after.sockets_full, before.sockets_full, "sockets of FRR's");
    let missing = expected - cable - hellos;
    assert!(missing <= ON_THEIR_WAY, "{missing} of {expected} missing");
}

/// The sessions that are not up.
fn down(frr: &Frr, r1: &Namespace) -> Result<Vec<&'static str>> {
    let mut down = Vec::new();
    for version in ["ip ospf", "ipv6 ospf6"] {
        let neighbours = frr.vtysh(r1, &format!("show {version} neighbor"))?;
        if !(neighbours.contains("192.0.2.2") && neighbours.contains("Full")) {
            down.push(version);
        }
    }
    let summary = frr.json(r1, "show bgp summary json")?;
    for (family, peer) in [
        ("ipv4Unicast", "10.0.2.2"),
        ("ipv6Unicast", "fd00:0:0:2::2"),
    ] {
        if summary[family]["peers"][peer]["state"] != "Established" {
            down.push(family);
        }
    }
    let peers = frr.json(r1, "show bfd peers json")?;
    let peers = peers.as_array().map_or(&[][..], Vec::as_slice);
    if peers.len() != 2 || peers.iter().any(|peer| peer["status"] != "up") {
        down.push("bfd");
    }
    Ok(down)
}

/// How often either BGP session went down so far.
fn connections_dropped(frr: &Frr, r1: &Namespace) -> Result<[u64; 2]> {
    let summary = frr.json(r1, "show bgp summary json")?;
    let peers = [
        ("ipv4Unicast", "10.0.2.2"),
        ("ipv6Unicast", "fd00:0:0:2::2"),
    ];
    let mut dropped = [0; 2];
    for (count, (family, peer)) in dropped.iter_mut().zip(peers) {
        let field = &summary[family]["peers"][peer]["connectionsDropped"];
        *count = field.as_u64().ok_or_else(|| Error::Parse {
            what: "FRR's count of dropped connections",
            text: summary.to_string(),
        })?;
    }
    Ok(dropped)
}

/// A datagram of 64 bytes from n1.
fn ipv4(to: [u8; 6], from: [u8; 6], ttl: u8, destination: [u8; 4]) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 50, 0, 0, 0x40, 0, ttl, 17, 0, 0, 10, 0, 2, 2];
    ip.extend(destination);
    let sum: u32 = ip
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).expect("a short header");
    ip[10..12].copy_from_slice(&(!folded).to_be_bytes());
    ip.extend([0x9c, 0x40, 0, 9, 0, 30, 0, 0]);
    ethernet(to, from, [8, 0], &ip)
}

/// A datagram from n1 to an address of the link between r1 and h1.
fn ipv6_to_h1s_link(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let net = |link: u8, host: [u8; 2]| {
        [
            0xfd, 0, 0, 0, 0, 0, 0, link, 0, 0, 0, 0, 0, 0, host[0], host[1],
        ]
    };
    let mut ip = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    ip.extend(net(2, [0, 2]));
    ip.extend(net(1, [9, 0]));
    ip.extend([0x9c, 0x40, 0, 9, 0, 8, 0x12, 0x34]);
    ethernet(to, from, [0x86, 0xdd], &ip)
}

/// n1 asks for r1's MAC.
fn arp(_: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let mut asked = vec![0, 1, 8, 0, 6, 4, 0, 1];
    asked.extend(from);
    asked.extend([10, 0, 2, 2, 0, 0, 0, 0, 0, 0, 10, 0, 2, 1]);
    ethernet([0xff; 6], from, [8, 6], &asked)
}

fn ethernet(to: [u8; 6], from: [u8; 6], ethertype: [u8; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from, &ethertype, payload].concat();
    frame.resize(frame.len().max(64), 0);
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
