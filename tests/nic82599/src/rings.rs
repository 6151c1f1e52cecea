//! The rings of descriptors: which are enabled, where they stand, and the judge of how drivers
//! program them (datasheet 4.6.7.1, 4.6.8.1, 7.1.9, 7.2.3.4).
//!
//! ENABLE reads back at once. Base, length and alignment are judged when a ring starts to run: it
//! is enabled, and so is the engine (RXCTRL.RXEN, DMATXCTL.TE).

use crate::host::Host;
use crate::registers::{
    DMATXCTL, DMATXCTL_TE, QUEUE_ENABLE, RDBAH, RDBAL, RDH, RDLEN, RDT, RXCTRL, RXCTRL_RXEN, Reg,
    TDBAH, TDBAL, TDH, TDLEN, TDT, is_receive, queue_of,
};
use crate::state::State;
use crate::violation::Why;
use crate::{receive, transmit};

const DESCRIPTOR: u32 = 16;
/// What base and length are aligned to.
const ALIGNMENT: u32 = 128;

/// One bit for each of 128 queues.
pub(crate) type Queues = u128;

/// Which rings do what.
#[derive(Default)]
pub(crate) struct Rings {
    pub(crate) receive_enabled: Queues,
    pub(crate) transmit_enabled: Queues,
    /// Enabled queues whose tail has moved since the transmit engine was done with them.
    pub(crate) transmit_ready: Queues,
    /// Rings whose last base, or length, was not aligned as written.
    misaligned_base: Sides,
    misaligned_length: Sides,
}

/// A set of receive queues and one of transmit queues.
#[derive(Default)]
struct Sides {
    receive: Queues,
    transmit: Queues,
}

impl Sides {
    fn set(&mut self, register: Reg, value: bool) {
        let side = if is_receive(register) {
            &mut self.receive
        } else {
            &mut self.transmit
        };
        let queue = 1 << queue_of(register);
        *side = if value { *side | queue } else { *side & !queue };
    }

    fn has(&self, receive: bool, queue: usize) -> bool {
        let side = if receive { self.receive } else { self.transmit };
        side & 1 << queue != 0
    }
}

/// Where a running ring stands. Descriptors from head up to tail belong to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) base: u64,
    /// Descriptors in the ring, never zero.
    pub(crate) size: u32,
    pub(crate) head: u32,
    pub(crate) tail: u32,
}

impl Ring {
    /// How many descriptors belong to the device.
    pub(crate) fn available(&self) -> u32 {
        if self.tail >= self.head {
            self.tail - self.head
        } else {
            self.size - self.head + self.tail
        }
    }

    /// The I/O virtual address of a descriptor.
    pub(crate) fn address(&self, index: u32) -> u64 {
        self.base.wrapping_add(u64::from(index * DESCRIPTOR))
    }

    /// The descriptor after one.
    pub(crate) fn after(&self, index: u32) -> u32 {
        if index + 1 >= self.size { 0 } else { index + 1 }
    }
}

/// The registers of one ring.
struct Names {
    base_low: Reg,
    base_high: Reg,
    length: Reg,
    head: Reg,
    tail: Reg,
}

fn names(receive: bool, queue: usize) -> Names {
    if receive {
        Names {
            base_low: RDBAL.at(queue),
            base_high: RDBAH.at(queue),
            length: RDLEN.at(queue),
            head: RDH.at(queue),
            tail: RDT.at(queue),
        }
    } else {
        Names {
            base_low: TDBAL.at(queue),
            base_high: TDBAH.at(queue),
            length: TDLEN.at(queue),
            head: TDH.at(queue),
            tail: TDT.at(queue),
        }
    }
}

/// Queues of a set, in order.
pub(crate) fn each(mut queues: Queues) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let queue = (queues != 0).then_some(queues.trailing_zeros() as usize)?;
        queues &= queues - 1;
        Some(queue)
    })
}

impl State {
    /// A receive ring that runs, if it does and its registers make sense.
    pub(crate) fn receive_ring(&self, queue: usize) -> Option<Ring> {
        let on = self.regs[RXCTRL] & RXCTRL_RXEN != 0 && self.is_bus_master();
        (on && self.rings.receive_enabled >> queue & 1 != 0).then(|| self.ring(true, queue))?
    }

    /// A transmit ring that runs, if it does and its registers make sense.
    pub(crate) fn transmit_ring(&self, queue: usize) -> Option<Ring> {
        let on = self.regs[DMATXCTL] & DMATXCTL_TE != 0 && self.is_bus_master();
        (on && self.rings.transmit_enabled >> queue & 1 != 0).then(|| self.ring(false, queue))?
    }

    fn ring(&self, receive: bool, queue: usize) -> Option<Ring> {
        let names = names(receive, queue);
        let base = u64::from(self.regs[names.base_high]) << 32;
        let ring = Ring {
            base: base | u64::from(self.regs[names.base_low]),
            size: self.regs[names.length] / DESCRIPTOR,
            head: self.regs[names.head],
            tail: self.regs[names.tail],
        };
        (ring.head < ring.size && ring.tail < ring.size).then_some(ring)
    }

    /// RDBAL, RDBAH, TDBAL, TDBAH.
    pub(crate) fn ring_base(&mut self, register: Reg, value: u32) {
        self.judge_idle(register, value);
        let names = names(is_receive(register), queue_of(register));
        if register == names.base_low {
            self.rings
                .misaligned_base
                .set(register, !value.is_multiple_of(ALIGNMENT));
        }
    }

    /// RDLEN, TDLEN.
    pub(crate) fn ring_length(&mut self, register: Reg, value: u32) {
        self.judge_idle(register, value);
        self.rings
            .misaligned_length
            .set(register, !value.is_multiple_of(ALIGNMENT));
    }

    /// RDH, TDH.
    pub(crate) fn ring_head(&mut self, register: Reg, value: u32) {
        self.judge_idle(register, value);
    }

    fn judge_idle(&mut self, register: Reg, value: u32) {
        let rings = &self.rings;
        let enabled = if is_receive(register) {
            rings.receive_enabled
        } else {
            rings.transmit_enabled
        };
        if enabled >> queue_of(register) & 1 != 0 {
            self.violate(register, value, Why::RingEnabled);
        }
    }

    pub(crate) fn receive_tail(&mut self, host: &mut dyn Host, register: Reg, value: u32) {
        if self.regs[RXCTRL] & RXCTRL_RXEN != 0 {
            let queue = queue_of(register);
            if self.rings.receive_enabled >> queue & 1 != 0 {
                self.judge_tail(register, RDLEN.at(queue), value);
            }
        }
        receive::run(self, host);
    }

    pub(crate) fn transmit_tail(&mut self, host: &mut dyn Host, register: Reg, value: u32) {
        let queue = queue_of(register);
        if self.rings.transmit_enabled >> queue & 1 == 0 {
            return;
        }
        if self.regs[DMATXCTL] & DMATXCTL_TE != 0 {
            self.judge_tail(register, TDLEN.at(queue), value);
        }
        self.rings.transmit_ready |= 1 << queue;
        transmit::run(self, host);
    }

    fn judge_tail(&mut self, tail: Reg, length: Reg, value: u32) {
        let size = self.regs[length] / DESCRIPTOR;
        if value >= size {
            self.violate(tail, value, Why::TailOutOfRange(size));
        }
    }

    /// RXDCTL: ENABLE reads back at once.
    pub(crate) fn receive_control(&mut self, host: &mut dyn Host, register: Reg, value: u32) {
        let queue = queue_of(register);
        let started = set(
            &mut self.rings.receive_enabled,
            queue,
            value & QUEUE_ENABLE != 0,
        );
        if started && self.regs[RXCTRL] & RXCTRL_RXEN != 0 {
            self.judge_start(true, queue);
        }
        receive::run(self, host);
    }

    /// TXDCTL: ENABLE reads back at once.
    pub(crate) fn transmit_control(&mut self, host: &mut dyn Host, register: Reg, value: u32) {
        let queue = queue_of(register);
        let started = set(
            &mut self.rings.transmit_enabled,
            queue,
            value & QUEUE_ENABLE != 0,
        );
        self.rings.transmit_ready &= self.rings.transmit_enabled;
        if started {
            self.transmit.start(queue);
        }
        if started && self.regs[DMATXCTL] & DMATXCTL_TE != 0 {
            self.judge_start(false, queue);
            self.rings.transmit_ready |= 1 << queue;
            transmit::run(self, host);
        }
    }

    /// RXCTRL was written.
    pub(crate) fn receive_enabled(&mut self, host: &mut dyn Host) {
        if self.regs[RXCTRL] & RXCTRL_RXEN != 0 {
            each(self.rings.receive_enabled).for_each(|queue| self.judge_start(true, queue));
        }
        receive::run(self, host);
    }

    /// DMATXCTL was written.
    pub(crate) fn transmit_enabled(&mut self, host: &mut dyn Host) {
        if self.regs[DMATXCTL] & DMATXCTL_TE != 0 {
            each(self.rings.transmit_enabled).for_each(|queue| self.judge_start(false, queue));
            self.rings.transmit_ready |= self.rings.transmit_enabled;
            transmit::run(self, host);
        }
    }

    /// A ring starts to run.
    fn judge_start(&mut self, receive: bool, queue: usize) {
        let Names {
            base_low,
            length,
            head,
            tail,
            ..
        } = names(receive, queue);
        let size = self.regs[length] / DESCRIPTOR;
        if self.rings.misaligned_base.has(receive, queue) {
            self.violate(base_low, self.regs[base_low], Why::RingBase);
        }
        if size == 0 || self.rings.misaligned_length.has(receive, queue) {
            self.violate(length, self.regs[length], Why::RingLength);
        } else if self.regs[head] >= size {
            self.violate(head, self.regs[head], Why::HeadOutOfRange(size));
        } else if self.regs[tail] >= size {
            self.violate(tail, self.regs[tail], Why::TailOutOfRange(size));
        }
    }
}

/// Puts a queue into a set or out of it; whether it is new there.
fn set(queues: &mut Queues, queue: usize, enabled: bool) -> bool {
    let before = *queues;
    *queues = if enabled {
        before | 1 << queue
    } else {
        before & !(1 << queue)
    };
    *queues & !before != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::{CTRL, CTRL_GIO_DIS, RXDCTL, TXDCTL};
    use crate::testing::Bench;

    const QUEUE: usize = 70;

    /// Programs a ring of `size` descriptors and enables it.
    fn program(bench: &mut Bench, receive: bool, base: u64, length: u32) {
        let names = names(receive, QUEUE);
        bench.write(names.base_low, u32::try_from(base & 0xFFFF_FFFF).unwrap());
        bench.write(names.base_high, u32::try_from(base >> 32).unwrap());
        bench.write(names.length, length);
        bench.write(names.head, 0);
        bench.write(names.tail, 0);
        let control = if receive {
            RXDCTL.at(QUEUE)
        } else {
            TXDCTL.at(QUEUE)
        };
        bench.write(control, QUEUE_ENABLE);
        assert_eq!(bench.read(control) & QUEUE_ENABLE, QUEUE_ENABLE);
    }

    fn running() -> Bench {
        let mut bench = Bench::new();
        bench.write(RXCTRL, RXCTRL_RXEN);
        bench.write(DMATXCTL, DMATXCTL_TE);
        program(&mut bench, true, 0x1_2345_6780, 64 * 16);
        program(&mut bench, false, 0x2_0000_0000, 8 * 16);
        bench
    }

    #[test]
    fn a_programmed_ring_runs() {
        let mut bench = running();
        bench.write(RDT.at(QUEUE), 63);
        let expected = Ring {
            base: 0x1_2345_6780,
            size: 64,
            head: 0,
            tail: 63,
        };
        assert_eq!(bench.state().receive_ring(QUEUE), Some(expected));
        let expected = Ring {
            base: 0x2_0000_0000,
            size: 8,
            head: 0,
            tail: 0,
        };
        assert_eq!(bench.state().transmit_ring(QUEUE), Some(expected));
        assert_eq!(bench.state().receive_ring(QUEUE - 64), None);
        bench.assert_clean();
    }

    #[test]
    fn a_ring_rests_while_its_engine_or_the_bus_master_is_off() {
        let mut bench = running();
        bench.write(CTRL, CTRL_GIO_DIS);
        assert_eq!(bench.state().receive_ring(QUEUE), None);
        bench.write(CTRL, 0);
        bench.write(RXCTRL, 0);
        bench.write(DMATXCTL, 0);
        assert_eq!(bench.state().receive_ring(QUEUE), None);
        assert_eq!(bench.state().transmit_ring(QUEUE), None);
    }

    #[test]
    fn a_disabled_ring_reads_back_so_and_can_be_programmed_anew() {
        let mut bench = running();
        bench.write(RXDCTL.at(QUEUE), 0);
        assert_eq!(bench.read(RXDCTL.at(QUEUE)), 0);
        assert_eq!(bench.state().receive_ring(QUEUE), None);
        program(&mut bench, true, 0x4000, 128);
        assert_eq!(
            bench.state().receive_ring(QUEUE).map(|ring| ring.size),
            Some(8)
        );
        bench.assert_clean();
    }

    #[test]
    fn a_tail_that_moves_makes_its_queue_ready() {
        let mut bench = running();
        bench.state().rings.transmit_ready = 0;
        bench.write(TDT.at(QUEUE - 1), 1);
        assert_eq!(
            bench.state().rings.transmit_ready,
            0,
            "a queue that is not enabled"
        );
    }

    #[test]
    fn set_up_of_an_enabled_ring_is_a_violation() {
        for receive in [true, false] {
            let Names {
                base_low,
                base_high,
                length,
                head,
                ..
            } = names(receive, QUEUE);
            for register in [base_low, base_high, length, head] {
                let mut bench = running();
                bench.write(register, 0);
                bench.assert_violation(&crate::registers::name(register), Why::RingEnabled);
            }
        }
    }

    #[test]
    fn a_tail_outside_the_ring_is_a_violation_and_stops_it() {
        let mut bench = running();
        bench.write(TDT.at(QUEUE), 8);
        bench.assert_violation("TDT[70]", Why::TailOutOfRange(8));
        assert_eq!(bench.state().transmit_ring(QUEUE), None);

        let mut bench = running();
        bench.write(RDT.at(QUEUE), 0xFFFF);
        bench.assert_violation("RDT[70]", Why::TailOutOfRange(64));
    }

    #[test]
    fn an_odd_length_or_base_is_a_violation_when_the_ring_starts() {
        for (base, length, register, why) in [
            (0x1000, 0, "RDLEN[70]", Why::RingLength),
            (0x1000, 100, "RDLEN[70]", Why::RingLength),
            (0x1000, 1000, "RDLEN[70]", Why::RingLength),
            (0x1010, 1024, "RDBAL[70]", Why::RingBase),
        ] {
            let mut bench = Bench::new();
            program(&mut bench, true, base, length);
            bench.assert_clean();
            bench.write(RXCTRL, RXCTRL_RXEN);
            bench.assert_violation(register, why);
        }
    }

    #[test]
    fn a_self_test_may_write_anything_to_rings_that_do_not_run() {
        let mut bench = Bench::new();
        for pattern in [0x5A5A_5A5A, 0xA5A5_A5A5, 0, !0] {
            bench.write(RDBAL.at(0), pattern);
            bench.write(RDLEN.at(0), pattern & 0x000F_FFFF);
            bench.write(RXDCTL.at(0), QUEUE_ENABLE);
            bench.write(RDT.at(0), pattern & 0xFFFF);
            assert_eq!(bench.read(RDT.at(0)), pattern & 0xFFFF);
            bench.write(RXDCTL.at(0), 0);
        }
        bench.assert_clean();
    }

    #[test]
    fn a_ring_counts_what_is_between_head_and_tail() {
        let ring = |head, tail| Ring {
            base: 0x1000,
            size: 8,
            head,
            tail,
        };
        assert_eq!(ring(2, 5).available(), 3);
        assert_eq!(ring(5, 2).available(), 5);
        assert_eq!(ring(3, 3).available(), 0);
        assert_eq!(ring(0, 0).after(7), 0);
        assert_eq!(ring(0, 0).address(7), 0x1070);
    }
}
