//! Inputs without a fuzzer: good ones of every target, with random damage.

use std::time::{Duration, Instant};

/// The kernel's messages, as they were recorded.
const RECORDED: [&str; 3] = [
    include_str!("../../tests/data/netlink/routes.txt"),
    include_str!("../../tests/data/netlink/rules.txt"),
    include_str!("../../tests/data/netlink/others.txt"),
];
/// What a run without an argument takes.
const SECONDS: u64 = 10;

/// xorshift64: the same inputs every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.below(256).to_le_bytes()[0]
    }

    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(8) {
            let at = self.below(input.len());
            match self.below(4) {
                0 => input.truncate(at),
                1 => input.extend_from_slice(&seeds[self.below(seeds.len())]),
                _ => {
                    for slot in input.iter_mut().skip(at).take(1 + self.below(4)) {
                        *slot = self.byte();
                    }
                }
            }
        }
        input
    }
}

/// Runs a target on so many inputs.
pub fn run(target: fn(&[u8]), inputs: u32) {
    let (seeds, mut random) = (seeds(), Random(0x9e37_79b9_7f4a_7c15));
    for _ in 0..inputs {
        target(&random.input(&seeds));
    }
}

/// Runs a target for as many seconds as the command line says; the clock is the seed.
pub fn main(target: fn(&[u8])) {
    let seconds = std::env::args()
        .nth(1)
        .map_or(Ok(SECONDS), |text| text.parse());
    let time = Duration::from_secs(seconds.expect("a number of seconds"));
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_micros();
    let seed = u64::try_from(now).expect("this age") | 1;
    let (seeds, mut random, start) = (seeds(), Random(seed), Instant::now());
    let mut inputs = 0u64;
    while start.elapsed() < time {
        target(&random.input(&seeds));
        inputs += 1;
    }
    println!("{inputs} inputs from seed {seed}, and no harm done");
}

/// Good inputs: packets of both families, rows of TCP segments, messages of the kernel.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = RECORDED
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("event ").map(bytes))
        .collect();
    for is_ipv4 in [true, false] {
        for payload in [0, 4, 100, 1448] {
            let row = (0..5u32).flat_map(|n| piece(&segment(is_ipv4, n, payload)));
            seeds.push(row.collect());
        }
    }
    seeds
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map_while(pair).collect()
}

/// As [`crate::pieces`] reads it.
fn piece(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short piece");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// The `number`th segment of a row, to a destination with a route, with right checksums.
fn segment(is_ipv4: bool, number: u32, payload: usize) -> Vec<u8> {
    let length = u16::try_from(20 + payload).expect("a short segment");
    let sequence = number * u32::try_from(payload).expect("a short segment");
    let mut tcp = vec![0x12, 0x34, 0, 80];
    tcp.extend(sequence.to_be_bytes());
    tcp.extend([0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
    tcp.resize(20 + payload, 0x5a);
    let mut frame = vec![2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 9, 9];
    let addresses = match is_ipv4 {
        true => vec![10, 0, 0, 2, 20, 0, 0, 1],
        false => [[0xfd; 16], [0x20; 16]].concat(),
    };
    let pseudo = [&addresses[..], &[0, 6], &length.to_be_bytes(), &tcp].concat();
    let sum = checksum(&pseudo);
    tcp[16..18].copy_from_slice(&sum);
    if is_ipv4 {
        let mut ip = vec![0x45, 0];
        ip.extend((20 + length).to_be_bytes());
        ip.extend([0, number.to_be_bytes()[3], 0x40, 0, 64, 6, 0, 0]);
        ip.extend(addresses);
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum);
        frame.extend([8, 0]);
        frame.extend(ip);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([6, 64]);
        frame.extend(addresses);
    }
    frame.extend(tcp);
    frame
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2);
    let sum: u32 = words
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded");
    (!folded).to_be_bytes()
}
