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
use crate::transmit;
use crate::violation::Why;

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

    pub(crate) fn receive_tail(&mut self, register: Reg, value: u32) {
        if self.regs[RXCTRL] & RXCTRL_RXEN != 0 {
            let queue = queue_of(register);
            if self.rings.receive_enabled >> queue & 1 != 0 {
                self.judge_tail(register, RDLEN.at(queue), value);
            }
        }
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
    pub(crate) fn receive_control(&mut self, register: Reg, value: u32) {
        let queue = queue_of(register);
        let started = set(
            &mut self.rings.receive_enabled,
            queue,
            value & QUEUE_ENABLE != 0,
        );
        if started && self.regs[RXCTRL] & RXCTRL_RXEN != 0 {
            self.judge_start(true, queue);
        }
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
        if started && self.regs[DMATXCTL] & DMATXCTL_TE != 0 {
            self.judge_start(false, queue);
            self.rings.transmit_ready |= 1 << queue;
            transmit::run(self, host);
        }
    }

    /// RXCTRL was written.
    pub(crate) fn receive_enabled(&mut self) {
        if self.regs[RXCTRL] & RXCTRL_RXEN != 0 {
            each(self.rings.receive_enabled).for_each(|queue| self.judge_start(true, queue));
        }
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
