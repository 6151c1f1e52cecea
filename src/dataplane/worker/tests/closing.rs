//! Where the frames go that a closed port's rings had.

use super::card::{ENTRIES, FRAMES, card};
use super::*;

/// A worker with one port, whose receive ring has frames.
fn bench() -> Bench {
    let (arena, _, attachment) = card(None);
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
    let (commands, obeyed) = mpsc::channel();
    let (done, detached) = handover();
    commands.send(Command::Detach(port(0), done)).unwrap();
    assert!(bench.worker.obey(&obeyed));
    let frames = taken(detached).close();
    assert_eq!(frames.len(), ENTRIES as usize - 1);
    commands.send(Command::Reclaim(port(0), frames)).unwrap();
    assert!(bench.worker.obey(&obeyed));
    assert_all_are_back(&bench);
}

#[test]
fn a_queue_that_nobody_waits_for_any_more_gives_its_frames_back() {
    let mut bench = bench();
    let (commands, obeyed) = mpsc::channel();
    let (done, detached) = handover();
    assert!(matches!(detached.take(Duration::ZERO), Taken::TooLate));
    commands.send(Command::Detach(port(0), done)).unwrap();
    let reclaim = Command::Reclaim(port(0), Vec::new());
    commands.send(reclaim).unwrap();
    assert!(bench.worker.obey(&obeyed));
    assert_all_are_back(&bench);
}

#[test]
fn a_queue_that_is_replaced_or_ends_with_its_worker_gives_its_frames_back() {
    let mut bench = bench();
    bench.worker.close_all();
    assert_all_are_back(&bench);
}
