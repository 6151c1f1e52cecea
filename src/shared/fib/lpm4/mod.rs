//! IPv4: a slot leads to a block of 256 places, one for each /24 within the /16, and where there are
//! longer prefixes to one more, of the 256 addresses.
//!
//! A block is made for staying in L2: full tables have some 22 runs of equal places a block, so
//! it keeps where runs start as bits, and one leaf a run:
//!
//! ```text
//!   leaves, last run first | words: 24 places and the runs before them | references
//!                          ^ what the entry refers to
//!   entry  BLOCK | offset << 3 | shift     places are taken 2^shift at a time
//!   word   runs before << 24 | a bit for each place that starts a run
//!   leaf   leaf code, or the DEEP bit and how many words further on the reference lies
//! ```
//!
//! A lookup reads an entry, a word and a leaf; a population count tells which leaf.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod build;
mod scalar;

use super::compile::{Compiler, Structure};
use super::rib::Block;
use super::root::Root;
use super::store::Full;
use super::{GroupId, Path};

/// Places that a word has bits for.
const PLACES: u32 = 24;

/// An entry without a block of its own stands at zeros: its lookup finds leaf code 0.
#[cfg(target_arch = "x86_64")]
const ZERO_BLOCK: u32 = super::root::BLOCK | (super::store::ZEROS / 2) << 3;

/// The word of a place, `place` / 24 without dividing.
#[inline]
fn word_of(place: u32) -> u32 {
    (place * 171) >> 12
}

/// The bit that tells a reference from a leaf code.
#[inline]
fn deep(wide: bool) -> u32 {
    if wide { 1 << 31 } else { 1 << 15 }
}

impl Structure for u32 {
    const GRANULE: u32 = 1;

    fn compile(
        compiler: &mut Compiler<'_, u32>,
        node: u32,
        depth: u8,
        cover: u32,
    ) -> Result<(u32, Option<Block>), Full> {
        build::compile(compiler, node, depth, cover)
    }

    fn lookup(root: &Root, address: u32) -> u32 {
        scalar::lookup(root, address)
    }

    #[inline]
    fn lookup_burst(root: &Root, path: Path, addresses: &[u32], groups: &mut [GroupId]) {
        match path {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512(here) => avx512::lookup_burst(here, root, addresses, groups),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2(here) => avx2::lookup_burst(here, root, addresses, groups),
            _ => Self::lookup_each(root, addresses, groups),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_word() {
        for place in 0..256 {
            assert_eq!(word_of(place), place / PLACES, "place {place}");
        }
    }
}
