//! What IPv6 nodes become, block or table, and that they stay it.

use std::collections::{BTreeMap, BTreeSet};

use super::shapes::Rng;
use super::*;
use crate::shared::fib::Address;
use crate::shared::fib::rib::{LEVELS, Rib, STRIDE, TOP};

const SITE: u128 = 0x2001_0db8 << 96;

/// The `n`-th of 512 prefixes of 48 bits, no two side by side, and in the same four nodes whatever
/// their number.
fn apart(n: u32) -> u128 {
    SITE | u128::from((n & 3) << 8 | n >> 2 << 1) << 80
}

/// The same without gaps.
fn together(n: u32) -> u128 {
    SITE | u128::from((n & 3) << 8 | n >> 2) << 80
}

/// Blocks in use: a table has its children's below it, a block has taken them in.
fn blocks(pair: &mut Pair<u128>) -> usize {
    pair.commit();
    pair.table.census().live.len()
}

/// How often a node becomes a table, or a block again, while a route comes and goes.
fn turns(pair: &mut Pair<u128>, prefix: u128) -> usize {
    let mut before = blocks(pair);
    let mut turns = 0;
    for flap in 0..6 {
        match flap % 2 {
            0 => pair.insert(prefix, 48, 900 + flap),
            _ => pair.remove(prefix, 48),
        }
        let now = blocks(pair);
        turns += usize::from(now != std::mem::replace(&mut before, now));
    }
    assert!(
        turns <= 1,
        "{turns} turns beside {} routes",
        pair.routes.len()
    );
    turns
}

/// Lets a route flap beside ever more others, then beside ever fewer.
fn flap_beside(routes: u32, prefix: impl Fn(u32) -> u128, group: impl Fn(u32) -> u32) {
    let mut pair = Pair::new();
    let mut turned = 0;
    (0..4).for_each(|n| pair.insert(prefix(n), 48, group(n)));
    let few = blocks(&mut pair);
    for n in 4..routes {
        turned += turns(&mut pair, prefix(n));
        pair.insert(prefix(n), 48, group(n));
    }
    pair.check();
    assert_eq!(turned, 1, "flaps at the border");
    assert!(blocks(&mut pair) > few, "a table");
    for n in (4..routes).rev() {
        pair.remove(prefix(n), 48);
        turns(&mut pair, prefix(n));
    }
    pair.check();
    assert_eq!(blocks(&mut pair), few, "a block again");
}

#[test]
fn a_route_that_flaps_where_ranges_are_too_many_turns_its_node_over_once() {
    flap_beside(200, apart, |n| 1 + n);
}

#[test]
fn a_route_that_flaps_where_prefixes_are_too_many_turns_its_node_over_once() {
    flap_beside(1000, together, |_| 1);
}

/// Bytes of a table of 5,000 routes with 500 groups below one of 32 bits, beside those of the one
/// alone.
fn bytes_of(len: u8, prefix: impl Fn(u128) -> u128) -> usize {
    let mut pair = Pair::new();
    pair.insert(SITE, 32, 1);
    let alone = pair.commit().hot_bytes();
    for (n, id) in (0..5000).zip((2..502).cycle()) {
        pair.insert(prefix(n), len, id);
    }
    assert_eq!(pair.routes.len(), 5001);
    let fib = pair.commit();
    let some: Vec<u128> = pair.edges().into_iter().step_by(7).collect();
    check(&fib, &pair.routes, &some);
    fib.hot_bytes() - alone
}

#[test]
fn thousands_of_routes_below_one_prefix_cost_nothing_above_it() {
    // 256 entries for each 256 of them, the same once above, and a few lines.
    let hosts = SITE | 1 << 64;
    assert!(bytes_of(128, |n| hosts | n) <= 22 << 10);
    assert!(bytes_of(64, |n| SITE | n << 64) <= 22 << 10);
    // A line for each host, or part of one for each /64, and tables of their first bits.
    let scattered = |n| ((n + 1) * 0x9e37_79b9_7f4a_7c15) & u128::from(u64::MAX);
    assert!(bytes_of(128, |n| hosts | scattered(n)) <= 5000 * 90);
    assert!(bytes_of(64, |n| SITE | scattered(n) >> 32 << 64) <= 5000 * 20);
}

/// What each node weighs, by the definition.
fn weights(routes: &Routes<u128>) -> Vec<u32> {
    let mut held: BTreeMap<(u8, u128), BTreeSet<(u8, u128)>> = BTreeMap::new();
    for (len, prefix) in routes.keys() {
        for depth in (TOP..*len).step_by(STRIDE.into()) {
            let last = depth + LEVELS * STRIDE;
            // A child has a length of its own, as it is there beside a prefix of as many bits.
            let key = match *len <= last {
                true => (*len, *prefix),
                false => (u8::MAX, prefix.mask(last)),
            };
            held.entry((depth, prefix.mask(depth)))
                .or_default()
                .insert(key);
        }
    }
    let mut weights: Vec<u32> = held
        .values()
        .map(|held| u32::try_from(held.len()).unwrap())
        .collect();
    weights.sort_unstable();
    weights
}

#[test]
fn a_node_weighs_what_its_block_would_hold_whatever_came_and_went() {
    let mut rng = Rng(5);
    let (mut rib, mut routes) = (Rib::default(), Routes::new());
    for round in 0..3000 {
        // Few distinct bits, so that prefixes nest; more come than go, then the other way round.
        let bits = u128::from(rng.below(1 << 24)) * 0x1_0001_0000_0100_0001_0000_0101;
        let len = u8::try_from(17 + rng.below(112)).unwrap();
        let prefix = (SITE | bits & 0x0001_0100_0001_0001_0100_0181).mask(len);
        if rng.below(3000) > round {
            rib.insert(prefix, len, 1 + u32::try_from(rng.below(3)).unwrap());
            routes.insert((len, prefix), group(1));
        } else {
            rib.remove(prefix, len);
            routes.remove(&(len, prefix));
        }
        if round % 50 == 0 {
            let mut weights_now: Vec<u32> = rib.nodes.iter().map(|node| node.weight).collect();
            weights_now.retain(|weight| *weight > 0);
            weights_now.sort_unstable();
            assert_eq!(weights_now, weights(&routes));
        }
    }
    assert!(routes.len() > 100, "{}", routes.len());
}
