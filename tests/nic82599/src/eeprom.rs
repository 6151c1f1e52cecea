//! The EEPROM: 1024 words behind EERD and EEWR (datasheet 6, 8.2.3.2), with what drivers look for:
//! a checksum, the pointer to a firmware new enough, and the list of SFP+ set-ups.

use crate::registers::{EEC, EERD, EEWR};
use crate::state::State;
use crate::violation::Why;

const WORDS: usize = 1024;
/// Words 0 to 0x3F sum to this.
const SUM: u16 = 0xBABA;
const CHECKSUM: usize = 0x3F;

/// EERD, EEWR: start, done, and the word's address in bits 15:2.
const START: u32 = 1;
const DONE: u32 = 1 << 1;

/// EEC: software asks for the pins, and has them.
const REQUEST: u32 = 1 << 6;
const GRANT: u32 = 1 << 7;

pub(crate) struct Eeprom {
    words: Box<[u16; WORDS]>,
}

impl Eeprom {
    pub(crate) fn new() -> Eeprom {
        let mut words = Box::new([0xFFFF; WORDS]);
        for (at, word) in CONTENT {
            words[*at] = *word;
        }
        let sum = words[..CHECKSUM]
            .iter()
            .fold(0u16, |sum, word| sum.wrapping_add(*word));
        words[CHECKSUM] = SUM.wrapping_sub(sum);
        Eeprom { words }
    }

    fn word(&mut self, register: u32) -> Option<&mut u16> {
        self.words.get_mut((register >> 2 & 0x3FFF) as usize)
    }
}

/// The words that are not 0xFFFF.
const CONTENT: &[(usize, u16)] = &[
    // Part number.
    (0x15, 0xE667),
    (0x16, 0x0101),
    // Pointer to the firmware block; there, at 4, pointer to its set-up, whose word 7 is the
    // firmware's version: Linux warns up to 5.
    (0x0F, 0x0100),
    (0x104, 0x0120),
    (0x127, 0x0006),
    // Pointer to the list of SFP+ set-ups: a header, then pairs of module type and pointer. Types
    // 3 and 4 are direct-attach copper in port 0 and port 1, 5 and 6 optics. Behind the pointer,
    // after a header too, what is written to CORECTL, up to 0xFFFF.
    (0x2B, 0x0140),
    (0x140, 0x0000),
    (0x141, 0x0003),
    (0x142, 0x0160),
    (0x143, 0x0004),
    (0x144, 0x0160),
    (0x145, 0x0005),
    (0x146, 0x0160),
    (0x147, 0x0006),
    (0x148, 0x0160),
    (0x160, 0x0000),
    (0x161, 0x0001),
    // Device capabilities: none of those that are optional.
    (0x2C, 0x0000),
];

impl State {
    /// EEC: the pins are granted to whoever asks. The serial interface behind them is not modelled.
    pub(crate) fn eeprom_control(&mut self, value: u32) {
        self.regs[EEC] &= !GRANT;
        if value & REQUEST != 0 {
            self.regs[EEC] |= GRANT;
        }
    }

    /// EERD: reads a word; it is there at once.
    pub(crate) fn read_eeprom(&mut self, value: u32) {
        if value & START == 0 {
            return;
        }
        let Some(&mut word) = self.eeprom.word(value) else {
            return self.violate(EERD, value, Why::Protocol("a word past the EEPROM's end"));
        };
        self.regs[EERD] = u32::from(word) << 16 | value & 0xFFFC | DONE;
    }

    /// EEWR: writes a word; it is done at once.
    pub(crate) fn write_eeprom(&mut self, value: u32) {
        if value & START == 0 {
            return;
        }
        let written = u16::try_from(value >> 16).unwrap_or_default();
        let Some(word) = self.eeprom.word(value) else {
            return self.violate(EEWR, value, Why::Protocol("a word past the EEPROM's end"));
        };
        *word = written;
        self.regs[EEWR] = value & !START | DONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn word(bench: &mut Bench, at: u16) -> u16 {
        bench.write(EERD, u32::from(at) << 2 | START);
        let value = bench.read(EERD);
        assert_eq!(value & DONE, DONE);
        u16::try_from(value >> 16).unwrap()
    }

    #[test]
    fn the_first_words_sum_to_the_checksum() {
        let mut bench = Bench::new();
        let sum = (0..=0x3F).fold(0u16, |sum, at| sum.wrapping_add(word(&mut bench, at)));
        assert_eq!(sum, 0xBABA);
        bench.assert_clean();
    }

    #[test]
    fn the_firmware_is_newer_than_what_linux_warns_of() {
        let mut bench = Bench::new();
        let firmware = word(&mut bench, 0x0F);
        let set_up = word(&mut bench, firmware + 4);
        assert!(word(&mut bench, set_up + 7) > 5);
    }

    #[test]
    fn the_list_of_modules_has_direct_attach_copper() {
        let mut bench = Bench::new();
        let mut at = word(&mut bench, 0x2B) + 1;
        while word(&mut bench, at) != 3 {
            assert_ne!(word(&mut bench, at), 0xFFFF, "the end of the list");
            at += 2;
        }
        let sequence = word(&mut bench, at + 1);
        assert_ne!(word(&mut bench, sequence + 1), 0xFFFF);
        assert_eq!(word(&mut bench, sequence + 2), 0xFFFF);
    }

    #[test]
    fn a_written_word_reads_back_and_outlives_a_reset() {
        let mut bench = Bench::new();
        bench.write(EEWR, 0xCAFE << 16 | 0x200 << 2 | START);
        assert_eq!(bench.read(EEWR) & DONE, DONE);
        bench.nic.reset();
        assert_eq!(word(&mut bench, 0x200), 0xCAFE);
    }

    #[test]
    fn a_word_past_the_end_is_a_violation() {
        let mut bench = Bench::new();
        bench.write(EERD, 1024 << 2 | START);
        assert_eq!(bench.read(EERD) & DONE, 0);
        bench.assert_violation("EERD", Why::Protocol("a word past the EEPROM's end"));
    }

    #[test]
    fn the_pins_are_granted_while_asked_for() {
        let mut bench = Bench::new();
        let idle = bench.read(EEC);
        assert_eq!(idle & GRANT, 0);
        bench.write(EEC, idle | REQUEST);
        assert_eq!(bench.read(EEC), idle | REQUEST | GRANT);
        bench.write(EEC, idle);
        assert_eq!(bench.read(EEC), idle);
        bench.assert_clean();
    }
}
