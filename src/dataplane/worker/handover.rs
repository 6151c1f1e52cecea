//! One thing that one thread waits for, for some time, and another hands over without waiting. It is never
//! lost in between: whoever comes too late keeps it.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Two ends of a handover.
pub fn handover<T>() -> (Giver<T>, Taker<T>) {
    let place = Arc::new(Place {
        state: Mutex::new(State::Awaited),
        changed: Condvar::new(),
    });
    (Giver(Arc::clone(&place)), Taker(place))
}

/// Dropping it says that nothing will come.
#[derive(Debug)]
pub struct Giver<T>(Arc<Place<T>>);

#[derive(Debug)]
pub struct Taker<T>(Arc<Place<T>>);

#[derive(Debug)]
struct Place<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Awaited,
    Here(T),
    Over,
}

/// How waiting ended.
#[derive(PartialEq, Eq, Debug)]
pub enum Taken<T> {
    Thing(T),
    /// The giver is gone.
    Nothing,
    /// From now on, the giver keeps it.
    TooLate,
}

impl<T> Giver<T> {
    /// Hands it over; returns it when nobody waits any more.
    pub fn give(self, thing: T) -> Option<T> {
        let mut state = self.0.lock();
        if !matches!(*state, State::Awaited) {
            return Some(thing);
        }
        *state = State::Here(thing);
        self.0.changed.notify_one();
        None
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if matches!(*state, State::Awaited) {
            *state = State::Over;
            self.0.changed.notify_one();
        }
    }
}

impl<T> Taker<T> {
    /// Waits at most this long.
    pub fn take(self, most: Duration) -> Taken<T> {
        let state = self.0.lock();
        let awaited = |state: &mut State<T>| matches!(state, State::Awaited);
        let waited = self.0.changed.wait_timeout_while(state, most, awaited);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match mem::replace(&mut *state, State::Over) {
            State::Here(thing) => Taken::Thing(thing),
            State::Over => Taken::Nothing,
            State::Awaited => Taken::TooLate,
        }
    }
}

impl<T> Place<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Whatever panicked, the state is whole: it is replaced at once.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn what_is_given_is_taken_before_or_after() {
        let (giver, taker) = handover();
        assert_eq!(giver.give(1), None);
        assert_eq!(taker.take(Duration::ZERO), Taken::Thing(1));
        let (giver, taker) = handover();
        let waiting = std::thread::spawn(move || taker.take(LONG));
        assert_eq!(giver.give(2), None);
        assert_eq!(waiting.join().unwrap(), Taken::Thing(2));
    }

    #[test]
    fn who_comes_too_late_keeps_it() {
        let (giver, taker) = handover();
        assert_eq!(taker.take(Duration::ZERO), Taken::TooLate);
        assert_eq!(giver.give(3), Some(3));
    }

    #[test]
    fn a_giver_that_is_gone_ends_the_wait() {
        let (giver, taker) = handover::<u8>();
        let waiting = std::thread::spawn(move || taker.take(LONG));
        drop(giver);
        assert_eq!(waiting.join().unwrap(), Taken::Nothing);
    }
}
