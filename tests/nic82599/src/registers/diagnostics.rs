//! Diagnostic registers that no data path needs: `ethtool -d` reads them, and zeros are all it
//! finds (datasheet 8.2.3.22, and the 82598's, where Linux reads on).

use super::row::{Array, Reg, Row, array, reg};

const DIAGNOSTIC: &str = "diagnostic";

pub(super) const ROWS: &[Row] = &[
    reg("RUPPBMR", Reg(0x050A0), DIAGNOSTIC),
    reg("RFVAL", Reg(0x050A4), DIAGNOSTIC),
    reg("TIPG", Reg(0x0CB00), DIAGNOSTIC),
    reg("MSIXPBA", Reg(0x02000), DIAGNOSTIC),
    array("RDSTAT", Array::new(0x02C00, 4, 8), DIAGNOSTIC),
    reg("RDSTATCTL", Reg(0x02C20), DIAGNOSTIC),
    reg("RDHMPN", Reg(0x02F08), DIAGNOSTIC),
    array("RIC_DW", Array::new(0x02F10, 4, 4), DIAGNOSTIC),
    reg("RDPROBE", Reg(0x02F20), DIAGNOSTIC),
    reg("TDSTAT5", Reg(0x07C14), DIAGNOSTIC),
    reg("TDSTAT7", Reg(0x07C1C), DIAGNOSTIC),
    reg("TDSTATCTL", Reg(0x07C20), DIAGNOSTIC),
    reg("TIC_DW1", Reg(0x07F14), DIAGNOSTIC),
    reg("TIC_DW3", Reg(0x07F1C), DIAGNOSTIC),
    reg("TDPROBE", Reg(0x07F20), DIAGNOSTIC),
    array("RXWRPTR", Array::new(0x03100, 4, 8), DIAGNOSTIC),
    array("RXUSED", Array::new(0x03120, 4, 8), DIAGNOSTIC),
    array("RXRDPTR", Array::new(0x03140, 4, 8), DIAGNOSTIC),
    array("RXRDWRPTR", Array::new(0x03160, 4, 8), DIAGNOSTIC),
    reg("PBRXECC", Reg(0x03300), DIAGNOSTIC).rw(!0),
    reg("RXBUFCTRL", Reg(0x03600), DIAGNOSTIC),
    array("RXBUFDATA", Array::new(0x03610, 4, 4), DIAGNOSTIC),
    array("RXPTR", Array::new(0x03700, 4, 16), DIAGNOSTIC),
    array("TXWRPTR", Array::new(0x0C100, 4, 8), DIAGNOSTIC),
    array("TXUSED", Array::new(0x0C120, 4, 8), DIAGNOSTIC),
    array("TXRDPTR", Array::new(0x0C140, 4, 8), DIAGNOSTIC),
    array("TXRDWRPTR", Array::new(0x0C160, 4, 8), DIAGNOSTIC),
    reg("PBTXECC", Reg(0x0C300), DIAGNOSTIC).rw(!0),
    reg("TXBUFCTRL", Reg(0x0C600), DIAGNOSTIC),
    array("TXBUFDATA", Array::new(0x0C610, 4, 4), DIAGNOSTIC),
    array("TXPTR", Array::new(0x0C700, 4, 16), DIAGNOSTIC),
    reg("MDFTC1", Reg(0x042B8), DIAGNOSTIC),
    reg("MDFTC2", Reg(0x042C0), DIAGNOSTIC),
    array("MDFTFIFO", Array::new(0x042C4, 4, 2), DIAGNOSTIC),
    reg("MDFTS", Reg(0x042CC), DIAGNOSTIC),
    array("PCIE_DIAG", Array::new(0x11090, 4, 8), DIAGNOSTIC),
    reg("PCIEECCCTL", Reg(0x1106C), DIAGNOSTIC).rw(!0),
    array("PCIEECCCTL", Array::new(0x11100, 4, 2), DIAGNOSTIC).rw(!0),
];
