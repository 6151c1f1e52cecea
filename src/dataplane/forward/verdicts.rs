//! What becomes of the frames of a burst. Those that leave, which are most, take a byte each.

use super::Verdict;
use super::heads::Mask;
use super::slots::slots;
use crate::dataplane::port::BURST;
use crate::shared::fib::Exit;
use crate::shared::port::PortId;
use crate::shared::reason::DropReason;

/// One verdict a frame, by slot.
#[derive(Debug)]
pub struct Verdicts {
    count: usize,
    /// The slots of the ports that frames leave by; `Exit::NOWHERE` for the others,
    egress: [u8; BURST],
    /// whose verdicts these are.
    kept: [Verdict; BURST],
}

impl Default for Verdicts {
    fn default() -> Self {
        Verdicts {
            count: 0,
            egress: [Exit::NOWHERE; BURST],
            kept: [Verdict::Drop(DropReason::PortDown); BURST],
        }
    }
}

impl Verdicts {
    /// Starts anew, with `count` frames that are yet to be decided on.
    #[inline]
    pub(super) fn reset(&mut self, count: usize) {
        self.count = count.min(BURST);
        self.egress.fill(Exit::NOWHERE);
    }

    /// No frame of the burst goes on.
    pub(super) fn keep_all(&mut self, verdict: Verdict) {
        self.kept.fill(verdict);
    }

    /// The frames of a mask leave by the ports of these indices.
    #[inline]
    pub(super) fn leave(&mut self, frames: Mask, ports: &[u8; BURST]) {
        if frames == Mask::MAX >> (BURST - self.count) {
            self.egress = *ports;
            return;
        }
        for slot in slots(frames) {
            self.egress[slot] = ports[slot];
        }
    }

    pub(super) fn set(&mut self, slot: usize, verdict: Verdict) {
        match verdict {
            Verdict::Forward(port) => self.egress[slot] = port.slot(),
            verdict => self.kept[slot] = verdict,
        }
    }

    /// Frames of the burst.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The port that all frames leave by, if it is one.
    #[inline]
    pub fn common_egress(&self) -> Option<PortId> {
        let egress = &self.egress[..self.count];
        let first = *egress.first()?;
        let differ = egress.iter().fold(0, |all, port| all | (port ^ first));
        PortId::new(first.into()).filter(|_| differ == 0)
    }

    /// What becomes of a frame.
    #[inline]
    pub fn get(&self, slot: usize) -> Verdict {
        match PortId::new(self.egress[slot].into()) {
            Some(port) => Verdict::Forward(port),
            None => self.kept[slot],
        }
    }

    /// In the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = Verdict> {
        (0..self.count).map(|slot| self.get(slot))
    }
}
