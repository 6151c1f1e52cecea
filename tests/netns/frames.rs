//! Frames as no honest host sends them: what is dropped and under which name, what is trimmed, and
//! what goes by the kernel.

use ixmap_lab::{Family, Lab, Ports, Result, carries, wait_until};

use crate::packet::{Datagram, ETHERNET, ETHERTYPE_IPV4, set_ipv4_checksum};
use crate::suite::{ixmapd_lab, lab};

/// Sends the frame and then a good one from A to B; asserts that only the good one arrives. With
/// ixmapd the loss has to be counted once at p0, under `reason`.
fn assert_dropped(lab: &Lab, what: &str, frame: &[u8], reason: &str) -> Result<()> {
    let (near, far) = (lab.a.tap()?, lab.b.tap()?);
    let drops = || -> Result<f64> {
        if lab.is_ixmapd() {
            return Ok(lab.metrics()?.drops("p0", reason));
        }
        Ok(0.0)
    };
    let before = drops()?;
    assert!(
        carries(frame, "bad apple"),
        "{what}: the frame carries its mark"
    );
    near.send(frame)?;
    near.send(&Datagram::new(&lab.a, lab.b.address(Family::Ipv4), "good one").frame())?;
    let arrived = far.collect_until("the good frame", |frame| carries(frame, "good one"))?;
    let leaked = arrived.iter().any(|frame| carries(frame, "bad apple"));
    assert!(!leaked, "{what}: it was forwarded");
    if lab.is_ixmapd() {
        wait_until(&format!("{what} counts as {reason}"), || {
            Ok(drops()? >= before + 1.0)
        })?;
        assert!(
            drops()? < before + 2.0,
            "{what}: counted more than once as {reason}"
        );
    }
    Ok(())
}

/// Sends the frame and waits for it at B.
fn assert_forwarded(lab: &Lab, what: &str, frame: &[u8], text: &str) -> Result<Vec<u8>> {
    let (near, far) = (lab.a.tap()?, lab.b.tap()?);
    near.send(frame)?;
    far.wait_for(what, |frame| carries(frame, text))
}

fn bad_apple(lab: &Lab, family: Family) -> Datagram {
    Datagram::new(&lab.a, lab.b.address(family), "bad apple")
}

#[test]
fn malformed_ipv4_headers_are_dropped_by_name() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let good = bad_apple(&lab, Family::Ipv4).frame();
    // What is wrong, the byte of the header and its new value, whether the checksum is mended.
    let cases = [
        ("version 5", 0, 0x55, true, "ipv4_bad_header"),
        ("header of 16 bytes", 0, 0x44, true, "ipv4_bad_header"),
        ("header beyond the packet", 0, 0x4f, true, "ipv4_bad_header"),
        (
            "total length beyond the frame",
            3,
            0xff,
            true,
            "ipv4_bad_length",
        ),
        (
            "total length below the header",
            3,
            19,
            true,
            "ipv4_bad_length",
        ),
        (
            "checksum",
            11,
            good[ETHERNET + 11] ^ 1,
            false,
            "ipv4_bad_checksum",
        ),
    ];
    for (what, byte, value, mend, reason) in cases {
        let mut frame = good.clone();
        frame[ETHERNET + byte] = value;
        if mend {
            set_ipv4_checksum(&mut frame[ETHERNET..]);
        }
        assert_dropped(&lab, what, &frame, reason)?;
    }
    Ok(())
}

#[test]
fn malformed_ipv6_headers_are_dropped_by_name() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let good = bad_apple(&lab, Family::Ipv6).frame();
    for (what, byte, value, reason) in [
        ("version 5", 0, 0x50, "ipv6_bad_header"),
        (
            "payload length beyond the frame",
            5,
            0xff,
            "ipv6_bad_length",
        ),
    ] {
        let mut frame = good.clone();
        frame[ETHERNET + byte] = value;
        assert_dropped(&lab, what, &frame, reason)?;
    }
    Ok(())
}

#[test]
fn martian_addresses_are_dropped_by_name() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let sources = [
        (Family::Ipv4, "127.0.0.1"),
        (Family::Ipv4, "0.0.0.0"),
        (Family::Ipv4, "255.255.255.255"),
        (Family::Ipv4, "224.0.0.9"),
        (Family::Ipv6, "::1"),
        (Family::Ipv6, "::"),
        (Family::Ipv6, "ff02::9"),
    ];
    for (family, source) in sources {
        let mut datagram = bad_apple(&lab, family);
        datagram.source = source.parse().unwrap();
        let what = format!("source {source}");
        assert_dropped(&lab, &what, &datagram.frame(), "martian_source")?;
    }
    for (family, destination) in [(Family::Ipv4, "127.0.0.1"), (Family::Ipv6, "::1")] {
        let mut datagram = bad_apple(&lab, family);
        datagram.destination = destination.parse().unwrap();
        let what = format!("destination {destination}");
        assert_dropped(&lab, &what, &datagram.frame(), "martian_destination")?;
    }
    Ok(())
}

#[test]
fn the_routers_own_address_as_source_is_dropped() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for own in [lab.a.gateway(Family::Ipv4), lab.b.gateway(Family::Ipv4)] {
        let mut datagram = bad_apple(&lab, Family::Ipv4);
        datagram.source = own;
        assert_dropped(
            &lab,
            &format!("source {own}"),
            &datagram.frame(),
            "source_is_own",
        )?;
    }
    Ok(())
}

#[test]
fn a_link_local_source_is_not_forwarded() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let mut datagram = bad_apple(&lab, Family::Ipv6);
    datagram.source = "fe80::aa".parse().unwrap();
    assert_dropped(
        &lab,
        "source fe80::aa",
        &datagram.frame(),
        "source_link_local",
    )
}

#[test]
fn unusual_sources_that_linux_forwards_are_forwarded() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let sources = [
        (Family::Ipv4, "0.1.2.3"),
        (Family::Ipv4, "240.1.2.3"),
        (Family::Ipv4, "169.254.7.7"),
        (Family::Ipv6, "::ffff:10.1.2.3"),
        (Family::Ipv6, "fec0::7"),
        (Family::Ipv6, "fd12::7"),
    ];
    for (family, source) in sources {
        let mut datagram = Datagram::new(&lab.a, lab.b.address(family), source);
        datagram.source = source.parse().unwrap();
        assert_forwarded(&lab, source, &datagram.frame(), source)?;
    }
    Ok(())
}

#[test]
fn unicast_packets_in_group_frames_are_dropped() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        for to_mac in [[0xff; 6], [0x01, 0, 0x5e, 0, 0, 9]] {
            let mut datagram = bad_apple(&lab, family);
            datagram.to_mac = to_mac;
            let what = format!("{family:?} to {to_mac:02x?}");
            assert_dropped(&lab, &what, &datagram.frame(), "unicast_in_group_frame")?;
        }
    }
    Ok(())
}

#[test]
fn frames_for_another_host_are_dropped() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        let mut datagram = bad_apple(&lab, family);
        datagram.to_mac = [2, 0, 0, 0, 0xee, 0xee];
        assert_dropped(&lab, "another host's MAC", &datagram.frame(), "other_host")?;
    }
    Ok(())
}

#[test]
fn ethernet_padding_is_trimmed() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        let datagram = Datagram::new(&lab.a, lab.b.address(family), "padded");
        let length = datagram.frame().len();
        let mut frame = datagram.frame();
        frame.extend(b"what the last frame left behind");
        let arrived = assert_forwarded(&lab, "the padded frame", &frame, "padded")?;
        let whole = arrived.len() == length || arrived[length..].iter().all(|&byte| byte == 0);
        assert!(whole, "{family:?}: padding was forwarded: {arrived:02x?}");
    }
    Ok(())
}

#[test]
fn ipv4_options_are_forwarded_by_the_kernel() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let mut datagram = Datagram::new(&lab.a, lab.b.address(Family::Ipv4), "record route");
    // Record route, room for two addresses (RFC 791): Linux fills in its own.
    datagram.options = vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let frame = assert_forwarded(&lab, "the options", &datagram.frame(), "record route")?;
    let std::net::IpAddr::V4(far) = lab.b.gateway(Family::Ipv4) else {
        panic!("an IPv4 address was asked for");
    };
    assert_eq!(frame[ETHERNET + 23..ETHERNET + 27], far.octets());
    assert_eq!(frame[ETHERNET + 8], 63);
    Ok(())
}

#[test]
fn hop_by_hop_options_are_forwarded_by_the_kernel() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let mut datagram = Datagram::new(&lab.a, lab.b.address(Family::Ipv6), "hop by hop");
    // Next header UDP, one 8-byte unit, PadN of four bytes (RFC 8200 section 4.3).
    datagram.options = vec![17, 0, 1, 4, 0, 0, 0, 0];
    let frame = assert_forwarded(&lab, "the options", &datagram.frame(), "hop by hop")?;
    assert_eq!(frame[ETHERNET + 7], 63);
    Ok(())
}

#[test]
fn what_the_fast_path_leaves_to_the_kernel_counts_as_punted() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let near = lab.a.tap()?;
    let b = |family| Datagram::new(&lab.a, lab.b.address(family), "for the kernel");
    let mut options = b(Family::Ipv4);
    options.options = vec![1, 1, 1, 0];
    let mut hop_by_hop = b(Family::Ipv6);
    hop_by_hop.options = vec![17, 0, 1, 4, 0, 0, 0, 0];
    let mut last_hop = b(Family::Ipv4);
    last_hop.ttl = 1;
    let mut lldp = b(Family::Ipv4).frame();
    let ethertype = lldp.iter().skip(12).take(2).copied().collect::<Vec<u8>>();
    assert_eq!(ethertype, ETHERTYPE_IPV4.to_be_bytes());
    lldp[12..14].copy_from_slice(&0x88ccu16.to_be_bytes());
    let to_router = Datagram::new(&lab.a, lab.b.gateway(Family::Ipv6), "for the kernel");
    for (frame, reason) in [
        (options.frame(), "ipv4_options"),
        (hop_by_hop.frame(), "hop_by_hop"),
        (last_hop.frame(), "ttl"),
        (lldp, "unknown_ethertype"),
        (to_router.frame(), "local"),
    ] {
        let before = lab.metrics()?.punts("p0", reason);
        near.send(&frame)?;
        wait_until(&format!("a punt counts as {reason}"), || {
            Ok(lab.metrics()?.punts("p0", reason) >= before + 1.0)
        })?;
    }
    Ok(())
}

#[test]
fn ixmapctl_drops_names_the_reason() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let mut frame = bad_apple(&lab, Family::Ipv4).frame();
    frame[ETHERNET + 11] ^= 1;
    lab.a.tap()?.send(&frame)?;
    wait_until("the drop is listed", || {
        let drops = lab.ctl(&["drops"])?;
        let ports = drops.as_array().into_iter().flatten();
        let p0 = ports.into_iter().find(|entry| entry["port"] == "p0");
        Ok(p0.is_some_and(|entry| entry["dropped"]["ipv4_bad_checksum"] == 1))
    })
}
