//! Transmit DMA, packet buffers and data-centre bridging (datasheet 8.2.3.9, 8.2.3.10).
//! The rings are in [`super::rings`].

use super::row::{Array, Hook, Reg, Row, array, reg};

const TRANSMIT: &str = "8.2.3.9";
const DCB: &str = "8.2.3.10";

pub(crate) const DMATXCTL: Reg = Reg(0x04A80);
pub(crate) const DTXTCPFLGL: Reg = Reg(0x04A88);
pub(crate) const DTXTCPFLGH: Reg = Reg(0x04A8C);
pub(crate) const RTTDCS: Reg = Reg(0x04900);
pub(crate) const MTQC: Reg = Reg(0x08120);
pub(crate) const TXPBSIZE: Array = Array::new(0x0CC00, 4, 8);

/// DMATXCTL.TE: descriptors are fetched and sent.
pub(crate) const DMATXCTL_TE: u32 = 1;

pub(super) const ROWS: &[Row] = &[
    reg("DMATXCTL", DMATXCTL, TRANSMIT)
        .reset(0x8100_0000)
        .rw(0xFFFF_000D)
        .known(0x2)
        .hook(Hook::TransmitEnable),
    reg("DTXTCPFLGL", DTXTCPFLGL, TRANSMIT)
        .reset(0x0FF6_0FF6)
        .rw(0x0FFF_0FFF),
    reg("DTXTCPFLGH", DTXTCPFLGH, TRANSMIT)
        .reset(0x0F7F)
        .rw(0xFFF),
    reg("DTXMXSZRQ", Reg(0x08100), TRANSMIT)
        .reset(0x10)
        .rw(0xFFF),
    array("TXPBTHRESH", Array::new(0x04950, 4, 8), TRANSMIT)
        .reset(0x96)
        .rw(0x3FF),
    reg("TXPBSIZE", TXPBSIZE.at(0), TRANSMIT)
        .reset(0x2_8000)
        .rw(0x000F_FC00),
    array("TXPBSIZE", Array::new(0x0CC04, 4, 7), TRANSMIT)
        .first(1)
        .rw(0x000F_FC00),
    reg("MTQC", MTQC, TRANSMIT).rw(0xF),
    reg("MNGTXMAP", Reg(0x0CD10), TRANSMIT).rw(0x7),
    reg("RTTDCS", RTTDCS, DCB)
        .rw(0x00C3_0073)
        .known(0xFF00_0000),
    reg("RTTPCS", Reg(0x0CD00), DCB).rw(0xFFC0_01FF),
    reg("RTTUP2TC", Reg(0x0C800), DCB).rw(0x00FF_FFFF),
    array("RTTPT2C", Array::new(0x0CD20, 4, 8), DCB).rw(!0),
    array("RTTPT2S", Array::new(0x0CD40, 4, 8), DCB).known(!0),
    array("RTTDT2C", Array::new(0x04910, 4, 8), DCB).rw(!0),
    array("RTTDT2S", Array::new(0x04930, 4, 8), DCB).known(!0),
    reg("RTTDQSEL", Reg(0x04904), DCB).rw(0x7F),
    reg("RTTDT1C", Reg(0x04908), DCB).rw(0x3FFF),
    reg("RTTDT1S", Reg(0x0490C), DCB).known(!0),
    reg("RTTDTECC", Reg(0x04990), DCB).rw(!0),
    reg("RTTBCNRC", Reg(0x04984), DCB).rw(!0),
    reg("RTTBCNRS", Reg(0x04988), DCB).rw(!0),
    reg("RTTBCNRM", Reg(0x04980), DCB).rw(!0),
    reg("RTTBCNRD", Reg(0x0498C), DCB).rw(!0),
    reg("RTTBCNACH", Reg(0x0B000), DCB).rw(!0),
    reg("RTTBCNACL", Reg(0x0B004), DCB).rw(!0),
    reg("RTTQCNCR", Reg(0x08B00), DCB).rw(!0),
    reg("RTTQCNTG", Reg(0x04A90), DCB).rw(!0),
    reg("TFCS", Reg(0x0CE00), "8.2.3.3").known(!0),
];
