//! Carrying out verdicts: every received frame is counted exactly once as forwarded, punted or
//! dropped, and ends in a transmit ring, on the TAP, or back in the pool.

use super::Worker;
use crate::dataplane::forward::{Forwarded, Verdict};
use crate::dataplane::mem::{Frame, Pool};
use crate::dataplane::port::BURST;
use crate::shared::port::{MAX_PORTS, PortId};
use crate::shared::reason::{DropReason, InjectDropReason, PuntReason};

/// A bit a port.
const _: () = assert!(MAX_PORTS <= 64);

impl Worker {
    /// Carries out `verdicts` on `burst`, both emptied; so many are to be forwarded.
    pub(super) fn dispatch(&mut self, ingress: PortId, mut forwarded: Forwarded) {
        if let Some(port) = self.verdicts.common_egress()
            && let Some(egress) = self.ports[port.index()].as_mut()
        {
            // The rule, so it is worth a way of its own.
            egress.send(&mut self.pool, &mut self.burst);
            let full = take_back(&self.pool, &self.burst, &mut forwarded);
            self.pool.give_all(self.burst.drain(..));
            return self.count(ingress, &forwarded, full, false);
        }
        let (mut egress_ports, mut punted) = (0u64, false);
        for (slot, frame) in self.burst.take().into_iter().enumerate() {
            let verdict = self.verdicts.get(slot);
            if let Verdict::Forward(port) = verdict
                && let Some(egress) = self.ports[port.index()].as_mut()
            {
                egress.outgoing.push(frame);
                egress_ports |= 1 << port.index();
                continue;
            }
            if let Verdict::Forward(_) = verdict {
                forwarded.take_back(self.pool.bytes(&frame));
            }
            punted |= self.keep(ingress, frame, verdict);
        }
        let full = self.flush(egress_ports, &mut forwarded);
        self.count(ingress, &forwarded, full, punted);
    }

    /// Punts or drops a frame that is not forwarded; true when the kernel gets it.
    fn keep(&mut self, ingress: PortId, frame: Frame, verdict: Verdict) -> bool {
        let pool = &mut self.pool;
        let Some(port) = self.ports[ingress.index()].as_mut() else {
            pool.give(frame);
            return false;
        };
        let (reason, admitted) = match verdict {
            Verdict::Forward(_) => (Err(DropReason::EgressGone), false),
            Verdict::Drop(reason) => (Err(reason), false),
            Verdict::Redirect => (Ok(PuntReason::Redirect), true),
            Verdict::Punt(reason, next_hop) => {
                let now = self.clock.now();
                (Ok(reason), port.admits(reason, next_hop, now))
            }
        };
        match reason {
            Ok(reason) => port.punt(frame, reason, admitted, pool),
            Err(reason) => {
                port.counters.dropped(reason).add(1);
                pool.give(frame);
            }
        }
        admitted
    }

    /// Sends what the burst left on the egress ports; how many found no room and are no longer
    /// forwarded.
    fn flush(&mut self, mut egress_ports: u64, forwarded: &mut Forwarded) -> u64 {
        let mut full = 0;
        while egress_ports != 0 {
            let slot = egress_ports.trailing_zeros() as usize;
            egress_ports &= egress_ports - 1;
            if let Some(egress) = self.ports[slot].as_mut() {
                let left = egress.flush(&mut self.pool);
                full += take_back(&self.pool, left, forwarded);
                self.pool.give_all(left.drain(..));
            }
        }
        full
    }

    fn count(&mut self, ingress: PortId, forwarded: &Forwarded, full: u64, punted: bool) {
        self.counters.forwarded_ipv4.add(forwarded.ipv4);
        self.counters.forwarded_ipv6.add(forwarded.ipv6);
        let Some(port) = self.ports[ingress.index()].as_ref() else {
            return;
        };
        port.counters.forwarded_ipv4.add(forwarded.ipv4);
        port.counters.forwarded_ipv6.add(forwarded.ipv6);
        if full > 0 {
            port.counters.dropped(DropReason::TxFull).add(full);
        }
        if punted {
            port.ring();
        }
    }

    /// Sends up to a burst of what the kernel sent on the port's TAP; true when there was any.
    pub(super) fn inject(&mut self, port: PortId) -> bool {
        let Some(port) = self.ports[port.index()].as_mut() else {
            return false;
        };
        let Some(injections) = port.injections.as_mut() else {
            return false;
        };
        let mut any = false;
        for _ in 0..BURST {
            let Some(packet) = injections.frames.peek(&mut self.scratch) else {
                break;
            };
            any = true;
            let Some(mut frame) = self.pool.take() else {
                port.counters
                    .inject_dropped(InjectDropReason::NoBuffer)
                    .add(1);
                packet.done();
                continue;
            };
            let fits = self.pool.fill(&mut frame, packet.bytes());
            packet.done();
            if fits {
                port.outgoing.push(frame);
            } else {
                port.counters
                    .inject_dropped(InjectDropReason::TooLong)
                    .add(1);
                self.pool.give(frame);
            }
        }
        if any {
            injections.room.ring();
        }
        if !port.outgoing.is_empty() {
            let left = port.flush(&mut self.pool);
            let full = left.len() as u64;
            self.pool.give_all(left.drain(..));
            port.counters
                .inject_dropped(InjectDropReason::TxFull)
                .add(full);
        }
        any
    }
}

/// Packets that found no room are not forwarded after all; how many they are.
fn take_back(pool: &Pool, left: &[Frame], forwarded: &mut Forwarded) -> u64 {
    for frame in left {
        forwarded.take_back(pool.bytes(frame));
    }
    left.len() as u64
}
