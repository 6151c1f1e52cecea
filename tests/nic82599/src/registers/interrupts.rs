//! Interrupts (datasheet 8.2.3.5). The causes and masks themselves live in [`crate::interrupts`].

use super::row::{Array, Hook, Reg, Row, array, reg};

const INTERRUPT: &str = "8.2.3.5";

pub(crate) const EICR: Reg = Reg(0x00800);
pub(crate) const EICS: Reg = Reg(0x00808);
pub(crate) const EIAC: Reg = Reg(0x00810);
pub(crate) const EIMS: Reg = Reg(0x00880);
pub(crate) const EIMC: Reg = Reg(0x00888);
pub(crate) const EIAM: Reg = Reg(0x00890);
pub(crate) const GPIE: Reg = Reg(0x00898);
pub(crate) const IVAR: Array = Array::new(0x00900, 4, 64);
pub(crate) const IVAR_MISC: Reg = Reg(0x00A00);
pub(crate) const EICS_EX: Array = Array::new(0x00A90, 4, 2);
pub(crate) const EIMS_EX: Array = Array::new(0x00AA0, 4, 2);
pub(crate) const EIMC_EX: Array = Array::new(0x00AB0, 4, 2);
pub(crate) const EIAM_EX: Array = Array::new(0x00AD0, 4, 2);
/// The throttling of vectors 0 to 23, and of those from 24.
pub(crate) const EITR: Array = Array::new(0x00820, 4, 24);
pub(crate) const EITR_FROM_24: Array = Array::new(0x12300, 4, 105);

/// Each vector has its own causes (MSI-X), rather than all sharing vector 0.
pub(crate) const GPIE_MULTIPLE_MSIX: u32 = 1 << 4;
/// A read of EICR clears its bits 29:16 only.
pub(crate) const GPIE_OTHER_CLEAR_DISABLE: u32 = 1 << 5;
/// An MSI-X message masks the causes that EIAM names.
pub(crate) const GPIE_AUTO_MASK: u32 = 1 << 30;

/// An entry of IVAR: a valid bit and a vector, for each of four causes.
const IVAR_BITS: u32 = 0xBFBF_BFBF;
/// The interval, the low latency moderation, the counter, and "leave the counter".
const EITR_BITS: u32 = 0x0FFF_FFF8;
/// Linux writes 1950 for the vector of the other causes, which is no multiple of eight.
const EITR_ROUNDED: u32 = 0x6;

pub(super) const ROWS: &[Row] = &[
    reg("EICR", EICR, INTERRUPT).known(!0).hook(Hook::Cause),
    reg("EICS", EICS, INTERRUPT).known(!0).hook(Hook::CauseSet),
    reg("EIAC", EIAC, INTERRUPT).rw(!0),
    reg("EIMS", EIMS, INTERRUPT).known(!0).hook(Hook::MaskSet),
    reg("EIMC", EIMC, INTERRUPT).known(!0).hook(Hook::MaskClear),
    reg("EIAM", EIAM, INTERRUPT).known(!0).hook(Hook::AutoMask),
    reg("GPIE", GPIE, INTERRUPT)
        .rw(0xC000_FFFF)
        .hook(Hook::InterruptEnable),
    reg("EITRSEL", Reg(0x00894), INTERRUPT).rw(!0),
    array("EITR", EITR, INTERRUPT)
        .rw(EITR_BITS)
        .known(EITR_ROUNDED)
        .known(1 << 31)
        .hook(Hook::Throttle),
    array("EITR", EITR_FROM_24, INTERRUPT)
        .first(24)
        .rw(EITR_BITS)
        .known(EITR_ROUNDED)
        .known(1 << 31)
        .hook(Hook::Throttle),
    array("IVAR", IVAR, INTERRUPT)
        .rw(IVAR_BITS)
        .hook(Hook::InterruptRoute),
    reg("IVAR_MISC", IVAR_MISC, INTERRUPT)
        .rw(0x0000_BFBF)
        .hook(Hook::InterruptRoute),
    array("EICS_EX", EICS_EX, INTERRUPT)
        .known(!0)
        .hook(Hook::CauseSetEx),
    array("EIMS_EX", EIMS_EX, INTERRUPT)
        .known(!0)
        .hook(Hook::MaskSetEx),
    array("EIMC_EX", EIMC_EX, INTERRUPT)
        .known(!0)
        .hook(Hook::MaskClearEx),
    array("EIAM_EX", EIAM_EX, INTERRUPT)
        .known(!0)
        .hook(Hook::AutoMaskEx),
    array("RSCINT", Array::new(0x12000, 4, 128), INTERRUPT).rw(0x1F),
    // Pending bits of MSI-X; ones are cleared (PBACL), the first also as 0x110C0.
    array("PBACL", Array::new(0x110C0, 4, 8), INTERRUPT).w1c(!0),
    reg("PBACLR", Reg(0x11068), INTERRUPT).w1c(!0),
];
