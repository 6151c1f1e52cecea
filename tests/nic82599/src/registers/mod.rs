//! The register table and the register file.
//!
//! Every register of BAR0 is a [`Row`] in one of the tables below, by the datasheet's chapters
//! (8.2.3.x). A row says which bits keep what is written, which are cleared by a one or by a read,
//! and which are reserved; what a register does beyond that is its [`Hook`], carried out by
//! [`crate::nic`]. [`decode`] finds an offset's row in one load. Aliases lead to one word.

mod diagnostics;
mod filters;
mod general;
mod interrupts;
mod mac;
mod other;
mod receive;
mod rings;
mod row;
mod statistics;
mod transmit;

pub(crate) use filters::*;
pub(crate) use general::*;
pub(crate) use interrupts::*;
pub(crate) use mac::*;
pub(crate) use other::*;
pub(crate) use receive::*;
pub(crate) use rings::*;
pub(crate) use row::{Array, Hook, Reg, Row};
pub(crate) use statistics::*;
pub(crate) use transmit::*;

use std::ops::{Index, IndexMut};

/// The size of the register BAR in bytes.
pub const BAR0_SIZE: u32 = 0x2_0000;

const WORDS: usize = 0x8000;

const TABLES: [&[Row]; 10] = [
    general::ROWS,
    interrupts::ROWS,
    receive::ROWS,
    filters::ROWS,
    transmit::ROWS,
    rings::ROWS,
    mac::ROWS,
    statistics::ROWS,
    other::ROWS,
    diagnostics::ROWS,
];

/// What an offset leads to: the row, and the word where the register is kept.
#[derive(Clone, Copy)]
struct Slot {
    table: u8,
    row: u8,
    word: u16,
}

const NOTHING: u8 = u8::MAX;

static SLOTS: [Slot; WORDS] = slots();

/// Spreads the rows over the BAR. Two rows at one offset do not compile, nor does an alias of
/// nothing.
const fn slots() -> [Slot; WORDS] {
    let mut slots = [Slot {
        table: NOTHING,
        row: 0,
        word: 0,
    }; WORDS];
    place(&mut slots, false);
    place(&mut slots, true);
    slots
}

/// Places the rows that are aliases, or those that are not.
const fn place(slots: &mut [Slot; WORDS], aliases: bool) {
    let mut table = 0;
    while table < TABLES.len() {
        let mut row = 0;
        while row < TABLES[table].len() {
            let described = &TABLES[table][row];
            let mut n = 0;
            while n < described.count && described.alias_of.is_some() == aliases {
                let at = (described.offset_of(n) / 4) as usize;
                assert!(slots[at].table == NOTHING, "two registers at one offset");
                slots[at] = match described.alias_of {
                    Some(target) => slots[((target.base + target.stride * n) / 4) as usize],
                    None => slot(table, row, at),
                };
                assert!(slots[at].table != NOTHING, "an alias of nothing");
                n += 1;
            }
            row += 1;
        }
        table += 1;
    }
}

#[allow(clippy::cast_possible_truncation, reason = "asserted, while compiling")]
const fn slot(table: usize, row: usize, word: usize) -> Slot {
    assert!(table < NOTHING as usize && row < 256 && word < WORDS);
    Slot {
        table: table as u8,
        row: row as u8,
        word: word as u16,
    }
}

/// The row of an offset, and the register it leads to once aliases are followed.
pub(crate) fn decode(offset: u32) -> Option<(&'static Row, Reg)> {
    let slot = SLOTS.get((offset / 4) as usize)?;
    let row = TABLES
        .get(usize::from(slot.table))?
        .get(usize::from(slot.row))?;
    Some((row, Reg(u32::from(slot.word) * 4)))
}

/// The register's name, with its index when it is one of several.
pub(crate) fn name(register: Reg) -> String {
    match decode(register.0) {
        None => "unknown".to_owned(),
        Some((row, _)) if row.is_single() => row.name.to_owned(),
        Some((row, _)) => format!("{}[{}]", row.name, row.index_of(register)),
    }
}

/// Where the datasheet describes the register.
pub(crate) fn section(register: Reg) -> &'static str {
    decode(register.0).map_or("not in the datasheet", |(row, _)| row.section)
}

/// The words behind the registers.
pub(crate) struct Registers {
    words: Box<[u32; WORDS]>,
}

impl Registers {
    /// Every register at its reset value.
    pub(crate) fn new() -> Registers {
        let mut registers = Registers {
            words: Box::new([0; WORDS]),
        };
        registers.reset();
        registers
    }

    pub(crate) fn reset(&mut self) {
        self.words.fill(0);
        for row in TABLES.into_iter().flatten().filter(|row| row.reset != 0) {
            for n in 0..row.count {
                self[Reg(row.offset_of(n))] = row.reset;
            }
        }
    }
}

impl Index<Reg> for Registers {
    type Output = u32;

    fn index(&self, register: Reg) -> &u32 {
        &self.words[(register.0 / 4) as usize % WORDS]
    }
}

impl IndexMut<Reg> for Registers {
    fn index_mut(&mut self, register: Reg) -> &mut u32 {
        &mut self.words[(register.0 / 4) as usize % WORDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use crate::violation::Why;

    #[test]
    fn registers_show_their_reset_values() {
        let mut bench = Bench::new();
        for (register, value) in [
            (RXPBSIZE.at(0), 0x8_0000),
            (RXPBSIZE.at(1), 0),
            (FWSM, 0x8000),
            (AUTOC, 0x6000),
            (AUTOC2, 0x2_0000),
            (MAXFRS, 0x05EE_0000),
            (SRRCTL.at(127), 0x402),
            (DTXTCPFLGL, 0x0FF6_0FF6),
        ] {
            assert_eq!(bench.read(register), value, "{}", name(register));
        }
        bench.assert_clean();
    }

    #[test]
    fn a_reset_brings_the_reset_values_back() {
        let mut bench = Bench::new();
        bench.write(MAXFRS, 0x2400_0000);
        bench.write(MTA.at(5), 7);
        bench.write(CTRL, CTRL_RST);
        assert_eq!(bench.read(CTRL), 0, "CTRL.RST clears itself");
        assert_eq!(bench.read(MAXFRS), 0x05EE_0000);
        assert_eq!(bench.read(MTA.at(5)), 0);
    }

    #[test]
    fn only_writable_bits_keep_what_is_written() {
        let mut bench = Bench::new();
        bench.write(RDBAL.at(3), !0);
        bench.write(RDLEN.at(3), 0x000F_FFFF);
        bench.write(RAH.at(1), 0x800F_FFFF);
        assert_eq!(bench.read(RDBAL.at(3)), 0xFFFF_FF80);
        assert_eq!(bench.read(RDLEN.at(3)), 0x000F_FF80);
        assert_eq!(bench.read(RAH.at(1)), 0x8000_FFFF);
        bench.assert_clean();
    }

    #[test]
    fn aliases_are_the_same_register() {
        let mut bench = Bench::new();
        for (seen_at, register) in [
            (0x05400 + 8 * 15, RAL.at(15)),
            (0x05404 + 8 * 2, RAH.at(2)),
            (0x02100 + 4 * 7, SRRCTL.at(7)),
            (0x02200 + 4 * 7, DCA_RXCTRL.at(7)),
            (0x05480 + 4 * 3, PSRTYPE.at(3)),
            (0x05C80 + 4 * 9, RSSRK.at(9)),
            (0x05C00 + 4 * 31, RETA.at(31)),
            (0x05818, MRQC),
        ] {
            bench.write(Reg(seen_at), 0x0000_0001);
            assert_eq!(bench.read(register), 0x0000_0001, "{}", name(register));
            bench.write(register, 0);
            assert_eq!(bench.read(Reg(seen_at)), 0, "{}", name(register));
        }
        bench.assert_clean();
    }

    #[test]
    fn a_one_clears_what_is_cleared_by_a_one() {
        const PICAUSE: Reg = Reg(0x110B0);
        let mut bench = Bench::new();
        bench.state().regs[PICAUSE] = 0b110;
        bench.write(PICAUSE, 0b011);
        assert_eq!(bench.read(PICAUSE), 0b100);
    }

    #[test]
    fn a_read_clears_statistics() {
        let mut bench = Bench::new();
        bench.state().regs[GPRC] = 9;
        assert_eq!((bench.read(GPRC), bench.read(GPRC)), (9, 0));
    }

    #[test]
    fn a_reserved_bit_is_a_violation_and_does_not_stay() {
        let mut bench = Bench::new();
        bench.write(MCSTCTRL, 0x8007);
        assert_eq!(bench.read(MCSTCTRL), 7);
        bench.assert_violation("MCSTCTRL", Why::Reserved(0x8000));
    }

    #[test]
    fn a_reserved_bit_written_as_it_reads_is_allowed() {
        let mut bench = Bench::new();
        let value = bench.read(EEC);
        bench.write(EEC, value);
        let value = bench.read(FWSM);
        bench.write(FWSM, value);
        bench.assert_clean();
    }

    #[test]
    fn a_write_to_a_statistic_is_a_violation() {
        let mut bench = Bench::new();
        bench.write(QPRC.at(2), 1);
        bench.assert_violation("QPRC[2]", Why::Reserved(1));
    }

    #[test]
    fn an_access_outside_the_table_is_a_violation() {
        let mut bench = Bench::new();
        assert_eq!(bench.read(Reg(0x0_0004)), 0xDEAD_BEEF);
        bench.assert_violation("unknown", Why::UnknownRead);

        let mut bench = Bench::new();
        bench.write(Reg(0x1_FFFC), 1);
        bench.assert_violation("unknown", Why::UnknownWrite);

        let mut bench = Bench::new();
        bench.read(Reg(BAR0_SIZE));
        bench.assert_violation("unknown", Why::UnknownRead);
    }

    #[test]
    fn an_access_that_is_not_aligned_is_a_violation() {
        let mut bench = Bench::new();
        bench.write(Reg(MTA.base + 2), !0);
        assert_eq!(bench.read(MTA.at(0)), 0);
        bench.assert_violation("MTA[0]", Why::Misaligned);
    }

    #[test]
    fn names_carry_the_index_in_the_datasheet() {
        for (register, expected) in [
            (CTRL, "CTRL"),
            (RDT.at(63), "RDT[63]"),
            (RDT.at(64), "RDT[64]"),
            (TDT.at(100), "TDT[100]"),
            (EITR_FROM_24.at(0), "EITR[24]"),
            (RXPBSIZE.at(7), "RXPBSIZE[7]"),
            (RAH.at(127), "RAH[127]"),
        ] {
            assert_eq!(name(register), expected);
        }
    }

    #[test]
    fn no_bit_is_both_kept_and_reserved() {
        for row in TABLES.into_iter().flatten() {
            assert_eq!(row.writable & row.reserved, 0, "{}", row.name);
            assert_eq!(row.writable & row.one_clears, 0, "{}", row.name);
            let last = row.offset_of(row.count - 1);
            assert!(last < BAR0_SIZE && last % 4 == 0, "{}", row.name);
        }
    }
}
