//! What the engine makes of drivers that set it up wrong, and of DMA that fails.

use super::super::testing::{ADVANCED, Frame};
use super::{GOOD, VME, head, ready};
use crate::Why;
use crate::host::{DmaFault, DmaFaultKind};
use crate::registers::{FCTRL, HLREG0, QUEUE_ENABLE, RDH, RDLEN, RXDCTL, SRRCTL};

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
