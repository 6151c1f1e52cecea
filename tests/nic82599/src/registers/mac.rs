//! MAC, link and flow control (datasheet 8.2.3.3, 8.2.3.22).

use super::row::{Array, Hook, Reg, Row, array, reg};

const FLOW: &str = "8.2.3.3";
const MAC: &str = "8.2.3.22";

pub(crate) const HLREG0: Reg = Reg(0x04240);
pub(crate) const MSCA: Reg = Reg(0x0425C);
pub(crate) const MSRWD: Reg = Reg(0x04260);
pub(crate) const MAXFRS: Reg = Reg(0x04268);
pub(crate) const MFLCN: Reg = Reg(0x04294);
pub(crate) const AUTOC: Reg = Reg(0x042A0);
pub(crate) const LINKS: Reg = Reg(0x042A4);
pub(crate) const AUTOC2: Reg = Reg(0x042A8);

/// HLREG0.RXCRCSTRP: the FCS is cut off received frames.
pub(crate) const HLREG0_RXCRCSTRP: u32 = 1 << 1;
pub(crate) const HLREG0_JUMBOEN: u32 = 1 << 2;
/// HLREG0.TXPADEN: short frames are padded to 64 bytes.
pub(crate) const HLREG0_TXPADEN: u32 = 1 << 10;
/// HLREG0.LPBK: what is sent comes back.
pub(crate) const HLREG0_LPBK: u32 = 1 << 15;
/// AUTOC.Restart_AN: the link is set up again.
pub(crate) const AUTOC_RESTART: u32 = 1 << 12;
/// LINKS of a link that is up at 10 Gb/s.
pub(crate) const LINKS_UP_10G: u32 = 0x7000_0000;

/// AUTOC.LMS = 10 Gb/s serial, and AUTOC2 says SFI: what the EEPROM of an SFP+ card loads.
const AUTOC_10G_SERIAL: u32 = 3 << 13;
const AUTOC2_SFI: u32 = 2 << 16;
/// ANLP1's auto-negotiation state, which drivers wait for after a restart.
const ANLP1_GOOD: u32 = 6 << 16;
/// CRC appended and stripped, padding, and the MDIO clock's divider.
const HLREG0_RESET: u32 = 1 | HLREG0_RXCRCSTRP | HLREG0_TXPADEN | 1 << 16;

const THRESHOLD: u32 = 0x8007_FFF0;

pub(super) const ROWS: &[Row] = &[
    reg("PFCTOP", Reg(0x03008), FLOW).reset(0x0001_0001).rw(!0),
    array("FCTTV", Array::new(0x03200, 4, 4), FLOW).rw(!0),
    array("FCRTL", Array::new(0x03220, 4, 8), FLOW).rw(THRESHOLD),
    // For a packet buffer of no size, Linux writes a threshold below zero.
    array("FCRTH", Array::new(0x03260, 4, 8), FLOW)
        .rw(THRESHOLD)
        .known(!0),
    reg("FCRTV", Reg(0x032A0), FLOW).rw(0xFFFF),
    reg("FCCFG", Reg(0x03D00), FLOW).rw(0x18),
    reg("PCS1GCFIG", Reg(0x04200), MAC)
        .reset(0x8)
        .rw(0xC000_0008),
    reg("PCS1GLCTL", Reg(0x04208), MAC)
        .reset(0x0204_0021)
        .rw(!0),
    reg("PCS1GLSTA", Reg(0x0420C), MAC).known(!0),
    array("PCS1GDBG", Array::new(0x04210, 4, 2), MAC).known(!0),
    reg("PCS1GANA", Reg(0x04218), MAC).reset(0x20).rw(!0),
    reg("PCS1GANLP", Reg(0x0421C), MAC).known(!0),
    reg("PCS1GANNP", Reg(0x04220), MAC).rw(0xFFFF),
    reg("PCS1GANLPNP", Reg(0x04224), MAC).known(!0),
    reg("HLREG0", HLREG0, MAC)
        .reset(HLREG0_RESET)
        .rw(0x18FF_F5FF),
    reg("HLREG1", Reg(0x04244), MAC).known(!0),
    reg("PAP", Reg(0x04248), MAC).reset(0xFFFF).rw(0xFFFF),
    reg("MACA", Reg(0x0424C), MAC).rw(!0),
    reg("APAE", Reg(0x04250), MAC).rw(!0),
    reg("ARD", Reg(0x04254), MAC).rw(!0),
    reg("AIS", Reg(0x04258), MAC).rw(!0),
    reg("MSCA", MSCA, MAC)
        .rw(0x3FFF_FFFF)
        .known(1 << 30)
        .hook(Hook::Mdio),
    reg("MSRWD", MSRWD, MAC).rw(0xFFFF).known(0xFFFF_0000),
    reg("MLADD", Reg(0x04264), MAC).rw(!0),
    reg("MAXFRS", MAXFRS, MAC)
        .reset(0x05EE_0000)
        .rw(0xFFFF_0000),
    reg("TREG", Reg(0x0426C), MAC).rw(!0),
    reg("PCSS1", Reg(0x04288), MAC).known(!0),
    reg("PCSS2", Reg(0x0428C), MAC).known(!0),
    reg("XPCSS", Reg(0x04290), MAC).known(!0),
    reg("MFLCN", MFLCN, MAC).rw(0xFFF),
    reg("SERDESC", Reg(0x04298), MAC).rw(!0),
    reg("MACS", Reg(0x0429C), MAC).rw(!0),
    reg("AUTOC", AUTOC, MAC)
        .reset(AUTOC_10G_SERIAL)
        .rw(!AUTOC_RESTART)
        .known(AUTOC_RESTART)
        .hook(Hook::LinkControl),
    reg("LINKS", LINKS, MAC).known(!0).hook(Hook::LinkStatus),
    reg("AUTOC2", AUTOC2, MAC).reset(AUTOC2_SFI).rw(!0),
    reg("AUTOC3", Reg(0x042AC), MAC).rw(!0),
    reg("ANLP1", Reg(0x042B0), MAC).reset(ANLP1_GOOD).known(!0),
    reg("ANLP2", Reg(0x042B4), MAC).known(!0),
    reg("MMNGC", Reg(0x042D0), MAC).rw(0x1),
    reg("ANLPNP1", Reg(0x042D4), MAC).known(!0),
    reg("ANLPNP2", Reg(0x042D8), MAC).known(!0),
    reg("KRPCSFC", Reg(0x042E0), MAC).rw(!0),
    reg("KRPCSS", Reg(0x042E4), MAC).known(!0),
    reg("FECS1", Reg(0x042E8), MAC).known(!0),
    reg("FECS2", Reg(0x042EC), MAC).known(!0),
    reg("SGMIIC", Reg(0x04314), MAC).rw(!0),
    reg("MPVC", Reg(0x04318), MAC).known(!0),
    reg("LINKS2", Reg(0x04324), MAC).known(!0),
    reg("MACC", Reg(0x04330), MAC).rw(!0),
    array("ATLASCTL", Array::new(0x04800, 4, 4), MAC).rw(!0),
    reg("CORECTL", Reg(0x14F00), MAC).rw(0x1FFFF),
    reg("CORESTS", Reg(0x14F04), MAC).known(!0),
    reg("SMADARCTL", Reg(0x14F10), MAC).rw(!0),
];
