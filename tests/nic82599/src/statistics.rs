//! Counting (datasheet 8.2.3.23). The counters are registers: they stop at their maximum, and a
//! read clears them.

use crate::registers::{
    Array, BPRC, BPTC, GORCL, GOTCL, GPRC, GPTC, MPC, MPRC, MPTC, PRC64, PTC64, QBRCL, QBTCL, QPRC,
    QPRDC, QPTC, RQSMR, RXDGBCL, RXDGPC, Reg, TORL, TPR, TPT, TQSM, TXDGBCL, TXDGPC,
};
use crate::state::State;

/// Octet counters have 36 bits: 32, and 4 in the next register.
const HIGH_MASK: u32 = 0xF;
/// Octets count the FCS, which frames come without.
const FCS: usize = 4;

impl State {
    pub(crate) fn count(&mut self, counter: Reg) {
        self.regs[counter] = self.regs[counter].saturating_add(1);
    }

    /// Adds to a 36-bit counter of octets, whose high bits are in the next register.
    fn count_octets(&mut self, counter: Reg, octets: usize) {
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        let (low, carry) = self.regs[counter].overflowing_add(octets);
        self.regs[counter] = low;
        if carry {
            let high = Reg(counter.0 + 4);
            self.regs[high] = (self.regs[high] + 1) & HIGH_MASK;
        }
    }

    /// A frame without errors arrived and passed the filters. Frames that are then missed count.
    pub(crate) fn count_received(&mut self, frame: &[u8]) {
        self.count(GPRC);
        self.count_octets(GORCL, frame.len() + FCS);
        self.count(size_class(PRC64, frame));
        match cast(frame) {
            Cast::Unicast => {}
            Cast::Multicast => self.count(MPRC),
            Cast::Broadcast => self.count(BPRC),
        }
    }

    /// Any frame on the wire, whatever becomes of it.
    pub(crate) fn count_seen(&mut self, frame: &[u8]) {
        self.count(TPR);
        self.count_octets(TORL, frame.len() + FCS);
    }

    /// A frame was put into the buffers of a queue.
    pub(crate) fn count_queue_received(&mut self, queue: usize, octets: usize) {
        let n = self.counter_of(RQSMR, queue);
        self.count(QPRC.at(n));
        self.count_octets(QBRCL.at(n), octets);
        self.count(RXDGPC);
        self.count_octets(RXDGBCL, octets);
    }

    /// A frame was dropped because its queue had no descriptors.
    pub(crate) fn count_queue_dropped(&mut self, queue: usize) {
        let n = self.counter_of(RQSMR, queue);
        self.count(QPRDC.at(n));
    }

    /// A frame was missed because a packet buffer was full.
    pub(crate) fn count_missed(&mut self, packet_buffer: usize) {
        self.count(MPC.at(packet_buffer));
    }

    /// A frame went onto the wire from a queue.
    pub(crate) fn count_transmitted(&mut self, queue: usize, frame: &[u8]) {
        self.count(GPTC);
        self.count(TPT);
        self.count_octets(GOTCL, frame.len() + FCS);
        self.count(size_class(PTC64, frame));
        match cast(frame) {
            Cast::Unicast => {}
            Cast::Multicast => self.count(MPTC),
            Cast::Broadcast => self.count(BPTC),
        }
        let n = self.counter_of(TQSM, queue);
        self.count(QPTC.at(n));
        self.count_octets(QBTCL.at(n), frame.len());
        self.count(TXDGPC);
        self.count_octets(TXDGBCL, frame.len());
    }

    /// RQSMR, TQSM: which of 16 counters counts for a queue, a byte each.
    fn counter_of(&self, map: Array, queue: usize) -> usize {
        let entry = self.regs[map.at(queue / 4)].to_le_bytes()[queue & 3];
        usize::from(entry & 0xF)
    }
}

/// The counter of a frame's size: 64, to 127, to 255, to 511, to 1023, and more.
fn size_class(counters: Array, frame: &[u8]) -> Reg {
    let class = match frame.len() + FCS {
        0..=64 => 0,
        65..=127 => 1,
        128..=255 => 2,
        256..=511 => 3,
        512..=1023 => 4,
        _ => 5,
    };
    counters.at(class)
}

enum Cast {
    Unicast,
    Multicast,
    Broadcast,
}

fn cast(frame: &[u8]) -> Cast {
    match frame {
        [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, ..] => Cast::Broadcast,
        [first, ..] if first & 1 != 0 => Cast::Multicast,
        _ => Cast::Unicast,
    }
}
