//! Chapters whose registers are kept and do nothing here: security, timers and time stamps,
//! wake-up, manageability, virtualisation (datasheet 8.2.3.12 to 8.2.3.14, 8.2.3.24 to 8.2.3.27).

use super::row::{Array, Reg, Row, array, reg};

pub(crate) const SECRXCTRL: Reg = Reg(0x08D00);
/// SECRXCTRL.RX_DIS: no frame gets past the security block.
pub(crate) const SECRXCTRL_RX_DIS: u32 = 1 << 1;

const SECURITY: &str = "8.2.3.12";
const LINKSEC: &str = "8.2.3.13";
const IPSEC: &str = "8.2.3.14";
const WAKE_UP: &str = "8.2.3.24";
const MANAGEMENT: &str = "8.2.3.25";
const TIME: &str = "8.2.3.26";
const VIRTUAL: &str = "8.2.3.27";

/// The data path is drained, and the crypto engine fused off: Linux offers no IPsec offload.
const SECURITY_READY: u32 = 0x3;

pub(super) const ROWS: &[Row] = &[
    reg("SECTXCTRL", Reg(0x08800), SECURITY).rw(0x7),
    reg("SECTXSTAT", Reg(0x08804), SECURITY)
        .reset(SECURITY_READY)
        .known(0x7),
    reg("SECTXBUFFAF", Reg(0x08808), SECURITY)
        .reset(0x250)
        .rw(0x3FF),
    reg("SECTXMINIFG", Reg(0x08810), SECURITY)
        .reset(0x1001)
        .rw(0xF1F0F),
    reg("SECRXCTRL", SECRXCTRL, SECURITY).rw(0x3),
    reg("SECRXSTAT", Reg(0x08D04), SECURITY)
        .reset(SECURITY_READY)
        .known(0x7),
    reg("LSECTXCAP", Reg(0x08A00), LINKSEC),
    reg("LSECRXCAP", Reg(0x08F00), LINKSEC),
    reg("LSECTXCTRL", Reg(0x08A04), LINKSEC).rw(!0),
    reg("LSECRXCTRL", Reg(0x08F04), LINKSEC).rw(!0),
    reg("IPSTXIDX", Reg(0x08900), IPSEC).rw(!0),
    reg("IPSTXSALT", Reg(0x08904), IPSEC).rw(!0),
    array("IPSTXKEY", Array::new(0x08908, 4, 4), IPSEC).rw(!0),
    reg("IPSRXIDX", Reg(0x08E00), IPSEC).rw(!0),
    array("IPSRXIPADDR", Array::new(0x08E04, 4, 4), IPSEC).rw(!0),
    reg("IPSRXSPI", Reg(0x08E14), IPSEC).rw(!0),
    reg("IPSRXIPIDX", Reg(0x08E18), IPSEC).rw(!0),
    array("IPSRXKEY", Array::new(0x08E1C, 4, 4), IPSEC).rw(!0),
    reg("IPSRXSALT", Reg(0x08E2C), IPSEC).rw(!0),
    reg("IPSRXMOD", Reg(0x08E30), IPSEC).rw(!0),
    reg("WUC", Reg(0x05800), WAKE_UP).rw(0x1B),
    reg("WUFC", Reg(0x05808), WAKE_UP).rw(0x000F_80FF),
    reg("WUS", Reg(0x05810), WAKE_UP).w1c(!0),
    reg("IPAV", Reg(0x05838), WAKE_UP).rw(0x0001_000F),
    array("IP4AT", Array::new(0x05840, 8, 4), WAKE_UP).rw(!0),
    array("IP6AT", Array::new(0x05880, 4, 4), WAKE_UP).rw(!0),
    reg("WUPL", Reg(0x05900), WAKE_UP).known(!0),
    array("WUPM", Array::new(0x05A00, 4, 32), WAKE_UP).known(!0),
    array("FHFT", Array::new(0x09000, 4, 256), WAKE_UP).rw(!0),
    array("FHFT_EXT", Array::new(0x09800, 4, 128), WAKE_UP).rw(!0),
    reg("MANC", Reg(0x05820), MANAGEMENT).rw(!0),
    reg("MFVAL", Reg(0x05824), MANAGEMENT).rw(!0),
    reg("MANC2H", Reg(0x05860), MANAGEMENT).rw(!0),
    array("FLEX_MNG", Array::new(0x15800, 4, 448), MANAGEMENT).rw(!0),
    reg("HICR", Reg(0x15F00), MANAGEMENT).rw(0xC6),
    reg("FWSTS", Reg(0x15F0C), MANAGEMENT).w1c(1 << 9),
    reg("TSYNCRXCTL", Reg(0x05188), TIME).rw(0x1F),
    reg("TSYNCTXCTL", Reg(0x08C00), TIME).rw(0x11),
    reg("RXSTMPL", Reg(0x051E8), TIME).known(!0),
    reg("RXSTMPH", Reg(0x051A4), TIME).known(!0),
    reg("RXSATRL", Reg(0x051A0), TIME).known(!0),
    reg("RXSATRH", Reg(0x051A8), TIME).known(!0),
    reg("RXMTRL", Reg(0x05120), TIME).reset(0x319 << 16).rw(!0),
    reg("TXSTMPL", Reg(0x08C04), TIME).known(!0),
    reg("TXSTMPH", Reg(0x08C08), TIME).known(!0),
    reg("SYSTIML", Reg(0x08C0C), TIME).rw(!0),
    reg("SYSTIMH", Reg(0x08C10), TIME).rw(!0),
    reg("TIMINCA", Reg(0x08C14), TIME).rw(!0),
    reg("TIMADJL", Reg(0x08C18), TIME).rw(!0),
    reg("TIMADJH", Reg(0x08C1C), TIME).rw(!0),
    reg("TSAUXC", Reg(0x08C20), TIME).rw(!0),
    array("TRGTTIM", Array::new(0x08C24, 4, 4), TIME).rw(!0),
    array("AUXSTMP", Array::new(0x08C3C, 4, 4), TIME).known(!0),
    reg("TSIM", Reg(0x08C68), TIME).rw(!0),
    reg("VT_CTL", Reg(0x051B0), VIRTUAL).rw(0xE000_1F81),
    array("PFMAILBOX", Array::new(0x04B00, 4, 64), VIRTUAL).rw(!0),
    array("PFMBMEM", Array::new(0x13000, 4, 1024), VIRTUAL).rw(!0),
    array("PFMBICR", Array::new(0x00710, 4, 4), VIRTUAL).w1c(!0),
    array("PFMBIMR", Array::new(0x00720, 4, 2), VIRTUAL).rw(!0),
    reg("VFLRE", Reg(0x00600), VIRTUAL).known(!0),
    array("VFLREC", Array::new(0x00700, 4, 2), VIRTUAL).w1c(!0),
    array("PFVFRE", Array::new(0x051E0, 4, 2), VIRTUAL).rw(!0),
    array("PFVFTE", Array::new(0x08110, 4, 2), VIRTUAL).rw(!0),
    reg("PFQDE", Reg(0x02F04), VIRTUAL).rw(!0),
    reg("PFDTXGSWC", Reg(0x08220), VIRTUAL).rw(0x1),
    array("PFVMVIR", Array::new(0x08000, 4, 64), VIRTUAL).rw(!0),
    array("PFVML2FLT", Array::new(0x0F000, 4, 64), VIRTUAL).rw(!0),
    array("PFVLVF", Array::new(0x0F100, 4, 64), VIRTUAL).rw(!0),
    array("PFVLVFB", Array::new(0x0F200, 4, 128), VIRTUAL).rw(!0),
    array("PFUTA", Array::new(0x0F400, 4, 128), VIRTUAL).rw(!0),
    array("PFMRCTL", Array::new(0x0F600, 4, 4), VIRTUAL).rw(!0),
    array("PFMRVLAN", Array::new(0x0F610, 4, 8), VIRTUAL).rw(!0),
    array("PFMRVM", Array::new(0x0F630, 4, 8), VIRTUAL).rw(!0),
    array("PFVFSPOOF", Array::new(0x08200, 4, 8), VIRTUAL).rw(!0),
];
