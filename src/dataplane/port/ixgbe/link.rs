//! From a module in the cage to a link: the card's analog part is set as the EEPROM says for such a
//! module, then the link is trained anew (datasheet 3.7.4, 4.6.4.2; the list is the one that Linux goes
//! by, at word 0x2B).

use std::thread::sleep;
use std::time::Duration;

use super::eeprom::{LAST_ADDRESS, word};
use super::error::CardError;
use super::module::{Kind, Module, identify};
use super::registers::Registers;
use super::registers::general::{ESDP, ESDP_LASER_OFF, STATUS, STATUS_LAN_ID};
use super::registers::link::*;
use super::semaphore::{Held, Resource};

/// The word that points to the list: a word that is not for us, then pairs of a type of module and a
/// pointer. Behind that, again after a word, is what is written to CORECTL.
const LIST: u16 = 0x2B;
const END: u16 = 0xFFFF;
/// Types for port 0; port 1's follow each.
const DIRECT_ATTACH: u16 = 3;
const OPTICS: u16 = 5;
/// More than any card's EEPROM has.
const MAX_TYPES: u16 = 64;
const MAX_VALUES: u16 = 256;
/// How often, and after how long each, negotiation is looked at.
const LOOKS: u32 = 10;
const LOOK: Duration = Duration::from_millis(4);

/// The cage.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Cage {
    pub(super) module: Option<Module>,
    /// The EEPROM has settings for it.
    pub(super) has_settings: bool,
}

impl Cage {
    /// Why a link may not come up.
    pub(super) fn warning(&self) -> Option<String> {
        let Some(module) = &self.module else {
            return Some("there is no SFP+ module in the cage".to_owned());
        };
        match (module.kind, self.has_settings) {
            (Kind::OneGigabit, _) => Some(format!(
                "the {module} is too slow for this port, which has 10 Gb/s only: use an SFP+ module"
            )),
            (_, true) => None,
            (_, false) => Some(format!(
                "the {module} is not one of those that the 82599's EEPROM has settings for: the link may \
                 not come up"
            )),
        }
    }
}

/// The laser on, the module looked at and set up for, and the link trained: SFI at 10 Gb/s.
pub(super) fn start_link(registers: &impl Registers) -> Result<Cage, CardError> {
    registers.modify(ESDP, ESDP_LASER_OFF, 0);
    let module = identify(registers)?;
    let settings = match &module {
        Some(module) => settings_for(registers, module.kind)?,
        None => None,
    };
    let has_settings = settings.is_some();
    {
        let _held = Held::acquire(registers, Resource::Mac)?;
        for value in settings.into_iter().flatten() {
            registers.write(CORECTL, u32::from(value));
            // One at a time: the write has arrived when a read has come back.
            registers.read(STATUS);
        }
        train(registers);
    }
    match registers.is_gone() {
        true => Err(CardError::Gone),
        false => Ok(Cage {
            module,
            has_settings,
        }),
    }
}

/// Trains the link, by way of another mode until negotiation has begun there: that empties the data path,
/// which may hang otherwise (Linux: ixgbe_reset_pipeline_82599). Should it not begin, the link may still
/// come up.
fn train(registers: &impl Registers) {
    registers.modify(AUTOC2, AUTOC2_SERIAL | AUTOC2_LINK_DISABLED, AUTOC2_SFI);
    let others = registers.read(AUTOC) & !AUTOC_MODE;
    let mode = others | AUTOC_10G_SERIAL | AUTOC_RESTART;
    registers.write(AUTOC, mode ^ AUTOC_MODE_NEGOTIATES);
    for _ in 0..LOOKS {
        sleep(LOOK);
        if registers.read(ANLP1) & ANLP1_STATE != 0 {
            break;
        }
    }
    registers.write(AUTOC, mode);
}

/// What the EEPROM has for a kind of module. All is read before any is written: a list without an end
/// is none.
fn settings_for(registers: &impl Registers, kind: Kind) -> Result<Option<Vec<u16>>, CardError> {
    let first = match kind {
        Kind::DirectAttachPassive => DIRECT_ATTACH,
        // An active cable is driven as optics are, which its ends are for the card.
        Kind::DirectAttachActive | Kind::ShortRange | Kind::LongRange | Kind::OneGigabit => OPTICS,
        Kind::Unknown | Kind::Silent => return Ok(None),
    };
    let second_port = registers.read(STATUS) & STATUS_LAN_ID != 0;
    let wanted = first + u16::from(second_port);
    let Some(list) = pointer(registers, LIST)? else {
        return Ok(None);
    };
    for entry in (0..MAX_TYPES).map(|n| list + 1 + 2 * n) {
        match at(registers, entry)? {
            END => return Ok(None),
            found if found == wanted => return values(registers, entry + 1),
            _ => {}
        }
    }
    Ok(None)
}

fn values(registers: &impl Registers, entry: u16) -> Result<Option<Vec<u16>>, CardError> {
    let Some(list) = pointer(registers, entry)? else {
        return Ok(None);
    };
    let mut values = Vec::new();
    for place in (0..MAX_VALUES).map(|n| list + 1 + n) {
        match at(registers, place)? {
            END => return Ok(Some(values)),
            value => values.push(value),
        }
    }
    Ok(None)
}

/// A word that points to others.
fn pointer(registers: &impl Registers, place: u16) -> Result<Option<u16>, CardError> {
    let target = at(registers, place)?;
    Ok((1..LAST_ADDRESS).contains(&target).then_some(target))
}

/// A word; past what can be addressed lists have ended.
fn at(registers: &impl Registers, place: u16) -> Result<u16, CardError> {
    match place {
        0..=LAST_ADDRESS => Ok(word(registers, place)?),
        _ => Ok(END),
    }
}
