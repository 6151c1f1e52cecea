//! The controller's registers.

/// A register: its byte offset in BAR 0 (datasheet section 8.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register(pub u32);

/// How registers are reached: BAR 0 of a card, or a model's in tests. Handles are cheap to clone;
/// each worker and control have their own.
pub trait Registers: Clone {
    /// Reads 32 bits. All ones from a card that is gone.
    fn read(&self, register: Register) -> u32;

    fn write(&self, register: Register, value: u32);
}
