//! ICMP errors: the kernel's own, with the address of the port that the packet came in by; and
//! packets larger than the next link.

use ixmap_lab::{Family, Lab, Ports, Result, wait_until};

use crate::packet::{Datagram, ETHERNET, IcmpError};
use crate::suite::lab;

/// What the router answers host A about this datagram; `(type, code)` and the claimed MTU.
fn error_about(lab: &Lab, datagram: &Datagram, text: &str) -> Result<IcmpError> {
    let tap = lab.a.tap()?;
    tap.send(&datagram.frame())?;
    let frame = tap.wait_for("an ICMP error", |frame| {
        IcmpError::parse(frame, text).is_some()
    })?;
    Ok(IcmpError::parse(&frame, text).expect("wait_for has read it"))
}

/// Asserts the error's type and code, and that it comes from A's own gateway address.
fn assert_error(lab: &Lab, family: Family, got: &IcmpError, kind: u8, code: u8) {
    let source = lab.a.gateway(family);
    assert_eq!(
        (got.kind, got.code, got.source),
        (kind, code, source),
        "{family:?}"
    );
}

/// Makes B's link one of 1400 bytes, at both ends.
fn shrink_far_link(lab: &Lab) -> Result<()> {
    lab.b.ip("link set eth0 mtu 1400")?;
    lab.router.ip("link set p1 mtu 1400").map(drop)
}

#[test]
fn time_exceeded_comes_from_the_near_port() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for (family, kind) in [(Family::Ipv4, 11), (Family::Ipv6, 3)] {
        for ttl in [0, 1] {
            let mut datagram = Datagram::new(&lab.a, lab.b.address(family), "last hop");
            datagram.ttl = ttl;
            let error = error_about(&lab, &datagram, "last hop")?;
            assert_error(&lab, family, &error, kind, 0);
        }
    }
    Ok(())
}

#[test]
fn too_big_names_the_mtu_of_the_far_port() -> Result<()> {
    let lab = lab(Ports::Two)?;
    shrink_far_link(&lab)?;
    for (family, kind, code) in [(Family::Ipv4, 3, 4), (Family::Ipv6, 2, 0)] {
        let text = "too big ".repeat(178);
        let mut datagram = Datagram::new(&lab.a, lab.b.address(family), &text);
        datagram.dont_fragment = true;
        // The mirror needs a moment to see the new MTU; until then the datagram passes.
        let tap = lab.a.tap()?;
        wait_until("the new MTU is in force", || {
            tap.send(&datagram.frame())?;
            let frames = tap.collect("too big")?;
            Ok(frames
                .iter()
                .any(|f| IcmpError::parse(f, "too big").is_some()))
        })?;
        let error = error_about(&lab, &datagram, "too big")?;
        assert_error(&lab, family, &error, kind, code);
        assert_eq!(error.mtu, 1400, "{family:?}");
        // A host's own path MTU discovery learns from it.
        let ping = lab
            .a
            .ping_with(lab.b.address(family), 3, &["-s", "1420", "-M", "do"])?;
        assert_eq!(ping.received, 0, "{}", ping.output);
    }
    Ok(())
}

#[test]
fn a_packet_of_exactly_the_mtu_passes() -> Result<()> {
    let lab = lab(Ports::Two)?;
    shrink_far_link(&lab)?;
    for (family, size) in [(Family::Ipv4, "1372"), (Family::Ipv6, "1352")] {
        let ping = lab
            .a
            .ping_with(lab.b.address(family), 3, &["-s", size, "-M", "do"])?;
        assert_eq!(ping.received, 3, "{}", ping.output);
    }
    Ok(())
}

#[test]
fn a_big_packet_without_df_arrives_in_fragments() -> Result<()> {
    let lab = lab(Ports::Two)?;
    shrink_far_link(&lab)?;
    let (near, far) = (lab.a.tap()?, lab.b.tap()?);
    let text = "fragment ".repeat(160);
    let datagram = Datagram::new(&lab.a, lab.b.address(Family::Ipv4), &text);
    wait_until("the datagram is fragmented", || {
        near.send(&datagram.frame())?;
        let frames = far.collect("fragment ")?;
        let more_fragments = |frame: &Vec<u8>| frame[ETHERNET + 6] & 0x20 != 0;
        Ok(frames.iter().any(more_fragments))
    })?;
    let ping = lab.a.ping_with(
        lab.b.address(Family::Ipv4),
        5,
        &["-s", "1450", "-M", "dont"],
    )?;
    assert_eq!(ping.received, 5, "{}", ping.output);
    Ok(())
}

#[test]
fn fragments_of_a_host_pass_in_both_families() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        let ping = lab.a.ping_with(lab.b.address(family), 5, &["-s", "8000"])?;
        assert_eq!(ping.received, 5, "{}", ping.output);
    }
    Ok(())
}

#[test]
fn routes_that_refuse_say_why() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let cases = [
        (Family::Ipv4, "unreachable", "10.1.0.0/16", "10.1.2.3", 3, 1),
        (Family::Ipv4, "prohibit", "10.2.0.0/16", "10.2.2.3", 3, 13),
        (Family::Ipv6, "unreachable", "fd01::/48", "fd01::9", 1, 0),
        (Family::Ipv6, "prohibit", "fd02::/48", "fd02::9", 1, 1),
    ];
    for (family, refusal, prefix, target, kind, code) in cases {
        lab.router.ip(&format!("route add {refusal} {prefix}"))?;
        let datagram = Datagram::new(&lab.a, target.parse().unwrap(), refusal);
        wait_until(&format!("{refusal} {prefix} is in force"), || {
            let error = error_about(&lab, &datagram, refusal)?;
            Ok((error.kind, error.code) == (kind, code))
        })?;
        let error = error_about(&lab, &datagram, refusal)?;
        assert_error(&lab, family, &error, kind, code);
    }
    Ok(())
}

#[test]
fn without_a_route_the_network_is_unreachable() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for (family, target, kind) in [(Family::Ipv4, "10.9.9.9", 3), (Family::Ipv6, "fd09::9", 1)] {
        let datagram = Datagram::new(&lab.a, target.parse().unwrap(), "nowhere");
        let error = error_about(&lab, &datagram, "nowhere")?;
        assert_error(&lab, family, &error, kind, 0);
    }
    Ok(())
}

#[test]
fn a_blackhole_is_silent() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for (family, prefix, target) in [
        (Family::Ipv4, "10.3.0.0/16", "10.3.2.3"),
        (Family::Ipv6, "fd03::/48", "fd03::9"),
    ] {
        lab.router.ip(&format!("route add blackhole {prefix}"))?;
        let hole = Datagram::new(&lab.a, target.parse().unwrap(), "the hole");
        let tap = lab.a.tap()?;
        // Until the route is in force the answer is "no route".
        wait_until("the blackhole swallows", || {
            tap.send(&hole.frame())?;
            let frames = tap.collect("the hole")?;
            Ok(!frames
                .iter()
                .any(|f| IcmpError::parse(f, "the hole").is_some()))
        })?;
        let elsewhere = if family == Family::Ipv4 {
            "10.9.9.9"
        } else {
            "fd09::9"
        };
        let nowhere = Datagram::new(&lab.a, elsewhere.parse().unwrap(), "nowhere");
        for _ in 0..5 {
            tap.send(&hole.frame())?;
        }
        tap.send(&nowhere.frame())?;
        let frames = tap.collect_until("the later error", |frame| {
            IcmpError::parse(frame, "nowhere").is_some()
        })?;
        let about_hole = frames
            .iter()
            .any(|f| IcmpError::parse(f, "the hole").is_some());
        assert!(!about_hole, "{family:?}: the blackhole answered");
    }
    Ok(())
}

#[test]
fn an_unresolvable_neighbour_is_unreachable() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for (family, kind, code) in [(Family::Ipv4, 3, 1), (Family::Ipv6, 1, 3)] {
        let nobody = lab.b.neighbour(family, 77);
        let datagram = Datagram::new(&lab.a, nobody, "anybody there");
        let error = error_about(&lab, &datagram, "anybody there")?;
        assert_error(&lab, family, &error, kind, code);
    }
    Ok(())
}
