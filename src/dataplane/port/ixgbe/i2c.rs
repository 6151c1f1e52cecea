//! The bus to the SFP+ module: I2C at no more than 100 kHz, made by hand from two pins (I2CCTL; the
//! I2C-bus specification's standard mode). Nothing on it is waited for without a limit.

use std::time::{Duration, Instant};

use super::registers::Registers;
use super::registers::sharing::*;

/// Half a clock: 4.7 us at the least.
const HALF: Duration = Duration::from_micros(5);
/// How long a module may hold the clock down.
const STRETCH: Duration = Duration::from_micros(500);
/// The module's description (SFF-8472): where it listens; the last bit says that it is read.
const ADDRESS: u8 = 0xA0;

/// Nobody acknowledged, or somebody holds the clock down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoAnswer;

/// The pins, as the driver has them: high is let go of.
pub(super) struct Bus<'a, R: Registers> {
    registers: &'a R,
    pins: u32,
}

impl<'a, R: Registers> Bus<'a, R> {
    pub(super) fn new(registers: &'a R) -> Bus<'a, R> {
        Bus {
            registers,
            pins: I2CCTL_CLOCK_OUT | I2CCTL_DATA_OUT,
        }
    }

    /// Reads the module's bytes from its first on.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Result<(), NoAnswer> {
        let read = self.try_read(bytes);
        if read.is_err() {
            // A module that lost count may hold the data line: nine clocks end any byte.
            (0..9).try_for_each(|_| self.clock(true).map(|_| ())).ok();
        }
        self.stop();
        read
    }

    fn try_read(&mut self, bytes: &mut [u8]) -> Result<(), NoAnswer> {
        self.start()?;
        self.send(ADDRESS)?;
        self.send(0)?;
        self.start()?;
        self.send(ADDRESS | 1)?;
        let count = bytes.len();
        for (at, byte) in bytes.iter_mut().enumerate() {
            for _ in 0..8 {
                *byte = *byte << 1 | u8::from(self.clock(true)?);
            }
            // Acknowledged, but for the last.
            self.clock(at + 1 == count)?;
        }
        Ok(())
    }

    /// The data line falls while the clock is high.
    fn start(&mut self) -> Result<(), NoAnswer> {
        self.drive(I2CCTL_DATA_OUT, true);
        self.raise_clock()?;
        self.drive(I2CCTL_DATA_OUT, false);
        self.drive(I2CCTL_CLOCK_OUT, false);
        Ok(())
    }

    /// The data line rises while the clock is high.
    fn stop(&mut self) {
        self.drive(I2CCTL_CLOCK_OUT, false);
        self.drive(I2CCTL_DATA_OUT, false);
        self.drive(I2CCTL_CLOCK_OUT, true);
        self.drive(I2CCTL_DATA_OUT, true);
    }

    fn send(&mut self, byte: u8) -> Result<(), NoAnswer> {
        for bit in (0..8).rev() {
            self.clock(byte >> bit & 1 != 0)?;
        }
        match self.clock(true)? {
            false => Ok(()),
            true => Err(NoAnswer),
        }
    }

    /// One clock with a bit of ours, or true for one of the module's; what the line was.
    fn clock(&mut self, bit: bool) -> Result<bool, NoAnswer> {
        self.drive(I2CCTL_DATA_OUT, bit);
        let lines = self.raise_clock()?;
        self.drive(I2CCTL_CLOCK_OUT, false);
        Ok(lines & I2CCTL_DATA_IN != 0)
    }

    /// Lets the clock rise, and returns the lines once it has been high for its time.
    fn raise_clock(&mut self) -> Result<u32, NoAnswer> {
        let end = Instant::now() + STRETCH;
        loop {
            self.drive(I2CCTL_CLOCK_OUT, true);
            match self.registers.read(I2CCTL) {
                // Bits that are always zero: the card is gone, and no byte need be made up.
                u32::MAX => return Err(NoAnswer),
                lines if lines & I2CCTL_CLOCK_IN != 0 => return Ok(lines),
                _ if Instant::now() >= end => return Err(NoAnswer),
                _ => {}
            }
        }
    }

    /// Sets a pin and gives it half a clock.
    fn drive(&mut self, pin: u32, high: bool) {
        self.pins = self.pins & !pin | if high { pin } else { 0 };
        self.registers.write(I2CCTL, self.pins);
        // The write has arrived when a read has come back (specification update, clarification 3).
        self.registers.read(I2CCTL);
        // Shorter than any sleep.
        let end = Instant::now() + HALF;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }
}
