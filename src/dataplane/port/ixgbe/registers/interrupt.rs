//! Interrupts (8.2.3.5). With GPIE.Multiple_MSIX, bits 15:0 of causes and masks are vectors, the others
//! causes that IVAR_MISC sends to a vector.

use super::Register;

pub(crate) const EICR: Register = Register(0x800);
/// Reads as EICR, without clearing it.
pub(crate) const EICS: Register = Register(0x808);
pub(crate) const EIAC: Register = Register(0x810);
pub(crate) const EIMS: Register = Register(0x880);
pub(crate) const EIMC: Register = Register(0x888);
/// Of vectors 0 to 31 and 32 to 63: which mask themselves when they fire.
pub(crate) const EIAM_EX: Register = Register(0xAD0);
pub(crate) const EIMC_EX: Register = Register(0xAB0);

pub(crate) const GPIE: Register = Register(0x898);
/// Interrupts of the module's pin that says whether one is plugged.
pub(crate) const GPIE_MODULE: u32 = 1 << 2;
pub(crate) const GPIE_MULTIPLE_MSIX: u32 = 1 << 4;
/// A read of EICR clears none but the causes that are no queue's.
pub(crate) const GPIE_OTHER_CLEAR_DISABLE: u32 = 1 << 5;
/// A vector that fires is masked by EIAM.
pub(crate) const GPIE_AUTO_MASK: u32 = 1 << 30;
pub(crate) const GPIE_PBA_SUPPORT: u32 = 1 << 31;

/// Which vectors receive queues 2n and 2n + 1 (bytes 0, 2) and transmit queues (bytes 1, 3) raise.
pub(crate) const IVAR: Register = Register(0x900);
/// Byte 1: the vector of the causes that are no queue's.
pub(crate) const IVAR_MISC: Register = Register(0xA00);
pub(crate) const IVAR_VALID: u32 = 1 << 7;

/// The least time between two interrupts of a vector below 24, in units of 2 us from bit 3.
pub(crate) const EITR: Register = Register(0x820);
pub(crate) const EITR_SHIFT: u32 = 3;

/// Causes that are no queue's.
pub(crate) const LINK_CHANGE: u32 = 1 << 20;
/// SDP2: the module was plugged or pulled.
pub(crate) const MODULE_CHANGE: u32 = 1 << 26;
/// An error in the controller's own memory that it could not correct.
pub(crate) const ECC: u32 = 1 << 28;
/// All of these.
pub(crate) const OTHER_CAUSES: u32 = 0xFFFF_0000;
