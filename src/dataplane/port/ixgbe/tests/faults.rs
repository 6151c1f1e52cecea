//! A device that is broken, torn out, or lies: no panic, no frame lost, none handed out twice.

use proptest::prelude::*;

use super::*;

const DESCRIPTOR: u64 = 16;

/// Flips of the second word of a receive descriptor that make of a good one (DD, EOP, 60 bytes)
/// what it should not be.
const LIES: [(&str, u64); 5] = [
    ("no length", 60 << 32),
    ("absurd length", 0xFF00 << 32),
    ("a byte more than the buffer", (60 ^ 3073) << 32),
    ("RXE", 1 << 29),
    ("all ones", !0x3C_0000_0003 & !(1 << 31)),
];

#[test]
fn a_frame_that_cannot_be_is_dropped_and_its_buffer_used_again() {
    for (what, flips) in LIES {
        let mut bench = Bench::new(PLAIN);
        for n in 0..200u64 {
            let at = bench.rings[0] + n % 64 * DESCRIPTOR + 8;
            bench
                .model
                .corrupt_next_write(at..at + 8, &flips.to_le_bytes());
            bench.model.deliver(&packet(0, 60));
            assert!(bench.receive_all().is_empty(), "{what}");
            assert_eq!(bench.counters.rx_errors.get(), n + 1, "{what}");
        }
        assert!(bench.pool.available() >= 1024 - 64, "{what}");
        bench.close_clean();
    }
}

#[test]
fn a_device_that_never_ends_a_frame_loses_frames_and_nothing_else() {
    let mut bench = Bench::new(PLAIN);
    for n in 0..200u64 {
        let at = bench.rings[0] + n % 64 * DESCRIPTOR + 8;
        bench.model.corrupt_next_write(at..at + 1, &[2]);
        bench.model.deliver(&packet(0, 60));
        assert!(bench.receive_all().is_empty());
    }
    assert_eq!(bench.counters.rx_split.get(), 1);
    bench.model.deliver(&packet(1, 60));
    assert!(bench.receive_all().is_empty(), "the end of it");
    bench.model.deliver(&packet(2, 60));
    assert_eq!(bench.receive_all(), [packet(2, 60)]);
    bench.close_clean();
}

#[test]
fn dma_that_is_stuck_is_waited_for_a_bounded_time_only() {
    let mut bench = Bench::new(PLAIN);
    bench.model.set_stuck(true);
    bench.model.deliver(&packet(1, 60));
    assert!(bench.receive_all().is_empty());
    assert_eq!(bench.send(&packets(0..10)), 0);
    let turns = (0..100_000).take_while(|_| bench.tend()).count();
    assert!(turns < 100_000, "the worker may sleep");
    bench.model.set_stuck(false);
    bench.model.pull_the_tail(0);
    assert!(!bench.tend());
    assert_eq!(bench.model.sent(), packets(0..10));
    bench.close_clean();
}

#[test]
fn a_link_that_goes_takes_frames_with_it_and_comes_back() {
    let mut bench = Bench::new(PLAIN);
    for round in 0..3 {
        bench.model.deliver(&packet(round, 60));
        bench.model.set_link(false);
        assert_eq!(bench.controller.events(), [Event::LinkChanged]);
        assert!(!bench.controller.link().up);
        bench.model.deliver(&packet(1, 60));
        for start in 0..20 {
            assert_eq!(bench.send(&packets(start..start + 20)), 0);
        }
        assert_eq!(bench.receive_all(), [packet(round, 60)], "from before");
        assert!(!bench.tend());
        assert!(bench.model.sent().is_empty());
        bench.model.set_link(true);
        wait_for_link(&bench.model, &bench.controller);
        assert_eq!(bench.controller.events(), [Event::LinkChanged]);
        bench.model.deliver(&packet(2, 60));
        assert_eq!(bench.receive_all(), [packet(2, 60)]);
        assert_eq!(bench.send(&packets(0..20)), 0);
        assert_eq!(bench.model.sent(), packets(0..20));
    }
    bench.close_clean();
}

#[test]
fn a_card_that_is_torn_out_under_load_costs_no_frame_and_no_time() {
    let mut bench = Bench::new(SPREAD);
    packets(0..50)
        .iter()
        .for_each(|packet| bench.model.deliver(packet));
    bench.model.remove();
    assert_eq!(bench.receive_all().len(), 50, "those that were in memory");
    assert_eq!(bench.send(&packets(0..60)), 0);
    assert_eq!(bench.send(&packets(0..60)), 57);
    assert_eq!(bench.controller.events(), [Event::Gone]);
    assert!(!bench.queue().arm());
    bench.queue().disarm();
    let turns = (0..100_000).take_while(|_| bench.tend()).count();
    assert!(turns < 100_000, "the worker may sleep");
    bench.close_clean();
}

/// Frames in and out, to sleep and awake, and the stop.
fn live_and_stop(mut bench: Bench) {
    (0..40).for_each(|n| bench.model.deliver(&packet(n, 60)));
    bench.receive_all();
    bench.send(&packets(0..40));
    bench.queue().arm();
    bench.queue().disarm();
    bench.controller.link();
    bench.controller.events();
    bench.tend();
    assert!(bench.close().stop(), "a card that is gone does no DMA");
}

#[test]
fn a_card_torn_out_at_any_access_of_its_life_costs_no_frame() {
    let bench = Bench::new(SPREAD);
    let model = bench.model.clone();
    let before = model.accesses().len();
    live_and_stop(bench);
    let accesses = model.accesses().len() - before;
    assert!(accesses > 30, "{accesses}");
    for_each_at_once((1..=accesses).collect(), |access| {
        let bench = Bench::new(SPREAD);
        let model = bench.model.clone();
        model.remove_at(model.accesses().len() + access);
        live_and_stop(bench);
        model.assert_clean();
        assert!(!model.is_isolated(), "at {access}: nothing to keep away");
    });
}

#[test]
fn a_dropped_queue_has_the_device_touch_nothing_more() {
    let mut bench = Bench::new(PLAIN);
    bench.model.deliver(&packet(1, 60));
    let before = bench.model.dma();
    assert_ne!(before, 0);
    drop(bench.queue.take());
    (0..100).for_each(|n| bench.model.deliver(&packet(n, 60)));
    assert_eq!(bench.model.dma(), before);
    assert!(!bench.model.is_isolated());
    bench.model.assert_clean();
}

#[test]
fn a_queue_that_does_not_stop_is_kept_from_memory() {
    let bench = Bench::new(PLAIN);
    let model = bench.model.clone();
    model.jam();
    bench.close();
    assert!(model.is_isolated());
}

#[test]
fn a_queue_that_does_not_start_says_so() {
    let model = Model::new();
    model.jam();
    let error = Bench::try_new(PLAIN, model).err();
    assert_eq!(error, Some(QueueError::Stuck.into()));
    let model = Model::new();
    let small = Shape {
        frame_size: 2048,
        ..PLAIN
    };
    let error = Bench::try_new(small, model).err();
    assert_eq!(error, Some(QueueError::FrameSize(2048).into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Completions of both directions arrive with any bits of their status flipped.
    #[test]
    fn whatever_a_device_writes_back_no_frame_is_lost_or_doubled(
        steps in prop::collection::vec((any::<bool>(), any::<u64>(), 0..64u64, 1..40usize), 1..60),
    ) {
        let mut bench = Bench::new(PLAIN);
        for (receives, flips, place, count) in steps {
            let ring = bench.rings[usize::from(!receives)];
            let at = ring + place * DESCRIPTOR + 8;
            bench.model.corrupt_next_write(at..at + 8, &flips.to_le_bytes());
            if receives {
                packets(0..count).iter().for_each(|packet| bench.model.deliver(packet));
            } else {
                bench.send(&packets(0..count));
            }
            for packet in bench.receive_all() {
                prop_assert!((1..=3072).contains(&packet.len()));
            }
            bench.tend();
            prop_assert!(bench.pool.available() <= 1024);
        }
        bench.close();
    }
}
