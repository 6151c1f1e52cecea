//! The SFP+ module in the cage, by what it says of itself (SFF-8472, table 4-1). That is hostile input:
//! anybody can write into a module's memory.

use std::fmt;

use super::error::CardError;
use super::i2c::{Bus, NoAnswer};
use super::registers::Registers;
use super::registers::general::{ESDP, ESDP_MODULE_PRESENT};
use super::semaphore::{Held, Resource};

/// How often it is asked.
const TRIES: u32 = 3;
/// As much of its memory as is of interest; the last byte is the sum of the others.
const BYTES: usize = 64;

const IDENTIFIER_SFP: u8 = 3;
const SHORT_RANGE_10G: u8 = 1 << 4;
const LONG_RANGE_10G: u8 = 1 << 5;
const ANY_1G: u8 = 0x0F;
const PASSIVE_CABLE: u8 = 1 << 2;
const ACTIVE_CABLE: u8 = 1 << 3;

/// What is in the cage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    pub kind: Kind,
    /// Printable ASCII; may be empty.
    pub vendor: String,
    pub part: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    DirectAttachPassive,
    DirectAttachActive,
    ShortRange,
    LongRange,
    OneGigabit,
    Unknown,
    /// It is there and does not answer, as for up to 300 ms after it was plugged.
    Silent,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::DirectAttachPassive => "passive direct-attach cable",
            Kind::DirectAttachActive => "active direct-attach cable",
            Kind::ShortRange => "10GBASE-SR module",
            Kind::LongRange => "10GBASE-LR module",
            Kind::OneGigabit => "module of 1 Gb/s",
            Kind::Unknown => "unknown module",
            Kind::Silent => "module that does not say what it is",
        }
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match (self.vendor.as_str(), self.part.as_str()) {
            ("", "") => Ok(()),
            ("", name) | (name, "") => write!(f, " ({name})"),
            (vendor, part) => write!(f, " ({vendor}, {part})"),
        }
    }
}

/// Asks what is in the cage. A module that answers is there whatever the pin says: not every board has
/// it wired.
pub(super) fn identify<R: Registers>(registers: &R) -> Result<Option<Module>, CardError> {
    let answer = {
        let _held = Held::acquire(registers, Resource::Phy)?;
        ask(registers)
    };
    let present = registers.read(ESDP) & ESDP_MODULE_PRESENT != 0;
    if registers.is_gone() {
        return Err(CardError::Gone);
    }
    let silent = Module {
        kind: Kind::Silent,
        vendor: String::new(),
        part: String::new(),
    };
    Ok(match answer {
        Ok(bytes) => Some(understand(&bytes)),
        Err(NoAnswer) => present.then_some(silent),
    })
}

/// A sum that stays wrong is taken: there are modules whose vendor did not get it right.
fn ask(registers: &impl Registers) -> Result<[u8; BYTES], NoAnswer> {
    let mut answer = Err(NoAnswer);
    for _ in 0..TRIES {
        let mut bytes = [0; BYTES];
        if Bus::new(registers).read(&mut bytes).is_ok() {
            answer = Ok(bytes);
            let [said @ .., sum] = &bytes;
            if said.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == *sum {
                break;
            }
        }
    }
    answer
}

fn understand(bytes: &[u8; BYTES]) -> Module {
    let kind = match (bytes[0], bytes[8], bytes[3], bytes[6]) {
        (identifier, ..) if identifier != IDENTIFIER_SFP => Kind::Unknown,
        (_, cable, ..) if cable & PASSIVE_CABLE != 0 => Kind::DirectAttachPassive,
        (_, cable, ..) if cable & ACTIVE_CABLE != 0 => Kind::DirectAttachActive,
        (_, _, ten, _) if ten & SHORT_RANGE_10G != 0 => Kind::ShortRange,
        (_, _, ten, _) if ten & LONG_RANGE_10G != 0 => Kind::LongRange,
        (.., one) if one & ANY_1G != 0 => Kind::OneGigabit,
        _ => Kind::Unknown,
    };
    Module {
        kind,
        vendor: text(&bytes[20..36]),
        part: text(&bytes[40..56]),
    }
}

fn text(bytes: &[u8]) -> String {
    let printable = bytes.iter().filter(|byte| (b' '..=b'~').contains(byte));
    let text: String = printable.map(|byte| char::from(*byte)).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(set: &[(usize, u8)]) -> Module {
        let mut bytes = [0; BYTES];
        set.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        understand(&bytes)
    }

    #[test]
    fn a_module_is_known_by_its_compliance_bytes() {
        for (set, kind) in [
            (&[(0, 3), (8, 4)][..], Kind::DirectAttachPassive),
            (&[(0, 3), (8, 8), (3, 0x10)], Kind::DirectAttachActive),
            (&[(0, 3), (3, 0x10), (6, 1)], Kind::ShortRange),
            (&[(0, 3), (3, 0x20)], Kind::LongRange),
            (&[(0, 3), (6, 8)], Kind::OneGigabit),
            (&[(0, 3)], Kind::Unknown),
            (&[(0, 0x0D), (8, 4)], Kind::Unknown),
        ] {
            assert_eq!(module(set).kind, kind, "{set:?}");
        }
    }

    #[test]
    fn names_from_a_module_are_printable_whatever_it_says() {
        let mut bytes = [0xFF; BYTES];
        bytes[20..36].copy_from_slice(b" A\x1b[2J\nC\x7fM\xC3\xA9E \0 ");
        let module = understand(&bytes);
        assert_eq!((&*module.vendor, &*module.part), ("A[2JCME", ""));
        assert_eq!(module.to_string(), "unknown module (A[2JCME)");
    }

    #[test]
    fn a_module_is_shown_by_its_names() {
        let mut bytes = [b' '; BYTES];
        (bytes[0], bytes[8]) = (3, 4);
        bytes[20..24].copy_from_slice(b"ACME");
        bytes[40..44].copy_from_slice(b"PART");
        let shown = understand(&bytes).to_string();
        assert_eq!(shown, "passive direct-attach cable (ACME, PART)");
    }
}
