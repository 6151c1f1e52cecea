//! A port in RAM: frames given to its receive side come out of `receive`, and what is transmitted
//! can be taken and looked at. Nothing in the pipeline knows that it is not a NIC.
//!
//! Where the other side lives on another thread, a [`Queue::wired`] port speaks through two packet
//! rings instead, and copies.

use std::collections::VecDeque;

use super::{BURST, Burst};
use crate::dataplane::mem::{Frame, Pool, move_frames};
use crate::dataplane::ring::{MAX_PACKET, PacketReceiver, PacketSender};

/// Both sides of the port, in the hands of the worker and of the test alike.
#[derive(Debug, Default)]
pub struct Queue {
    incoming: Ring,
    outgoing: Ring,
    /// Frames of those.
    waiting: usize,
    /// Room of the transmit side.
    capacity: usize,
    /// The most frames of one `receive`, if less than a burst.
    burst: Option<usize>,
    wire: Option<Wire>,
}

/// Frames by the burst, in order; no list is empty.
pub type Ring = VecDeque<Burst>;

/// The rings of a wired port.
#[derive(Debug)]
struct Wire {
    arriving: PacketReceiver,
    leaving: PacketSender,
    scratch: Box<[u8]>,
}

impl Queue {
    /// A port that takes up to `capacity` frames before its transmit side is full.
    pub fn new(capacity: usize) -> Queue {
        Queue {
            capacity,
            ..Queue::default()
        }
    }

    /// A port that receives what comes through `arriving` and sends into `leaving`.
    pub fn wired(arriving: PacketReceiver, leaving: PacketSender) -> Queue {
        Queue {
            wire: Some(Wire {
                arriving,
                leaving,
                scratch: vec![0; MAX_PACKET].into_boxed_slice(),
            }),
            ..Queue::default()
        }
    }

    /// Has `receive` return at most `burst` frames at once.
    pub fn with_burst(self, burst: usize) -> Queue {
        Queue {
            burst: Some(burst),
            ..self
        }
    }

    /// Lets frames arrive, after those that wait; their ring is empty then.
    pub fn arrive(&mut self, frames: &mut Ring) {
        hand_over(frames, &mut self.incoming);
    }

    /// Takes all that was transmitted, behind what the ring has.
    pub fn sent(&mut self, into: &mut Ring) {
        self.waiting = 0;
        hand_over(&mut self.outgoing, into);
    }

    /// Lets a frame arrive.
    pub fn deliver(&mut self, frame: Frame) {
        match self.incoming.back_mut() {
            Some(list) if !list.is_full() => list.push(frame),
            _ => self.incoming.push_back([frame].into_iter().collect()),
        }
    }

    /// Takes the oldest transmitted frame.
    pub fn collect(&mut self) -> Option<Frame> {
        let list = self.outgoing.front_mut()?;
        let frame = list.remove(0);
        self.waiting -= 1;
        if list.is_empty() {
            self.outgoing.pop_front();
        }
        Some(frame)
    }

    pub(super) fn receive(&mut self, pool: &mut Pool, burst: &mut Burst) {
        if let Some(wire) = &mut self.wire {
            wire.receive(pool, burst);
        }
        let mut most = self.burst.unwrap_or(BURST).saturating_sub(burst.len());
        while most > 0
            && !burst.is_full()
            && let Some(list) = self.incoming.front_mut()
        {
            let before = burst.len();
            move_frames(list, burst, most);
            most -= burst.len() - before;
            if list.is_empty() {
                self.incoming.pop_front();
            }
        }
    }

    pub(super) fn transmit(&mut self, pool: &mut Pool, list: &mut Burst) {
        if let Some(wire) = &mut self.wire {
            wire.transmit(pool, list);
        }
        while !list.is_empty() && self.waiting < self.capacity {
            self.outgoing.push_back(Burst::new());
            if let Some(leaving) = self.outgoing.back_mut() {
                move_frames(list, leaving, self.capacity - self.waiting);
                self.waiting += leaving.len();
            }
        }
    }

    /// Frames that nobody fetched: a port in RAM has no rings that could be reclaimed.
    pub(super) fn retire(&mut self, pool: &mut Pool) {
        let left = self.incoming.drain(..).chain(self.outgoing.drain(..));
        pool.give_all(left.flatten());
        self.waiting = 0;
    }

    pub(super) fn tend(&mut self, _pool: &mut Pool) -> bool {
        false
    }
}

/// Moves all lists behind those of another ring. Into an empty one they take their memory along, and leave
/// its memory for what comes next.
fn hand_over(from: &mut Ring, to: &mut Ring) {
    if to.is_empty() {
        std::mem::swap(from, to);
    } else {
        to.append(from);
    }
}

impl Wire {
    /// A packet longer than a frame is lost, as on a NIC.
    fn receive(&mut self, pool: &mut Pool, burst: &mut Burst) {
        while !burst.is_full() && !self.arriving.is_empty() {
            let Some(mut frame) = pool.take() else {
                return;
            };
            match self.arriving.pop(&mut self.scratch) {
                Some(len) if pool.fill(&mut frame, &self.scratch[..len]) => burst.push(frame),
                _ => pool.give(frame),
            }
        }
    }

    fn transmit(&mut self, pool: &mut Pool, list: &mut Burst) {
        let sent = list
            .iter()
            .take_while(|frame| self.leaving.push(pool.bytes(frame)))
            .count();
        pool.give_all(list.drain(..sent));
    }
}

#[cfg(test)]
mod tests;
