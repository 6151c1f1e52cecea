//! The addresses that a table is measured with: the same for every program, from a seed.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use crate::address::{Address, Family, host_bits};
use crate::read::Route;
use crate::rng::Rng;

/// Addresses of a stream.
pub const LENGTH: usize = 1 << 20;
/// The seed of every published measurement.
pub const SEED: u64 = 42;
/// Destinations of the Zipf stream.
const DESTINATIONS: usize = 1 << 16;

/// Which destinations packets have, and in what order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// IPv4: any address as likely as any other, with a route or without. IPv6: any of 2000::/3.
    UniformAddress,
    /// Any prefix of the table as likely as any other, the host bits random.
    UniformPrefix,
    /// 65,536 destinations drawn as [`Stream::UniformPrefix`], where the n-th is asked for 1/n times
    /// as often as the first (s = 1): what a link's traffic is like. Fewer of them where the table
    /// has not so many addresses.
    Zipf,
    /// Upward from the table's lowest prefix, round at the end of the address space. IPv4: address
    /// by address. IPv6: the first address of each /64.
    Sequential,
}

impl Stream {
    pub const ALL: [Stream; 4] = [
        Stream::UniformAddress,
        Stream::UniformPrefix,
        Stream::Zipf,
        Stream::Sequential,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stream::UniformAddress => "uniform-address",
            Stream::UniformPrefix => "uniform-prefix",
            Stream::Zipf => "zipf",
            Stream::Sequential => "sequential",
        }
    }

    /// The stream for a table: always the same for the same routes in the same order. An empty
    /// table has no destinations but those of [`Stream::UniformAddress`].
    pub fn addresses<A: Address>(self, routes: &[Route<A>], seed: u64) -> Vec<A> {
        let prefixes: Vec<Prefix> = routes
            .iter()
            .map(|route| (route.prefix.to_high(), route.len))
            .collect();
        let addresses = self.draw(A::FAMILY, &prefixes, &mut Rng::new(seed));
        addresses.into_iter().map(A::from_high).collect()
    }

    fn draw(self, family: Family, prefixes: &[Prefix], rng: &mut Rng) -> Vec<u128> {
        if prefixes.is_empty() && self != Stream::UniformAddress {
            return Vec::new();
        }
        match self {
            Stream::UniformAddress => repeat(|| any(rng, family)),
            Stream::UniformPrefix => repeat(|| inside(rng, prefixes)),
            Stream::Zipf => zipf(rng, prefixes, family),
            Stream::Sequential => upward(prefixes, family),
        }
    }
}

/// A prefix with its address at the high end of the bits, as all addresses are below.
type Prefix = (u128, u8);

fn repeat(draw: impl FnMut() -> u128) -> Vec<u128> {
    std::iter::repeat_with(draw).take(LENGTH).collect()
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A stream's name that is none.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("no such stream: use uniform-address, uniform-prefix, zipf or sequential")]
pub struct UnknownStream;

impl FromStr for Stream {
    type Err = UnknownStream;

    fn from_str(name: &str) -> Result<Stream, UnknownStream> {
        let found = Stream::ALL.into_iter().find(|stream| stream.name() == name);
        found.ok_or(UnknownStream)
    }
}

/// A random address of those in use.
fn any(rng: &mut Rng, family: Family) -> u128 {
    let bits = rng.next_u128();
    match family {
        Family::Ipv4 => bits,
        Family::Ipv6 => bits & host_bits(3) | 0x2000 << 112,
    }
}

/// A random address of a random prefix.
fn inside(rng: &mut Rng, prefixes: &[Prefix]) -> u128 {
    let (prefix, len) = rng.pick(prefixes);
    prefix | rng.next_u128() & host_bits(len)
}

fn zipf(rng: &mut Rng, prefixes: &[Prefix], family: Family) -> Vec<u128> {
    let used = match family {
        Family::Ipv4 => !host_bits(32),
        Family::Ipv6 => u128::MAX,
    };
    let mut destinations = Vec::with_capacity(DESTINATIONS);
    let mut seen = HashSet::with_capacity(DESTINATIONS);
    // Bounded, for tables with fewer addresses than that.
    for _ in 0..8 * DESTINATIONS {
        let address = inside(rng, prefixes) & used;
        if seen.insert(address) {
            destinations.push(address);
        }
        if destinations.len() == DESTINATIONS {
            break;
        }
    }
    // cumulative[i]: how often one of the first i + 1 is asked for, when the first is asked for once.
    let mut cumulative = Vec::with_capacity(destinations.len());
    let mut total = 0.0;
    for rank in 1..=destinations.len() {
        total += 1.0 / rank as f64;
        cumulative.push(total);
    }
    repeat(|| {
        let at = rng.fraction() * total;
        let index = cumulative.partition_point(|sum| *sum <= at);
        destinations[index.min(destinations.len() - 1)]
    })
}

fn upward(prefixes: &[Prefix], family: Family) -> Vec<u128> {
    let step = match family {
        Family::Ipv4 => 1 << 96,
        Family::Ipv6 => 1 << 64,
    };
    let mut next = prefixes
        .iter()
        .map(|(prefix, _)| *prefix)
        .min()
        .unwrap_or(0);
    repeat(|| {
        let this = next;
        next = next.wrapping_add(step);
        this
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn route<A: Address>(prefix: &str, len: u8) -> Route<A> {
        let prefix = A::from_ip(prefix.parse().unwrap()).unwrap();
        Route { prefix, len, id: 0 }
    }

    fn ipv4() -> Vec<Route<u32>> {
        vec![route("192.0.2.0", 24), route("10.0.0.0", 8)]
    }

    fn ipv6() -> Vec<Route<u128>> {
        vec![route("2001:db8::", 32), route("2001:db8:1::", 48)]
    }

    #[test]
    fn a_stream_depends_on_table_and_seed_only() {
        for stream in Stream::ALL {
            assert_eq!(stream.name().parse(), Ok(stream));
            let addresses = stream.addresses(&ipv4(), SEED);
            assert_eq!(addresses.len(), LENGTH, "{stream}");
            assert!(addresses == stream.addresses(&ipv4(), SEED), "{stream}");
            let other = addresses != stream.addresses(&ipv4(), SEED + 1);
            assert_eq!(other, stream != Stream::Sequential, "{stream}");
            assert_eq!(stream.addresses(&ipv6(), SEED).len(), LENGTH);
        }
        assert_eq!("zip".parse::<Stream>(), Err(UnknownStream));
    }

    #[test]
    fn the_streams_never_change() {
        // Other addresses would be another measurement. These were computed by another program
        // (twenty lines of Python), too.
        let start = |stream: Stream| -> Vec<String> {
            let addresses = stream.addresses(&ipv4(), SEED);
            addresses[..2]
                .iter()
                .map(|a| a.to_ip().to_string())
                .collect()
        };
        let uniform = ["189.215.50.38", "71.82.103.87"];
        assert_eq!(start(Stream::UniformAddress), uniform);
        let prefix = ["10.239.227.51", "192.0.2.90"];
        assert_eq!(start(Stream::UniformPrefix), prefix);
        assert_eq!(start(Stream::Zipf), ["10.160.33.147", "10.16.45.66"]);
        assert_eq!(start(Stream::Sequential), ["10.0.0.0", "10.0.0.1"]);
    }

    #[test]
    fn uniform_ipv6_addresses_are_global_unicast_ones() {
        let addresses = Stream::UniformAddress.addresses(&ipv6(), SEED);
        assert!(addresses.iter().all(|address| address >> 125 == 1));
        let low = addresses.iter().filter(|a| *a >> 124 == 2).count();
        assert!(low.abs_diff(LENGTH / 2) < LENGTH / 100);
    }

    #[test]
    fn uniform_prefixes_are_as_likely_whatever_their_length() {
        let routes = ipv4();
        let addresses = Stream::UniformPrefix.addresses(&routes, SEED);
        let in_24 = addresses.iter().filter(|a| a.first(24) == routes[0].prefix);
        assert!(in_24.count().abs_diff(LENGTH / 2) < LENGTH / 100);
        let hosts: HashSet<u32> = addresses.iter().map(|a| a & 0xff).collect();
        assert_eq!(hosts.len(), 256);
        assert!(
            addresses
                .iter()
                .all(|a| routes.iter().any(|r| a.first(r.len) == r.prefix))
        );
    }

    #[test]
    fn the_nth_destination_is_asked_for_1_over_n_times_as_often_as_the_first() {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for address in Stream::Zipf.addresses(&ipv4(), SEED) {
            *counts.entry(address).or_default() += 1;
        }
        assert!(counts.len() <= DESTINATIONS && counts.len() > DESTINATIONS / 2);
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable_by(|one, other| other.cmp(one));
        let harmonic: f64 = (1..=DESTINATIONS).map(|rank| 1.0 / rank as f64).sum();
        for rank in [1, 2, 10, 100] {
            let expected = LENGTH as f64 / harmonic / rank as f64;
            let ratio = counts[rank - 1] as f64 / expected;
            assert!((ratio - 1.0).abs() < 0.1, "rank {rank}: {ratio}");
        }
    }

    #[test]
    fn a_table_with_few_addresses_has_few_destinations() {
        let one = [route::<u32>("192.0.2.1", 32)];
        for stream in [Stream::Zipf, Stream::UniformPrefix] {
            let addresses = stream.addresses(&one, SEED);
            assert_eq!(addresses, vec![one[0].prefix; LENGTH]);
        }
        assert!(Stream::Zipf.addresses::<u32>(&[], SEED).is_empty());
    }

    #[test]
    fn sequences_go_upward_from_the_lowest_prefix_and_round() {
        let ipv6 = Stream::Sequential.addresses(&ipv6(), SEED);
        assert_eq!(ipv6[0].to_ip().to_string(), "2001:db8::");
        assert_eq!(ipv6[1].to_ip().to_string(), "2001:db8:0:1::");
        let last = [route::<u32>("255.255.255.255", 32)];
        assert_eq!(Stream::Sequential.addresses(&last, SEED)[1], 0);
    }
}
