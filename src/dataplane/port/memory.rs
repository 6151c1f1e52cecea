//! A port in RAM: frames given to its receive side come out of `receive`, and what is transmitted
//! can be taken and looked at. Nothing in the pipeline knows that it is not a NIC.

use std::collections::VecDeque;

use super::{Burst, TransmitList};
use crate::dataplane::mem::{Frame, Pool};

/// Both sides of the port, in the hands of the worker and of the test alike.
#[derive(Debug, Default)]
pub struct Queue {
    incoming: VecDeque<Frame>,
    outgoing: VecDeque<Frame>,
    /// Room of the transmit side.
    capacity: usize,
}

impl Queue {
    /// A port that takes up to `capacity` frames before its transmit side is full.
    pub fn new(capacity: usize) -> Queue {
        Queue {
            capacity,
            ..Queue::default()
        }
    }

    /// Lets a frame arrive.
    pub fn deliver(&mut self, frame: Frame) {
        self.incoming.push_back(frame);
    }

    /// Takes the oldest transmitted frame.
    pub fn collect(&mut self) -> Option<Frame> {
        self.outgoing.pop_front()
    }

    pub(super) fn receive(&mut self, _pool: &mut Pool, burst: &mut Burst) {
        let n = burst.remaining_capacity().min(self.incoming.len());
        burst.extend(self.incoming.drain(..n));
    }

    pub(super) fn transmit(&mut self, _pool: &mut Pool, list: &mut TransmitList) {
        let n = list
            .len()
            .min(self.capacity.saturating_sub(self.outgoing.len()));
        self.outgoing.extend(list.drain(..n));
    }

    pub(super) fn close(self, pool: &mut Pool) {
        self.incoming
            .into_iter()
            .chain(self.outgoing)
            .for_each(|frame| pool.give(frame));
    }

    pub(super) fn tend(&mut self, _pool: &mut Pool) -> bool {
        false
    }
}
