//! What is behind the MAC: no PHY on MDIO, and an SFP+ module on I2C (datasheet 3.5.3, 3.7.6).
//!
//! The module is a direct-attach copper cable: 256 bytes at I2C address 0xA0 (SFF-8472), read by
//! bit-banging I2CCTL. The bus is a wired AND of the driver's pins and the module's.

use crate::registers::{I2CCTL, MSCA, MSRWD};
use crate::state::State;

/// MSCA: the command is running, cleared when it is done.
const MDI_COMMAND: u32 = 1 << 30;
/// MSRWD: nobody drives the data line, so reads are all ones.
const NOBODY: u32 = 0xFFFF_0000;

/// I2CCTL: what is driven, and what is on the bus.
const CLOCK_IN: u32 = 1;
const CLOCK_OUT: u32 = 1 << 1;
const DATA_IN: u32 = 1 << 2;
const DATA_OUT: u32 = 1 << 3;

/// The module's address on the bus, in the first seven bits.
const ADDRESS: u8 = 0xA0 >> 1;

/// What the module is doing with the bytes on the bus.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not addressed.
    Idle,
    /// Taking the bits of an address, an offset or data.
    Take(Meaning),
    /// Acknowledging the byte just taken, and what comes then.
    Acknowledge(Next),
    Give,
    /// Reading the driver's acknowledgement.
    Acknowledged {
        more: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Address,
    Offset,
    Data,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Take(Meaning),
    Give,
}

/// The SFP+ module.
pub(crate) struct Module {
    phase: Phase,
    clock: bool,
    /// What the driver puts on the data line, and whether the module pulls it down.
    data: bool,
    pulls: bool,
    bits: u8,
    byte: u8,
    offset: u8,
    memory: [u8; 256],
}

impl Module {
    pub(crate) fn new() -> Module {
        Module {
            phase: Phase::Idle,
            clock: true,
            data: true,
            pulls: false,
            bits: 0,
            byte: 0,
            offset: 0,
            memory: memory(),
        }
    }

    /// The driver sets the lines.
    fn drive(&mut self, clock: bool, data: bool) {
        match (self.clock, clock) {
            (true, true) if self.data && !data => self.start(),
            (true, true) if !self.data && data => self.stop(),
            (false, true) => self.clock_rises(data && !self.pulls),
            (true, false) => self.clock_falls(),
            _ => {}
        }
        self.clock = clock;
        self.data = data;
    }

    fn start(&mut self) {
        self.take(Meaning::Address);
    }

    fn stop(&mut self) {
        self.phase = Phase::Idle;
        self.pulls = false;
    }

    fn take(&mut self, meaning: Meaning) {
        self.phase = Phase::Take(meaning);
        self.bits = 0;
        self.pulls = false;
    }

    /// Bits are valid while the clock is high.
    fn clock_rises(&mut self, bit: bool) {
        match &mut self.phase {
            Phase::Take(_) => {
                self.byte = self.byte << 1 | u8::from(bit);
                self.bits += 1;
            }
            Phase::Acknowledged { more } => *more = !bit,
            Phase::Give | Phase::Idle | Phase::Acknowledge(_) => {}
        }
    }

    /// Bits change while the clock is low.
    fn clock_falls(&mut self) {
        match self.phase {
            Phase::Take(meaning) if self.bits == 8 => self.taken(meaning),
            Phase::Acknowledge(Next::Take(meaning)) => self.take(meaning),
            Phase::Acknowledge(Next::Give) | Phase::Acknowledged { more: true } => self.give(),
            Phase::Acknowledged { more: false } => self.stop(),
            Phase::Give if self.bits == 8 => {
                self.pulls = false;
                self.phase = Phase::Acknowledged { more: false };
            }
            Phase::Give => self.give_bit(),
            Phase::Take(_) | Phase::Idle => {}
        }
    }

    fn taken(&mut self, meaning: Meaning) {
        let reads = self.byte & 1 != 0;
        let next = match meaning {
            Meaning::Address if self.byte >> 1 != ADDRESS => return self.stop(),
            Meaning::Address if reads => Next::Give,
            Meaning::Address => Next::Take(Meaning::Offset),
            Meaning::Offset => {
                self.offset = self.byte;
                Next::Take(Meaning::Data)
            }
            Meaning::Data => {
                self.memory[usize::from(self.offset)] = self.byte;
                self.offset = self.offset.wrapping_add(1);
                Next::Take(Meaning::Data)
            }
        };
        self.pulls = true;
        self.phase = Phase::Acknowledge(next);
    }

    fn give(&mut self) {
        self.byte = self.memory[usize::from(self.offset)];
        self.offset = self.offset.wrapping_add(1);
        self.phase = Phase::Give;
        self.bits = 0;
        self.give_bit();
    }

    fn give_bit(&mut self) {
        self.pulls = self.byte & 0x80 == 0;
        self.byte <<= 1;
        self.bits += 1;
    }
}

/// The module's description of itself (SFF-8472, table 4-1).
fn memory() -> [u8; 256] {
    let mut memory = [0; 256];
    // SFP, with an LC-less pigtail; passive copper of 1 m at 10.3 Gb/s.
    memory[0] = 3;
    memory[1] = 4;
    memory[2] = 0x21;
    memory[8] = 4;
    memory[12] = 103;
    memory[18] = 1;
    memory[20..36].copy_from_slice(b"MODEL           ");
    memory[40..56].copy_from_slice(b"DAC-1M          ");
    memory[56..60].copy_from_slice(b"1   ");
    memory[68..84].copy_from_slice(b"000000000001    ");
    memory[84..92].copy_from_slice(b"261122  ");
    memory[63] = sum(&memory[..63]);
    memory[95] = sum(&memory[64..95]);
    memory
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte))
}

impl State {
    /// MSCA: a command that nobody answers, done at once.
    pub(crate) fn mdio(&mut self, value: u32) {
        if value & MDI_COMMAND != 0 {
            self.regs[MSRWD] |= NOBODY;
        }
        self.regs[MSCA] &= !MDI_COMMAND;
    }

    pub(crate) fn write_i2c(&mut self, value: u32) {
        self.module
            .drive(value & CLOCK_OUT != 0, value & DATA_OUT != 0);
    }

    pub(crate) fn read_i2c(&self) -> u32 {
        let clock = if self.module.clock { CLOCK_IN } else { 0 };
        let data = if self.module.data && !self.module.pulls {
            DATA_IN
        } else {
            0
        };
        self.regs[I2CCTL] & (CLOCK_OUT | DATA_OUT) | clock | data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    /// A driver that bit-bangs the bus.
    struct Bus {
        bench: Bench,
        pins: u32,
    }

    impl Bus {
        fn new() -> Bus {
            Bus {
                bench: Bench::new(),
                pins: CLOCK_OUT | DATA_OUT,
            }
        }

        fn pin(&mut self, pin: u32, high: bool) {
            self.pins = if high {
                self.pins | pin
            } else {
                self.pins & !pin
            };
            self.bench.write(I2CCTL, self.pins);
        }

        /// One clock; what the data line was.
        fn clock(&mut self, bit: bool) -> bool {
            self.pin(DATA_OUT, bit);
            self.pin(CLOCK_OUT, true);
            let lines = self.bench.read(I2CCTL);
            assert_ne!(lines & CLOCK_IN, 0, "the module does not stretch the clock");
            self.pin(CLOCK_OUT, false);
            lines & DATA_IN != 0
        }

        fn start(&mut self) {
            self.pin(DATA_OUT, true);
            self.pin(CLOCK_OUT, true);
            self.pin(DATA_OUT, false);
            self.pin(CLOCK_OUT, false);
        }

        fn stop(&mut self) {
            self.pin(DATA_OUT, false);
            self.pin(CLOCK_OUT, true);
            self.pin(DATA_OUT, true);
        }

        /// Sends a byte; whether it was acknowledged.
        fn send(&mut self, byte: u8) -> bool {
            for bit in (0..8).rev() {
                self.clock(byte >> bit & 1 != 0);
            }
            !self.clock(true)
        }

        fn receive(&mut self, more: bool) -> u8 {
            let byte = (0..8).fold(0, |byte, _| byte << 1 | u8::from(self.clock(true)));
            self.clock(!more);
            byte
        }

        fn read(&mut self, offset: u8, count: usize) -> Vec<u8> {
            self.start();
            assert!(self.send(0xA0), "address");
            assert!(self.send(offset), "offset");
            self.start();
            assert!(self.send(0xA1), "address to read");
            let bytes = (1..=count).map(|n| self.receive(n < count)).collect();
            self.stop();
            bytes
        }
    }

    #[test]
    fn the_module_says_that_it_is_direct_attach_copper() {
        let mut bus = Bus::new();
        assert_eq!(bus.read(0, 1), [3], "an SFP");
        assert_eq!(bus.read(8, 1), [4], "passive copper");
        assert_eq!(bus.read(20, 5), *b"MODEL");
        bus.bench.assert_clean();
    }

    #[test]
    fn the_module_s_checksums_are_right() {
        let mut bus = Bus::new();
        let base = bus.read(0, 64);
        assert_eq!(base[63], sum(&base[..63]));
        let extended = bus.read(64, 32);
        assert_eq!(extended[31], sum(&extended[..31]));
    }

    #[test]
    fn another_address_is_not_acknowledged() {
        let mut bus = Bus::new();
        bus.start();
        assert!(!bus.send(0xA2));
        bus.stop();
        assert_eq!(bus.read(0, 1), [3], "and the bus is free again");
    }

    #[test]
    fn the_bus_shows_what_the_driver_pulls_down() {
        let mut bus = Bus::new();
        assert_eq!(bus.bench.read(I2CCTL), 0xF);
        bus.pin(DATA_OUT, false);
        assert_eq!(bus.bench.read(I2CCTL), CLOCK_OUT | CLOCK_IN);
    }

    #[test]
    fn nobody_answers_on_mdio() {
        let mut bench = Bench::new();
        bench.write(MSCA, MDI_COMMAND | 2 << 26 | 1 << 16 | 2);
        assert_eq!(bench.read(MSCA) & MDI_COMMAND, 0, "done");
        assert_eq!(bench.read(MSRWD) >> 16, 0xFFFF);
        bench.assert_clean();
    }
}
