//! A node's places, one after the other: neighbours that lead to the same make a run.

use super::rib::STRIDE;

/// What a stretch of a node's 256 places leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Leaf(u32),
    /// One place: a node, and the leaf code of what encloses it.
    Child {
        node: u32,
        cover: u32,
    },
}

/// A stretch of equal places, up to the next run's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Run {
    pub(super) start: u16,
    pub(super) target: Target,
}

/// The prefixes that hold the place a walk has come to, the longest last.
pub(super) struct Enclosing {
    /// (the place after its last, leaf code); lengths 0 to 8.
    stack: [(u16, u32); STRIDE as usize + 1],
    len: usize,
}

impl Enclosing {
    pub(super) fn new(cover: u32) -> Enclosing {
        let mut stack = [(0, 0); STRIDE as usize + 1];
        stack[0] = (256, cover);
        Enclosing { stack, len: 1 }
    }

    pub(super) fn leaf(&self) -> u32 {
        self.stack[self.len - 1].1
    }

    pub(super) fn open(&mut self, end: u16, leaf: u32) {
        self.stack[self.len] = (end, leaf);
        self.len += 1;
    }

    /// Ends the prefixes that do not reach `place`; what encloses them goes on.
    pub(super) fn close(&mut self, place: u16, out: &mut Vec<Run>) {
        while self.len > 1 && self.stack[self.len - 1].0 <= place {
            let (end, _) = self.stack[self.len - 1];
            self.len -= 1;
            push_run(out, end, Target::Leaf(self.leaf()));
        }
    }
}

/// Adds a run, in place of one of the same start.
pub(super) fn push_run(out: &mut Vec<Run>, start: u16, target: Target) {
    match out.last_mut() {
        Some(last) if last.start == start => last.target = target,
        _ => out.push(Run { start, target }),
    }
}
