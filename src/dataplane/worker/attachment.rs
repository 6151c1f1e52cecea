//! A port as one worker has it: its queues, its counters, its two packet rings to control.

use std::sync::Arc;
use std::time::Duration;

use crate::dataplane::bell::Bell;
use crate::dataplane::limit::PuntLimits;
use crate::dataplane::mem::{Frame, OwnLines, Pool};
use crate::dataplane::port::{Burst, PortQueue};
use crate::dataplane::ring::{PacketReceiver, PacketSender};
use crate::shared::port::PortId;
use crate::shared::reason::{DropReason, PuntClass, PuntReason};
use crate::shared::stats::PortCounters;

/// What the kernel sent on a port's TAP, on its way out.
#[derive(Debug)]
pub struct Injections {
    pub frames: PacketReceiver,
    /// Rung when there is room again: the TAP is read no faster than the port sends.
    pub room: Arc<Bell>,
}

/// Made by control, owned by the worker until the port goes: on cache lines that no other worker's
/// begins or ends on.
#[derive(Debug)]
#[repr(align(128))]
pub struct Attachment {
    pub(super) port: PortId,
    pub(super) queue: PortQueue,
    pub(super) counters: Arc<PortCounters>,
    /// One worker has them, so that they stay in order.
    pub(super) injections: Option<Injections>,
    punts: PacketSender,
    /// Rung when a punt waits.
    bell: Arc<Bell>,
    pub(super) limits: PuntLimits,
    /// What has been received, but is not the worker's current burst yet.
    pub(super) ahead: Box<OwnLines<Burst>>,
    /// Frames of the current burst that leave here.
    pub(super) outgoing: Burst,
}

impl Attachment {
    pub fn new(
        port: PortId,
        queue: PortQueue,
        counters: Arc<PortCounters>,
        punts: PacketSender,
        bell: Arc<Bell>,
        injections: Option<Injections>,
    ) -> Attachment {
        Attachment {
            port,
            queue,
            counters,
            injections,
            punts,
            bell,
            limits: PuntLimits::default(),
            ahead: Box::default(),
            outgoing: Burst::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn joined(&self) -> std::ops::Range<usize> {
        self.punts.joined()
    }

    /// Whether the limits let a packet go to the kernel.
    pub(super) fn admits(&mut self, reason: PuntReason, next_hop: u32, now: Duration) -> bool {
        if self.limits.admit(reason, next_hop, now) {
            return true;
        }
        // An empty bucket is when it matters what came of the frames before.
        reason.class() == PuntClass::Local && {
            self.limits.give_back(self.punts.take_joined());
            self.limits.admit(reason, next_hop, now)
        }
    }

    /// Copies a frame to the TAP if limits and ring allow, counts what became of it, and frees it.
    pub(super) fn punt(
        &mut self,
        frame: Frame,
        reason: PuntReason,
        admitted: bool,
        pool: &mut Pool,
    ) {
        if !admitted {
            self.counters.dropped(reason.class().limited()).add(1);
        } else if self.hand_over(reason, pool.bytes(&frame)) {
            self.counters.punted(reason).add(1);
        } else {
            self.counters.dropped(DropReason::PuntRingFull).add(1);
        }
        pool.give(frame);
    }

    /// The last quarter of the ring is for those who keep routes and neighbours alive.
    fn hand_over(&mut self, reason: PuntReason, frame: &[u8]) -> bool {
        let vital = matches!(
            reason.class(),
            PuntClass::NeighbourDiscovery | PuntClass::Routing
        );
        (vital || !self.punts.is_crowded()) && self.punts.push(frame)
    }

    /// Tells control that punts wait.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Sends frames and counts what left; what stays in `list` found no room.
    pub(super) fn send(&mut self, pool: &mut Pool, list: &mut Burst) {
        send(&mut self.queue, &self.counters, pool, list);
    }

    /// Sends what was put into `outgoing`; returns what found no room.
    pub(super) fn flush(&mut self, pool: &mut Pool) -> &mut Burst {
        send(&mut self.queue, &self.counters, pool, &mut self.outgoing);
        &mut self.outgoing
    }
}

#[inline]
fn send(queue: &mut PortQueue, counters: &PortCounters, pool: &mut Pool, list: &mut Burst) {
    let (packets, total) = (list.len(), bytes(list));
    queue.transmit(pool, list);
    counters.tx_packets.add((packets - list.len()) as u64);
    counters.tx_bytes.add(total - bytes(list));
}

/// Bytes of all packets.
#[inline]
pub(super) fn bytes(list: &[Frame]) -> u64 {
    list.iter().map(|frame| frame.len() as u64).sum()
}
