//! Descriptors and their completion: batches, ends of rings, what is not there, what is hostile.

use super::*;
use crate::registers::{
    CTRL, CTRL_RST, EIAC, EIMS, GPIE, GPIE_MULTIPLE_MSIX, IVAR, TDWBAH, TDWBAL,
};
use std::time::Duration;

#[test]
fn completion_is_written_where_it_was_asked_for() {
    let mut driver = Driver::new();
    driver.context([14, 20], TCP, [0, 0]);
    driver.packet(&[&plain(100), &plain(100)], IFCS, 200 << 14);
    driver.kick();
    assert_eq!(driver.head(), 3);
    assert_eq!([0, 1, 2].map(|n| driver.is_done(n)), [false, false, true]);
    assert_eq!(driver.bench.host.bytes(RING + 32)[..12], [0; 12]);
    let at = driver.store(&plain(100));
    driver.put(raw(at, DATA_DESCRIPTOR | EOP | IFCS | 100, 100 << 14));
    driver.kick();
    assert_eq!(driver.head(), 4);
    assert!(!driver.is_done(3), "without RS");
    driver.bench.assert_clean();
}

#[test]
fn the_head_is_written_back_instead_when_that_is_enabled() {
    const HEAD: u64 = 0x3_0000_0000;
    let mut driver = Driver::new();
    driver.bench.host.map(HEAD, 64, Permission::ReadWrite);
    driver.bench.write(TDWBAH.at(3), 3);
    driver.bench.write(TDWBAL.at(3), 0x10 | 1);
    for _ in 0..3 {
        driver.packet(&[&plain(100)], IFCS, 100 << 14);
    }
    driver.kick();
    assert_eq!(driver.bench.host.bytes(HEAD + 0x10)[..4], [3, 0, 0, 0]);
    assert!(!driver.is_done(2));
    driver.bench.assert_clean();
}

#[test]
fn a_batch_is_one_interrupt_when_a_descriptor_asked_for_it() {
    let mut driver = Driver::new();
    driver.bench.write(GPIE, GPIE_MULTIPLE_MSIX);
    driver.bench.write(IVAR.at(1), 0x8500_0000);
    driver.bench.write(EIAC, 1 << 5);
    driver.bench.write(EIMS, 1 << 5);
    for _ in 0..40 {
        driver.packet(&[&plain(100)], IFCS, 100 << 14);
    }
    driver.kick();
    assert_eq!(driver.sent().len(), 40);
    assert_eq!(driver.bench.raised(), [5]);
    driver.bench.write(EIMS, 1 << 5);
    let at = driver.store(&plain(100));
    driver.put(raw(at, DATA_DESCRIPTOR | EOP | IFCS | 100, 100 << 14));
    driver.kick();
    assert!(driver.bench.raised().is_empty());
    driver.bench.assert_clean();
}

#[test]
fn a_ring_goes_round() {
    let mut driver = Driver::new();
    let frame = plain(300);
    for _ in 0..40 {
        for _ in 0..33 {
            let pieces: Vec<_> = frame.chunks(100).collect();
            driver.packet(&pieces, IFCS, 300 << 14);
        }
        driver.kick();
        assert_eq!(driver.head(), driver.tail);
        assert_eq!(driver.sent(), vec![frame.clone(); 33]);
        driver.bench.pass(Duration::ZERO);
    }
    driver.bench.assert_clean();
}

#[test]
fn a_packet_without_its_end_waits_for_it() {
    let mut driver = Driver::new();
    let frame = plain(300);
    let pieces: Vec<_> = frame.chunks(100).collect();
    driver.packet(&[&frame], IFCS, 300 << 14);
    driver.packet(&pieces, IFCS, 300 << 14);
    for tail in [2, 3] {
        driver.bench.write(TDT.at(3), tail);
        driver.bench.pass(Duration::from_millis(1));
        assert_eq!(driver.head(), 1);
    }
    assert_eq!(driver.sent(), vec![frame.clone()]);
    assert_eq!(driver.bench.state().rings.transmit_ready, 0);
    driver.kick();
    assert_eq!(driver.sent(), [frame]);
    driver.bench.assert_clean();
}

#[test]
fn nothing_is_sent_before_queue_and_engine_are_enabled() {
    let mut driver = Driver::new();
    driver.bench.write(DMATXCTL, 0x8100_0000);
    driver.send(&plain(100), 0, 0);
    assert!(driver.sent().is_empty());
    driver.bench.write(DMATXCTL, 0x8100_0000 | DMATXCTL_TE);
    assert_eq!(driver.sent(), [plain(100)]);
    driver.bench.write(TXDCTL.at(3), 0);
    driver.send(&plain(100), 0, 0);
    assert!(driver.sent().is_empty());
    driver.bench.write(TXDCTL.at(3), QUEUE_ENABLE);
    assert_eq!(driver.sent(), [plain(100)]);
    driver.bench.assert_clean();
}

#[test]
fn a_packet_of_too_many_descriptors_is_dropped_to_its_end() {
    let frame = plain(100);
    for (count, complaint) in [
        (38, None),
        (39, Some("a packet of more than 38 descriptors")),
        (100, Some("a packet of more than 38 descriptors")),
    ] {
        let mut driver = Driver::new();
        let pieces = vec![&frame[..]; count];
        driver.packet(&pieces, IFCS, word(100 * count) << 14);
        driver.send(&frame, 0, 0);
        let complaints: Vec<_> = complaint.into_iter().map(|why| (0, why)).collect();
        driver.assert_complaints(&complaints);
        let expected = if complaint.is_some() { 1 } else { 2 };
        assert_eq!(driver.sent().len(), expected, "{count}");
        assert_eq!(driver.head(), driver.tail);
        assert!(driver.is_done(word(count) - 1));
    }
}

#[test]
fn an_unknown_type_is_a_violation_and_passed_over() {
    let mut driver = Driver::new();
    driver.put(raw(DATA, 1 << 29 | 1 << 20 | LAST | 100, 100 << 14));
    driver.send(&plain(100), 0, 0);
    driver.assert_complaints(&[(0, "neither a data nor a context descriptor")]);
    assert_eq!(driver.sent(), [plain(100)]);
}

#[test]
fn other_types_inside_a_packet_are_a_violation_and_it_is_dropped() {
    for (command, options) in [(CONTEXT_DESCRIPTOR, 0), (0, 0), (1 << 29, 0)] {
        let mut driver = Driver::new();
        let at = driver.store(&plain(100));
        driver.put(raw(at, DATA_DESCRIPTOR | IFCS | 100, 300 << 14));
        driver.put(raw(at, command | 100, options));
        driver.put(raw(at, DATA_DESCRIPTOR | LAST | 100, 0));
        driver.kick();
        driver.assert_complaints(&[(0, "descriptors of several types in one packet")]);
        assert!(driver.sent().is_empty());
        assert_eq!(driver.head(), 3);
    }
}

#[test]
fn memory_that_is_not_mapped_is_a_violation_and_stops_the_queue() {
    let mut driver = Driver::new();
    driver.put(raw(0x9000, DATA_DESCRIPTOR | IFCS | LAST | 100, 100 << 14));
    driver.send(&plain(100), 0, 0);
    assert_eq!(driver.bench.nic.violations()[0].register, "TDBAL[3]");
    assert_eq!(driver.bench.nic.violation_count(), 1);
    assert!(driver.sent().is_empty());
    assert_eq!(driver.head(), 0);

    let mut driver = Driver::new();
    driver.bench.host.unmap(RING);
    driver.bench.write(TDT.at(3), 1);
    assert_eq!(driver.bench.nic.violation_count(), 1);
}

#[test]
fn dma_that_is_stuck_is_no_violation_and_goes_on_later() {
    let mut driver = Driver::new();
    driver.bench.host.stuck = true;
    driver.send(&plain(100), 0, 0);
    assert!(driver.sent().is_empty());
    driver.bench.host.stuck = false;
    driver.kick();
    assert_eq!(driver.sent(), [plain(100)]);
    driver.bench.assert_clean();
}

#[test]
fn queues_take_turns() {
    let mut driver = Driver::new();
    for (queue, base) in [(4, 0x5_0000_0000u64), (100, 0x6_0000_0000)] {
        driver.bench.host.map(base, 16 * 128, Permission::ReadWrite);
        driver.start(queue);
        driver.bench.write(TXDCTL.at(queue), 0);
        driver
            .bench
            .write(TDBAH.at(queue), u32::try_from(base >> 32).unwrap());
        driver.bench.write(TXDCTL.at(queue), QUEUE_ENABLE);
    }
    driver.bench.write(DMATXCTL, 0x8100_0000);
    for (queue, base) in [(3, RING), (4, 0x5_0000_0000), (100, 0x6_0000_0000)] {
        let at = driver.store(&plain(60 + queue));
        let command = DATA_DESCRIPTOR | IFCS | EOP | word(60 + queue);
        let descriptor = raw(at, command, word(60 + queue) << 14);
        for n in 0..100 {
            driver.bench.host.bytes_mut(base + 16 * n)[..16].copy_from_slice(&descriptor);
        }
        driver.bench.write(TDT.at(queue), 100);
    }
    driver.bench.write(DMATXCTL, 0x8100_0000 | DMATXCTL_TE);
    let mut turns: Vec<_> = driver.sent().iter().map(|frame| frame.len() - 60).collect();
    assert_eq!(turns.len(), 300);
    turns.dedup();
    assert_eq!(turns, [3, 4, 100, 3, 4, 100]);
    driver.bench.assert_clean();
}

/// A queue with 100 packets of 60 KB, of 42 segments each.
fn with_much_to_send() -> Driver {
    let mut driver = Driver::new();
    let mut packet = Packet::new(false, 6, 60_000);
    packet.with_length = false;
    let frame = packet.build();
    let at = driver.store(&frame);
    driver.context(packet.lengths(), TCP, [32, 1448]);
    for _ in 0..100 {
        let command = DATA_DESCRIPTOR | LAST | IFCS | TSE | word(frame.len());
        driver.put(raw(at, command, 60_000 << 14 | TXSM));
    }
    driver
}

#[test]
fn the_work_between_ticks_is_bounded_and_the_next_tick_is_due_at_once() {
    /// When the link of [`Bench::linked`] is up.
    const NOW: Duration = Duration::from_secs(1);
    let mut driver = with_much_to_send();
    let all = 100 * 42;
    driver.kick();
    let mut sent = 0;
    for ticks in 0.. {
        let frames = driver.sent();
        let bytes: usize = frames.iter().map(Vec::len).sum();
        assert!(bytes < BUDGET, "{bytes}");
        assert!(!frames.is_empty());
        sent += frames.len();
        driver.kick();
        if sent == all {
            assert!(ticks > 2);
            break;
        }
        assert!(driver.sent().is_empty(), "a tail buys no more work");
        let next = driver.bench.pass(Duration::ZERO);
        assert_eq!(next, (driver.head() != driver.tail).then_some(NOW));
    }
    assert_eq!(driver.head(), driver.tail);
    assert_eq!(driver.bench.pass(Duration::ZERO), None);
    driver.bench.assert_clean();
}

#[test]
fn a_reset_buys_no_more_work() {
    let mut driver = with_much_to_send();
    driver.kick();
    assert_ne!(driver.head(), 0);
    driver.bench.write(CTRL, CTRL_RST);
    driver.bench.write(DMATXCTL, 0x8100_0000 | DMATXCTL_TE);
    driver.start(3);
    driver.kick();
    assert_eq!(driver.head(), 0);
    driver.bench.pass(Duration::ZERO);
    assert_ne!(driver.head(), 0);
}

#[test]
fn no_descriptors_make_the_engine_panic() {
    let mut driver = Driver::new();
    let mut packet = Packet::new(true, 6, DATA_LENGTH - 66);
    packet.with_length = false;
    driver.store(&packet.build());
    let mut sent = 0;
    let mut seed = 0x8259_9000_1234_5678u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..2000 {
        for _ in 0..random() % 60 {
            let [a, b, kind] = [random(), random(), random()];
            // Mostly plausible: types that exist, lengths that fit, addresses that are mapped.
            let whole = DATA_DESCRIPTOR | EOP;
            let kinds = [DATA_DESCRIPTOR, whole, whole, 0];
            let length = u32::try_from(kind >> 40 & 0x3FF).unwrap();
            let command = u32::try_from(a & 0xCF00_0000).unwrap()
                | kinds[usize::try_from(kind % 4).unwrap()]
                | length;
            let options = u32::try_from(b & 0xFFFF_FFFF).unwrap();
            match kind >> 8 & 127 {
                0 => driver.put(raw(a, options, command)),
                1..8 => driver.put(raw(b & 0xFFFF_FFFF, CONTEXT_DESCRIPTOR | options, command)),
                8..16 => driver.put(raw(DATA + (a & 0xFFFF), command, options)),
                16..48 => driver.context([14, 20], IPV4 | TCP, [32, 1 + length as usize]),
                _ => driver.put(raw(DATA, command, options)),
            }
        }
        driver.kick();
        driver.bench.pass(Duration::from_millis(1));
        sent += driver.sent().len();
        if round % 4 == 0 {
            driver.start(3);
            driver.tail = 0;
        }
    }
    assert!(sent > 10_000, "{sent}");
    assert!(driver.bench.nic.violation_count() > 0);
}
