//! Traffic between two hosts: ping, traceroute, TCP and UDP, in both families.

use ixmap_lab::{Family, Ports, Result, carries, wait_until};

use crate::packet::{Datagram, ETHERNET};
use crate::suite::{ixmapd_lab, lab};

#[test]
fn hosts_ping_each_other_through_the_router() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        let there = lab.a.ping(lab.b.address(family), 10)?;
        assert_eq!(there.received, 10, "{}", there.output);
        let back = lab.b.ping(lab.a.address(family), 10)?;
        assert_eq!(back.received, 10, "{}", back.output);
    }
    Ok(())
}

#[test]
fn packets_of_every_size_pass() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        // The last fills a frame of 1500 bytes in IPv6; IPv4 has 20 bytes more of room.
        for size in ["0", "1", "17", "18", "64", "511", "1024", "1452"] {
            let ping = lab.a.ping_with(lab.b.address(family), 2, &["-s", size])?;
            assert_eq!(ping.received, 2, "size {size}: {}", ping.output);
        }
    }
    let full = lab
        .a
        .ping_with(lab.b.address(Family::Ipv4), 2, &["-s", "1472", "-M", "do"])?;
    assert_eq!(full.received, 2, "{}", full.output);
    Ok(())
}

#[test]
fn ttl_and_hop_limit_are_one_less_at_the_far_host() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let (near, far) = (lab.a.tap()?, lab.b.tap()?);
    for (family, offset) in [(Family::Ipv4, 8), (Family::Ipv6, 7)] {
        let datagram = Datagram::new(&lab.a, lab.b.address(family), "one hop");
        near.send(&datagram.frame())?;
        let mut frame = far.wait_for("the datagram", |frame| carries(frame, "one hop"))?;
        assert_eq!(frame[ETHERNET + offset], 63, "{family:?}");
        assert_eq!(frame[..6], lab.b.mac(), "{family:?} destination MAC");
        assert_eq!(frame[6..12], lab.b.gateway_mac(), "{family:?} source MAC");
        // But for TTL, the header's checksum and the MACs, the packet is what was sent.
        let sent = datagram.frame();
        let checksum = frame[ETHERNET + 10..ETHERNET + 12].to_vec();
        frame[..12].copy_from_slice(&sent[..12]);
        frame[ETHERNET + offset] = 64;
        if family == Family::Ipv4 {
            crate::packet::set_ipv4_checksum(&mut frame[ETHERNET..]);
            assert_ne!(
                checksum,
                sent[ETHERNET + 10..ETHERNET + 12],
                "stale checksum"
            );
        }
        assert_eq!(frame, sent, "{family:?}");
    }
    Ok(())
}

#[test]
fn traceroute_shows_the_router_then_the_host() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        let target = lab.b.address(family).to_string();
        let words = [
            "traceroute",
            family.flag(),
            "-n",
            "-q",
            "1",
            "-w",
            "5",
            "-m",
            "5",
            &target,
        ];
        let output = lab.a.run(&words)?;
        let hops: Vec<&str> = output
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        assert_eq!(
            hops,
            [lab.a.gateway(family).to_string(), target],
            "{output}"
        );
    }
    Ok(())
}

#[test]
fn tcp_flows_in_both_directions() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        for direction in [&["-n", "8M"][..], &["-n", "8M", "-R"]] {
            let run = lab.a.iperf(&lab.b, lab.b.address(family), direction)?;
            assert!(run.received_bytes > 0.0, "{family:?} {direction:?}");
            assert!(
                run.retransmits < run.segments / 10.0,
                "{family:?} {direction:?}: {run:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn udp_flows_in_both_directions() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        for direction in [
            &["-u", "-b", "10M", "-n", "1M"][..],
            &["-u", "-b", "10M", "-n", "1M", "-R"],
        ] {
            let run = lab.a.iperf(&lab.b, lab.b.address(family), direction)?;
            assert!(run.received_bytes > 0.0, "{family:?} {direction:?}");
        }
    }
    Ok(())
}

#[test]
fn the_fast_path_forwards_and_the_kernel_does_not() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    for family in Family::BOTH {
        let target = lab.b.address(family);
        lab.wait_fast_path(family)?;
        let before = lab.metrics()?.forwarded(family);
        let kernel_before = kernel_forwarded(&lab, family)?;
        let ping = lab.a.ping(target, 50)?;
        assert_eq!(ping.received, 50, "{}", ping.output);
        wait_until("100 packets are counted as forwarded", || {
            Ok(lab.metrics()?.forwarded(family) >= before + 100.0)
        })?;
        let by_kernel = kernel_forwarded(&lab, family)? - kernel_before;
        assert_eq!(by_kernel, 0, "{family:?} packets went through the kernel");
    }
    Ok(())
}

/// Packets that the kernel of the router's namespace has forwarded itself.
fn kernel_forwarded(lab: &ixmap_lab::Lab, family: Family) -> Result<i64> {
    let counter = match family {
        Family::Ipv4 => "IpForwDatagrams",
        Family::Ipv6 => "Ip6OutForwDatagrams",
    };
    let output = lab.router.run(&["nstat", "-a", "-s", "-z", counter])?;
    let value = output
        .lines()
        .find(|line| line.starts_with(counter))
        .and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    Ok(value.unwrap_or_else(|| panic!("no {counter} in {output}")))
}
