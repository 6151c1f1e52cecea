//! Blocks out of prefixes.

use super::{PLACES, deep, word_of};
use crate::shared::fib::compile::Compiler;
use crate::shared::fib::rib::Block;
use crate::shared::fib::root::BLOCK;
use crate::shared::fib::store::Full;

/// Words of a block whose places are taken one by one.
const WORDS: usize = 256_usize.div_ceil(PLACES as usize);

pub(super) fn compile(
    compiler: &mut Compiler<'_, u32>,
    node: u32,
    depth: u8,
    cover: u32,
) -> Result<(u32, Option<Block>), Full> {
    let places = compiler.places(node, depth, cover)?;
    let mut starts = [0; 256];
    let starts = starts_of_runs(&places, &mut starts);
    if starts.len() == 1 && places[0] & BLOCK == 0 {
        return Ok((places[0], None));
    }
    let (entry, block) = write(compiler, &places, starts)?;
    Ok((entry, Some(block)))
}

/// The places that lead elsewhere than the one before, and the first.
fn starts_of_runs<'a>(places: &[u32; 256], starts: &'a mut [u8; 256]) -> &'a [u8] {
    let mut count = 1;
    // Without a branch, as no two tables are alike.
    for place in 1..=u8::MAX {
        let at = usize::from(place);
        starts[count & 0xff] = place;
        count += usize::from(places[at] != places[at - 1]);
    }
    &starts[..count]
}

/// Writes a block; see the module above for its shape.
fn write(
    compiler: &mut Compiler<'_, u32>,
    places: &[u32; 256],
    starts: &[u8],
) -> Result<(u32, Block), Full> {
    // The coarsest places whose borders are where runs start; at most 128 to one.
    let bits = starts.iter().fold(128, |all, start| all | start);
    let shift = bits.trailing_zeros();
    let mut words = [0u32; WORDS];
    for start in starts {
        let place = u32::from(*start) >> shift;
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
    let entries = || starts.iter().map(|start| places[usize::from(*start)]);
    let references = || entries().filter(|entry| entry & BLOCK != 0);
    let leaves = if compiler.wide {
        starts.len()
    } else {
        starts.len().div_ceil(2)
    };
    let len = leaves + count + references().count();
    let block = compiler
        .store
        .allocate(u32::try_from(len).map_err(|_| Full)?)?;
    let offset = block.start as usize + leaves;
    let arena = compiler.store.arena();
    let words = words[..count].iter().copied();
    for (i, word) in words.chain(references()).enumerate() {
        arena.store(offset + i, word);
    }
    let mut reference = count;
    for (i, entry) in entries().enumerate() {
        let leaf = match entry & BLOCK {
            0 => entry,
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
