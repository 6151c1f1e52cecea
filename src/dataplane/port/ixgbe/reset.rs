//! From whatever state to a controller that is set up and at rest (datasheet 4.6.3, steps 1 to 5).

use std::thread::sleep;
use std::time::Duration;

use super::eeprom::verify_eeprom;
use super::error::CardError;
use super::registers::general::*;
use super::registers::interrupt::{EICR, EIMC, EIMC_EX};
use super::registers::receive::{RAH0, RAL0, RDRXCTL, RDRXCTL_DMA_INIT_DONE};
use super::registers::{Late, Register, Registers, wait};
use crate::shared::mac::MacAddr;

/// How long DMA that has begun may take to end (5.2.5.3.2: 100 ms at the most).
const MASTER: Duration = Duration::from_millis(100);
/// How long a reset may take, and what the datasheet gives the device afterwards (4.6.3.2).
const RESET: Duration = Duration::from_millis(100);
const AFTER_RESET: Duration = Duration::from_millis(10);
const DMA_INIT: Duration = Duration::from_millis(100);
const FIRMWARE: Duration = Duration::from_secs(1);

/// Resets the controller and waits until it is ready to be programmed. Returns its own address.
pub(super) fn reset(registers: &impl Registers) -> Result<MacAddr, CardError> {
    mask_interrupts(registers);
    if registers.is_gone() {
        return Err(CardError::Gone);
    }
    // Requests that are still on their way would outlive the reset: twice clears them (4.6.3.2).
    let quiet = disable_master(registers);
    reset_once(registers)?;
    if quiet.is_err() {
        reset_once(registers)?;
    }
    mask_interrupts(registers);
    verify_eeprom(registers)?;
    wait_for_firmware(registers)?;
    wait_for(
        registers,
        RDRXCTL,
        (RDRXCTL_DMA_INIT_DONE, RDRXCTL_DMA_INIT_DONE),
        DMA_INIT,
        "initialise its DMA",
    )?;
    read_mac(registers)
}

/// No vector and no other cause interrupts any more; what has is forgotten.
pub(super) fn mask_interrupts(registers: &impl Registers) {
    registers.write(EIMC, !0);
    registers.write(EIMC_EX, !0);
    registers.write(EIMC_EX.nth(1), !0);
    registers.write(EICR, !0);
}

/// Keeps the controller from starting DMA, and waits until what has begun is done.
pub(super) fn disable_master(registers: &impl Registers) -> Result<(), CardError> {
    registers.modify(CTRL, 0, CTRL_PCIE_MASTER_DISABLE);
    wait_for(
        registers,
        STATUS,
        (STATUS_PCIE_MASTER, 0),
        MASTER,
        "end its DMA",
    )
}

fn reset_once(registers: &impl Registers) -> Result<(), CardError> {
    const BITS: u32 = CTRL_RESET | CTRL_LINK_RESET;
    registers.modify(CTRL, 0, BITS);
    wait_for(registers, CTRL, (CTRL_RESET, 0), RESET, "reset itself")?;
    sleep(AFTER_RESET);
    Ok(())
}

/// Firmware that runs has its part in setting the controller up; a card may have none.
fn wait_for_firmware(registers: &impl Registers) -> Result<(), CardError> {
    if registers.read(FWSM) & FWSM_MODE == 0 {
        return Ok(());
    }
    let second = registers.read(STATUS) & STATUS_LAN_ID != 0;
    let done = EEMNGCTL_CONFIG_DONE << u32::from(second);
    match wait(registers, EEMNGCTL, done, done, FIRMWARE) {
        Ok(_) => Ok(()),
        Err(Late::Gone) => Err(CardError::Gone),
        Err(Late::Time) => Err(CardError::Firmware),
    }
}

/// What the EEPROM has put into the first receive address.
fn read_mac(registers: &impl Registers) -> Result<MacAddr, CardError> {
    let [a, b, c, d] = registers.read(RAL0).to_le_bytes();
    let [e, f, _, _] = registers.read(RAH0).to_le_bytes();
    if registers.is_gone() {
        return Err(CardError::Gone);
    }
    let mac = MacAddr([a, b, c, d, e, f]);
    match mac.is_group() || mac == MacAddr::default() {
        true => Err(CardError::Mac(mac)),
        false => Ok(mac),
    }
}

fn wait_for(
    registers: &impl Registers,
    register: Register,
    (mask, wanted): (u32, u32),
    limit: Duration,
    what: &'static str,
) -> Result<(), CardError> {
    match wait(registers, register, mask, wanted, limit) {
        Ok(_) => Ok(()),
        Err(Late::Gone) => Err(CardError::Gone),
        Err(Late::Time) => Err(CardError::Late(what)),
    }
}
