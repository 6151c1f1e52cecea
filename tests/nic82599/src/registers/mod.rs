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
