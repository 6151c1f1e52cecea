//! Filters to queues: flow director, 5-tuples, EtherTypes, FCoE redirection
//! (datasheet 8.2.3.7, 8.2.3.20, 8.2.3.21). What is programmed is kept; frames go by RSS.

use super::row::{Array, Hook, Reg, Row, array, reg};

const QUEUE: &str = "8.2.3.7";
const FCOE: &str = "8.2.3.20";
const DIRECTOR: &str = "8.2.3.21";

pub(crate) const FDIRCTRL: Reg = Reg(0x0EE00);
pub(crate) const FDIRCMD: Reg = Reg(0x0EE2C);

/// FDIRCTRL.PBALLOC: what memory the filters take; setting it starts the initialisation.
pub(crate) const FDIRCTRL_PBALLOC: u32 = 0x3;
pub(crate) const FDIRCTRL_INIT_DONE: u32 = 1 << 3;
/// FDIRCMD.CMD: cleared when the command is done.
pub(crate) const FDIRCMD_CMD: u32 = 0x3;

pub(super) const ROWS: &[Row] = &[
    array("ETQF", Array::new(0x05128, 4, 8), QUEUE).rw(0xDFF7_FFFF),
    array("ETQS", Array::new(0x0EC00, 4, 8), QUEUE).rw(0xA07F_0000),
    array("SAQF", Array::new(0x0E000, 4, 128), QUEUE).rw(!0),
    array("DAQF", Array::new(0x0E200, 4, 128), QUEUE).rw(!0),
    array("SDPQF", Array::new(0x0E400, 4, 128), QUEUE).rw(!0),
    array("FTQF", Array::new(0x0E600, 4, 128), QUEUE).rw(!0),
    array("L34TIMIR", Array::new(0x0E800, 4, 128), QUEUE).rw(!0),
    reg("SYNQF", Reg(0x0EC30), QUEUE).rw(0x8000_00FF),
    array("IMIR", Array::new(0x05A80, 4, 8), QUEUE).rw(!0),
    array("IMIREXT", Array::new(0x05AA0, 4, 8), QUEUE).rw(!0),
    reg("IMIRVP", Reg(0x05AC0), QUEUE).rw(0xF),
    reg("FCPTRL", Reg(0x02410), FCOE).rw(!0),
    reg("FCPTRH", Reg(0x02414), FCOE).rw(!0),
    reg("FCBUFF", Reg(0x02418), FCOE).rw(!0),
    reg("FCDMARW", Reg(0x02420), FCOE).rw(!0),
    reg("FCRXCTRL", Reg(0x05100), FCOE).rw(0xFFF),
    reg("FCFLT", Reg(0x05108), FCOE).rw(!0),
    reg("FCFLTRW", Reg(0x05110), FCOE).rw(!0),
    reg("FCPARAM", Reg(0x051D8), FCOE).rw(!0),
    reg("REOFF", Reg(0x05158), FCOE).rw(!0),
    reg("RSOFF", Reg(0x051F8), FCOE).rw(!0),
    reg("TEOFF", Reg(0x04A94), FCOE).rw(!0),
    reg("TSOFF", Reg(0x04A98), FCOE).rw(!0),
    reg("FCRECTL", Reg(0x0ED00), FCOE).rw(0x1),
    array("FCRETA", Array::new(0x0ED10, 4, 8), FCOE).rw(0x7F),
    reg("FDIRCTRL", FDIRCTRL, DIRECTOR)
        .rw(0xFF9F_7FB3)
        .known(0x8)
        .hook(Hook::FlowDirectorControl),
    array("FDIRSIPV6", Array::new(0x0EE0C, 4, 3), DIRECTOR).rw(!0),
    reg("FDIRIPSA", Reg(0x0EE18), DIRECTOR).rw(!0),
    reg("FDIRIPDA", Reg(0x0EE1C), DIRECTOR).rw(!0),
    reg("FDIRPORT", Reg(0x0EE20), DIRECTOR).rw(!0),
    reg("FDIRVLAN", Reg(0x0EE24), DIRECTOR).rw(!0),
    reg("FDIRHASH", Reg(0x0EE28), DIRECTOR).rw(!0),
    reg("FDIRCMD", FDIRCMD, DIRECTOR)
        .rw(!0)
        .hook(Hook::FlowDirectorCommand),
    reg("FDIRFREE", Reg(0x0EE38), DIRECTOR)
        .reset(0x8000)
        .rw(0x7FFF_7FFF)
        .known(!0),
    reg("FDIRDIP4M", Reg(0x0EE3C), DIRECTOR).rw(!0),
    reg("FDIRSIP4M", Reg(0x0EE40), DIRECTOR).rw(!0),
    reg("FDIRTCPM", Reg(0x0EE44), DIRECTOR).rw(!0),
    reg("FDIRUDPM", Reg(0x0EE48), DIRECTOR).rw(!0),
    reg("FDIRLEN", Reg(0x0EE4C), DIRECTOR).rc(),
    reg("FDIRUSTAT", Reg(0x0EE50), DIRECTOR).rc(),
    reg("FDIRFSTAT", Reg(0x0EE54), DIRECTOR).rc(),
    reg("FDIRMATCH", Reg(0x0EE58), DIRECTOR).rc(),
    reg("FDIRMISS", Reg(0x0EE5C), DIRECTOR).rc(),
    reg("FDIRHKEY", Reg(0x0EE68), DIRECTOR).rw(!0),
    reg("FDIRSKEY", Reg(0x0EE6C), DIRECTOR).rw(!0),
    reg("FDIRM", Reg(0x0EE70), DIRECTOR).rw(0x3F),
    reg("FDIRIP6M", Reg(0x0EE74), DIRECTOR).rw(!0),
    reg("FDIRSCTPM", Reg(0x0EE78), DIRECTOR).rw(!0),
];
