//! Frames from the wire to the driver, through the whole engine.

mod judge;
mod waiting;

use super::descriptor::{IP_CHECKED, L4_CHECKED, UDP_CHECKED, VLAN};
use super::testing::{ADVANCED, Frame, Receiver};
use crate::registers::{
    EIMS, GPIE, HLREG0, HLREG0_JUMBOEN, HLREG0_LPBK, HLREG0_RXCRCSTRP, IVAR, MAXFRS, MRQC, QBRCL,
    QPRC, QUEUE_ENABLE, RDH, RETA, RQSMR, RSCCTL, RXCSUM, RXDCTL,
};

const DONE: u32 = 1;
const LAST: u32 = 3;
/// Status of a UDP frame whose checksums are right.
const GOOD: u32 = LAST | IP_CHECKED | L4_CHECKED | UDP_CHECKED;
const VME: u32 = 1 << 30;
const UDP_IPV4: u32 = 1 << 22;

/// A driver that gave its queues all descriptors, and takes jumbo frames.
fn ready() -> Receiver {
    let mut receiver = Receiver::new();
    receiver.bench.write(MAXFRS, 15_000 << 16);
    let control = receiver.bench.read(HLREG0);
    receiver.bench.write(HLREG0, control | HLREG0_JUMBOEN);
    (0..4).for_each(|queue| receiver.tail(queue, Receiver::SIZE - 1));
    receiver
}

fn head(receiver: &mut Receiver, queue: u32) -> u32 {
    receiver.bench.read(RDH.at(queue as usize))
}

/// A flow that goes to each of the four queues.
fn flows_by_queue(receiver: &mut Receiver) -> [u8; 4] {
    let mut flows = [None; 4];
    for flow in 0..64 {
        let before: Vec<_> = (0..4).map(|queue| head(receiver, queue)).collect();
        receiver.wire(&Frame::flow(flow).bytes());
        let queue = (0..4).find(|queue| head(receiver, *queue) != before[*queue as usize]);
        flows[queue.unwrap() as usize].get_or_insert(flow);
        if flows.iter().all(Option::is_some) {
            break;
        }
    }
    flows.map(Option::unwrap)
}

#[test]
fn a_frame_goes_to_the_first_buffer() {
    let mut receiver = ready();
    let frame = Frame::flow(1).payload(200).bytes();
    receiver.wire(&frame);
    assert_eq!(receiver.stored(0, 0), frame);
    assert_eq!(receiver.status(0, 0), GOOD);
    assert_eq!(
        receiver.descriptor(0, 0) & 0xFFFF_FFFF,
        0x210,
        "IPv4 and UDP, no RSS"
    );
    assert_eq!(receiver.descriptor(0, 1) >> 64, 0, "the next is untouched");
    assert_eq!(head(&mut receiver, 0), 1);
    receiver.bench.assert_clean();
}

#[test]
fn a_frame_is_spread_over_as_many_buffers_as_it_needs() {
    for (kib, length) in [(1, 1024), (1, 1025), (2, 9000), (1, 14_900), (16, 14_900)] {
        let mut receiver = ready();
        receiver.setting(0, ADVANCED | kib);
        let frame = Frame::flow(1).payload(length - 42).bytes();
        receiver.wire(&frame);
        let count = u32::try_from(length).unwrap().div_ceil(kib * 1024);
        let pieces: Vec<_> = (0..count)
            .flat_map(|n| receiver.stored(0, n).to_vec())
            .collect();
        assert!(pieces == frame, "{length} bytes");
        for n in 0..count - 1 {
            assert_eq!(receiver.status(0, n), DONE);
            assert_eq!(receiver.stored(0, n).len(), kib as usize * 1024);
        }
        assert_eq!(receiver.status(0, count - 1), GOOD);
        assert_eq!(head(&mut receiver, 0), count);
        receiver.bench.assert_clean();
    }
}

#[test]
fn the_ring_goes_round() {
    let mut receiver = ready();
    for n in 0..200u32 {
        let frame = Frame::flow(1).payload(2500 + n as usize).bytes();
        receiver.wire(&frame);
        let [first, second] = [2 * n, 2 * n + 1].map(|n| n % Receiver::SIZE);
        assert_eq!(
            [receiver.stored(0, first), receiver.stored(0, second)].concat(),
            frame
        );
        [first, second]
            .into_iter()
            .for_each(|n| receiver.refill(0, n));
        receiver.tail(0, (second + Receiver::SIZE - 1) % Receiver::SIZE);
    }
    receiver.bench.assert_clean();
}

#[test]
fn a_frame_that_crosses_the_end_of_the_ring_goes_on_at_its_start() {
    let mut receiver = ready();
    let short = Frame::flow(1).bytes();
    (0..Receiver::SIZE - 2).for_each(|_| receiver.wire(&short));
    receiver.refill(0, 0);
    receiver.refill(0, 1);
    receiver.tail(0, 10);
    let frame = Frame::flow(1).payload(7000).bytes();
    receiver.wire(&frame);
    let pieces = [62, 63, 0, 1].map(|n| receiver.stored(0, n));
    assert_eq!(pieces.concat(), frame);
    assert_eq!(head(&mut receiver, 0), 2);
}

#[test]
fn rss_chooses_the_queue_by_the_redirection_table() {
    let mut receiver = ready();
    receiver.rss(UDP_IPV4);
    receiver.wire(&Frame::flow(7).bytes());
    let queue = (0..4)
        .find(|queue| receiver.status(*queue, 0) != 0)
        .unwrap();
    let hash = u32::try_from(receiver.descriptor(queue, 0) >> 32 & 0xFFFF_FFFF).unwrap();
    assert_ne!(hash, 0);
    assert_eq!(hash & 3, queue, "entries repeat after four");
    assert_eq!(receiver.descriptor(queue, 0) & 0xF, 7, "UDP over IPv4");
    let entry = hash as usize & 0x7F;
    let other = (queue + 1) & 3;
    let word = receiver.bench.read(RETA.at(entry / 4));
    let shift = 8 * (entry % 4);
    receiver
        .bench
        .write(RETA.at(entry / 4), word & !(0xF << shift) | other << shift);
    receiver.wire(&Frame::flow(7).bytes());
    assert_eq!(receiver.status(other, 0), GOOD);
    receiver.bench.write(MRQC, UDP_IPV4);
    receiver.wire(&Frame::flow(7).bytes());
    assert_ne!(receiver.status(0, 0), 0, "queue 0 without RSS");
}

#[test]
fn without_pcsd_a_fragment_has_its_checksum_in_place_of_the_hash() {
    let mut receiver = ready();
    receiver.bench.write(RXCSUM, 1 << 12);
    receiver.wire(&Frame::flow(1).fragment(0x2000).bytes());
    let word = u32::try_from(receiver.descriptor(0, 0) >> 32 & 0xFFFF_FFFF).unwrap();
    assert_eq!(word & 0xFFFF, u32::from(Frame::IDENTIFICATION));
    assert_ne!(word >> 16, 0);
    assert_eq!(receiver.status(0, 0), LAST | IP_CHECKED | 1 << 10);
}

#[test]
fn a_vlan_tag_is_stripped_where_the_queue_asks() {
    let mut receiver = ready();
    let tagged = Frame::flow(1).payload(30).tag(0x6ABC).bytes();
    receiver.wire(&tagged);
    assert_eq!(receiver.stored(0, 0), tagged);
    assert_eq!(receiver.descriptor(0, 0) >> 112, 0);
    assert_eq!(receiver.status(0, 0), GOOD | VLAN);
    receiver.bench.write(RXDCTL.at(0), QUEUE_ENABLE | VME);
    receiver.wire(&tagged);
    assert_eq!(
        receiver.stored(0, 1),
        [&tagged[..12], &tagged[16..]].concat()
    );
    assert_eq!(receiver.descriptor(0, 1) >> 112, 0x6ABC);
    assert_eq!(receiver.status(0, 1), GOOD | VLAN);
    receiver.wire(&Frame::flow(1).bytes());
    assert_eq!(receiver.status(0, 2), GOOD, "without a tag");
}

#[test]
fn the_fcs_is_kept_when_it_is_not_to_be_stripped() {
    let mut receiver = ready();
    let control = receiver.bench.read(HLREG0);
    receiver.bench.write(HLREG0, control & !HLREG0_RXCRCSTRP);
    let frame = Frame::flow(1).bytes();
    receiver.wire(&frame);
    let fcs = fcs_of(&frame).to_le_bytes();
    assert_eq!(receiver.stored(0, 0), [&frame[..], &fcs].concat());
    receiver.bench.write(RXDCTL.at(0), QUEUE_ENABLE | VME);
    let tagged = Frame::flow(1).payload(40).tag(5).bytes();
    receiver.wire(&tagged);
    let fcs = fcs_of(&tagged).to_le_bytes();
    assert_eq!(
        receiver.stored(0, 1),
        [&tagged[..12], &tagged[16..], &fcs].concat(),
        "that of the wire"
    );
}

/// The FCS, bit for bit.
fn fcs_of(frame: &[u8]) -> u32 {
    !frame.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 != 0 { 0xEDB8_8320 } else { 0 }
        })
    })
}

#[test]
fn frames_stay_apart_though_rsc_is_enabled() {
    let mut receiver = ready();
    receiver.bench.write(RSCCTL.at(0), 0xD);
    for n in 0..2 {
        let frame = Frame::tcp([10, 0, 0, 1].into(), [10, 0, 0, 2].into()).bytes();
        receiver.wire(&frame);
        assert_eq!(receiver.stored(0, n), frame);
        assert_eq!(receiver.descriptor(0, n) & 0x001E_0000, 0, "RSCCNT");
    }
    receiver.bench.assert_clean();
}

#[test]
fn a_device_in_loopback_hears_nothing_from_the_wire() {
    let mut receiver = ready();
    let control = receiver.bench.read(HLREG0);
    receiver.bench.write(HLREG0, control | HLREG0_LPBK);
    receiver.wire(&Frame::flow(1).bytes());
    assert_eq!(receiver.status(0, 0), 0);
}

#[test]
fn queues_count_what_they_stored() {
    let mut receiver = ready();
    receiver.rss(UDP_IPV4);
    let flows = flows_by_queue(&mut receiver);
    receiver.bench.write(RQSMR.at(0), 0x0F02_0100);
    receiver.bench.write(RXDCTL.at(3), QUEUE_ENABLE | VME);
    for payload in [100, 200] {
        let tagged = Frame::flow(flows[3]).payload(payload).tag(5).bytes();
        receiver.wire(&tagged);
    }
    assert_eq!(receiver.bench.read(QPRC.at(15)), 2);
    assert_eq!(
        receiver.bench.read(QBRCL.at(15)),
        142 + 242,
        "without the tag"
    );
}

#[test]
fn legacy_descriptors_are_written_back_when_srrctl_asks_for_them() {
    let mut receiver = ready();
    receiver.setting(0, 2);
    let frame = Frame::flow(1).payload(100).bytes();
    let before = receiver.descriptor(0, 0);
    receiver.wire(&frame);
    let after = receiver.descriptor(0, 0);
    assert_eq!(after & u128::from(u64::MAX), before & u128::from(u64::MAX));
    assert_eq!(after >> 64 & 0xFFFF, frame.len() as u128);
    assert_eq!(after >> 96, u128::from(GOOD));
    receiver.bench.assert_clean();
}

#[test]
fn a_stored_frame_raises_its_queue_s_interrupt() {
    let mut receiver = ready();
    receiver.bench.write(GPIE, 1 << 4);
    receiver.bench.write(IVAR.at(0), 0x0000_0083);
    receiver.bench.write(EIMS, 1 << 3);
    receiver.bench.raised();
    receiver.wire(&Frame::flow(1).bytes());
    assert_eq!(receiver.bench.raised(), [3]);
}
