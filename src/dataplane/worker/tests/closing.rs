//! Where the frames go that a closed port's rings had.

use super::card::{ENTRIES, FRAMES, card_at};
use super::*;

/// A worker with one port, whose receive ring has frames.
fn bench() -> Bench {
    bench_at(0)
}

fn bench_at(slot: usize) -> Bench {
    let (arena, _, attachment) = card_at(slot, None);
    let mut bench = Bench::of(Pool::new(arena).unwrap());
    bench.worker.attach(attachment);
    bench.worker.turn(&mut bench.worlds);
    assert_eq!(
        bench.worker.pool.available(),
        (FRAMES - ENTRIES + 1) as usize
    );
    bench
}

#[track_caller]
fn assert_all_are_back(bench: &Bench) {
    assert_eq!(bench.worker.pool.available(), FRAMES as usize);
}

#[test]
fn a_queue_that_is_handed_over_gives_its_frames_back() {
    let mut bench = bench();
    let (to, detached) = handover();
    obey(&mut bench, Command::Detach(port(0), to));
    let frames = taken(detached).close();
    assert_eq!(frames.len(), ENTRIES as usize - 1);
    obey(&mut bench, Command::Reclaim(port(0), frames));
    assert_all_are_back(&bench);
}

/// Has the card's port leave while it has ten packets to send, which this card never does.
fn detach_while_sending(bench: &mut Bench, slot: usize, to: Giver<PortQueue>) {
    let (queue, pool) = bench.worker.queue(port(slot)).unwrap();
    let mut list: Burst = (0..10).map(|_| filled(pool, &[0; 60])).collect();
    queue.transmit(pool, &mut list);
    assert!(list.is_empty());
    obey(bench, Command::Detach(port(slot), to));
    assert_eq!(bench.worker.leaving.len(), 1);
}

fn obey(bench: &mut Bench, command: Command) {
    let (to, commands) = mpsc::channel();
    to.send(command).unwrap();
    assert!(bench.worker.obey(&commands));
}

#[test]
fn a_port_with_packets_on_their_way_out_holds_no_other_up_and_leaves_in_bounded_time() {
    let mut bench = bench_at(2);
    let _ends = [0, 1].map(|slot| bench.attach(slot, 8, 1 << 12));
    let (to, detached) = handover();
    detach_while_sending(&mut bench, 2, to);
    bench.deliver(0, &v4([20, 0, 0, 1]).frame());
    bench.worker.turn(&mut bench.worlds);
    assert_eq!(bench.collect(1).len(), 1, "in the next turn, as ever");
    let busy = bench.worker.turn(&mut bench.worlds);
    let sleeps_in_time = busy || bench.worker.leaving.is_empty();
    assert!(sleeps_in_time, "it does not sleep before the port is gone");
    let start = Instant::now();
    while bench.worker.turn(&mut bench.worlds) {
        assert!(start.elapsed() < Duration::from_secs(60), "for ever");
    }
    obey(
        &mut bench,
        Command::Reclaim(port(2), taken(detached).close()),
    );
    assert_all_are_back(&bench);
}

#[test]
fn a_port_has_ten_milliseconds_to_send_what_it_has_and_no_more() {
    const TIME: Duration = Duration::from_millis(10);
    // The worker's clock was looked at after that.
    let start = Instant::now();
    let mut bench = bench();
    let (to, _detached) = handover();
    detach_while_sending(&mut bench, 0, to);
    // So many that the clock is looked at, and fewer than the card is believed for.
    let turns = |bench: &mut Bench| {
        for _ in 0..50 {
            bench.worker.turn(&mut bench.worlds);
        }
        bench.worker.leaving.len()
    };
    let left = turns(&mut bench);
    // A machine may be as slow as that.
    if start.elapsed() < TIME {
        assert_eq!(left, 1);
    }
    std::thread::sleep(2 * TIME);
    assert_eq!(turns(&mut bench), 0);
}

#[test]
fn a_port_is_gone_before_its_place_or_its_frames_are_taken() {
    for replaced in [true, false] {
        let mut bench = bench();
        let (to, detached) = handover();
        assert!(matches!(detached.take(Duration::ZERO), Taken::TooLate));
        detach_while_sending(&mut bench, 0, to);
        if replaced {
            bench.attach(0, 8, 1 << 12);
        } else {
            obey(&mut bench, Command::Reclaim(port(0), Vec::new()));
        }
        assert!(bench.worker.leaving.is_empty());
        assert_all_are_back(&bench);
    }
}

#[test]
fn a_queue_that_nobody_waits_for_any_more_gives_its_frames_back() {
    let mut bench = bench();
    let (to, detached) = handover();
    assert!(matches!(detached.take(Duration::ZERO), Taken::TooLate));
    obey(&mut bench, Command::Detach(port(0), to));
    obey(&mut bench, Command::Reclaim(port(0), Vec::new()));
    assert_all_are_back(&bench);
}

#[test]
fn a_queue_that_is_replaced_or_ends_with_its_worker_gives_its_frames_back() {
    let mut bench = bench();
    bench.worker.close_all();
    assert_all_are_back(&bench);
}
