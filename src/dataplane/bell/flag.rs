//! Whether somebody sleeps: the part of a bell that must not lose a ring, free of descriptors. It is
//! compiled a second time with atomics that a model checker steps through (`model`).

use super::atomics::{AtomicBool, Ordering, fence};

/// One sleeper, any number of ringers.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn new() -> Flag {
        Flag(AtomicBool::new(false))
    }

    /// The sleeper: from here on a ringer finds the flag, or the next look finds the ringer's work.
    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
        // Pairs with the fence in `take`: either the ringer sees the flag, or the sleeper's next
        // look sees the ringer's work.
        fence(Ordering::SeqCst);
    }

    /// The sleeper: awake.
    pub(super) fn lower(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// A ringer whose work is in place: true when it is the one to wake the sleeper.
    pub(super) fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        // A look first: the line stays everybody's while nobody sleeps.
        self.0.load(Ordering::Relaxed)
            && self
                .0
                .compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}
