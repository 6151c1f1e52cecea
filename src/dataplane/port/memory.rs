//! A port in RAM: frames given to its receive side come out of `receive`, and what is transmitted
//! can be taken and looked at. Nothing in the pipeline knows that it is not a NIC.
//!
//! Where the other side lives on another thread, a [`Queue::wired`] port speaks through two packet
//! rings instead, and copies.

use std::collections::VecDeque;

use super::{Burst, TransmitList};
use crate::dataplane::mem::{Frame, Pool};
use crate::dataplane::ring::{MAX_PACKET, PacketReceiver, PacketSender};

/// Both sides of the port, in the hands of the worker and of the test alike.
#[derive(Debug, Default)]
pub struct Queue {
    incoming: VecDeque<Frame>,
    outgoing: VecDeque<Frame>,
    /// Room of the transmit side.
    capacity: usize,
    wire: Option<Wire>,
}

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

    /// Lets a frame arrive.
    pub fn deliver(&mut self, frame: Frame) {
        self.incoming.push_back(frame);
    }

    /// Takes the oldest transmitted frame.
    pub fn collect(&mut self) -> Option<Frame> {
        self.outgoing.pop_front()
    }

    pub(super) fn receive(&mut self, pool: &mut Pool, burst: &mut Burst) {
        if let Some(wire) = &mut self.wire {
            wire.receive(pool, burst);
        }
        let n = burst.remaining_capacity().min(self.incoming.len());
        burst.extend(self.incoming.drain(..n));
    }

    pub(super) fn transmit(&mut self, pool: &mut Pool, list: &mut TransmitList) {
        if let Some(wire) = &mut self.wire {
            wire.transmit(pool, list);
        }
        let n = list
            .len()
            .min(self.capacity.saturating_sub(self.outgoing.len()));
        self.outgoing.extend(list.drain(..n));
    }

    /// Frames that nobody fetched: a port in RAM has no rings that could be reclaimed.
    pub(super) fn drain(&mut self, pool: &mut Pool) {
        let left = self.incoming.drain(..).chain(self.outgoing.drain(..));
        left.for_each(|frame| pool.give(frame));
    }

    pub(super) fn tend(&mut self, _pool: &mut Pool) -> bool {
        false
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

    fn transmit(&mut self, pool: &mut Pool, list: &mut TransmitList) {
        let sent = list
            .iter()
            .take_while(|frame| self.leaving.push(pool.bytes(frame)))
            .count();
        list.drain(..sent).for_each(|frame| pool.give(frame));
    }
}
