//! The bell under a model checker: the same flag over loom's atomics, whose every interleaving and
//! every reordering that the memory model allows is tried. Only the pipe is a stand-in.

use loom::sync::{Condvar, Mutex};

#[allow(
    clippy::duplicate_mod,
    reason = "the same code over the checker's atomics"
)]
#[path = "flag.rs"]
mod flag;

use self::flag::Flag;

/// The checker's atomics; a thread may leave its fences out, to see what comes of it.
pub(crate) mod atomics {
    use std::cell::Cell;

    pub(super) use loom::sync::atomic::{AtomicBool, Ordering};

    loom::thread_local! {
        static WITHOUT_FENCES: Cell<bool> = Cell::new(false);
    }

    pub(super) fn fence(order: Ordering) {
        if !WITHOUT_FENCES.with(Cell::get) {
            loom::sync::atomic::fence(order);
        }
    }

    /// From here on, on this thread.
    pub(crate) fn leave_fences_out() {
        WITHOUT_FENCES.with(|without| without.set(true));
    }
}

/// [`super::Bell`], step by step.
pub(crate) struct Bell {
    armed: Flag,
    pipe: Mutex<u32>,
    written: Condvar,
}

impl Bell {
    pub(crate) fn new() -> Bell {
        Bell {
            armed: Flag::new(),
            pipe: Mutex::new(0),
            written: Condvar::new(),
        }
    }

    pub(crate) fn arm(&self) {
        self.armed.raise();
    }

    pub(crate) fn disarm(&self) {
        self.armed.lower();
        *self.pipe.lock().unwrap() = 0;
    }

    pub(crate) fn ring(&self) {
        if self.armed.take() {
            *self.pipe.lock().unwrap() += 1;
            self.written.notify_one();
        }
    }

    /// `poll` on the pipe, without a limit: if nobody ever rings, the checker calls it a deadlock.
    pub(crate) fn sleep(&self) {
        let mut rings = self.pipe.lock().unwrap();
        while *rings == 0 {
            rings = self.written.wait(rings).unwrap();
        }
    }
}
