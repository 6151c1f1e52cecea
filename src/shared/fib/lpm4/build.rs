//! Blocks out of prefixes.

use arrayvec::ArrayVec;

use super::{PLACES, deep, word_of};
use crate::shared::fib::compile::Compiler;
use crate::shared::fib::rib::{Block, STRIDE};
use crate::shared::fib::root::BLOCK;
use crate::shared::fib::runs::Target;
use crate::shared::fib::store::Full;

/// Words of a block whose places are taken one by one.
const WORDS: usize = 256_usize.div_ceil(PLACES as usize);

/// A run of places.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Piece {
    start: u16,
    /// A leaf code, or the entry of a block.
    entry: u32,
}

pub(super) fn compile(
    compiler: &mut Compiler<'_, u32>,
    node: u32,
    depth: u8,
    cover: u32,
) -> Result<(u32, Option<Block>), Full> {
    let mut pieces: ArrayVec<Piece, 256> = ArrayVec::new();
    compiler.with_runs(node, cover, |compiler, runs| {
        for run in runs {
            let entry = match run.target {
                Target::Leaf(leaf) => leaf,
                Target::Child { node, cover } => compiler.entry(node, depth + STRIDE, cover)?,
            };
            if pieces.last().is_none_or(|last| last.entry != entry) {
                let start = run.start;
                pieces.push(Piece { start, entry });
            }
        }
        Ok(())
    })?;
    match pieces.as_slice() {
        [only] if only.entry & BLOCK == 0 => Ok((only.entry, None)),
        pieces => {
            let (entry, block) = write(compiler, pieces)?;
            Ok((entry, Some(block)))
        }
    }
}

/// Writes a block; see the module above for its shape.
fn write(compiler: &mut Compiler<'_, u32>, pieces: &[Piece]) -> Result<(u32, Block), Full> {
    // The coarsest places whose borders are where runs start; at most 128 to one.
    let starts = pieces.iter().fold(128, |all, piece| all | piece.start);
    let shift = starts.trailing_zeros();
    let mut words = [0u32; WORDS];
    for piece in pieces {
        let place = u32::from(piece.start) >> shift;
        let word = word_of(place);
        words[word as usize] |= 1 << (place - word * PLACES);
    }
    let mut before = 0;
    for word in &mut words {
        let runs = word.count_ones();
        *word |= before << 24;
        before += runs;
    }
    let count = (256usize >> shift).div_ceil(PLACES as usize);
    let entries = pieces.iter().map(|piece| piece.entry);
    let references: Vec<u32> = entries.filter(|entry| entry & BLOCK != 0).collect();
    let leaves = if compiler.wide {
        pieces.len()
    } else {
        pieces.len().div_ceil(2)
    };
    let len = leaves + count + references.len();
    let block = compiler
        .store
        .allocate(u32::try_from(len).map_err(|_| Full)?)?;
    let offset = block.start as usize + leaves;
    let arena = compiler.store.arena();
    for (i, word) in words[..count].iter().chain(&references).enumerate() {
        arena.store(offset + i, *word);
    }
    let mut reference = count;
    for (i, piece) in pieces.iter().enumerate() {
        let leaf = match piece.entry & BLOCK {
            0 => piece.entry,
            _ => {
                reference += 1;
                deep(compiler.wide) | u32::try_from(reference - 1).map_err(|_| Full)?
            }
        };
        if compiler.wide {
            arena.store(offset - 1 - i, leaf);
        } else {
            arena.store_half(2 * offset - 1 - i, u16::try_from(leaf).map_err(|_| Full)?);
        }
    }
    let offset = u32::try_from(offset).map_err(|_| Full)?;
    Ok((BLOCK | offset << 3 | shift, block))
}
