//! IPv6: a slot leads to tables of 256 entries, a byte each, until few enough ranges are left for a
//! block: the sorted ranges of the next 32 bits, searched by comparing a cache line at once.
//!
//! ```text
//!   entry      BLOCK | kind | depth / 8 << 25 | line        depth: bits that led here
//!   table      256 entries
//!   line       16 words: bounds of ranges 1.. | leaves of ranges 0..
//!   block      one line, or a line of bounds between up to 17 lines | references
//!   leaf       leaf code, or the DEEP bit and how many words from the block's start to the reference
//! ```
//!
//! A bound is what comes before the first key of its range, with the sign bit flipped: a signed
//! "greater" tells that the range has begun, and bounds that nothing exceeds fill up a line.
//! Prefixes beyond a block's 32 bits are one key of it, with a reference to what goes on there.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod build;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod walk;

use super::compile::{Compiler, Structure};
use super::rib::{Block, LEVELS, STRIDE};
use super::root::{BLOCK, Root};
use super::store::Full;
use super::{GroupId, Path};

/// Words of a line: 64 bytes.
const LINE: usize = 1 << LINE_SHIFT;
const LINE_SHIFT: u32 = 4;
/// Lines of a block with a line of bounds before them.
const LINES: u32 = 17;
/// Bits of a block's keys.
const KEY: u8 = LEVELS * STRIDE;

/// The entry refers to a table; without it, to a block.
const TABLE: u32 = 1 << 30;
/// The block starts with a line of bounds between its lines.
const SPLIT: u32 = 1 << 29;
const DEPTH_SHIFT: u32 = 25;
const LINE_MASK: u32 = (1 << DEPTH_SHIFT) - 1;

/// What lanes without a block of their own search: the line of zeros that the arena starts with.
#[cfg(target_arch = "x86_64")]
const ZERO_BLOCK: u32 = BLOCK;

/// How the words of a line are shared out.
#[derive(Clone, Copy)]
struct Shape {
    /// Bounds, from the line's start.
    bounds: usize,
    /// Where leaves start, counted in leaves.
    leaves: usize,
    /// The bit that tells a reference from a leaf code.
    deep: u32,
}

const NARROW: Shape = Shape {
    bounds: 10,
    leaves: 20,
    deep: 1 << 15,
};
const WIDE: Shape = Shape {
    bounds: 7,
    leaves: 7,
    deep: 1 << 31,
};

impl Shape {
    fn of(wide: bool) -> Shape {
        if wide { WIDE } else { NARROW }
    }
}

/// Bits that lead to what an entry refers to.
#[inline]
fn depth(entry: u32) -> u8 {
    u8::try_from(entry >> DEPTH_SHIFT & 15).unwrap_or(0) * 8
}

/// The first word of what an entry refers to.
#[inline]
fn words(entry: u32) -> usize {
    (entry & LINE_MASK) as usize * LINE
}

/// The 32 bits after the first `depth`, as bounds are compared.
#[inline]
#[allow(
    clippy::cast_possible_truncation,
    reason = "32 bits are left after the shift"
)]
fn key(address: u128, depth: u8) -> i32 {
    bound((address << depth >> 96) as u32)
}

/// A number with the sign bit flipped: signed comparisons then order as unsigned ones did.
#[inline]
fn bound(key: u32) -> i32 {
    (key ^ 1 << 31).cast_signed()
}

impl Structure for u128 {
    /// Lines never straddle cache lines.
    const GRANULE: u32 = 16;

    fn compile(
        compiler: &mut Compiler<'_, u128>,
        node: u32,
        depth: u8,
        cover: u32,
    ) -> Result<(u32, Option<Block>), Full> {
        build::compile(compiler, node, depth, cover)
    }

    fn lookup(root: &Root, address: u128) -> u32 {
        scalar::lookup(root, address)
    }

    #[inline]
    fn lookup_burst(root: &Root, path: Path, addresses: &[u128], groups: &mut [GroupId]) {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(here) => avx512::lookup_burst(here, root, addresses, groups),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(here) => avx2::lookup_burst(here, root, addresses, groups),
            _ => Self::lookup_each(root, addresses, groups),
        }
    }
}
