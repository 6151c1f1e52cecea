//! Frames whose ring has no descriptors for them: they wait, are missed, or are dropped.

use super::super::testing::{ADVANCED, DROP_EN, Frame, Receiver};
use super::{DONE, GOOD, UDP_IPV4, flows_by_queue, head, ready};
use crate::interrupts::CAUSE_RECEIVE_MISS;
use crate::registers::{
    EICR, GPRC, MPC, QPRC, QPRDC, QUEUE_ENABLE, RDLEN, RQSMR, RXDCTL, RXPBSIZE,
};

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
fn frames_behind_one_that_is_stored_in_part_wait() {
    let mut receiver = Receiver::new();
    receiver.setting(0, ADVANCED | 1);
    receiver.tail(0, 1);
    let [first, second] = [1400, 18].map(|payload| Frame::flow(1).payload(payload).bytes());
    receiver.wire(&first);
    receiver.wire(&second);
    receiver.tail(0, 5);
    let pieces = [receiver.stored(0, 0), receiver.stored(0, 1)].concat();
    assert_eq!(pieces, first);
    assert_eq!(receiver.stored(0, 2), second);
}

#[test]
fn a_frame_that_was_begun_and_has_no_room_to_wait_is_forgotten() {
    let mut receiver = Receiver::new();
    receiver.bench.write(RXPBSIZE.at(0), 0);
    receiver.setting(0, ADVANCED | 1);
    receiver.tail(0, 1);
    receiver.wire(&Frame::flow(1).payload(1400).bytes());
    assert_eq!(receiver.bench.read(MPC.at(0)), 1);
    receiver.tail(0, 5);
    let frame = Frame::flow(2).payload(1200).bytes();
    receiver.wire(&frame);
    let pieces = [receiver.stored(0, 1), receiver.stored(0, 2)].concat();
    assert_eq!(pieces, frame);
}
