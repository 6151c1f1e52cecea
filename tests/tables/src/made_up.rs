//! Tables that nobody has: lengths as in a full table, but random addresses, which share less than real ones.

use std::collections::HashSet;

use crate::address::{Address, Family, host_bits};
use crate::read::Route;
use crate::rng::Rng;

/// Lengths and how many of 1,000 prefixes have them, much as in the default-free zone.
const LENGTHS: [&[(u8, usize)]; 2] = [
    &[
        (24, 600),
        (23, 100),
        (22, 120),
        (21, 50),
        (20, 50),
        (19, 30),
        (18, 15),
        (17, 10),
        (16, 20),
        (14, 3),
        (12, 2),
    ],
    &[
        (48, 470),
        (32, 120),
        (40, 100),
        (44, 100),
        (36, 50),
        (46, 50),
        (33, 40),
        (29, 30),
        (56, 20),
        (64, 20),
    ],
];
/// The first 16 bits of what registries give out, from 2a00 to 2a0f besides.
const REGISTRIES: [u128; 17] = [
    0x2001, 0x2400, 0x2401, 0x2402, 0x2403, 0x2404, 0x2405, 0x2406, 0x2600, 0x2602, 0x2604, 0x2607,
    0x2620, 0x2800, 0x2803, 0x2804, 0x2c0f,
];
/// /32s under which all IPv6 prefixes are, several to each, as those of a network are.
const ALLOCATIONS: usize = 20_000;

/// So many routes for different prefixes, in no order, with the ids from 0 to 255: always the same for the
/// same number and seed. IPv4 is from 16.0.0.0 to 223.255.255.255 without 127.0.0.0/8.
///
/// There is an end to the prefixes of these lengths: millions can be had, but not tens of them.
pub fn made_up<A: Address>(count: usize, seed: u64) -> Vec<Route<A>> {
    let mut rng = Rng::new(seed);
    let (starts, fixed) = starts(A::FAMILY, &mut rng);
    let mut seen = HashSet::with_capacity(count);
    let mut routes = Vec::with_capacity(count);
    while routes.len() < count {
        let len = length(A::FAMILY, &mut rng);
        let address = rng.pick(&starts) | rng.next_u128() & host_bits(fixed);
        let prefix = A::from_high(address).first(len);
        if seen.insert((prefix, len)) {
            let id = u32::from(rng.next().to_be_bytes()[0]);
            routes.push(Route { prefix, len, id });
        }
    }
    routes
}

/// What addresses begin with, and how many bits that is.
fn starts(family: Family, rng: &mut Rng) -> (Vec<u128>, u8) {
    match family {
        Family::Ipv4 => {
            let unicast = (16..224).filter(|octet| *octet != 127);
            (unicast.map(|octet| octet << 120).collect(), 8)
        }
        Family::Ipv6 => {
            let blocks: Vec<u128> = REGISTRIES.into_iter().chain(0x2a00..0x2a10).collect();
            let allocation = || rng.pick(&blocks) << 112 | rng.next_u128() >> 112 << 96;
            let allocations = std::iter::repeat_with(allocation);
            (allocations.take(ALLOCATIONS).collect(), 32)
        }
    }
}

fn length(family: Family, rng: &mut Rng) -> u8 {
    let mut at = rng.below(1000);
    let lengths = LENGTHS[usize::from(family == Family::Ipv6)];
    for (len, often) in lengths {
        match at.checked_sub(*often) {
            Some(rest) => at = rest,
            None => return *len,
        }
    }
    // Not reached: they are 1,000 together.
    lengths[0].0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::SEED;

    fn check<A: Address>() -> Vec<Route<A>> {
        let routes = made_up::<A>(50_000, SEED);
        assert_eq!(routes.len(), 50_000);
        let prefixes: HashSet<_> = routes
            .iter()
            .map(|route| (route.prefix, route.len))
            .collect();
        assert_eq!(prefixes.len(), routes.len());
        assert!(routes.iter().all(|r| r.prefix.first(r.len) == r.prefix));
        assert!(routes == made_up::<A>(50_000, SEED));
        assert!(routes != made_up::<A>(50_000, SEED + 1));
        for id in 0..256 {
            let count = routes.iter().filter(|route| route.id == id).count();
            assert!(count.abs_diff(195) < 98, "id {id}: {count}");
        }
        for (len, often) in LENGTHS[usize::from(A::FAMILY == Family::Ipv6)] {
            let count = routes.iter().filter(|route| route.len == *len).count();
            let expected = often * 50;
            // Of the shortest there are not so many different ones.
            assert!(
                count.abs_diff(expected) < 50 + expected / 5,
                "/{len}: {count}"
            );
        }
        routes
    }

    #[test]
    fn prefixes_differ_and_are_as_long_as_real_ones() {
        let ipv4 = check::<u32>();
        let octets = ipv4.iter().map(|route| route.prefix >> 24);
        assert!(octets.clone().all(|o| (16..224).contains(&o) && o != 127));
        assert_eq!(octets.collect::<HashSet<_>>().len(), 207);
        let ipv6 = check::<u128>();
        let allocations: HashSet<_> = ipv6.iter().map(|route| route.prefix >> 96).collect();
        assert!(allocations.len() <= ALLOCATIONS + 1500);
    }

    #[test]
    fn the_tables_never_change() {
        // Other routes would be another measurement.
        assert_eq!(
            first_two::<u32>(),
            ["49.82.100.0/22 9", "61.246.48.0/21 158"]
        );
        assert_eq!(
            first_two::<u128>(),
            ["2800:50d:addb::/48 62", "2a03:19cb:a986::/48 232"]
        );
    }

    fn first_two<A: Address>() -> Vec<String> {
        let routes = made_up::<A>(2, SEED);
        let line = |r: &Route<A>| format!("{}/{} {}", r.prefix.to_ip(), r.len, r.id);
        routes.iter().map(line).collect()
    }
}
