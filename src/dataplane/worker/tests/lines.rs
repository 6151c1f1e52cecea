//! No two workers write one cache line: not in what control makes for them, one piece after the other
//! on its own heap, and not in what they make for themselves.

use std::collections::HashSet;
use std::mem::size_of_val;
use std::ops::Range;
use std::ptr::from_ref;
use std::sync::Barrier;

use super::*;
use crate::shared::stats::WorkerCounters;

/// Bytes that one core fetches at once: a line and its neighbour.
const LINE: usize = 128;

fn place<T: ?Sized>(value: &T) -> Range<usize> {
    let start = from_ref(value).addr();
    start..start + size_of_val(value)
}

/// The lines of some places.
fn lines(places: impl IntoIterator<Item = Range<usize>>) -> HashSet<usize> {
    let lines = |place: Range<usize>| place.start / LINE..place.end.div_ceil(LINE);
    places.into_iter().flat_map(lines).collect()
}

fn assert_apart(workers: &[HashSet<usize>]) {
    for (at, one) in workers.iter().enumerate() {
        for other in &workers[at + 1..] {
            let common: Vec<_> = one.intersection(other).collect();
            assert!(common.is_empty(), "{} lines in common", common.len());
        }
    }
}

/// What control makes for a worker with two ports.
struct Given {
    counters: Arc<WorkerCounters>,
    hits: Arc<Hits>,
    bell: Arc<Bell>,
    ports: Vec<(Box<Attachment>, Ends)>,
}

impl Given {
    fn places(&self) -> Vec<Range<usize>> {
        let own = [
            place(&*self.counters),
            place(&*self.hits),
            place(&*self.bell),
        ];
        let ports = self.ports.iter().flat_map(|(attachment, ends)| {
            let room = attachment.injections.as_ref().unwrap();
            [
                place(&**attachment),
                place(&*attachment.ahead),
                attachment.joined(),
                place(&*ends.counters),
                place(&*room.room),
            ]
        });
        let mut places: Vec<_> = own.into_iter().chain(ports).collect();
        let is_whole = |place: &Range<usize>| {
            place.start.is_multiple_of(LINE) && place.end.is_multiple_of(LINE)
        };
        assert!(
            places.iter().all(is_whole),
            "lines that somebody else may have part of"
        );
        // Lists have margins instead.
        let lists = self.ports.iter();
        places.extend(lists.map(|(attachment, _)| place(attachment.limits.next_hops())));
        places
    }
}

#[test]
fn what_control_makes_for_two_workers_shares_no_line() {
    let mut given: Vec<Given> = (0..4)
        .map(|_| Given {
            counters: Arc::default(),
            hits: Arc::default(),
            bell: Arc::new(Bell::new().unwrap()),
            ports: Vec::new(),
        })
        .collect();
    for slot in 0..2 {
        for worker in &mut given {
            let queue = memory::Queue::new(8);
            worker.ports.push(attachment(slot, queue, 1 << 12));
        }
    }
    let places: Vec<_> = given.iter().map(|worker| lines(worker.places())).collect();
    assert_apart(&places);
}

#[test]
fn what_two_workers_make_for_themselves_shares_no_line() {
    let (made, seen) = (Barrier::new(2), Barrier::new(2));
    let make = || {
        let worker = Worker::new(pool(100), Arc::default(), Arc::default());
        made.wait();
        let burst = place(&*worker.burst);
        let mut places = vec![place(&worker), place(&*worker.scratch), burst];
        places.extend(worker.pool.tables());
        // Until both were seen: else one could have the other's memory, in turn.
        seen.wait();
        lines(places)
    };
    let places = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(make));
        threads.map(|thread| thread.join().unwrap())
    });
    assert_apart(&places);
}
