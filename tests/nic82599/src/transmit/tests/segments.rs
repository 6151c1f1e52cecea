//! Segmentation: what was sent is put together again and compared with what was given.

use super::checksums::{assert_network_checksum, assert_transport_checksum, transport};
use super::*;
use crate::registers::{DTXTCPFLGH, DTXTCPFLGL};
use std::ops::Range;

/// Sends a packet to be cut, in buffers of the headers and then of at most 5000 bytes.
fn send(driver: &mut Driver, packet: &Packet, segment_size: usize) -> Vec<Vec<u8>> {
    let kind = if packet.protocol == 6 { TCP } else { UDP };
    let version = if packet.ipv4 { IPV4 } else { 0 };
    let sums = if packet.ipv4 { IXSM | TXSM } else { TXSM };
    let transport_length = packet.transport.len();
    driver.context(
        packet.lengths(),
        version | kind,
        [transport_length, segment_size],
    );
    let frame = packet.build();
    let (headers, data) = frame.split_at(packet.headers());
    let mut pieces = vec![headers];
    pieces.extend(data.chunks(5000));
    driver.packet(&pieces, IFCS | TSE, word(data.len()) << 14 | sums);
    driver.kick();
    driver.sent()
}

fn packet(ipv4: bool, protocol: u8, data: usize) -> Packet {
    let mut packet = Packet::new(ipv4, protocol, data);
    packet.with_length = false;
    packet
}

#[test]
fn segments_carry_the_data_in_order_with_lengths_and_checksums_of_their_own() {
    for (ipv4, protocol) in [(true, 6), (false, 6), (true, 17), (false, 17)] {
        for (data, segment_size) in [(1, 1448), (1448, 1448), (4345, 1448), (65_000, 1001)] {
            let mut driver = Driver::new();
            let packet = packet(ipv4, protocol, data);
            let sent = send(&mut driver, &packet, segment_size);
            driver.bench.assert_clean();
            assert_eq!(sent.len(), data.div_ceil(segment_size));
            let mut put_together = Vec::new();
            for (n, frame) in sent.iter().enumerate() {
                let Range { start, end } = transport(frame);
                assert_transport_checksum(frame);
                if ipv4 {
                    assert_network_checksum(frame);
                    let expected = 0xFFFEu16.wrapping_add(u16::try_from(n).unwrap());
                    assert_eq!(frame[18..20], expected.to_be_bytes(), "identification");
                }
                if protocol == 6 {
                    let passed = u32::try_from(n * segment_size).unwrap();
                    let expected = 0xFFFF_F000u32.wrapping_add(passed);
                    assert_eq!(frame[start + 4..start + 8], expected.to_be_bytes());
                }
                let headers = start + packet.transport.len();
                assert!(end <= headers + segment_size);
                put_together.extend_from_slice(&frame[headers..end]);
            }
            assert_eq!(put_together, packet.build()[packet.headers()..]);
        }
    }
}

#[test]
fn fin_and_psh_are_on_the_last_segment_and_cwr_is_not() {
    let mut driver = Driver::new();
    let sent = send(&mut driver, &packet(true, 6, 4000), 1000);
    let flags: Vec<_> = sent.iter().map(|frame| frame[34 + 13]).collect();
    assert_eq!(flags, [0x90, 0x90, 0x90, 0x19]);
    assert!(sent.iter().all(|frame| frame[34 + 12] == 0x80));
}

#[test]
fn the_flags_that_stay_are_those_of_dtxtcpflg() {
    let mut driver = Driver::new();
    driver.bench.write(DTXTCPFLGL, 0x0F76_0FF6);
    driver.bench.write(DTXTCPFLGH, 0x0F7E);
    let sent = send(&mut driver, &packet(true, 6, 4000), 1000);
    let flags: Vec<_> = sent.iter().map(|frame| frame[34 + 13]).collect();
    assert_eq!(flags, [0x90, 0x10, 0x10, 0x18]);
    driver.bench.assert_clean();
}

#[test]
fn each_segment_is_tagged() {
    let mut driver = Driver::new();
    let packet = packet(false, 6, 3000);
    driver.tagged_context(1, 0xE005, packet.lengths(), TCP, [32, 1400]);
    let options = 3000 << 14 | TXSM | 1 << 4;
    driver.packet(&[&packet.build()], IFCS | TSE | VLE, options);
    driver.kick();
    let sent = driver.sent();
    assert_eq!(sent.len(), 3);
    for mut frame in sent {
        let tag: Vec<_> = frame.drain(12..16).collect();
        assert_eq!(tag, [0x81, 0x00, 0xE0, 0x05]);
        assert_transport_checksum(&frame);
    }
    driver.bench.assert_clean();
}

#[test]
fn the_largest_packet_is_cut() {
    let mut driver = Driver::new();
    let data = (1 << 18) - 1;
    let packet = packet(false, 6, data);
    driver.context(packet.lengths(), TCP, [32, 9000]);
    let frame = packet.build();
    let pieces: Vec<_> = frame.chunks(0xFFFF).collect();
    driver.packet(&pieces, IFCS | TSE, word(data) << 14 | TXSM);
    driver.kick();
    let sent = driver.sent();
    assert_eq!(sent.len(), data.div_ceil(9000));
    sent.iter()
        .for_each(|frame| assert_transport_checksum(frame));
    driver.bench.assert_clean();
}

#[test]
fn what_lies_between_an_outer_ip_header_and_the_transport_counts_as_ip() {
    // Linux's partial segmentation of tunnels: IPLEN reaches to the inner transport, and the outer
    // checksum holds what makes up for the headers between.
    let inner = packet(true, 6, 3000).build();
    let mut frame = inner[..34].to_vec();
    let between = [7, 1, 9, 3, 2, 2, 8, 8];
    let reverse = !checksums::add(&between, 0);
    frame[24..26].copy_from_slice(&reverse.to_be_bytes());
    frame.extend(between);
    frame.extend(&inner[34..]);
    let mut driver = Driver::new();
    driver.context([14, 28], IPV4 | TCP, [32, 1400]);
    driver.packet(&[&frame], IFCS | TSE, 3000 << 14 | IXSM | TXSM);
    driver.kick();
    let sent = driver.sent();
    assert_eq!(sent.len(), 3);
    for frame in sent {
        transport(&frame);
        assert_network_checksum(&frame);
        assert_eq!(frame[34..42], between);
    }
    driver.bench.assert_clean();
}

#[test]
fn segmentation_that_cannot_be_done_is_a_violation_and_dropped() {
    let sums = IXSM | TXSM;
    for (kind, segmentation, payload, why) in [
        (TCP, [32, 0], 500, "segmentation with an MSS of 0"),
        (
            TCP,
            [16, 100],
            516,
            "segmentation with an L4LEN of less than a header",
        ),
        (
            UDP,
            [7, 100],
            525,
            "segmentation with an L4LEN of less than a header",
        ),
        (SCTP, [32, 100], 500, "segmentation of neither TCP nor UDP"),
        (TCP, [32, 15_999], 500, "segments longer than 15.5 KB"),
    ] {
        let mut driver = Driver::new();
        driver.context([14, 20], IPV4 | kind, segmentation);
        let frame = packet(true, 6, 500).build();
        driver.packet(&[&frame], IFCS | TSE, payload << 14 | sums);
        driver.kick();
        driver.assert_complaints(&[(1, why)]);
        assert!(driver.sent().is_empty());
        assert!(driver.is_done(1));
    }
}

#[test]
fn headers_alone_cannot_be_segmented() {
    let mut driver = Driver::new();
    driver.context([14, 20], IPV4 | TCP, [32, 100]);
    let frame = packet(true, 6, 0).build();
    driver.packet(&[&frame], IFCS | TSE, IXSM | TXSM);
    driver.kick();
    driver.assert_complaints(&[(1, "segmentation of headers without data")]);
}

#[test]
fn payload_that_is_not_the_data_or_other_checksums_are_violations() {
    let length = "PAYLEN other than the length of the data to be segmented";
    let sums = "segmentation asks for TXSM, and for IXSM when it is IPv4";
    for (ipv4, payload, options, why) in [
        (true, 566, IXSM | TXSM, length),
        (true, 500, TXSM, sums),
        (true, 500, IXSM, sums),
        (false, 500, IXSM | TXSM, sums),
    ] {
        let mut driver = Driver::new();
        let packet = packet(ipv4, 6, 500);
        let version = if ipv4 { IPV4 } else { 0 };
        driver.context(packet.lengths(), version | TCP, [32, 100]);
        driver.packet(&[&packet.build()], IFCS | TSE, payload << 14 | options);
        driver.kick();
        driver.assert_complaints(&[(1, why)]);
    }
}

#[test]
fn more_headers_than_the_device_keeps_are_a_violation() {
    let mut driver = Driver::new();
    let mut frame = packet(true, 6, 1000).build();
    frame[14] = 0x4F;
    driver.context([14, 467], IPV4 | TCP, [32, 100]);
    let payload = word(frame.len() - 14 - 467 - 32) << 14;
    driver.packet(&[&frame], IFCS | TSE, payload | IXSM | TXSM);
    driver.kick();
    driver.assert_complaints(&[(1, "segmentation with more than 512 bytes of headers")]);
}
