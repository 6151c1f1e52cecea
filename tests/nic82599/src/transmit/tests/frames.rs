//! From descriptors to frames: padding, tags, FCS, loopback, the link, statistics; and the judge.

use super::*;
use crate::registers::{
    BPTC, GOTCL, GPTC, HLREG0, HLREG0_LPBK, HLREG0_TXPADEN, MPTC, PTC64, QBTCL, QPTC, TQSM,
};

#[test]
fn a_packet_of_one_descriptor_is_sent_as_it_is() {
    let mut driver = Driver::new();
    driver.send(&plain(1514), 0, 0);
    assert_eq!(driver.sent(), [plain(1514)]);
    driver.bench.assert_clean();
}

#[test]
fn a_packet_of_many_descriptors_is_one_frame() {
    let mut driver = Driver::new();
    let frame = plain(9000);
    let pieces: Vec<_> = frame.chunks(9000 / 36).collect();
    driver.packet(&pieces, IFCS, 9000 << 14);
    driver.kick();
    assert_eq!(driver.sent(), [frame]);
    driver.bench.assert_clean();
}

#[test]
fn options_are_those_of_the_first_descriptor() {
    let mut driver = Driver::new();
    driver.context([14, 20], IPV4 | TCP, [0, 0]);
    let frame = plain(200);
    let (start, end) = frame.split_at(100);
    let [start, end] = [start, end].map(|piece| driver.store(piece));
    driver.put(raw(start, DATA_DESCRIPTOR | IFCS | 100, 200 << 14));
    let ignored = 77 << 14 | IXSM | TXSM;
    driver.put(raw(end, DATA_DESCRIPTOR | LAST | VLE | 100, ignored));
    driver.kick();
    assert_eq!(driver.sent(), [frame]);
    driver.bench.assert_clean();
}

#[test]
fn short_frames_are_padded_with_zeros_when_the_mac_is_told_to() {
    let mut driver = Driver::new();
    driver.send(&[0xFF; 100], 0, 0);
    driver.send(&plain(17), 0, 0);
    let hlreg0 = driver.bench.read(HLREG0);
    driver.bench.write(HLREG0, hlreg0 & !HLREG0_TXPADEN);
    driver.send(&plain(17), 0, 0);
    let mut padded = plain(17);
    padded.resize(60, 0);
    assert_eq!(driver.sent()[1..], [padded, plain(17)]);
    driver.bench.assert_clean();
}

#[test]
fn the_tag_of_the_context_is_inserted_before_padding() {
    let mut driver = Driver::new();
    driver.tagged_context(1, 0x6064, [14, 0], 0, [0, 0]);
    driver.send(&plain(20), VLE, 1 << 4);
    let mut expected = plain(20);
    expected.splice(12..12, [0x81, 0x00, 0x60, 0x64]);
    expected.resize(60, 0);
    assert_eq!(driver.sent(), [expected]);
    driver.bench.write(DMATXCTL, 0x88A8_0000 | DMATXCTL_TE);
    driver.send(&plain(20), VLE, 1 << 4);
    assert_eq!(driver.sent()[0][12..16], [0x88, 0xA8, 0x60, 0x64]);
    driver.bench.assert_clean();
}

#[test]
fn a_frame_may_bring_its_own_fcs() {
    let mut driver = Driver::new();
    let frame = plain(96);
    let mut with_fcs = frame.clone();
    with_fcs.extend(crate::packet::FCS.of(&[&frame]).to_le_bytes());
    driver.packet(&[&with_fcs], 0, 100 << 14);
    driver.kick();
    assert_eq!(driver.sent(), [frame]);
    driver.bench.assert_clean();

    with_fcs[50] ^= 1;
    driver.packet(&[&with_fcs], 0, 100 << 14);
    driver.kick();
    assert!(driver.sent().is_empty());
    driver.assert_complaints(&[(1, "a frame whose own FCS is wrong")]);
}

#[test]
fn a_legacy_packet_is_sent_with_its_checksum_and_tag() {
    let mut driver = Driver::new();
    let frame = Packet::new(true, 17, 100).build();
    let at = driver.store(&frame);
    let command = LAST | IFCS | VLE | 1 << 26 | 40 << 16 | word(frame.len());
    driver.put(raw(at, command, 0x2001 << 16 | 34 << 8));
    driver.kick();
    let mut sent = driver.sent().remove(0);
    let tag: Vec<_> = sent.drain(12..16).collect();
    assert_eq!(tag, [0x81, 0x00, 0x20, 0x01]);
    checksums::assert_transport_checksum(&sent);
    assert!(driver.is_done(0));
    driver.bench.assert_clean();
}

#[test]
fn a_legacy_checksum_outside_the_frame_is_a_violation() {
    for (from, to) in [(200, 40), (34, 141)] {
        let mut driver = Driver::new();
        let frame = Packet::new(true, 17, 100).build();
        let at = driver.store(&frame);
        let command = LAST | IFCS | 1 << 26 | to << 16 | word(frame.len());
        driver.put(raw(at, command, from << 8));
        driver.kick();
        driver.assert_complaints(&[(0, "checksum outside the packet")]);
    }
}

#[test]
fn loopback_keeps_frames_from_the_wire_and_needs_no_link() {
    let mut driver = Driver::on(Bench::new(), 0);
    let hlreg0 = driver.bench.read(HLREG0);
    driver.bench.write(HLREG0, hlreg0 | HLREG0_LPBK);
    driver.send(&plain(1024), 0, 0);
    assert!(driver.sent().is_empty());
    assert!(driver.is_done(0));
    assert_eq!(driver.bench.read(GPTC), 1);
    driver.bench.assert_clean();
}

#[test]
fn frames_are_dropped_while_the_link_is_down() {
    let mut driver = Driver::new();
    driver.bench.with(|state, host| state.plug(host, false));
    driver.send(&plain(100), 0, 0);
    assert!(driver.sent().is_empty());
    assert!(driver.is_done(0), "the ring goes on");
    assert_eq!(driver.bench.read(GPTC), 0);
    driver.bench.assert_clean();
}

#[test]
fn what_is_sent_is_counted() {
    let mut driver = Driver::new();
    driver.bench.write(TQSM.at(0), 0x0500_0000);
    let mut frames = [plain(60), plain(61), plain(1514)];
    frames[1][0] = 0x01;
    frames[2][..6].fill(0xFF);
    frames.iter().for_each(|frame| driver.send(frame, 0, 0));
    let mut read = |register| driver.bench.read(register);
    assert_eq!([read(GPTC), read(MPTC), read(BPTC)], [3, 1, 1]);
    assert_eq!(read(GOTCL), 64 + 65 + 1518);
    let classes = [0, 1, 2, 3, 4, 5].map(|class| read(PTC64.at(class)));
    assert_eq!(classes, [1, 1, 0, 0, 0, 1]);
    assert_eq!([read(QPTC.at(5)), read(QBTCL.at(5))], [3, 60 + 61 + 1514]);
}

#[test]
fn the_longest_frame_is_15_5_kilobytes() {
    let mut driver = Driver::new();
    driver.send(&plain(15_868), 0, 0);
    assert_eq!(driver.sent(), [plain(15_868)]);
    driver.bench.assert_clean();
    driver.send(&plain(15_869), 0, 0);
    driver.assert_complaints(&[(1, "a packet longer than the device can send")]);
    assert!(driver.sent().is_empty());
}

#[test]
fn a_frame_too_short_to_be_padded_is_a_violation() {
    let mut driver = Driver::new();
    driver.send(&plain(16), 0, 0);
    driver.send(&plain(13), 0, 0);
    let why = "a packet of less than 17 bytes";
    driver.assert_complaints(&[(0, why), (1, why)]);
    assert_eq!(
        driver.sent().len(),
        1,
        "without a whole header, it is dropped"
    );
}

#[test]
fn payload_other_than_the_length_is_a_violation() {
    let mut driver = Driver::new();
    driver.packet(&[&plain(100)], IFCS, 104 << 14);
    driver.kick();
    driver.assert_complaints(&[(0, "PAYLEN other than the packet's length")]);
}

#[test]
fn a_descriptor_without_data_is_a_violation() {
    let mut driver = Driver::new();
    driver.packet(&[&plain(100), &[]], IFCS, 100 << 14);
    driver.kick();
    driver.assert_complaints(&[(0, "no data: the length is 0")]);
}

#[test]
fn an_offload_for_a_frame_with_its_own_fcs_is_a_violation() {
    let mut driver = Driver::new();
    driver.tagged_context(0, 5, [14, 20], IPV4 | TCP, [0, 0]);
    driver.packet(&[&plain(100)], VLE, 100 << 14);
    driver.kick();
    let seen = driver.bench.nic.violations()[0].why.to_string();
    assert_eq!(
        seen,
        "descriptor: an offload for a frame that brings its own FCS"
    );
}

#[test]
fn reserved_bits_are_a_violation() {
    for (command, options) in [
        (1 << 16, 0),
        (1 << 18, 0),
        (1 << 26, 0),
        (1 << 28, 0),
        (0, 1),
        (0, 2 << 4),
        (0, 1 << 10),
        (0, 1 << 13),
    ] {
        let mut driver = Driver::new();
        driver.send(&plain(100), command, options);
        driver.assert_complaints(&[(0, "reserved bits set")]);
        assert_eq!(driver.sent(), [plain(100)]);
    }
}
