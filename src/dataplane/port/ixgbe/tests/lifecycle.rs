//! Starts over whatever was before, and stops: when the card may touch memory and when not.

use super::*;

/// Frames come in and go out.
#[track_caller]
fn assert_carries(bench: &mut Bench) {
    let frames = packets(0..40);
    frames.iter().for_each(|frame| bench.model.deliver(frame));
    let received = bench.receive_all();
    // Queues take turns.
    let all: BTreeSet<_> = received.iter().collect();
    assert!(received.len() == frames.len() && all == frames.iter().collect());
    assert_eq!(bench.send(&frames), 0);
    assert!(bench.model.sent() == frames);
    assert!(!bench.tend());
}

/// Frames are neither taken nor sent, and memory is left alone.
#[track_caller]
fn assert_rests(model: &Model) {
    let before = model.dma();
    model.raised();
    packets(0..40).iter().for_each(|frame| model.deliver(frame));
    model.pass(Duration::from_millis(10));
    assert_eq!(model.dma(), before);
    assert!(model.sent().is_empty());
    assert!(model.raised().is_empty());
}

#[test]
fn a_card_that_is_set_up_touches_no_memory_before_it_has_queues() {
    let model = Model::new();
    let mut controller = Controller::start(model.clone(), &PLAIN.settings()).unwrap();
    controller.listen();
    wait_for_link(&model, &controller);
    assert_rests(&model);
    controller.receive().unwrap();
    assert_rests(&model);
    assert!(controller.stop());
    model.assert_clean();
}

#[test]
fn a_stopped_card_takes_and_sends_nothing_though_its_rings_have_buffers() {
    let mut bench = Bench::new(SPREAD);
    assert_carries(&mut bench);
    bench.queue().arm();
    assert!(bench.controller.stop());
    assert_rests(&bench.model);
    assert!(bench.receive_all().is_empty());
    assert_eq!(bench.send(&packets(0..20)), 0);
    assert_rests(&bench.model);
    assert!(bench.controller.stop(), "again");
    bench.close_clean();
}

#[test]
fn a_stopped_cards_link_interrupts_no_more() {
    let mut bench = Bench::new(PLAIN);
    assert!(bench.controller.stop());
    bench.model.set_link(false);
    bench.model.set_link(true);
    bench.model.pass(Duration::from_millis(10));
    assert!(bench.model.raised().is_empty());
    bench.close_clean();
}

#[test]
fn a_card_that_was_stopped_starts_again_with_other_settings() {
    let model = Model::new();
    for shape in [
        SPREAD,
        PLAIN,
        Shape {
            mtu: 3000,
            ..SPREAD
        },
        PLAIN,
    ] {
        let mut bench = Bench::on(shape, model.clone());
        assert_carries(&mut bench);
        bench.close_clean();
        assert_rests(&model);
    }
}

#[test]
fn dma_that_does_not_end_is_told_by_stop() {
    let mut bench = Bench::new(PLAIN);
    bench.model.lie(0x8, 1 << 19, 0); // STATUS.PCIE_MASTER
    assert!(!bench.controller.stop());
    bench.model.assert_clean();
    bench.close();
}

/// As a process leaves it that is killed: rings run, buffers are given, a worker sleeps.
#[test]
fn a_card_left_running_is_taken_over_and_forgets_the_memory_it_had() {
    let mut left = Bench::new(SPREAD);
    assert_carries(&mut left);
    left.queue().arm();
    let model = left.model.clone();
    std::mem::forget(left.queue.take());
    let mut controller = Controller::start(model.clone(), &PLAIN.settings()).unwrap();
    controller.listen();
    controller.receive().unwrap();
    wait_for_link(&model, &controller);
    assert_rests(&model);
    let mut bench = Bench::on(PLAIN, model);
    assert_carries(&mut bench);
    bench.close_clean();
}
