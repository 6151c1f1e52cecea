//! Inserted checksums, each checked as a receiver would, byte pair by byte pair.

use super::*;
use std::ops::Range;

/// The ones' complement sum of bytes and a number, one pair after the other.
pub(super) fn add(bytes: &[u8], start: usize) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += usize::from(pair[0]) * 256 + pair.get(1).map_or(0, |low| usize::from(*low));
        while sum > 0xFFFF {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
        }
    }
    !crc
}

/// Where the transport segment of an untagged frame lies, of IPv4 without options or IPv6 without
/// extension headers. What follows it is what pads the frame to 60 bytes.
#[track_caller]
pub(super) fn transport(frame: &[u8]) -> Range<usize> {
    let length = |at: usize| usize::from(frame[at]) * 256 + usize::from(frame[at + 1]);
    let segment = match length(12) {
        0x0800 => 34..14 + length(16),
        0x86DD => 54..54 + length(18),
        other => panic!("EtherType {other:#x}"),
    };
    assert_eq!(segment.end.max(60), frame.len(), "the length in IP");
    assert!(frame[segment.end..].iter().all(|byte| *byte == 0));
    segment
}

#[track_caller]
pub(super) fn assert_network_checksum(frame: &[u8]) {
    assert_eq!(add(&frame[14..34], 0), 0xFFFF, "the IPv4 header checksum");
}

#[track_caller]
pub(super) fn assert_transport_checksum(frame: &[u8]) {
    let at = transport(frame);
    let (protocol, addresses) = if at.start == 34 {
        (frame[23], &frame[26..34])
    } else {
        (frame[20], &frame[22..54])
    };
    let segment = &frame[at];
    if protocol == 132 {
        let mut zeroed = segment.to_vec();
        zeroed[8..12].fill(0);
        assert_eq!(segment[8..12], crc32c(&zeroed).to_le_bytes(), "CRC-32C");
        return;
    }
    let pseudo = add(addresses, usize::from(protocol) + segment.len());
    assert_eq!(add(segment, usize::from(pseudo)), 0xFFFF, "the checksum");
    if protocol == 17 {
        assert_ne!(segment[6..8], [0, 0], "UDP would have no checksum");
        let length = usize::from(segment[4]) * 256 + usize::from(segment[5]);
        assert_eq!(length, segment.len(), "the UDP length");
    }
}

#[test]
fn transport_checksums_are_inserted() {
    for ipv4 in [true, false] {
        for (protocol, kind) in [(6, TCP), (17, UDP), (132, SCTP)] {
            for data in [1, 64, 1001, 9000] {
                let mut driver = Driver::new();
                let packet = Packet::new(ipv4, protocol, data);
                // Linux does not say which IP version it is when only TXSM is asked for.
                driver.context(packet.lengths(), kind, [0, 0]);
                driver.send(&packet.build(), 0, TXSM);
                let sent = driver.sent();
                assert_eq!(sent.len(), 1);
                assert_transport_checksum(&sent[0]);
                driver.bench.assert_clean();
            }
        }
    }
}

#[test]
fn the_ipv4_header_checksum_is_inserted_and_nothing_else_changed() {
    let mut driver = Driver::new();
    let frame = Packet::new(true, 6, 100).build();
    driver.context([14, 20], IPV4 | TCP, [0, 0]);
    driver.send(&frame, 0, IXSM);
    let mut sent = driver.sent().remove(0);
    assert_network_checksum(&sent);
    sent[24..26].fill(0);
    assert_eq!(sent, frame);
    driver.bench.assert_clean();
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_all_ones() {
    let mut driver = Driver::new();
    let mut frame = Packet::new(true, 17, 2).build();
    // The data make the sum 0xFFFF, whose complement is zero.
    frame[42..44].fill(0);
    let rest = !add(&frame[34..], 0);
    frame[42..44].copy_from_slice(&rest.to_be_bytes());
    driver.context([14, 20], UDP, [0, 0]);
    driver.send(&frame, 0, TXSM);
    assert_eq!(driver.sent()[0][40..42], [0xFF, 0xFF]);
    driver.bench.assert_clean();
}

#[test]
fn each_of_two_contexts_stays_until_it_is_written_again() {
    let mut driver = Driver::new();
    let [tcp, udp] = [Packet::new(true, 6, 100), Packet::new(false, 17, 100)];
    driver.tagged_context(0, 0, tcp.lengths(), TCP, [0, 0]);
    driver.tagged_context(1, 0, udp.lengths(), UDP, [0, 0]);
    for _ in 0..3 {
        driver.send(&tcp.build(), 0, TXSM);
        driver.send(&udp.build(), 0, TXSM | CC | 1 << 4);
    }
    driver.tagged_context(0, 0, udp.lengths(), UDP, [0, 0]);
    driver.send(&udp.build(), 0, TXSM);
    let sent = driver.sent();
    assert_eq!(sent.len(), 7);
    sent.iter()
        .for_each(|frame| assert_transport_checksum(frame));
    driver.bench.assert_clean();
}

#[test]
fn a_packet_without_its_context_is_a_violation_and_dropped() {
    for (command, options) in [(0, TXSM), (0, IXSM), (0, CC), (VLE, 0), (TSE, IXSM | TXSM)] {
        let mut driver = Driver::new();
        driver.tagged_context(1, 0, [14, 20], IPV4 | TCP, [32, 1000]);
        driver.send(&Packet::new(true, 6, 100).build(), command, options);
        driver.assert_complaints(&[(1, "no context was written to the slot that IDX names")]);
        assert!(driver.sent().is_empty());
        assert!(driver.is_done(1), "the ring goes on");
    }
}

#[test]
fn contexts_are_gone_when_the_queue_starts_anew() {
    let mut driver = Driver::new();
    driver.context([14, 20], TCP, [0, 0]);
    driver.kick();
    driver.start(3);
    driver.tail = 0;
    driver.send(&Packet::new(true, 6, 100).build(), 0, TXSM);
    driver.assert_complaints(&[(0, "no context was written to the slot that IDX names")]);
}

#[test]
fn headers_that_the_packet_does_not_have_are_a_violation() {
    for (lengths, kind, options, why) in [
        ([13, 20], IPV4 | TCP, IXSM, "MACLEN of less than 14"),
        (
            [14, 19],
            IPV4 | TCP,
            IXSM,
            "IPLEN of less than an IP header",
        ),
        (
            [14, 20],
            TCP,
            IXSM,
            "IXSM with a context that is not of IPv4",
        ),
        (
            [18, 20],
            IPV4 | TCP,
            IXSM,
            "IP version other than the context's",
        ),
        (
            [127, 511],
            IPV4 | TCP,
            IXSM,
            "MACLEN and IPLEN longer than the packet",
        ),
        ([127, 511], TCP, TXSM, "checksum outside the packet"),
        ([14, 151], TCP, TXSM, "checksum outside the packet"),
        (
            [14, 0],
            TCP,
            TXSM,
            "TXSM with MACLEN or IPLEN of less than the headers",
        ),
        ([14, 20], 3 << 11, TXSM, "L4T of no transport"),
    ] {
        let mut driver = Driver::new();
        driver.context(lengths, kind, [0, 0]);
        driver.send(&Packet::new(true, 6, 100).build(), 0, options);
        driver.assert_complaints(&[(1, why)]);
        assert!(driver.sent().is_empty());
    }
}

#[test]
fn a_context_with_reserved_bits_is_a_violation() {
    for (low, command, options) in [
        (1 << 48, 0, 0),
        (0, EOP, 0),
        (0, 1 << 16, 0),
        (0, 0, 1),
        (0, 0, 2 << 4),
    ] {
        let mut driver = Driver::new();
        driver.put(raw(low, CONTEXT_DESCRIPTOR | command, options));
        driver.kick();
        driver.assert_complaints(&[(0, "reserved bits set in a context")]);
    }
    let mut driver = Driver::new();
    driver.put(raw(0, CONTEXT_DESCRIPTOR | 1 << 15, 0));
    driver.kick();
    driver.assert_complaints(&[(0, "IPsec or FCoE, which the device does not have")]);
}
