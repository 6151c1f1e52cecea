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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::QBRCH;
    use crate::testing::Bench;

    fn frame(first: u8, len: usize) -> Vec<u8> {
        let mut frame = vec![0; len];
        frame[..6].fill(first);
        frame
    }

    #[test]
    fn received_frames_count_by_size_with_their_fcs() {
        let mut bench = Bench::new();
        let lengths = [60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 9000];
        bench.with(|state, _| {
            lengths
                .iter()
                .for_each(|len| state.count_received(&frame(2, *len)));
        });
        let classes: Vec<_> = (0..6).map(|n| bench.read(PRC64.at(n))).collect();
        assert_eq!(classes, [1, 2, 2, 2, 2, 2]);
        assert_eq!(bench.read(GPRC), 11);
        let octets: usize = lengths.iter().map(|len| len + 4).sum();
        assert_eq!(bench.read(GORCL) as usize, octets);
        assert_eq!(bench.read(GORCL), 0, "cleared by the read");
    }

    #[test]
    fn multicast_and_broadcast_count_apart() {
        let mut bench = Bench::new();
        bench.with(|state, _| {
            for first in [0x02, 0x01, 0x01, 0xFF, 0xFF, 0xFF] {
                state.count_received(&frame(first, 60));
                state.count_transmitted(0, &frame(first, 60));
            }
        });
        assert_eq!([bench.read(MPRC), bench.read(BPRC)], [2, 3]);
        assert_eq!([bench.read(MPTC), bench.read(BPTC)], [2, 3]);
        assert_eq!(bench.read(GPTC), 6);
    }

    #[test]
    fn queues_count_where_the_map_says() {
        let mut bench = Bench::new();
        bench.write(RQSMR.at(1), 0x0F00_0003);
        bench.write(TQSM.at(31), 0x0900_0000);
        bench.with(|state, _| {
            state.count_queue_received(4, 60);
            state.count_queue_received(7, 100);
            state.count_queue_dropped(7);
            state.count_transmitted(127, &frame(2, 60));
        });
        assert_eq!([bench.read(QPRC.at(3)), bench.read(QBRCL.at(3))], [1, 60]);
        assert_eq!(
            [bench.read(QPRC.at(15)), bench.read(QBRCL.at(15))],
            [1, 100]
        );
        assert_eq!(bench.read(QPRDC.at(15)), 1);
        assert_eq!([bench.read(QPTC.at(9)), bench.read(QBTCL.at(9))], [1, 60]);
        bench.assert_clean();
    }

    #[test]
    fn octets_carry_into_four_more_bits() {
        let mut bench = Bench::new();
        bench.state().regs[QBRCL.at(0)] = u32::MAX - 9;
        bench.state().regs[QBRCH.at(0)] = 0xF;
        bench.with(|state, _| state.count_queue_received(0, 60));
        assert_eq!([bench.read(QBRCL.at(0)), bench.read(QBRCH.at(0))], [50, 0]);
    }

    #[test]
    fn packets_stop_at_the_maximum() {
        let mut bench = Bench::new();
        bench.state().regs[MPC.at(0)] = u32::MAX;
        bench.with(|state, _| state.count_missed(0));
        assert_eq!(bench.read(MPC.at(0)), u32::MAX);
    }
}
