//! Statistics (datasheet 8.2.3.23): cleared by a read, counted by [`crate::statistics`].

use super::row::{Array, Reg, Row, array, reg};

const STATISTICS: &str = "8.2.3.23";

pub(crate) const CRCERRS: Reg = Reg(0x04000);
pub(crate) const MLFC: Reg = Reg(0x04034);
pub(crate) const MPC: Array = Array::new(0x03FA0, 4, 8);
pub(crate) const RLEC: Reg = Reg(0x04040);
pub(crate) const PRC64: Array = Array::new(0x0405C, 4, 6);
pub(crate) const GPRC: Reg = Reg(0x04074);
pub(crate) const BPRC: Reg = Reg(0x04078);
pub(crate) const MPRC: Reg = Reg(0x0407C);
pub(crate) const GPTC: Reg = Reg(0x04080);
pub(crate) const GORCL: Reg = Reg(0x04088);
pub(crate) const GOTCL: Reg = Reg(0x04090);
pub(crate) const RUC: Reg = Reg(0x040A4);
pub(crate) const ROC: Reg = Reg(0x040AC);
pub(crate) const TORL: Reg = Reg(0x040C0);
pub(crate) const TPR: Reg = Reg(0x040D0);
pub(crate) const TPT: Reg = Reg(0x040D4);
pub(crate) const PTC64: Array = Array::new(0x040D8, 4, 6);
pub(crate) const MPTC: Reg = Reg(0x040F0);
pub(crate) const BPTC: Reg = Reg(0x040F4);
pub(crate) const XEC: Reg = Reg(0x04120);
pub(crate) const RQSMR: Array = Array::new(0x02300, 4, 32);
pub(crate) const TQSM: Array = Array::new(0x08600, 4, 32);
pub(crate) const QPRC: Array = Array::new(0x01030, 0x40, 16);
pub(crate) const QPRDC: Array = Array::new(0x01430, 0x40, 16);
pub(crate) const QBRCL: Array = Array::new(0x01034, 0x40, 16);
pub(crate) const QBRCH: Array = Array::new(0x01038, 0x40, 16);
pub(crate) const QPTC: Array = Array::new(0x06030, 0x40, 16);
pub(crate) const QBTCL: Array = Array::new(0x08700, 8, 16);
pub(crate) const QBTCH: Array = Array::new(0x08704, 8, 16);
pub(crate) const RXDGPC: Reg = Reg(0x02F50);
pub(crate) const RXDGBCL: Reg = Reg(0x02F54);
pub(crate) const TXDGPC: Reg = Reg(0x087A0);
pub(crate) const TXDGBCL: Reg = Reg(0x087A4);

/// The statistics counter (0 to 15) of each of four queues.
const QUEUE_MAP: u32 = 0x0F0F_0F0F;

pub(super) const ROWS: &[Row] = &[
    reg("CRCERRS", CRCERRS, STATISTICS).rc(),
    reg("ILLERRC", Reg(0x04004), STATISTICS).rc(),
    reg("ERRBC", Reg(0x04008), STATISTICS).rc(),
    reg("MSPDC", Reg(0x04010), STATISTICS).rc(),
    array("MPC", MPC, STATISTICS).rc(),
    array("RNBC", Array::new(0x03FC0, 4, 8), STATISTICS).rc(),
    reg("MLFC", MLFC, STATISTICS).rc(),
    reg("MRFC", Reg(0x04038), STATISTICS).rc(),
    reg("RLEC", RLEC, STATISTICS).rc(),
    array("PXONTXC", Array::new(0x03F00, 4, 8), STATISTICS).rc(),
    array("PXOFFTXC", Array::new(0x03F20, 4, 8), STATISTICS).rc(),
    reg("LXONTXC", Reg(0x03F60), STATISTICS).rc(),
    reg("LXOFFTXC", Reg(0x03F68), STATISTICS).rc(),
    array("PXON2OFFCNT", Array::new(0x03240, 4, 8), STATISTICS).rc(),
    array("PXONRXCNT", Array::new(0x04140, 4, 8), STATISTICS).rc(),
    array("PXOFFRXCNT", Array::new(0x04160, 4, 8), STATISTICS).rc(),
    reg("LXONRXCNT", Reg(0x041A4), STATISTICS).rc(),
    reg("LXOFFRXCNT", Reg(0x041A8), STATISTICS).rc(),
    reg("RXNFGPC", Reg(0x041B0), STATISTICS).rc(),
    reg("RXNFGBCL", Reg(0x041B4), STATISTICS).rc(),
    reg("RXNFGBCH", Reg(0x041B8), STATISTICS).rc(),
    // 64, 65-127, 128-255, 256-511, 512-1023 and 1024-maximum bytes.
    array("PRC64", PRC64, STATISTICS).rc(),
    reg("GPRC", GPRC, STATISTICS).rc(),
    reg("BPRC", BPRC, STATISTICS).rc(),
    reg("MPRC", MPRC, STATISTICS).rc(),
    reg("GPTC", GPTC, STATISTICS).rc(),
    reg("GORCL", GORCL, STATISTICS).rc(),
    reg("GORCH", Reg(0x0408C), STATISTICS).rc(),
    reg("GOTCL", GOTCL, STATISTICS).rc(),
    reg("GOTCH", Reg(0x04094), STATISTICS).rc(),
    reg("RUC", RUC, STATISTICS).rc(),
    reg("RFC", Reg(0x040A8), STATISTICS).rc(),
    reg("ROC", ROC, STATISTICS).rc(),
    reg("RJC", Reg(0x040B0), STATISTICS).rc(),
    reg("MNGPRC", Reg(0x040B4), STATISTICS).rc(),
    reg("MNGPDC", Reg(0x040B8), STATISTICS).rc(),
    reg("MNGPTC", Reg(0x0CF90), STATISTICS).rc(),
    reg("TORL", TORL, STATISTICS).rc(),
    reg("TORH", Reg(0x040C4), STATISTICS).rc(),
    reg("TPR", TPR, STATISTICS).rc(),
    reg("TPT", TPT, STATISTICS).rc(),
    array("PTC64", PTC64, STATISTICS).rc(),
    reg("MPTC", MPTC, STATISTICS).rc(),
    reg("BPTC", BPTC, STATISTICS).rc(),
    reg("XEC", XEC, STATISTICS).rc(),
    array("RQSMR", RQSMR, STATISTICS).rw(QUEUE_MAP),
    array("TQSM", TQSM, STATISTICS).rw(QUEUE_MAP),
    array("QPRC", QPRC, STATISTICS).rc(),
    array("QPRDC", QPRDC, STATISTICS).rc(),
    array("QBRC_L", QBRCL, STATISTICS).rc(),
    array("QBRC_H", QBRCH, STATISTICS).rc(),
    array("QPTC", QPTC, STATISTICS).rc(),
    array("QBTC_L", QBTCL, STATISTICS).rc(),
    array("QBTC_H", QBTCH, STATISTICS).rc(),
    array("SSVPC", Array::new(0x08780, 4, 1), STATISTICS).rc(),
    reg("RXDSTATCTRL", Reg(0x02F40), STATISTICS).rw(0x1F),
    reg("RXDGPC", RXDGPC, STATISTICS).rc(),
    reg("RXDGBCL", RXDGBCL, STATISTICS).rc(),
    reg("RXDGBCH", Reg(0x02F58), STATISTICS).rc(),
    reg("RXDDGPC", Reg(0x02F5C), STATISTICS).rc(),
    reg("RXDDGBCL", Reg(0x02F60), STATISTICS).rc(),
    reg("RXDDGBCH", Reg(0x02F64), STATISTICS).rc(),
    reg("RXLPBKGPC", Reg(0x02F68), STATISTICS).rc(),
    reg("RXLPBKGBCL", Reg(0x02F6C), STATISTICS).rc(),
    reg("RXLPBKGBCH", Reg(0x02F70), STATISTICS).rc(),
    reg("TXDGPC", TXDGPC, STATISTICS).rc(),
    reg("TXDGBCL", TXDGBCL, STATISTICS).rc(),
    reg("TXDGBCH", Reg(0x087A8), STATISTICS).rc(),
    reg("FCCRC", Reg(0x05118), STATISTICS).rc(),
    reg("FCOERPDC", Reg(0x0241C), STATISTICS).rc(),
    reg("FCLAST", Reg(0x02424), STATISTICS).rc(),
    reg("FCOEPRC", Reg(0x02428), STATISTICS).rc(),
    reg("FCOEDWRC", Reg(0x0242C), STATISTICS).rc(),
    reg("FCOEPTC", Reg(0x08784), STATISTICS).rc(),
    reg("FCOEDWTC", Reg(0x08788), STATISTICS).rc(),
];
