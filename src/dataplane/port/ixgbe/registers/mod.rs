//! The controller's registers (datasheet section 8.2): how they are reached, where they are, what
//! their bits mean. Those of single hardware queues are in `switch`.

pub(super) mod general;
pub(super) mod interrupt;
pub(super) mod link;
pub(super) mod receive;
pub(super) mod sharing;
pub(super) mod statistics;
pub(super) mod transmit;

use std::time::{Duration, Instant};

/// A register: its byte offset in BAR 0 (datasheet section 8.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register(pub u32);

impl Register {
    /// The `n`th of an array of registers, which begins here.
    pub(super) const fn nth(self, n: u32) -> Register {
        Register(self.0 + 4 * n)
    }
}

/// How registers are reached: BAR 0 of a card, or a model's in tests. Handles are cheap to clone;
/// each worker and control have their own.
pub trait Registers: Clone {
    /// Reads 32 bits. All ones from a card that is gone.
    fn read(&self, register: Register) -> u32;

    fn write(&self, register: Register, value: u32);

    /// Changes bits of a register that nobody else changes.
    fn modify(&self, register: Register, clear: u32, set: u32) {
        let value = self.read(register);
        self.write(register, value & !clear | set);
    }

    /// Whether the card has gone: all registers read as ones, STATUS too, which has bits that are zero.
    fn is_gone(&self) -> bool {
        self.read(general::STATUS) == !0
    }
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Late {
    Gone,
    Time,
}

/// Reads a register until the bits of `mask` are as in `wanted`, for a limited time.
pub(super) fn wait(
    registers: &impl Registers,
    register: Register,
    mask: u32,
    wanted: u32,
    limit: Duration,
) -> Result<u32, Late> {
    const LOOK: Duration = Duration::from_micros(20);
    let end = Instant::now() + limit;
    loop {
        let value = registers.read(register);
        if value == !0 && registers.is_gone() {
            return Err(Late::Gone);
        }
        if value & mask == wanted {
            return Ok(value);
        }
        if Instant::now() >= end {
            return Err(Late::Time);
        }
        std::thread::sleep(LOOK);
    }
}
