//! The arena's life: it grows, shrinks, runs out and comes back; and what single changes cost.

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::shared::fib::rib::Block;
use crate::shared::fib::root::{CHUNK, CHUNKS};
use crate::shared::fib::store::Census;

fn words(blocks: &[Block]) -> u32 {
    blocks.iter().map(|block| block.len).sum()
}

/// Blocks of the second that the first did not have.
fn added(before: &Census, after: &Census) -> Vec<Block> {
    let before: HashSet<u32> = before.live.iter().map(|block| block.start).collect();
    let blocks = after.live.iter().copied();
    blocks
        .filter(|block| !before.contains(&block.start))
        .collect()
}

/// Changes a route again and again; the arena must last.
fn commits_in_one_arena<A: Family>(table: &mut Table<A>, prefix: A, len: u8) {
    let arena = table.census().arena;
    for id in 0..20 {
        table.insert(prefix, len, group(id));
        table.commit().unwrap();
        assert!(Arc::ptr_eq(&arena, &table.census().arena), "rebuilt");
    }
}

#[test]
fn a_table_that_empties_gives_its_memory_back() {
    let mut table: Table<u32> = Table::default();
    table.commit().unwrap();
    let empty = table.heap_bytes();
    let scattered = |n: u32| n.wrapping_mul(0x9e37_79b1);
    for round in 0..2 {
        for n in 0..40_000u32 {
            table.insert(scattered(n), 24, group(n % 1000 + round));
        }
        table.commit().unwrap();
        let full = table.heap_bytes();
        assert!(full > 2 * empty, "{full}");
        for n in 0..40_000u32 {
            table.remove(scattered(n), 24);
        }
        table.commit().unwrap();
        let emptied = table.heap_bytes();
        assert!(
            emptied < empty + full / 8,
            "{emptied} of {full}, {empty} before"
        );
    }
}

#[test]
fn routes_that_join_do_not_make_every_commit_a_rebuild() {
    let mut table: Table<u32> = Table::default();
    for n in 0..1 << 17 {
        table.insert(n << 8, 24, group(1));
    }
    table.commit().unwrap();
    commits_in_one_arena(&mut table, 0x0001_0000, 24);
}

#[test]
fn a_table_that_just_fits_does_not_make_every_commit_a_rebuild() {
    for chunks in 1..=15u32 {
        let mut table: Table<u32> = Table::default();
        for chunk in 1..=chunks {
            table.insert(chunk << 28, 16, group(chunk));
        }
        table.commit().unwrap();
        commits_in_one_arena(&mut table, 1 << 28, 16);
    }
}

/// How often scattered changes by the hundred made a commit a rebuild, while a snapshot is held until
/// `held` more were made.
fn rebuilds(routes: u32, commits: u32, held: u32) -> usize {
    let scattered = |n: u32| n.wrapping_mul(0x9e37_79b1);
    let mut table: Table<u32> = Table::default();
    for n in 0..routes {
        table.insert(scattered(n), 24, group(n % 1000));
    }
    let mut snapshot = (table.commit().unwrap(), scattered(0));
    let (mut arena, mut rebuilds) = (table.census().arena, 0);
    for commit in 0..commits {
        let expected = snapshot.0.lookup(snapshot.1);
        for n in 0..256 {
            table.insert(scattered((commit * 256 + n) % routes), 24, group(commit));
        }
        let newest = table.commit().unwrap();
        assert_eq!(snapshot.0.lookup(snapshot.1), expected, "held, but written");
        if commit % held == held - 1 {
            snapshot = (newest, scattered(commit * 256 % routes));
        }
        let now = table.census().arena;
        rebuilds += usize::from(!Arc::ptr_eq(&arena, &now));
        arena = now;
    }
    rebuilds
}

#[test]
fn scattered_changes_by_the_hundred_rarely_make_a_commit_a_rebuild() {
    for routes in [3_000, 10_000, 40_000] {
        // Workers are one snapshot behind.
        let rebuilds = rebuilds(routes, 50, 1);
        assert!(rebuilds <= 1, "{rebuilds} rebuilds for {routes} routes");
    }
}

#[test]
fn a_worker_that_sleeps_over_many_commits_makes_none_of_them_a_rebuild_but_the_first() {
    for routes in [3_000, 10_000, 40_000] {
        let rebuilds = rebuilds(routes, 400, 200);
        assert!(rebuilds <= 1, "{rebuilds} rebuilds for {routes} routes");
    }
}

/// Some commits move on to a larger arena, of which snapshots that are held know nothing.
#[test]
fn a_table_that_grows_keeps_its_blocks_and_the_snapshots_theirs() {
    let scattered = |n: u32| n.wrapping_mul(0x9e37_79b1);
    let mut table: Table<u32> = Table::default();
    let mut held = vec![(0, table.commit().unwrap())];
    let (mut arena, mut grown) = (table.census().arena, 0);
    for commit in 1..=160 {
        let before = table.census();
        for n in (commit - 1) * 256..commit * 256 {
            table.insert(scattered(n), 24, group(n % 1000));
        }
        let newest = table.commit().unwrap();
        let now = table.census();
        if !Arc::ptr_eq(&arena, &now.arena) {
            grown += 1;
            // A table that is compiled anew has all of its blocks elsewhere.
            let moved = added(&before, &now).len();
            assert!(moved <= 2 * 256 + CHUNKS, "{moved} blocks moved");
            arena = now.arena;
            held.push((commit * 256, newest));
        }
    }
    assert!(grown >= 2, "{grown}");
    held.push((160 * 256, table.commit().unwrap()));
    for (routes, snapshot) in &held {
        for n in (0..160 * 256).step_by(37) {
            let expected = if n < *routes {
                group(n % 1000)
            } else {
                GroupId::NO_ROUTE
            };
            assert_eq!(snapshot.lookup(scattered(n)), expected, "{n} of {routes}");
        }
    }
}

#[test]
fn generations_that_have_no_numbers_left_begin_anew() {
    let mut table: Table<u32> = Table::default();
    table.insert(1 << 28, 24, group(0));
    let mut snapshots = vec![table.commit().unwrap()];
    let arena = table.census().arena;
    table.age();
    for id in 1..5 {
        table.insert(1 << 28, 24, group(id));
        snapshots.push(table.commit().unwrap());
    }
    assert!(!Arc::ptr_eq(&arena, &table.census().arena));
    for (id, snapshot) in (0..).zip(&snapshots) {
        assert_eq!(snapshot.lookup(1 << 28), group(id));
    }
}

#[test]
fn one_snapshot_held_for_long_costs_what_it_reaches_and_no_more() {
    let mut table: Table<u32> = Table::default();
    table.insert(1 << 28, 24, group(1));
    let held = table.commit().unwrap();
    let mut bytes = Vec::new();
    for id in 2..5000 {
        table.insert(0, 0, group(id));
        table.insert(1 << 28, 24, group(id));
        table.commit().unwrap();
        bytes.push(table.heap_bytes());
    }
    assert_eq!(held.lookup(1 << 28), group(1));
    assert_eq!(
        bytes.last(),
        bytes.get(10),
        "what it takes to begin with is all"
    );
}

/// One route for each of `prefixes`, more chunks than fit, over and over.
fn out_of_memory_and_back<A: Family>(prefixes: &[(A, u8)]) {
    let mut pair: Pair<A> = Pair::new();
    pair.table = Table::with_limit(1 << 15);
    let (few, rest) = prefixes.split_at(3);
    for round in 0..5 {
        for (prefix, len) in few {
            pair.insert(*prefix, *len, round + 1);
        }
        let good = pair.commit();
        let routes = pair.routes.clone();
        let probes = pair.edges();
        for (prefix, len) in rest {
            pair.insert(*prefix, *len, round + 100);
        }
        for _ in 0..2 {
            assert!(pair.table.commit().is_err(), "more than the limit");
            check(&good, &routes, &probes);
        }
        // Edits go on meanwhile.
        let (prefix, len) = few[0];
        pair.remove(prefix, len);
        assert!(pair.table.commit().is_err());
        for (prefix, len) in &rest[2..] {
            pair.remove(*prefix, *len);
        }
        // Among what is back are routes that no commit has taken in yet.
        pair.check();
        check(&good, &routes, &probes);
        for (prefix, len) in &rest[..2] {
            pair.remove(*prefix, *len);
        }
        pair.check();
    }
}

#[test]
fn a_hidden_route_that_needs_wide_leaves_does_not_leave_the_table_full_when_it_goes() {
    // Two /16s hide the /15; with leaves of 32 bits the rest does not fit.
    let mut table: Table<u32> = Table::with_limit(1 << 19);
    table.insert(10 << 24, 16, group(1));
    table.insert(10 << 24 | 1 << 16, 16, group(2));
    let mut n = 0u32;
    while table.commit().is_ok() {
        for _ in 0..1000 {
            table.insert(n.wrapping_mul(0x9e37_79b1), 24, group(n % 1000));
            n += 1;
        }
    }
    while table.commit().is_err() {
        n -= 1;
        table.remove(n.wrapping_mul(0x9e37_79b1), 24);
    }
    table.insert(10 << 24, 15, group(40_000));
    assert!(table.commit().is_err());
    table.remove(10 << 24, 15);
    assert!(table.commit().is_ok());
}

#[test]
fn a_table_out_of_memory_keeps_its_routes_and_comes_back_when_some_go() {
    let chunks = 1..=12;
    let ipv4: Vec<(u32, u8)> = chunks.clone().map(|n| (n << 28, 17)).collect();
    out_of_memory_and_back(&ipv4);
    let ipv6: Vec<(u128, u8)> = chunks.map(|n| (u128::from(n) << 124, 49)).collect();
    out_of_memory_and_back(&ipv6);
}

fn across_sixteen_bits<A: Family>(prefixes: &[(A, u8)]) {
    let mut pair: Pair<A> = Pair::new();
    let mut earlier = Vec::new();
    for round in 0..12u32 {
        for (i, (prefix, len)) in (0..).zip(prefixes) {
            pair.insert(*prefix, *len, 32_765 + (round + i) % 4);
        }
        // Every third time none needs a wide leaf.
        if round % 3 == 2 {
            for (prefix, len) in prefixes {
                pair.insert(*prefix, *len, 32_766);
            }
        }
        earlier.push((pair.commit(), pair.routes.clone()));
        for (fib, routes) in &earlier {
            check(fib, routes, &pair.edges());
        }
    }
}

#[test]
fn groups_go_back_and_forth_between_narrow_and_wide_leaves() {
    across_sixteen_bits::<u32>(&[
        (0, 0),
        (0x0a00_0000, 8),
        (0x0a01_0000, 16),
        (0x0a01_0200, 24),
        (0x0a01_0280, 25),
        (0x0a01_02ff, 32),
    ]);
    across_sixteen_bits::<u128>(&[
        (0, 0),
        (0x2001 << 112, 16),
        (0x2001_0db8 << 96, 32),
        (0x2001_0db8_0001 << 80, 48),
        (0x2001_0db8_0001_0203 << 64, 64),
        (0x2001_0db8_0001_0203_0000_0000_0000_0001, 128),
    ]);
}

/// Changes routes of `prefixes` in a table of `routes`: no word of the arena may be taken for it.
fn costs_nothing<A: Family>(routes: &[(A, u8)], prefixes: &[(A, u8)]) {
    let mut pair: Pair<A> = Pair::new();
    for (id, (prefix, len)) in (0..).zip(routes) {
        pair.insert(*prefix, *len, id);
    }
    pair.check();
    pair.commit();
    let before = pair.table.census();
    for round in 0..20 {
        for (at, (prefix, len)) in (0..).zip(prefixes) {
            match (round + at) % 3 {
                0 => pair.remove(*prefix, *len),
                _ => pair.insert(*prefix, *len, 70_000 + round + at),
            }
        }
        pair.check();
        let after = pair.table.census();
        assert_eq!(after.used, before.used);
        assert_eq!(after.live, before.live);
        assert_eq!(after.retired, []);
    }
}

#[test]
fn default_routes_and_what_stands_in_for_them_take_no_word_of_the_arena() {
    let ipv4: Vec<(u32, u8)> = (0..500).map(|n| (n << 23, 20)).collect();
    let halves = [
        (0, 0),
        (0, 1),
        (1 << 31, 1),
        (0xc000_0000, 2),
        (0xe000_0000, 4),
    ];
    costs_nothing(&ipv4, &halves);
    let ipv6: Vec<(u128, u8)> = (0..500).map(|n| (0x2001 << 112 | n << 88, 40)).collect();
    let global = [(0, 0), (1 << 125, 3), (1 << 125, 4), (3 << 124, 4)];
    costs_nothing(&ipv6, &global);
}

#[test]
fn a_slash_8_that_changes_costs_its_own_slots_and_their_chunk() {
    let mut table: Table<u32> = Table::default();
    // In each /8 up to 50.0.0.0/8: 64 slots with something longer.
    for (eight, slot) in (1..=50u32).flat_map(|eight| (0..64).map(move |slot| (eight, slot))) {
        let prefix = eight << 24 | slot << 16;
        table.insert(prefix | 0x0100, 24, group(1000 + slot));
        table.insert(prefix | 0x4000, 18, group(2000 + slot));
    }
    for eight in 1..=50u32 {
        table.insert(eight << 24, 8, group(eight));
    }
    let held = table.commit().unwrap();
    let before = table.census();
    let largest = before.live.iter().filter(|block| block.len < CHUNK);
    let largest = largest.map(|block| block.len).max().unwrap();
    table.insert(10 << 24, 8, group(500));
    let fib = table.commit().unwrap();
    assert_eq!(fib.lookup(0x0a00_0000), group(500));
    assert_eq!(fib.lookup(0x0b00_0000), group(11));
    assert_eq!(held.lookup(0x0a00_0000), group(10));
    let after = table.census();
    let added = added(&before, &after);
    assert_eq!(
        added.len(),
        1 + 64,
        "a chunk, and a block for each slot with one"
    );
    assert!(words(&added) <= CHUNK + 64 * largest);
    assert_eq!(
        words(&after.retired),
        words(&added),
        "as much is given back"
    );
}
