//! Receive: address and VLAN filters, RSS, receive DMA (datasheet 8.2.3.7, 8.2.3.8). The rings are
//! in [`super::rings`], the queue filters in [`super::filters`].

use super::row::{Array, Hook, Reg, Row, alias, array, reg};

const FILTER: &str = "8.2.3.7";
const DMA: &str = "8.2.3.8";

pub(crate) const FCTRL: Reg = Reg(0x05080);
pub(crate) const VLNCTRL: Reg = Reg(0x05088);
pub(crate) const MCSTCTRL: Reg = Reg(0x05090);
pub(crate) const RXCSUM: Reg = Reg(0x05000);
pub(crate) const RFCTL: Reg = Reg(0x05008);
pub(crate) const MTA: Array = Array::new(0x05200, 4, 128);
pub(crate) const RAL: Array = Array::new(0x0A200, 8, 128);
pub(crate) const RAH: Array = Array::new(0x0A204, 8, 128);
pub(crate) const VFTA: Array = Array::new(0x0A000, 4, 128);
pub(crate) const MRQC: Reg = Reg(0x0EC80);
pub(crate) const RSSRK: Array = Array::new(0x0EB80, 4, 10);
pub(crate) const RETA: Array = Array::new(0x0EB00, 4, 32);
pub(crate) const PSRTYPE: Array = Array::new(0x0EA00, 4, 64);
pub(crate) const RDRXCTL: Reg = Reg(0x02F00);
pub(crate) const RXCTRL: Reg = Reg(0x03000);
pub(crate) const RXPBSIZE: Array = Array::new(0x03C00, 4, 8);

/// RXCTRL.RXEN: frames are taken in.
pub(crate) const RXCTRL_RXEN: u32 = 1;
/// RAH.AV: the address is valid.
pub(crate) const RAH_VALID: u32 = 1 << 31;
/// RDRXCTL.DMAIDONE: the receive DMA is initialised.
const DMAIDONE: u32 = 1 << 3;

/// The fields of RAH; the 82598 had others in 21:16, which Linux's self-test still writes.
const RAH_LEFT_OVER: u32 = 0x003F_0000;

pub(super) const ROWS: &[Row] = &[
    reg("FCTRL", FCTRL, FILTER).rw(0x0000_F702),
    reg("VLNCTRL", VLNCTRL, FILTER)
        .reset(0x0000_8100)
        .rw(0xF000_FFFF),
    reg("MCSTCTRL", MCSTCTRL, FILTER).rw(0x7),
    reg("RXCSUM", RXCSUM, FILTER).rw(0x3000),
    reg("RFCTL", RFCTL, FILTER).rw(0x0001_CFEF),
    array("PSRTYPE", PSRTYPE, FILTER).rw(0xE007_FFFF),
    alias("PSRTYPE", Array::new(0x05480, 4, 16), PSRTYPE),
    array("MTA", MTA, FILTER).rw(!0),
    array("RAL", RAL, FILTER).rw(!0),
    array("RAH", RAH, FILTER)
        .rw(RAH_VALID | 0xFFFF)
        .known(RAH_LEFT_OVER),
    alias("RAL", Array::new(0x05400, 8, 16), RAL),
    alias("RAH", Array::new(0x05404, 8, 16), RAH),
    array("MPSAR", Array::new(0x0A600, 4, 256), FILTER).rw(!0),
    array("VFTA", VFTA, FILTER).rw(!0),
    reg("MRQC", MRQC, FILTER).rw(0xFFFF_000F),
    alias("MRQC", Array::new(0x05818, 4, 1), Array::new(MRQC.0, 4, 1)),
    array("RSSRK", RSSRK, FILTER).rw(!0),
    alias("RSSRK", Array::new(0x05C80, 4, 10), RSSRK),
    array("RETA", RETA, FILTER).rw(0x0F0F_0F0F),
    alias("RETA", Array::new(0x05C00, 4, 32), RETA),
    reg("EXVET", Reg(0x05078), FILTER)
        .reset(0x8100_0000)
        .rw(0xFFFF_0000),
    reg("RTRUP2TC", Reg(0x03020), "8.2.3.10").rw(0x00FF_FFFF),
    reg("RTRPCS", Reg(0x02430), "8.2.3.10").rw(0x4000_0F06),
    array("RTRPT4C", Array::new(0x02140, 4, 8), "8.2.3.10").rw(0xFFFF_FFFF),
    array("RTRPT4S", Array::new(0x02160, 4, 8), "8.2.3.10").known(!0),
    reg("RDRXCTL", RDRXCTL, DMA)
        .reset(0x0010_0000 | DMAIDONE)
        .rw(0x07BF_0073)
        .known(DMAIDONE),
    reg("RXCTRL", RXCTRL, DMA)
        .rw(RXCTRL_RXEN)
        // The 82598's bypass of a descriptor monitor, which Linux sets for its loopback test.
        .known(1 << 1)
        .hook(Hook::ReceiveEnable),
    reg("RSCDBU", Reg(0x03028), DMA).rw(0xFF),
    reg("RXPBSIZE", RXPBSIZE.at(0), DMA)
        .reset(0x0008_0000)
        .rw(0x000F_FC00),
    array("RXPBSIZE", Array::new(0x03C04, 4, 7), DMA)
        .first(1)
        .rw(0x000F_FC00),
    reg("DROPEN", Reg(0x03D04), DMA).rw(!0),
];
