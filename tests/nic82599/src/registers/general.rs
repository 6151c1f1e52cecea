//! General control, EEPROM and flash, PCIe, semaphores (datasheet 8.2.3.1, 8.2.3.2, 8.2.3.4).

use super::row::{Array, Hook, Reg, Row, array, reg};

const GENERAL: &str = "8.2.3.1";
const EEPROM: &str = "8.2.3.2";
const PCIE: &str = "8.2.3.4";

pub(crate) const CTRL: Reg = Reg(0x00000);
pub(crate) const STATUS: Reg = Reg(0x00008);
pub(crate) const CTRL_EXT: Reg = Reg(0x00018);
pub(crate) const ESDP: Reg = Reg(0x00020);
pub(crate) const I2CCTL: Reg = Reg(0x00028);
pub(crate) const EEC: Reg = Reg(0x10010);
pub(crate) const EERD: Reg = Reg(0x10014);
pub(crate) const EEWR: Reg = Reg(0x10018);
pub(crate) const SWSM: Reg = Reg(0x10140);
pub(crate) const FWSM: Reg = Reg(0x10148);
pub(crate) const SW_FW_SYNC: Reg = Reg(0x10160);

/// The driver stops the bus master.
pub(crate) const CTRL_GIO_DIS: u32 = 1 << 2;
pub(crate) const CTRL_LNK_RST: u32 = 1 << 3;
pub(crate) const CTRL_RST: u32 = 1 << 26;
/// The bus master is enabled.
pub(crate) const STATUS_GIO: u32 = 1 << 19;

/// EEPROM present, its automatic read done, 2 KiB of it (1024 words).
const EEC_RESET: u32 = 1 << 8 | 1 << 9 | 4 << 11;

pub(super) const ROWS: &[Row] = &[
    reg("CTRL", CTRL, GENERAL)
        .rw(CTRL_GIO_DIS)
        .known(CTRL_LNK_RST | CTRL_RST)
        .hook(Hook::Control),
    // The offline self-test of Linux's driver writes ones over its read-only bits.
    reg("STATUS", STATUS, GENERAL).known(!0).hook(Hook::Status),
    reg("CTRL_EXT", CTRL_EXT, GENERAL).rw(0x1407_C000),
    reg("ESDP", ESDP, GENERAL)
        .rw(0x0003_FFFF)
        .hook(Hook::SoftwarePins),
    reg("I2CCTL", I2CCTL, GENERAL)
        .reset(0xF)
        .rw(0xA)
        .known(0x5)
        .hook(Hook::I2c),
    reg("FRTIMER", Reg(0x00048), GENERAL).known(!0),
    reg("TCPTIMER", Reg(0x0004C), GENERAL).rw(0x0000_07FF),
    reg("LEDCTL", Reg(0x00200), GENERAL)
        .reset(0x0B09_0708)
        .rw(0xCFCF_CFEF),
    reg("EEC", EEC, EEPROM)
        .reset(EEC_RESET)
        .rw(0x0080_007F)
        .known(0x0778_FF80)
        .hook(Hook::EepromControl),
    reg("EERD", EERD, EEPROM).known(!0).hook(Hook::EepromRead),
    reg("EEWR", EEWR, EEPROM).known(!0).hook(Hook::EepromWrite),
    reg("FLA", Reg(0x1001C), EEPROM)
        .reset(0x80)
        .rw(0x3F)
        .known(0xC000_00C0),
    reg("EEMNGCTL", Reg(0x10110), EEPROM)
        .reset(0x8004_0000)
        .known(!0),
    reg("EEMNGDATA", Reg(0x10114), EEPROM).rw(!0),
    reg("FLMNGCTL", Reg(0x10118), EEPROM).rw(!0),
    reg("FLMNGDATA", Reg(0x1011C), EEPROM).rw(!0),
    reg("FLMNGCNT", Reg(0x10120), EEPROM).rw(!0),
    reg("FLOP", Reg(0x1013C), EEPROM).rw(0xFFFF),
    reg("SWSM", SWSM, PCIE)
        .rw(0x3)
        .known(0x4)
        .hook(Hook::Semaphore),
    // Firmware valid, and no manageability behind it.
    reg("FWSM", FWSM, PCIE).reset(1 << 15),
    reg("FACTPS", Reg(0x10150), PCIE),
    reg("SW_FW_SYNC", SW_FW_SYNC, PCIE)
        .rw(0x8000_7FFF)
        .hook(Hook::SoftwareFirmwareSync),
    reg("GRC", Reg(0x10200), GENERAL).reset(0x2).rw(0x3),
    reg("SRAMREL", Reg(0x10210), GENERAL).known(0x3),
    reg("GCR", Reg(0x11000), PCIE).reset(0x1001_0000).rw(!0),
    reg("GCR_EXT", Reg(0x11050), PCIE).rw(!0),
    array("GSCL_1_4", Array::new(0x11010, 4, 4), PCIE).rw(!0),
    array("GSCN", Array::new(0x11020, 4, 4), PCIE).rw(!0),
    array("GSCL_5_8", Array::new(0x11030, 4, 4), PCIE).rw(!0),
    reg("PHYADR", Reg(0x11040), PCIE).rw(!0),
    reg("PHYDAT", Reg(0x11044), PCIE).rw(!0),
    reg("PHYCTL", Reg(0x11048), PCIE).rw(!0),
    reg("FUNCTAG", Reg(0x11008), PCIE).rw(!0),
    reg("MREVID", Reg(0x11064), PCIE).reset(1),
    reg("PICAUSE", Reg(0x110B0), PCIE).w1c(!0),
    reg("PIENA", Reg(0x110B8), PCIE).rw(0x3F),
    reg("CIAA", Reg(0x11088), PCIE).rw(!0),
    reg("CIAD", Reg(0x1108C), PCIE).rw(!0),
    reg("DCA_ID", Reg(0x11070), PCIE),
    reg("DCA_CTRL", Reg(0x11074), PCIE).reset(1).rw(0x1F),
];
