//! Packets of more than one buffer: forwarded, handed to the kernel, and sent for it.

use ixmap_lab::{Family, Lab, Ports, Result, wait_until};

use crate::suite::{TestLab, cabled_lab};

/// A running lab whose links to A and B have these MTUs, at both ends; `None` for the kernel router.
fn lab_of(mtus: [u32; 2]) -> Result<Option<TestLab>> {
    let Some(mut lab) = cabled_lab(Ports::Two)? else {
        return Ok(None);
    };
    for (host, mtu) in [(&lab.a, mtus[0]), (&lab.b, mtus[1])] {
        let device = host.device();
        lab.router.ip(&format!("link set {device} mtu {mtu}"))?;
        host.ip(&format!("link set eth0 mtu {mtu}"))?;
    }
    lab.start()?;
    Ok(Some(lab))
}

/// Payloads of echo requests whose packets are this long.
fn payload(family: Family, packet: u32) -> String {
    match family {
        Family::Ipv4 => (packet - 28).to_string(),
        Family::Ipv6 => (packet - 48).to_string(),
    }
}

fn assert_answers(lab: &Lab, family: Family, to: std::net::IpAddr, packet: u32) -> Result<()> {
    let switches = ["-M", "do", "-s", &payload(family, packet)];
    let ping = lab.a.ping_with(to, 5, &switches)?;
    assert_eq!(ping.received, 5, "{packet} bytes: {}", ping.output);
    // ping compares what comes back with what it sent.
    assert!(!ping.output.contains("wrong data"), "{}", ping.output);
    Ok(())
}

/// One buffer to its last byte, one byte more, two buffers, and the whole MTU.
const PACKETS: [u32; 6] = [1500, 3826, 3827, 7922, 7923, 9000];

#[test]
fn jumbo_packets_are_forwarded_by_the_fast_path() -> Result<()> {
    let Some(lab) = lab_of([9000, 9000])? else {
        return Ok(());
    };
    for family in Family::BOTH {
        lab.wait_fast_path(family)?;
        for packet in PACKETS {
            let before = lab.metrics()?.forwarded(family);
            assert_answers(&lab, family, lab.b.address(family), packet)?;
            // A packet is counted after it was sent: the last answer may be here before that.
            wait_until(&format!("10 of {packet} bytes are counted"), || {
                Ok(lab.metrics()?.forwarded(family) - before >= 10.0)
            })?;
        }
    }
    Ok(())
}

#[test]
fn tcp_over_jumbo_links_comes_whole_by_the_fast_path() -> Result<()> {
    let Some(lab) = lab_of([9000, 9000])? else {
        return Ok(());
    };
    lab.wait_fast_path(Family::Ipv4)?;
    for direction in [&["-n", "20M"][..], &["-n", "20M", "-R"]] {
        let before = lab.metrics()?.forwarded(Family::Ipv4);
        let result = lab
            .a
            .iperf(&lab.b, lab.b.address(Family::Ipv4), direction)?;
        // The rest is on its way when the client ends.
        assert!(result.received_bytes >= 15e6, "{result:?}");
        let forwarded = lab.metrics()?.forwarded(Family::Ipv4) - before;
        assert!(forwarded >= 15e6 / 9000.0, "{forwarded} packets");
    }
    Ok(())
}

#[test]
fn the_kernel_answers_jumbo_packets_to_the_router() -> Result<()> {
    let Some(lab) = lab_of([9000, 9000])? else {
        return Ok(());
    };
    for family in Family::BOTH {
        for packet in PACKETS {
            let before = lab.metrics()?.punts("p0", "local");
            assert_answers(&lab, family, lab.a.gateway(family), packet)?;
            let punted = lab.metrics()?.punts("p0", "local") - before;
            assert!(punted >= 5.0, "{packet} bytes: {punted} of 5");
        }
    }
    Ok(())
}

#[test]
fn a_jumbo_packet_to_a_smaller_link_is_too_big_there() -> Result<()> {
    let Some(lab) = lab_of([9000, 1500])? else {
        return Ok(());
    };
    for family in Family::BOTH {
        let to = lab.b.address(family);
        assert_answers(&lab, family, to, 1500)?;
        let switches = ["-M", "do", "-s", &payload(family, 9000)];
        wait_until("the host learns the path's MTU", || {
            let output = lab.a.ping_with(to, 2, &switches)?.output;
            Ok(output.contains("mtu = 1500") || output.contains("mtu=1500"))
        })?;
    }
    // Without DF the kernel of the router cuts them.
    let ping = lab.a.ping_with(
        lab.b.address(Family::Ipv4),
        5,
        &["-M", "dont", "-s", &payload(Family::Ipv4, 9000)],
    )?;
    assert_eq!(ping.received, 5, "{}", ping.output);
    Ok(())
}
