//! The way to sleep and back, in every interleaving (of up to three preemptions) and every reordering
//! that the memory model allows: the worker's own loop and the bell's own flag, stepped through by
//! loom. A wake-up that is lost leaves the sleeper asleep for good, which loom calls a deadlock. So it
//! does when a fence of the flag goes, or the look after arming.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::super::idle::{self, Restful};
use crate::dataplane::bell::model::{Bell, atomics};
use crate::shared::config::Idle;

/// A packet ring, a command channel: its writer's index.
struct Ring(AtomicUsize);

/// When the sleeper arms its bell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arming {
    /// When it is told to: another look follows.
    BeforeTheLook,
    /// Only then: what came between the last look and this rang a bell that was not armed.
    BeforeTheSleep,
    Never,
}

/// Who leaves the flag's fence out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unfenced {
    Nobody,
    Sleeper,
    Ringers,
}

/// A worker whose work is to count what arrived.
struct Sleeper {
    rings: Arc<Vec<Ring>>,
    bell: Arc<Bell>,
    arming: Arming,
    taken: Vec<usize>,
    /// To end after so many.
    items: usize,
    now: Duration,
}

impl Restful for Sleeper {
    fn turn(&mut self) -> Option<bool> {
        // Longer than anybody's patience.
        self.now += Duration::from_millis(1);
        if self.taken.iter().sum::<usize>() == self.items {
            return None;
        }
        let mut busy = false;
        for (ring, taken) in self.rings.iter().zip(&mut self.taken) {
            let written = ring.0.load(Ordering::Acquire);
            busy |= written > *taken;
            *taken = written;
        }
        Some(busy)
    }

    fn now(&self) -> Duration {
        self.now
    }

    fn arm(&mut self) {
        if self.arming == Arming::BeforeTheLook {
            self.bell.arm();
        }
    }

    fn sleep(&mut self) {
        if self.arming == Arming::BeforeTheSleep {
            self.bell.arm();
        }
        self.bell.sleep();
    }

    fn disarm(&mut self) {
        self.bell.disarm();
    }
}

/// A sleeper, and a thread a ring that brings so many items, one after the other.
fn all_is_found(arming: Arming, items: &'static [usize]) {
    all_is_found_with(Unfenced::Nobody, arming, items);
}

fn all_is_found_with(unfenced: Unfenced, arming: Arming, items: &'static [usize]) {
    let mut checker = loom::model::Builder::new();
    checker.preemption_bound = Some(3);
    checker.check(move || {
        let rings = items.iter().map(|_| Ring(AtomicUsize::new(0)));
        let rings: Arc<Vec<Ring>> = Arc::new(rings.collect());
        let bell = Arc::new(Bell::new());
        let ringers = (0..items.len()).map(|at| {
            let (rings, bell) = (Arc::clone(&rings), Arc::clone(&bell));
            thread::spawn(move || {
                if unfenced == Unfenced::Ringers {
                    atomics::leave_fences_out();
                }
                for written in 1..=items[at] {
                    rings[at].0.store(written, Ordering::Release);
                    bell.ring();
                }
            })
        });
        let ringers: Vec<_> = ringers.collect();
        let mut sleeper = Sleeper {
            taken: vec![0; items.len()],
            rings,
            bell,
            arming,
            items: items.iter().sum(),
            now: Duration::ZERO,
        };
        if unfenced == Unfenced::Sleeper {
            atomics::leave_fences_out();
        }
        idle::run(&mut sleeper, Idle::Adaptive);
        assert_eq!(sleeper.taken, items);
        ringers
            .into_iter()
            .for_each(|ringer| ringer.join().unwrap());
    });
}

#[test]
fn no_work_is_slept_through_whatever_the_order() {
    all_is_found(Arming::BeforeTheLook, &[3]);
}

#[test]
fn no_work_of_two_ringers_is_slept_through() {
    all_is_found(Arming::BeforeTheLook, &[1, 1]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_look_after_arming_the_model_sees_a_wake_up_lost() {
    all_is_found(Arming::BeforeTheSleep, &[1]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_arming_the_model_sees_a_wake_up_lost() {
    all_is_found(Arming::Never, &[1]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_sleepers_fence_the_model_sees_a_wake_up_lost() {
    all_is_found_with(Unfenced::Sleeper, Arming::BeforeTheLook, &[1]);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_ringers_fence_the_model_sees_a_wake_up_lost() {
    all_is_found_with(Unfenced::Ringers, Arming::BeforeTheLook, &[1]);
}
