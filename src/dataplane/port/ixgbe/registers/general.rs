//! General control and EEPROM (8.2.3.1, 8.2.3.2, 8.2.3.4).

use super::Register;

pub(crate) const CTRL: Register = Register(0x0_0000);
/// Keeps the device from starting DMA; STATUS.PCIE_MASTER says when it has ended.
pub(crate) const CTRL_PCIE_MASTER_DISABLE: u32 = 1 << 2;
pub(crate) const CTRL_LINK_RESET: u32 = 1 << 3;
pub(crate) const CTRL_RESET: u32 = 1 << 26;

pub(crate) const STATUS: Register = Register(0x0_0008);
/// Which port of the controller this is: 0 or 1.
pub(crate) const STATUS_LAN_ID: u32 = 1 << 2;
pub(crate) const STATUS_PCIE_MASTER: u32 = 1 << 19;

pub(crate) const CTRL_EXT: Register = Register(0x0_0018);
/// Descriptors and buffers are snooped: plain memory of this machine.
pub(crate) const CTRL_EXT_NO_SNOOP_DISABLE: u32 = 1 << 16;
/// Tells the firmware that a driver has the device.
pub(crate) const CTRL_EXT_DRIVER_LOADED: u32 = 1 << 28;

pub(crate) const ESDP: Register = Register(0x0_0020);
/// The cage: a module is plugged.
pub(crate) const ESDP_MODULE_PRESENT: u32 = 1 << 2;
/// The pin to the module that turns its laser off.
pub(crate) const ESDP_LASER_OFF: u32 = 1 << 3;

pub(crate) const EEC: Register = Register(0x1_0010);
/// There is an EEPROM, and the card has loaded its settings from it.
pub(crate) const EEC_READY: u32 = 1 << 8 | 1 << 9;

pub(crate) const EERD: Register = Register(0x1_0014);
pub(crate) const EERD_START: u32 = 1;
pub(crate) const EERD_DONE: u32 = 1 << 1;
/// Where the word's address begins (14 bits); the word itself is in the upper half.
pub(crate) const EERD_ADDRESS: u32 = 2;

/// Manageability firmware: valid, and the mode that it runs in (0 for none).
pub(crate) const FWSM: Register = Register(0x1_0148);
pub(crate) const FWSM_MODE: u32 = 7 << 1;

pub(crate) const EEMNGCTL: Register = Register(0x1_0110);
/// The firmware has configured port 0; the next bit is port 1's.
pub(crate) const EEMNGCTL_CONFIG_DONE: u32 = 1 << 18;
