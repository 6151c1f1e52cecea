//! What both ports' drivers and the card's firmware take turns at (datasheet 10.5.4): the module's bus,
//! and registers of the MAC. Their bits in SW_FW_SYNC change only behind a gate, SWSM.
//!
//! A driver holds these for milliseconds. One that was killed holds them for ever, even through a reset,
//! so what a driver has had for too long is taken over, as Linux does. What firmware holds is not: it
//! may be amid a management controller's traffic.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::error::CardError;
use super::registers::Registers;
use super::registers::general::{STATUS, STATUS_LAN_ID};
use super::registers::sharing::*;

/// How long others may be at the gate, and have what is behind it.
const GATE: Duration = Duration::from_millis(100);
const RESOURCE: Duration = Duration::from_secs(1);
const GATE_LOOK: Duration = Duration::from_micros(50);
const RESOURCE_LOOK: Duration = Duration::from_millis(5);

/// What is shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resource {
    /// This port's PHY, and its module's I2C bus.
    Phy,
    /// AUTOC and CORECTL, among others.
    Mac,
}

/// A resource in our hands, until this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a, R: Registers> {
    registers: &'a R,
    bit: u32,
}

impl<'a, R: Registers> Held<'a, R> {
    /// Waits for a resource, for a limited time.
    pub(super) fn acquire(registers: &'a R, resource: Resource) -> Result<Held<'a, R>, CardError> {
        let bit = match resource {
            Resource::Mac => SYNC_MAC,
            Resource::Phy => {
                let second = registers.read(STATUS) & STATUS_LAN_ID != 0;
                SYNC_PHY << u32::from(second)
            }
        };
        let end = Instant::now() + RESOURCE;
        loop {
            {
                let _gate = Gate::pass(registers)?;
                let sync = registers.read(SW_FW_SYNC);
                let firmware = sync & bit << SYNC_FIRMWARE_SHIFT != 0;
                let late = Instant::now() >= end;
                if !firmware && (late || sync & bit == 0) {
                    registers.write(SW_FW_SYNC, sync | bit);
                    return Ok(Held { registers, bit });
                }
                if late {
                    return Err(CardError::Semaphore);
                }
            }
            sleep(RESOURCE_LOOK);
        }
    }
}

impl<R: Registers> Drop for Held<'_, R> {
    fn drop(&mut self) {
        // Firmware that keeps the gate shut leaves it to be taken over.
        if let Ok(_gate) = Gate::pass(self.registers) {
            self.registers.modify(SW_FW_SYNC, self.bit, 0);
        }
    }
}

/// SWSM, both bits: nobody else changes SW_FW_SYNC until this is dropped.
struct Gate<'a, R: Registers>(&'a R);

impl<'a, R: Registers> Gate<'a, R> {
    fn pass(registers: &'a R) -> Result<Gate<'a, R>, CardError> {
        let drivers = || registers.read(SWSM) & SWSM_DRIVERS == 0;
        if !until(registers, drivers)? {
            registers.modify(SWSM, SWSM_DRIVERS | SWSM_FIRMWARE, 0);
            if !drivers() {
                return Err(CardError::Semaphore);
            }
        }
        let gate = Gate(registers);
        let firmware = || {
            registers.modify(SWSM, 0, SWSM_FIRMWARE);
            registers.read(SWSM) & SWSM_FIRMWARE != 0
        };
        match until(registers, firmware)? {
            true => Ok(gate),
            false => Err(CardError::Semaphore),
        }
    }
}

impl<R: Registers> Drop for Gate<'_, R> {
    fn drop(&mut self) {
        self.0.modify(SWSM, SWSM_DRIVERS | SWSM_FIRMWARE, 0);
    }
}

/// Tries for as long as somebody may be at the gate.
fn until(registers: &impl Registers, mut taken: impl FnMut() -> bool) -> Result<bool, CardError> {
    let end = Instant::now() + GATE;
    loop {
        let taken = taken();
        if registers.is_gone() {
            return Err(CardError::Gone);
        }
        if taken || Instant::now() >= end {
            return Ok(taken);
        }
        sleep(GATE_LOOK);
    }
}
