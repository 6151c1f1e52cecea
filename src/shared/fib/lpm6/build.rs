//! Blocks and tables out of prefixes.

use super::{
    BLOCK, DEPTH_SHIFT, KEY, LINE, LINE_MASK, LINE_SHIFT, LINES, SPLIT, Shape, TABLE, bound,
};
use crate::shared::fib::compile::Compiler;
use crate::shared::fib::rib::{Block, STRIDE};
use crate::shared::fib::runs::Target;
use crate::shared::fib::store::Full;

/// Ranges that fill a block of narrow leaves.
const MANY: u32 = LINES * 11;
/// A node that weighs more is a table without a try. Mostly so many prefixes make too many ranges;
/// where they are all in a few places, tables are passed that a block could spare.
const CROWD: u32 = 4 * MANY;

/// A range of keys, up to the next range's first.
#[derive(Clone, Copy)]
struct Range {
    first: u32,
    target: Target,
}

/// A range that leads to a leaf code, or to the entry of a table or block.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Piece {
    first: u32,
    entry: u32,
}

pub(super) fn compile(
    compiler: &mut Compiler<'_, u128>,
    node: u32,
    depth: u8,
    cover: u32,
) -> Result<(u32, Option<Block>), Full> {
    let state = &compiler.rib.nodes[node as usize];
    let was_table = state
        .compiled
        .is_some_and(|compiled| compiled.entry & (BLOCK | TABLE) == BLOCK | TABLE);
    // A table shrinks back late: no route that comes and goes turns it over each time.
    let (crowd, share) = if was_table { (MANY, 2) } else { (CROWD, 1) };
    if state.weight <= crowd {
        let mut taken = Taken::new(compiler.wide, share);
        if taken.take(compiler, node, 0, 0, cover) {
            // What the block takes in needs nothing of its own any more.
            for inner in taken.nodes.iter().filter(|inner| **inner != node) {
                compiler.release(*inner);
            }
            let pieces = pieces(compiler, &taken.ranges, depth)?;
            return match pieces.as_slice() {
                [only] if only.entry & BLOCK == 0 => Ok((only.entry, None)),
                pieces => {
                    let (entry, block) = write_block(compiler, pieces, depth)?;
                    Ok((entry, Some(block)))
                }
            };
        }
    }
    let (entry, block) = write_table(compiler, node, depth, cover)?;
    Ok((entry, Some(block)))
}

/// What a block would have to hold.
struct Taken {
    ranges: Vec<Range>,
    nodes: Vec<u32>,
    most: usize,
}

impl Taken {
    /// As many ranges as a block holds, or a share of them.
    fn new(wide: bool, share: usize) -> Taken {
        Taken {
            ranges: Vec::with_capacity(32),
            nodes: Vec::with_capacity(8),
            most: LINES as usize * (Shape::of(wide).bounds + 1) / share,
        }
    }

    /// Takes in the ranges of a node `level` bits below the block's start, the first of whose keys
    /// is `first`; false when they are too many.
    fn take(
        &mut self,
        compiler: &mut Compiler<'_, u128>,
        node: u32,
        level: u8,
        first: u32,
        cover: u32,
    ) -> bool {
        self.nodes.push(node);
        compiler.with_runs(node, cover, |compiler, runs| {
            runs.iter().all(|run| {
                let first = first | u32::from(run.start) << (KEY - level - STRIDE);
                match run.target {
                    Target::Child { node, cover } if level + STRIDE < KEY => {
                        self.take(compiler, node, level + STRIDE, first, cover)
                    }
                    target => self.push(Range { first, target }),
                }
            })
        })
    }

    /// Adds a range, or joins it to one of the same target; false when it is one too many.
    fn push(&mut self, range: Range) -> bool {
        let last = self.ranges.last();
        if last.is_none_or(|last| last.target != range.target) {
            self.ranges.push(range);
        }
        self.ranges.len() <= self.most
    }
}

/// Compiles what lies beyond a block's keys, and joins ranges that turn out equal.
fn pieces(
    compiler: &mut Compiler<'_, u128>,
    ranges: &[Range],
    depth: u8,
) -> Result<Vec<Piece>, Full> {
    let mut pieces: Vec<Piece> = Vec::with_capacity(ranges.len());
    for range in ranges {
        let entry = match range.target {
            Target::Leaf(leaf) => leaf,
            Target::Child { node, cover } => compiler.entry(node, depth + KEY, cover)?,
        };
        if pieces.last().is_none_or(|last| last.entry != entry) {
            let first = range.first;
            pieces.push(Piece { first, entry });
        }
    }
    Ok(pieces)
}

/// Writes a block; see the module above for its shape.
fn write_block(
    compiler: &mut Compiler<'_, u128>,
    pieces: &[Piece],
    depth: u8,
) -> Result<(u32, Block), Full> {
    let shape = Shape::of(compiler.wide);
    let lines = pieces.chunks(shape.bounds + 1);
    let split = lines.len() > 1;
    let lines_start = if split { LINE } else { 0 };
    let references_start = lines_start + lines.len() * LINE;
    let references = pieces.iter().filter(|piece| piece.entry & BLOCK != 0);
    let len = references_start + references.count();
    let block = compiler
        .store
        .allocate(u32::try_from(len).map_err(|_| Full)?)?;
    let start = block.start as usize;
    let arena = compiler.store.arena();
    let put = |at: usize, bound: i32| arena.store(start + at, bound.cast_unsigned());
    if split {
        (0..LINE).for_each(|at| put(at, i32::MAX));
    }
    let mut reference = references_start;
    for (i, line) in lines.enumerate() {
        let line_start = lines_start + i * LINE;
        if i > 0 {
            put(i - 1, bound(line[0].first - 1));
        }
        for at in 0..LINE {
            put(
                line_start + at,
                if at < shape.bounds { i32::MAX } else { 0 },
            );
        }
        for (at, piece) in line.iter().enumerate() {
            if at > 0 {
                put(line_start + at - 1, bound(piece.first - 1));
            }
            let mut leaf = piece.entry;
            if piece.entry & BLOCK != 0 {
                arena.store(start + reference, piece.entry);
                leaf = shape.deep | u32::try_from(reference).map_err(|_| Full)?;
                reference += 1;
            }
            let line = start + line_start;
            match compiler.wide {
                true => arena.store(line + shape.leaves + at, leaf),
                false => arena.store_half(
                    2 * line + shape.leaves + at,
                    u16::try_from(leaf).map_err(|_| Full)?,
                ),
            }
        }
    }
    let kind = if split { SPLIT } else { 0 };
    Ok((refer(kind, block, depth)?, block))
}

/// Writes a table of 256 entries.
fn write_table(
    compiler: &mut Compiler<'_, u128>,
    node: u32,
    depth: u8,
    cover: u32,
) -> Result<(u32, Block), Full> {
    let entries = compiler.places(node, depth, cover)?;
    let block = compiler.store.allocate(256)?;
    for (i, entry) in entries.iter().enumerate() {
        compiler
            .store
            .arena()
            .store(block.start as usize + i, *entry);
    }
    Ok((refer(TABLE, block, depth)?, block))
}

/// The entry of a block or table.
fn refer(kind: u32, block: Block, depth: u8) -> Result<u32, Full> {
    let line = block.start >> LINE_SHIFT;
    if line > LINE_MASK {
        return Err(Full);
    }
    Ok(BLOCK | kind | u32::from(depth / 8) << DEPTH_SHIFT | line)
}
