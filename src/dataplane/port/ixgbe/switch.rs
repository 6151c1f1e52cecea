//! A hardware queue's own registers: its ring programmed, turned on, turned off
//! (datasheet 4.6.7.1, 4.6.8.1, 8.2.3.8, 8.2.3.9).

use super::registers::{Register, Registers};
use super::ring::Ring;
use crate::dataplane::mem::DmaMap;

/// RXDCTL.ENABLE, TXDCTL.ENABLE.
const ENABLE: u32 = 1 << 25;
/// RXDCTL.SWFLSH, TXDCTL.SWFLSH: what the device has done with descriptors is written back.
const FLUSH: u32 = 1 << 26;
/// What a register of a card that is gone reads as.
const GONE: u32 = !0;

/// Queues that the device has, receiving and transmitting.
pub const QUEUES: u16 = 128;

/// The registers of one receive or transmit queue, which lie alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch {
    base: u32,
}

/// Whether a queue runs, as its device says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Runs,
    Stopped,
    /// The card does not answer, so it does nothing else either.
    Gone,
}

impl Switch {
    /// Of a receive queue below [`QUEUES`].
    pub(super) fn receive(queue: u16) -> Switch {
        let page = if queue < 64 { 0x1000 } else { 0xD000 };
        Switch {
            base: page + 0x40 * u32::from(queue % 64),
        }
    }

    /// Of a transmit queue below [`QUEUES`].
    pub(super) fn transmit(queue: u16) -> Switch {
        Switch {
            base: 0x6000 + 0x40 * u32::from(queue % QUEUES),
        }
    }

    /// RDT, TDT.
    #[inline]
    pub(super) fn tail(self) -> Register {
        Register(self.base + 0x18)
    }

    /// RXDCTL, TXDCTL.
    fn control(self) -> Register {
        Register(self.base + 0x28)
    }

    /// Programs an empty ring and enables the queue, which must be stopped. `control` are the other
    /// bits of RXDCTL or TXDCTL. The tail is not to be written before [`Self::standing`] is `Runs`.
    pub(super) fn start(
        self,
        registers: &impl Registers,
        ring: &Ring,
        rings: &DmaMap,
        control: u32,
    ) {
        let [a, b, c, d, e, f, g, h] = rings.address(ring.offset()).to_le_bytes();
        let words = [
            (0x00, u32::from_le_bytes([a, b, c, d])),
            (0x04, u32::from_le_bytes([e, f, g, h])),
            (0x08, ring.len()),
            (0x10, 0),
            (0x18, 0),
        ];
        for (offset, value) in words {
            registers.write(Register(self.base + offset), value);
        }
        registers.write(self.control(), control | ENABLE);
    }

    /// Asks the queue to stop. It has when [`Self::standing`] is no longer `Runs`.
    pub(super) fn stop(self, registers: &impl Registers) {
        registers.write(self.control(), FLUSH);
    }

    pub(super) fn standing(self, registers: &impl Registers) -> Standing {
        match registers.read(self.control()) {
            GONE => Standing::Gone,
            control if control & ENABLE != 0 => Standing::Runs,
            _ => Standing::Stopped,
        }
    }
}

/// SRRCTL: a frame goes into one buffer of `kib` KiB, by advanced descriptors. DCA_RXCTRL: a bit that is
/// set by a reset and must not be (4.6.7).
pub(super) fn format(registers: &impl Registers, queue: u16, kib: u32, drops_when_empty: bool) {
    const ONE_BUFFER: u32 = 1 << 25;
    const DROP_ENABLE: u32 = 1 << 28;
    const MUST_BE_CLEAR: u32 = 1 << 12;
    let drops = if drops_when_empty { DROP_ENABLE } else { 0 };
    let register = Register(Switch::receive(queue).base + 0x14);
    registers.write(register, ONE_BUFFER | drops | kib);
    let tagging = Register(Switch::receive(queue).base + 0x0C);
    registers.modify(tagging, MUST_BE_CLEAR, 0);
}
