//! Carrying out verdicts: every received frame is counted exactly once as forwarded, punted or
//! dropped, and ends in a transmit ring, on the TAP, or back in the pool.

use super::Worker;
use crate::dataplane::forward::Verdict;
use crate::dataplane::port::BURST;
use crate::shared::port::{MAX_PORTS, PortId};
use crate::shared::reason::{DropReason, InjectDropReason, PuntReason};
use crate::shared::wire::be16;
use crate::shared::wire::ethernet::ethertype;

/// A bit a port.
const _: () = assert!(MAX_PORTS <= 64);

/// Forwarded packets of a burst by family.
#[derive(Default)]
struct Forwarded {
    ipv4: u64,
    ipv6: u64,
}

impl Forwarded {
    fn slot(&mut self, frame: &[u8]) -> &mut u64 {
        if frame.len() >= 14 && be16(frame, 12) == ethertype::IPV6 {
            &mut self.ipv6
        } else {
            &mut self.ipv4
        }
    }
}

impl Worker {
    /// Carries out `verdicts` on `burst`, both emptied.
    pub(super) fn dispatch(&mut self, ingress: PortId) {
        let now = self.clock.now();
        let mut forwarded = Forwarded::default();
        let (mut egress_ports, mut punted) = (0u64, false);
        for (mut frame, verdict) in self.burst.drain(..).zip(self.verdicts.drain(..)) {
            let (reason, admitted) = match verdict {
                Verdict::Forward { port, len } => {
                    frame.truncate(len);
                    if let Some(egress) = self.ports[port.index()].as_mut() {
                        *forwarded.slot(self.pool.bytes(&frame)) += 1;
                        egress.outgoing.push(frame);
                        egress_ports |= 1 << port.index();
                        continue;
                    }
                    (Err(DropReason::EgressGone), false)
                }
                Verdict::Punt(reason, next_hop) => {
                    let admitted = self.ports[ingress.index()]
                        .as_mut()
                        .is_some_and(|port| port.limits.admit(reason, next_hop, now));
                    (Ok(reason), admitted)
                }
                Verdict::Redirect => (Ok(PuntReason::Redirect), true),
                Verdict::Drop(reason) => (Err(reason), false),
            };
            let Some(port) = self.ports[ingress.index()].as_mut() else {
                self.pool.give(frame);
                continue;
            };
            match reason {
                Ok(reason) => {
                    punted |= admitted;
                    port.punt(frame, reason, admitted, &mut self.pool);
                }
                Err(reason) => {
                    port.counters.dropped(reason).add(1);
                    self.pool.give(frame);
                }
            }
        }
        self.flush(egress_ports, &mut forwarded);
        self.count(ingress, &forwarded, punted);
    }

    /// Sends what the burst left on the egress ports; what finds no room is no longer forwarded and
    /// waits in `rest`.
    fn flush(&mut self, mut egress_ports: u64, forwarded: &mut Forwarded) {
        while egress_ports != 0 {
            let slot = egress_ports.trailing_zeros() as usize;
            egress_ports &= egress_ports - 1;
            if let Some(egress) = self.ports[slot].as_mut() {
                let before = self.rest.len();
                egress.transmit(&mut self.pool, &mut self.rest);
                for frame in &self.rest[before..] {
                    *forwarded.slot(self.pool.bytes(frame)) -= 1;
                }
            }
        }
    }

    fn count(&mut self, ingress: PortId, forwarded: &Forwarded, punted: bool) {
        let full = self.rest.len() as u64;
        self.free_rest();
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

    fn free_rest(&mut self) {
        for frame in self.rest.drain(..) {
            self.pool.give(frame);
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
            let Some(len) = injections.frames.pop(&mut self.scratch) else {
                break;
            };
            any = true;
            let Some(mut frame) = self.pool.take() else {
                port.counters
                    .inject_dropped(InjectDropReason::NoBuffer)
                    .add(1);
                continue;
            };
            if self.pool.fill(&mut frame, &self.scratch[..len]) {
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
            port.transmit(&mut self.pool, &mut self.rest);
            port.counters
                .inject_dropped(InjectDropReason::TxFull)
                .add(self.rest.len() as u64);
            self.free_rest();
        }
        any
    }
}
