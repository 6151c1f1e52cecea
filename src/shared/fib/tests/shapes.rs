//! Shapes that the structures treat apart.

use super::*;
use crate::shared::fib::Address;

/// A small deterministic generator.
pub(super) struct Rng(pub(super) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.0 >> 17
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn wide(rng: &mut Rng) -> u128 {
    u128::from(rng.next()) << 80 ^ u128::from(rng.next()) << 40 ^ u128::from(rng.next())
}

/// Fills a table with random prefixes, checks, then takes half of them away and checks again.
fn fill_and_thin<A: Family>(count: usize, mut prefix: impl FnMut(&mut Rng) -> (A, u8)) {
    let mut rng = Rng(7);
    let mut pair = Pair::new();
    for _ in 0..count {
        let (address, len) = prefix(&mut rng);
        pair.insert(address, len, 1 + u32::try_from(rng.below(200)).unwrap());
    }
    pair.check();
    let keys: Vec<(u8, A)> = pair.routes.keys().copied().collect();
    for (len, prefix) in keys.iter().step_by(2) {
        pair.remove(*prefix, *len);
    }
    pair.check();
    for (len, prefix) in keys {
        pair.remove(prefix, len);
    }
    pair.check();
    assert_eq!(pair.commit().routes(), 0);
}

#[test]
fn a_slash_16_with_every_place_different() {
    fill_and_thin(400, |rng| {
        (
            0x0a01_0000u32 | u32::try_from(rng.below(256)).unwrap() << 8,
            24,
        )
    });
}

#[test]
fn a_slash_24_of_hosts_beside_aggregates() {
    fill_and_thin(600, |rng| {
        let host = u32::try_from(rng.below(1024)).unwrap();
        (
            0x0a01_0000u32 | host,
            20 + u8::try_from(rng.below(13)).unwrap(),
        )
    });
}

#[test]
fn ipv6_ranges_that_fill_a_line_then_a_block_then_a_table() {
    for count in [5, 11, 12, 60, 187, 188, 400, 900] {
        fill_and_thin(count, |rng| {
            let subnet = u128::from(rng.below(4096));
            (
                0x2001_0db8u128 << 96 | subnet << 84,
                36 + u8::try_from(rng.below(9)).unwrap(),
            )
        });
    }
}

#[test]
fn ipv6_prefixes_of_every_length_below_one_another() {
    fill_and_thin(300, |rng| {
        // Bits cleared at random leave long common beginnings.
        let kept = rng.below(129);
        let address = wide(rng).mask(u8::try_from(kept).unwrap());
        (
            0x2001_0db8u128 << 96 | address >> 32,
            u8::try_from(rng.below(129)).unwrap(),
        )
    });
}

#[test]
fn ipv6_hosts_by_the_hundred_in_one_slash_64() {
    fill_and_thin(700, |rng| {
        let host = u128::from(rng.below(2048));
        (
            0x2001_0db8_0000_0001u128 << 64 | host,
            118 + u8::try_from(rng.below(11)).unwrap(),
        )
    });
}

#[test]
fn ipv6_hosts_scattered_in_one_slash_64() {
    fill_and_thin(700, |rng| {
        let host = u128::from(rng.next()) << 20 & 0xffff_ffff_ffff_ffff;
        (0x2001_0db8_0000_0001u128 << 64 | host, 128)
    });
}

#[test]
fn the_default_route_changes_without_a_block_changing() {
    let mut table: Table<u32> = Table::default();
    for n in 0..2000u32 {
        table.insert(n << 13, 20, group(n));
    }
    let before = table.commit().unwrap();
    table.insert(0, 0, group(9));
    let after = table.commit().unwrap();
    assert_eq!(before.chunks(), after.chunks());
    assert_eq!(before.lookup(0xff00_0000), GroupId::NO_ROUTE);
    assert_eq!(after.lookup(0xff00_0000), group(9));
    assert_eq!(after.lookup(0x0000_2001), group(1));
}

#[test]
fn a_route_that_leads_to_group_0_hides_the_default() {
    let mut pair: Pair<u32> = Pair::new();
    pair.insert(0, 0, 5);
    pair.insert(0x0a00_0000, 8, 0);
    pair.insert(0x0a01_0000, 16, 0);
    pair.insert(0x0a01_0100, 24, 0);
    pair.check();
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    let mut table: Table<u32> = Table::default();
    table.insert(0x0a00_0000, 8, group(1));
    table.insert(0x0a01_0000, 17, group(2));
    let before = table.commit().unwrap();
    for (prefix, len) in [
        (0x0a01_0100, 24),
        (0x0a01_0000, 18),
        (0x0b00_0000, 8),
        (0, 0),
    ] {
        assert_eq!(table.remove(prefix, len), None);
    }
    assert!(table.commit().unwrap().is_same(&before));
}

#[test]
fn groups_beyond_sixteen_bits_and_back() {
    let mut pair: Pair<u128> = Pair::new();
    for n in 0..300u32 {
        pair.insert(0x2001_0db8u128 << 96 | u128::from(n) << 80, 48, n + 32_600);
    }
    pair.check();
    for n in 0..300u32 {
        pair.insert(0x2001_0db8u128 << 96 | u128::from(n) << 80, 48, n + 1);
    }
    pair.check();
    pair.insert(0x2001_0db8u128 << 96, 48, GroupId::MAX_SLOT);
    pair.check();
}

#[test]
fn bursts_of_every_length() {
    let mut pair: Pair<u32> = Pair::new();
    for n in 0..500u32 {
        pair.insert(n << 11, 21 + u8::try_from(n % 12).unwrap(), n);
    }
    let fib = pair.commit();
    let mut rng = Rng(3);
    for len in 0..=200 {
        let probes: Vec<u32> = (0..len)
            .map(|_| u32::try_from(rng.below(500 << 11)).unwrap())
            .collect();
        check(&fib, &pair.routes, &probes);
    }
}

#[test]
fn bursts_to_one_slash_24_share_an_answer_only_when_it_is_whole() {
    let mut pair: Pair<u32> = Pair::new();
    pair.insert(0x0a00_0000, 8, 1);
    pair.insert(0x0a01_0200, 24, 2);
    pair.insert(0x0a01_0300, 25, 3);
    pair.insert(0x0a01_03ff, 32, 4);
    let fib = pair.commit();
    for slash24 in [0x0a01_0200, 0x0a01_0300, 0x0a01_0400, 0x0b00_0000] {
        let probes: Vec<u32> = (0..64).map(|n| slash24 + n * 4 + 3).collect();
        check(&fib, &pair.routes, &probes);
    }
}
