//! The whole router on its own hardware path: ixmapd in a guest drives two modelled cards, through
//! ixmap.ko or VFIO, between two hosts. Each test ends with neither the models nor the kernel having
//! anything to complain of.

mod bench;
mod faults;
mod lending;
mod refusals;
mod sleep;

use bench::{Bench, HOSTS4, HOSTS6, ROUTER4, ROUTER6, Through};
use ixmap_lab::{Tap, wait_until};
use ixmap_vm::Result;

fn ready(through: Through) -> Result<Bench> {
    let mut bench = Bench::boot(through, 1500)?;
    bench.start()?;
    Ok(bench)
}

/// Pings and TCP in both families, forwarded by the workers and not by the kernel.
fn routes(through: Through) -> Result<()> {
    let mut bench = ready(through)?;
    bench.ping_across(20, 1472 - 20)?;
    let [ipv4, ipv6] = bench.forwarded()?;
    assert!(ipv4 >= 40 && ipv6 >= 40, "forwarded {ipv4} and {ipv6}");
    for (server, family) in [(HOSTS4[1], "-4"), (HOSTS6[1], "-6")] {
        let rate = bench.iperf(server, &[family])?;
        println!("{through:?}, iperf3 {family}: {rate:.1} Mbit/s");
    }
    let status = bench.ask("status")?;
    let (port, card) = (&status["ports"][0], bench.cards[0].clone());
    assert_eq!(port["driver"], "ixgbe");
    assert_eq!(port["device"], card);
    assert_eq!(port["speed_mbps"], 10_000);
    assert_eq!(port["mac"], "02:00:00:00:82:01");
    let interrupt = &port["interrupts"][0];
    assert_eq!(interrupt["core"], 1, "{status}");
    let steered = format!("cat /proc/irq/{}/smp_affinity_list", interrupt["irq"]);
    assert_eq!(bench.guest.check("steered", &steered)?.trim(), "1");
    bench.stop()?;
    bench.judge()
}

#[test]
fn packets_are_routed_through_our_module() -> Result<()> {
    routes(Through::Ixmap)
}

#[test]
fn packets_are_routed_through_our_module_behind_an_iommu() -> Result<()> {
    routes(Through::IxmapWithIommu)
}

#[test]
fn packets_are_routed_through_vfio() -> Result<()> {
    routes(Through::Vfio)
}

#[test]
fn the_router_answers_for_itself() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    for address in [ROUTER4[0], ROUTER4[1], ROUTER6[0], ROUTER6[1]] {
        bench.wait_for_answer(0, address)?;
    }
    bench.ping_across(1, 56)?;
    for (far, router) in [(HOSTS4[1], ROUTER4[0]), (HOSTS6[1], ROUTER6[0])] {
        let words = ["traceroute", "-n", "-q", "1", "-w", "5", "-m", "5", far];
        let hops = bench.wires[0].host().run(&words)?;
        assert!(hops.contains(router) && hops.contains(far), "{hops}");
    }
    bench.judge()
}

#[test]
fn jumbo_frames_are_routed_whole() -> Result<()> {
    let mut bench = Bench::boot(Through::Ixmap, 9000)?;
    bench.start()?;
    bench.ping_across(5, 9000 - 48)?;
    let rate = bench.iperf(HOSTS4[1], &[])?;
    println!("jumbo frames, iperf3: {rate:.1} Mbit/s");
    bench.judge()
}

#[test]
fn what_daemons_join_reaches_the_tap() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    // tcpdump takes on the identity of its user, and there are none.
    let listen = "echo tcpdump:x:0:0::/:/bin/sh >/etc/passwd
        echo tcpdump:x:0: >/etc/group
        tcpdump -c 1 -ni lan 'ip proto 89 and dst 224.0.0.5' >/tmp/ospf 2>&1 &
        until grep -q listening /tmp/ospf; do sleep 0.1; kill -0 $! || { cat /tmp/ospf; exit 1; }; done";
    bench.guest.check("listen for OSPF", listen)?;
    let tap = Tap::open(bench.wires[0].host(), "tap0")?;
    wait_until("an OSPF hello on the TAP", || {
        tap.send(&ospf_hello())?;
        let heard = "grep -q '224.0.0.5: OSPF' /tmp/ospf";
        let seen = bench.guest.run("heard", heard);
        Ok(seen.is_ok_and(|output| output.status == 0))
    })?;
    bench.judge()
}

/// An OSPFv2 hello to AllSPFRouters (RFC 2328, A.3.2), without neighbours.
fn ospf_hello() -> Vec<u8> {
    let mut frame = vec![0x01, 0x00, 0x5e, 0, 0, 5, 2, 0, 0, 0, 0, 0xaa, 8, 0];
    // IPv4: 64 bytes, TTL 1, protocol 89, checksum, 192.0.2.1 to 224.0.0.5.
    frame.extend([0x45, 0xc0, 0, 64, 0, 0, 0, 0, 1, 89, 0x16, 0x9f]);
    frame.extend([192, 0, 2, 1, 224, 0, 0, 5]);
    // OSPF: version 2, hello, 44 bytes, router 192.0.2.1, area 0, checksum, no authentication.
    frame.extend([2, 1, 0, 44, 192, 0, 2, 1, 0, 0, 0, 0, 0x3a, 0x9d]);
    frame.extend([0; 10]);
    // Mask, interval 10, options, priority 1, dead interval 40, neither DR nor BDR.
    frame.extend([255, 255, 255, 0, 0, 10, 2, 1, 0, 0, 0, 40]);
    frame.extend([0; 8]);
    frame
}

#[test]
fn vlan_interfaces_stand_on_a_port() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    // It answers on the interface that has the address, and on no other.
    let vlan = "modprobe 8021q
        sysctl -q -w net.ipv4.conf.all.arp_ignore=1
        ip link add link lan name lan.10 type vlan id 10
        ip address add 203.0.113.2/24 dev lan.10
        ip link set lan.10 up";
    bench.guest.check("a VLAN", vlan)?;
    let tap = Tap::open(bench.wires[0].host(), "tap0")?;
    tap.send(&arp_request_on_vlan_10())?;
    // The host's kernel takes the tag off what it shows.
    let answer = tap.wait_for("the answer", |frame| {
        frame.get(12..14) == Some(&[8, 6]) && frame.get(28..32) == Some(&[203, 0, 113, 2])
    })?;
    assert_eq!(answer[20..28], [0, 2, 2, 0, 0, 0, 0x82, 1], "{answer:x?}");
    bench.judge()
}

/// Who has 203.0.113.2? (RFC 826), with a tag of VLAN 10 (IEEE 802.1Q).
fn arp_request_on_vlan_10() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 0xaa, 0x81, 0, 0, 10, 8, 6]);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend([2, 0, 0, 0, 0, 0xaa, 203, 0, 113, 1]);
    frame.extend([0, 0, 0, 0, 0, 0, 203, 0, 113, 2]);
    frame.resize(64, 0);
    frame
}

#[test]
fn the_kernels_own_driver_takes_the_card_back() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    bench.ping_across(2, 56)?;
    bench.stop()?;
    let card = bench.cards[0].clone();
    let script = format!(
        "modprobe ixgbe
        ixmapctl bind {card} ixgbe
        ip link set eth0 up
        ip address add {}/24 dev eth0",
        ROUTER4[0]
    );
    bench.guest.check("back to ixgbe", &script)?;
    bench.wait_for_answer(0, ROUTER4[0])?;
    bench.judge()
}
