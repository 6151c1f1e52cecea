//! The MAC and the link (8.2.3.22).

use super::Register;

pub(crate) const HLREG0: Register = Register(0x4240);
pub(crate) const HLREG0_TX_CRC: u32 = 1 << 0;
pub(crate) const HLREG0_RX_CRC_STRIP: u32 = 1 << 1;
pub(crate) const HLREG0_JUMBO: u32 = 1 << 2;
pub(crate) const HLREG0_TX_PAD: u32 = 1 << 10;

/// The longest frame, with its FCS and without a VLAN tag, in bits 31:16.
pub(crate) const MAXFRS: Register = Register(0x4268);

pub(crate) const AUTOC: Register = Register(0x42A0);
pub(crate) const AUTOC_RESTART: u32 = 1 << 12;
pub(crate) const AUTOC_MODE: u32 = 7 << 13;
/// 10 Gb/s serial, without negotiation: SFI, as of an SFP+ cage.
pub(crate) const AUTOC_10G_SERIAL: u32 = 3 << 13;
/// Another mode, of those that negotiate: with this bit changed.
pub(crate) const AUTOC_MODE_NEGOTIATES: u32 = 4 << 13;
pub(crate) const AUTOC2: Register = Register(0x42A8);
pub(crate) const AUTOC2_SERIAL: u32 = 3 << 16;
pub(crate) const AUTOC2_SFI: u32 = 2 << 16;
/// The EEPROM may have the link forced down, or off while nothing needs it.
pub(crate) const AUTOC2_LINK_DISABLED: u32 = 7 << 28;

pub(crate) const ANLP1: Register = Register(0x42B0);
/// Where negotiation is; 0 before it began.
pub(crate) const ANLP1_STATE: u32 = 0xF << 16;

/// Settings of the analog part, by what the EEPROM has for a module (Linux: IXGBE_CORECTL).
pub(crate) const CORECTL: Register = Register(0x1_4F00);

pub(crate) const LINKS: Register = Register(0x42A4);
pub(crate) const LINKS_UP: u32 = 1 << 30;
pub(crate) const LINKS_SPEED: u32 = 3 << 28;
pub(crate) const LINKS_10G: u32 = 3 << 28;
pub(crate) const LINKS_1G: u32 = 2 << 28;
