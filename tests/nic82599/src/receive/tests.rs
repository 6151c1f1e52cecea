//! Frames from the wire to the driver, through the whole engine.

use super::descriptor::{IP_CHECKED, L4_CHECKED, UDP_CHECKED, VLAN};
use super::testing::{ADVANCED, DROP_EN, Frame, Receiver};
use crate::Why;
use crate::host::{DmaFault, DmaFaultKind};
use crate::interrupts::CAUSE_RECEIVE_MISS;
use crate::registers::{
    EICR, EIMS, FCTRL, GPIE, GPRC, HLREG0, HLREG0_JUMBOEN, HLREG0_LPBK, HLREG0_RXCRCSTRP, IVAR,
    MAXFRS, MPC, MRQC, QBRCL, QPRC, QPRDC, QUEUE_ENABLE, RDH, RDLEN, RETA, RQSMR, RSCCTL, RXCSUM,
    RXDCTL, RXPBSIZE, SRRCTL,
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
fn a_frame_without_enough_descriptors_is_begun_and_goes_on_when_the_tail_moves() {
    let mut receiver = ready();
    receiver.setting(0, ADVANCED | 1);
    let short = Frame::flow(1).bytes();
    (0..61).for_each(|_| receiver.wire(&short));
    receiver.bench.raised();
    let frame = Frame::flow(1).payload(4000).bytes();
    receiver.wire(&frame);
    assert_eq!(
        [receiver.status(0, 61), receiver.status(0, 62)],
        [DONE, DONE]
    );
    assert_eq!(receiver.status(0, 63), 0);
    assert_eq!(receiver.bench.read(QPRC.at(0)), 61, "not whole yet");
    receiver.refill(0, 0);
    receiver.refill(0, 1);
    receiver.tail(0, 1);
    receiver.tail(0, 3);
    let pieces = [61, 62, 63, 0].map(|n| receiver.stored(0, n));
    assert_eq!(pieces.concat(), frame);
    assert_eq!(receiver.status(0, 0), GOOD);
    assert_eq!(receiver.bench.read(QPRC.at(0)), 1);
    receiver.bench.assert_clean();
}

#[test]
fn frames_wait_in_order_for_descriptors_and_those_without_room_are_missed() {
    let mut receiver = Receiver::new();
    receiver.bench.write(RXPBSIZE.at(0), 1 << 10);
    for flow in 0..5 {
        receiver.wire(&Frame::flow(flow).payload(258).bytes());
    }
    assert_eq!(
        receiver.bench.read(MPC.at(0)),
        2,
        "three of 300 bytes fit in 1 KiB"
    );
    assert_eq!(receiver.bench.read(GPRC), 5, "which counts the missed too");
    let causes = receiver.bench.read(EICR);
    assert_ne!(causes & CAUSE_RECEIVE_MISS, 0);
    receiver.tail(0, 2);
    receiver.tail(0, 10);
    for flow in 0..3 {
        let frame = Frame::flow(flow).payload(258).bytes();
        assert_eq!(receiver.stored(0, u32::from(flow)), frame);
    }
    assert_eq!(head(&mut receiver, 0), 3);
    receiver.wire(&Frame::flow(9).bytes());
    assert_eq!(head(&mut receiver, 0), 4, "nothing waits any more");
    assert_eq!(receiver.bench.read(QPRDC.at(0)), 0);
}

#[test]
fn a_queue_without_descriptors_holds_up_the_others() {
    let mut receiver = ready();
    receiver.rss(UDP_IPV4);
    let flows = flows_by_queue(&mut receiver);
    receiver.bench.write(RXDCTL.at(1), 0);
    receiver.bench.write(RDLEN.at(1), 16 * Receiver::SIZE);
    let empty = head(&mut receiver, 1);
    receiver.tail(1, empty);
    receiver.bench.write(RXDCTL.at(1), QUEUE_ENABLE);
    let before = head(&mut receiver, 2);
    receiver.wire(&Frame::flow(flows[1]).bytes());
    receiver.wire(&Frame::flow(flows[2]).bytes());
    assert_eq!(head(&mut receiver, 2), before);
    receiver.tail(1, (empty + 1) % Receiver::SIZE);
    assert_eq!(head(&mut receiver, 2), before + 1);
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
fn a_queue_that_drops_holds_nobody_up() {
    let mut receiver = Receiver::new();
    receiver.setting(0, ADVANCED | DROP_EN | 1);
    receiver.bench.write(RQSMR.at(0), 5);
    receiver.wire(&Frame::flow(1).bytes());
    receiver.tail(0, 1);
    receiver.wire(&Frame::flow(1).payload(1200).bytes());
    assert_eq!(receiver.status(0, 0), 0, "not even begun");
    receiver.wire(&Frame::flow(1).bytes());
    assert_eq!(receiver.status(0, 0), GOOD);
    assert_eq!(receiver.bench.read(QPRDC.at(5)), 2);
    assert_eq!(receiver.bench.read(MPC.at(0)), 0);
    assert_eq!(receiver.bench.read(GPRC), 3);
}

#[test]
fn a_frame_for_a_queue_that_is_not_enabled_is_dropped() {
    let mut receiver = ready();
    receiver.bench.write(RXDCTL.at(0), 0);
    receiver.wire(&Frame::flow(1).bytes());
    assert_eq!(receiver.status(0, 0), 0);
    assert_eq!(receiver.bench.read(QPRDC.at(0)), 1);
}

#[test]
fn frames_that_wait_for_a_queue_are_dropped_when_it_is_disabled() {
    let mut receiver = Receiver::new();
    receiver.wire(&Frame::flow(1).bytes());
    receiver.bench.write(RXDCTL.at(0), 0);
    assert_eq!(receiver.bench.read(QPRDC.at(0)), 1);
    receiver.bench.write(RXDCTL.at(0), QUEUE_ENABLE);
    receiver.tail(0, 5);
    assert_eq!(head(&mut receiver, 0), 0);
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
    let (kept, fcs) = receiver.stored(0, 0).split_at(frame.len());
    assert_eq!(kept, frame);
    let naive = !frame.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 != 0 { 0xEDB8_8320 } else { 0 }
        })
    });
    assert_eq!(fcs, naive.to_le_bytes());
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
    receiver.wire(&Frame::flow(1).payload(100).bytes());
    receiver.wire(&Frame::flow(1).payload(200).bytes());
    assert_eq!(receiver.bench.read(QPRC.at(0)), 2);
    assert_eq!(receiver.bench.read(QBRCL.at(0)), 142 + 242);
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
fn header_split_and_reserved_descriptor_types_are_violations() {
    for kind in [2, 3, 4, 5, 7] {
        let mut receiver = ready();
        receiver.setting(0, kind << 25 | 2);
        receiver.wire(&Frame::flow(1).bytes());
        let why = "SRRCTL.DESCTYPE other than legacy or advanced with one buffer";
        receiver
            .bench
            .assert_violation("SRRCTL[0]", Why::Descriptor(why));
        assert_eq!(receiver.status(0, 0), GOOD, "goes on as with one buffer");
    }
}

#[test]
fn buffers_of_no_size_or_too_large_are_violations() {
    for (kib, stored) in [(0, 0), (17, GOOD)] {
        let mut receiver = ready();
        receiver.setting(0, ADVANCED | kib);
        receiver.wire(&Frame::flow(1).bytes());
        let why = "SRRCTL.BSIZEPACKET not from 1 to 16 KiB";
        receiver
            .bench
            .assert_violation("SRRCTL[0]", Why::Descriptor(why));
        assert_eq!(receiver.status(0, 0), stored);
    }
}

#[test]
fn a_buffer_that_is_not_mapped_is_a_violation_and_the_ring_goes_on() {
    let mut receiver = ready();
    receiver.bench.host.unmap(0x1001_0000);
    let frame = Frame::flow(1).bytes();
    receiver.wire(&frame);
    let fault = DmaFault {
        address: 0x1001_0000,
        len: frame.len(),
        why: DmaFaultKind::Unmapped,
    };
    receiver.bench.assert_violation("RDBAL[0]", Why::Dma(fault));
    assert_eq!(head(&mut receiver, 0), 1);
}

#[test]
fn a_ring_that_is_not_mapped_is_a_violation_and_stays_where_it_is() {
    let mut receiver = ready();
    receiver.bench.host.unmap(0x1000_0000);
    receiver.wire(&Frame::flow(1).bytes());
    assert_eq!(receiver.bench.nic.violation_count(), 1);
    assert_eq!(head(&mut receiver, 0), 0);
}

#[test]
fn frames_are_lost_without_a_violation_while_dma_is_stuck() {
    let mut receiver = ready();
    receiver.bench.host.stuck = true;
    receiver.wire(&Frame::flow(1).bytes());
    receiver.bench.host.stuck = false;
    let frame = Frame::flow(2).bytes();
    receiver.wire(&frame);
    assert_eq!(receiver.stored(0, 0), frame);
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

#[test]
fn no_rings_make_the_engine_panic() {
    let mut receiver = ready();
    receiver.rss(!0 << 16 & 0x00F3_0000);
    receiver.bench.write(FCTRL, 0x700);
    let mut seed = 0x8259_9000_0BAD_5EEDu64;
    let mut random = |below: u32| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        u32::try_from(seed >> 32).unwrap() % below
    };
    for _ in 0..2_000 {
        let queue = random(4) as usize;
        let value = random(u32::MAX);
        match random(12) {
            0 => receiver.bench.write(RDH.at(queue), value & 0x7F),
            1 => receiver.tail(value >> 30, value & 0x7F),
            2 => receiver.bench.write(RDLEN.at(queue), value & 0x7FF),
            3 => receiver.bench.write(SRRCTL.at(queue), value & 0x1E00_0013),
            4 => receiver
                .bench
                .write(RXDCTL.at(queue), value & (VME | QUEUE_ENABLE)),
            5 => receiver.bench.write(HLREG0, value & 0x7),
            _ => {
                let frame = Frame::flow(value.to_le_bytes()[0]).payload(random(3000) as usize);
                let mut bytes = frame.bytes();
                let at = random(60) as usize;
                bytes[at] = value.to_le_bytes()[1];
                bytes.truncate(1 + random(4000) as usize);
                receiver.wire(&bytes);
            }
        }
    }
    assert!(receiver.bench.nic.violation_count() > 0);
}
