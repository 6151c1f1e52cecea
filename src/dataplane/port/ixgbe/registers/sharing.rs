//! What the card's drivers and its firmware share: semaphores (8.2.3.4, 10.5.4) and the module's bus
//! (8.2.3.1).

use super::Register;

pub(crate) const SWSM: Register = Register(0x1_0140);
/// Among drivers; taken by the read that finds it clear.
pub(crate) const SWSM_DRIVERS: u32 = 1 << 0;
/// Between drivers and firmware; taken by a write that stays.
pub(crate) const SWSM_FIRMWARE: u32 = 1 << 1;

/// Who has what: a driver's bits, and the firmware's for the same things.
pub(crate) const SW_FW_SYNC: Register = Register(0x1_0160);
/// The PHY and the module's bus of port 0; the next bit is port 1's.
pub(crate) const SYNC_PHY: u32 = 1 << 1;
/// Registers of the MAC that the firmware writes too.
pub(crate) const SYNC_MAC: u32 = 1 << 3;
pub(crate) const SYNC_FIRMWARE_SHIFT: u32 = 5;

/// The module's I2C bus: what its lines are, and which the driver lets go of.
pub(crate) const I2CCTL: Register = Register(0x0_0028);
pub(crate) const I2CCTL_CLOCK_IN: u32 = 1 << 0;
pub(crate) const I2CCTL_CLOCK_OUT: u32 = 1 << 1;
pub(crate) const I2CCTL_DATA_IN: u32 = 1 << 2;
pub(crate) const I2CCTL_DATA_OUT: u32 = 1 << 3;
