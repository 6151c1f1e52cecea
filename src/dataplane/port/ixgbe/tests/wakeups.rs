//! From sleep to wake-up: no frame is slept through.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

/// Longer than the device holds an interrupt back after the last one.
const THROTTLED: Duration = Duration::from_micros(50);

/// Whether one of the queue's events is readable.
fn is_woken(bench: &mut Bench) -> bool {
    !woken(bench).is_empty()
}

/// Which of the queue's events are readable.
fn woken(bench: &mut Bench) -> Vec<usize> {
    bench.model.pass(THROTTLED);
    let queue = bench.queue();
    let fds = queue.wait_fds();
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).unwrap();
    let readable = |at: &usize| fds[*at].revents().contains(PollFlags::IN);
    (0..fds.len()).filter(readable).collect()
}

#[test]
fn a_frame_wakes_who_armed_and_no_one_else() {
    let mut bench = Bench::new(SPREAD);
    bench.model.deliver(&packet(1, 60));
    assert!(!is_woken(&mut bench), "not armed");
    assert_eq!(bench.receive_all().len(), 1);
    for n in 0..20 {
        // The cause of frames that were polled is still set: that may wake once, for nothing.
        while {
            assert!(!bench.queue().arm());
            is_woken(&mut bench)
        } {
            bench.queue().disarm();
        }
        bench.model.deliver(&packet(n, 60));
        assert!(is_woken(&mut bench));
        bench.model.raised();
        bench.model.deliver(&packet(n, 60));
        bench.model.pass(THROTTLED);
        assert!(bench.model.raised().is_empty(), "masked by itself");
        bench.queue().disarm();
        assert_eq!(bench.receive_all().len(), 2);
    }
    bench.close_clean();
}

#[test]
fn a_frame_that_comes_at_any_point_on_the_way_to_sleep_is_noticed() {
    for moment in 0..4 {
        let mut bench = Bench::new(SPREAD);
        let come = |bench: &Bench, now| {
            if now == moment {
                bench.model.deliver(&packet(now, 60));
            }
        };
        come(&bench, 0);
        assert_eq!(bench.receive().is_empty(), moment != 0, "the last poll");
        come(&bench, 1);
        let waits = bench.queue().arm();
        come(&bench, 2);
        let turn = bench.receive();
        come(&bench, 3);
        let noticed = waits || !turn.is_empty() || is_woken(&mut bench);
        assert!(moment == 0 || noticed, "frame at {moment}");
        assert_eq!(waits, moment == 1);
        bench.queue().disarm();
        bench.close_clean();
    }
}

#[test]
fn disarming_keeps_frames_from_interrupting() {
    let mut bench = Bench::new(PLAIN);
    assert!(!bench.queue().arm());
    bench.queue().disarm();
    bench.model.deliver(&packet(1, 60));
    assert!(!is_woken(&mut bench));
    assert!(bench.model.raised().is_empty());
    assert!(bench.queue().arm(), "a frame waits");
    bench.close_clean();
}

#[test]
fn an_old_interrupt_is_forgotten_by_arming() {
    let mut bench = Bench::new(PLAIN);
    bench.queue().arm();
    bench.model.deliver(&packet(1, 60));
    assert!(is_woken(&mut bench));
    assert_eq!(bench.receive_all().len(), 1);
    assert!(!bench.queue().arm());
    assert!(!is_woken(&mut bench));
    bench.close_clean();
}

#[test]
fn each_queue_raises_its_own_vector_and_masks_it_alone() {
    const QUEUES: u16 = 16;
    let mut bench = Bench::new(Shape {
        receive_queues: QUEUES,
        frames: 2048,
        ..PLAIN
    });
    let enabled = |bench: &Bench| bench.model.read(Register(0x880)) & 0xFFFF; // EIMS
    let mut raised = BTreeSet::new();
    for n in 0..200 {
        bench.queue().arm();
        bench.model.pass(THROTTLED);
        bench.queue().arm();
        bench.model.raised();
        assert_eq!(enabled(&bench), 0xFFFF);
        bench.model.deliver(&packet(n, 60));
        bench.model.pass(THROTTLED);
        let vectors = bench.model.raised();
        let [vector] = vectors[..] else {
            panic!("{vectors:?}");
        };
        assert_eq!(enabled(&bench), 0xFFFF & !(1 << vector));
        assert_eq!(woken(&mut bench), [usize::from(vector)]);
        bench.queue().disarm();
        assert_eq!(enabled(&bench), 0);
        assert_eq!(bench.receive_all(), [packet(n, 60)]);
        raised.insert(vector);
    }
    assert_eq!(raised.len(), usize::from(QUEUES));
    bench.close_clean();
}

#[test]
fn a_trickle_of_frames_wakes_for_each_and_a_rush_is_held_back_a_little() {
    let mut bench = Bench::new(PLAIN);
    for n in 0..20 {
        bench.queue().arm();
        bench.model.deliver(&packet(n, 60));
        assert!(is_woken(&mut bench));
        assert_eq!(bench.receive_all(), [packet(n, 60)]);
    }
    bench.model.raised();
    for n in 0..4 {
        bench.queue().arm();
        bench.model.deliver(&packet(n, 60));
        bench.receive_all();
    }
    assert!(bench.model.raised().len() < 4, "held back");
    assert!(is_woken(&mut bench), "but not lost");
    bench.close_clean();
}

#[test]
fn control_that_looks_for_events_takes_nobodys_wake_up() {
    let mut bench = Bench::new(SPREAD);
    for n in 0..20 {
        bench.queue().arm();
        bench.model.deliver(&packet(n, 60));
        bench.model.set_link(false);
        assert_eq!(bench.controller.events(), [Event::LinkChanged]);
        assert!(is_woken(&mut bench));
        bench.model.set_link(true);
        bench.wait_for_link();
        assert_eq!(bench.receive_all(), [packet(n, 60)]);
        bench.queue().disarm();
    }
    bench.close_clean();
}

#[test]
fn what_happens_to_the_card_wakes_control_and_no_worker() {
    let mut bench = Bench::new(SPREAD);
    bench.queue().arm();
    bench.model.set_link(false);
    assert!(!is_woken(&mut bench));
    assert_eq!(bench.model.raised(), [4], "the vector behind the queues'");
    bench.queue().disarm();
    bench.close_clean();
}
