//! The card's EEPROM, read word by word, and whether its checksum holds
//! (datasheet 4.6.3, 6, 8.2.3.2).

use std::time::Duration;

use super::registers::general::{EEC, EEC_READY, EERD, EERD_ADDRESS, EERD_DONE, EERD_START};
use super::registers::{Late, Register, Registers, wait};

pub(super) const LAST_ADDRESS: u16 = 0x3FFF;

/// The word that makes the sum, and the sum.
const CHECKSUM: u16 = 0x3F;
const SUM: u16 = 0xBABA;
/// Words that point to sections whose contents count as well: PCIe analog up to the words before
/// the firmware's pointer.
const SECTIONS: std::ops::Range<u16> = 0x03..0x0F;

const LOADING: Duration = Duration::from_millis(100);
const READING: Duration = Duration::from_millis(10);

/// Why an EEPROM is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EepromError {
    #[error("the card is gone: look at its slot, then start again")]
    Gone,
    #[error(
        "the card has not loaded its EEPROM: power the machine off and on, or replace the card"
    )]
    NotReady,
    #[error("word {0:#x} of the EEPROM is not read in time: power the machine off and on")]
    Stuck(u16),
    #[error(
        "EEPROM checksum is {read:#06x}, should be {computed:#06x}: restore the card's NVM with its vendor's tool"
    )]
    ChecksumWrong { read: u16, computed: u16 },
}

/// Waits until the card has loaded its settings, then checks what they were loaded from.
pub(super) fn verify_eeprom(registers: &impl Registers) -> Result<(), EepromError> {
    wait_for(registers, EEC, EEC_READY, LOADING, EepromError::NotReady)?;
    let computed = checksum(registers)?;
    match word(registers, CHECKSUM)? {
        read if read == computed => Ok(()),
        read => Err(EepromError::ChecksumWrong { read, computed }),
    }
}

fn checksum(registers: &impl Registers) -> Result<u16, EepromError> {
    let mut sum = 0u16;
    for at in 0..CHECKSUM {
        sum = sum.wrapping_add(word(registers, at)?);
    }
    for at in SECTIONS {
        // Neither 0 nor all ones is a section, nor a length. One past what can be addressed ends there.
        let section = word(registers, at)?;
        if !(1..LAST_ADDRESS).contains(&section) {
            continue;
        }
        let length = word(registers, section)?;
        if matches!(length, 0 | 0xFFFF) {
            continue;
        }
        for at in section + 1..=section.saturating_add(length).min(LAST_ADDRESS) {
            sum = sum.wrapping_add(word(registers, at)?);
        }
    }
    Ok(SUM.wrapping_sub(sum))
}

/// Reads a word, of those up to [`LAST_ADDRESS`].
pub(super) fn word(registers: &impl Registers, at: u16) -> Result<u16, EepromError> {
    registers.write(EERD, u32::from(at) << EERD_ADDRESS | EERD_START);
    let value = wait_for(registers, EERD, EERD_DONE, READING, EepromError::Stuck(at))?;
    Ok(u16::try_from(value >> 16).unwrap_or_default())
}

/// Reads until all of `bits` are set.
fn wait_for(
    registers: &impl Registers,
    register: Register,
    bits: u32,
    limit: Duration,
    late: EepromError,
) -> Result<u32, EepromError> {
    wait(registers, register, bits, bits, limit).map_err(|why| match why {
        Late::Gone => EepromError::Gone,
        Late::Time => late,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use super::*;
    use crate::dataplane::port::ixgbe::testing::Model;

    /// An EEPROM behind EERD, of a card that is torn out after so many accesses.
    #[derive(Clone)]
    struct Card {
        words: Rc<RefCell<Vec<u16>>>,
        eerd: Rc<Cell<u32>>,
        left: Rc<Cell<u32>>,
        ready: u32,
    }

    impl Card {
        fn new() -> Card {
            let mut words = vec![0; 0x200];
            (words[0x03], words[0x100], words[0x101], words[0x102]) = (0x100, 2, 0x1234, 0x4321);
            words[0x3F] = SUM.wrapping_sub(0x100 + 0x1234 + 0x4321);
            Card {
                words: Rc::new(RefCell::new(words)),
                eerd: Rc::default(),
                left: Rc::new(Cell::new(u32::MAX)),
                ready: EEC_READY,
            }
        }

        fn there(&self) -> bool {
            self.left.set(self.left.get().saturating_sub(1));
            self.left.get() > 0
        }
    }

    impl Registers for Card {
        fn read(&self, register: Register) -> u32 {
            match register {
                _ if !self.there() => !0,
                EEC => self.ready,
                EERD => self.eerd.get(),
                _ => 0,
            }
        }

        fn write(&self, _: Register, value: u32) {
            if self.there() {
                let word = self.words.borrow().get((value >> 2) as usize).copied();
                self.eerd
                    .set(u32::from(word.unwrap_or(0xFFFF)) << 16 | EERD_DONE);
            }
        }
    }

    #[test]
    fn sections_pointed_to_count() {
        let card = Card::new();
        assert_eq!(verify_eeprom(&card), Ok(()));
        card.words.borrow_mut()[0x102] += 1;
        let wrong = verify_eeprom(&card).unwrap_err();
        assert!(
            matches!(wrong, EepromError::ChecksumWrong { read, computed } if read == computed + 1)
        );
    }

    #[test]
    fn a_section_past_the_end_is_bounded() {
        let card = Card::new();
        card.words.borrow_mut()[0x100] = 0xFFFE;
        assert!(matches!(
            verify_eeprom(&card),
            Err(EepromError::ChecksumWrong { .. })
        ));
    }

    #[test]
    fn an_eeprom_that_is_never_loaded_is_told() {
        let card = Card {
            ready: 1 << 8,
            ..Card::new()
        };
        assert_eq!(verify_eeprom(&card), Err(EepromError::NotReady));
    }

    #[test]
    fn a_card_torn_out_at_any_access_is_gone() {
        let card = Card::new();
        assert_eq!(verify_eeprom(&card), Ok(()));
        let accesses = u32::MAX - card.left.get();
        assert!(accesses > 100);
        for left in 1..=accesses {
            card.left.set(left);
            assert_eq!(verify_eeprom(&card), Err(EepromError::Gone), "after {left}");
        }
    }

    #[test]
    fn the_model_has_a_checksum_that_holds_until_a_word_changes() {
        let model = Model::new();
        assert_eq!(verify_eeprom(&model), Ok(()));
        let eewr = Register(0x1_0018);
        model.write(eewr, 0x1234 << 16 | 0x15 << 2 | 1);
        let wrong = verify_eeprom(&model);
        assert!(matches!(wrong, Err(EepromError::ChecksumWrong { .. })));
        assert_eq!(model.violations(), [""; 0]);
        model.remove();
        assert_eq!(verify_eeprom(&model), Err(EepromError::Gone));
    }
}
