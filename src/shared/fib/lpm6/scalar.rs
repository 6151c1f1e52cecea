//! One address at a time, without unsafe: the reference for the others, and what machines without
//! AVX2 use.

use super::{LINE, SPLIT, Shape, TABLE, depth, key, words};
use crate::shared::fib::address::Address;
use crate::shared::fib::root::{BLOCK, Root};

/// The leaf code of an address; 0 for a default route's.
pub(super) fn lookup(root: &Root, address: u128) -> u32 {
    let mut entry = root.entry(address.top());
    let shape = Shape::of(root.wide);
    while entry & BLOCK != 0 {
        let start = words(entry);
        if entry & TABLE != 0 {
            let place = usize::from(address.byte(depth(entry)));
            entry = root.arena.load(start + place);
            continue;
        }
        let key = key(address, depth(entry));
        let line = match entry & SPLIT {
            0 => start,
            _ => start + LINE * (1 + rank(root, start, LINE, key)),
        };
        let at = shape.leaves + rank(root, line, shape.bounds, key);
        let leaf = match root.wide {
            true => root.arena.load(line + at),
            false => root.arena.load_half(2 * line + at),
        };
        if leaf & shape.deep == 0 {
            return leaf;
        }
        entry = root.arena.load(start + (leaf & !shape.deep) as usize);
    }
    entry
}

/// How many of `count` bounds a key exceeds.
#[inline]
fn rank(root: &Root, start: usize, count: usize, key: i32) -> usize {
    let bounds = (start..start + count).map(|at| root.arena.load(at).cast_signed());
    bounds.filter(|bound| key > *bound).count()
}
