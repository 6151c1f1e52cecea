//! Inputs without a fuzzer: good ones of each target, with random damage.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ixmap::shared::wire::checksum::checksum;

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
            let at = match self.below(2) {
                0 => self.below(input.len()),
                _ => self.head(&input),
            };
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

    /// A byte of a piece's headers: most bytes of long frames decide nothing.
    fn head(&mut self, input: &[u8]) -> usize {
        let pieces = crate::pieces(input);
        let before = self.below(pieces.len());
        let start: usize = pieces
            .iter()
            .take(before)
            .map(|piece| 2 + piece.len())
            .sum();
        start + self.below(64)
    }
}

/// Runs a target on so many inputs, made from these.
pub fn run(mut target: impl FnMut(&[u8]), seeds: &[Vec<u8>], inputs: u32) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..inputs {
        target(&random.input(seeds));
    }
}

/// Runs a target for as many seconds as the command line says; the clock is the seed.
pub fn main(target: fn(&[u8]), seeds: &[Vec<u8>]) -> ExitCode {
    let seconds = match std::env::args().nth(1).map(|text| (text.parse(), text)) {
        None => SECONDS,
        Some((Ok(seconds), _)) => seconds,
        Some((Err(_), text)) => {
            eprintln!("\"{text}\" is not a number of seconds, all that a target is told");
            return ExitCode::from(2);
        }
    };
    let time = Duration::from_secs(seconds);
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_micros();
    let seed = u64::try_from(now).expect("this age") | 1;
    let (mut random, start) = (Random(seed), Instant::now());
    let mut inputs = 0u64;
    while start.elapsed() < time {
        target(&random.input(seeds));
        inputs += 1;
    }
    println!("{inputs} inputs from seed {seed}, and no harm done");
    ExitCode::SUCCESS
}

/// Messages of the kernel.
pub fn messages() -> Vec<Vec<u8>> {
    RECORDED
        .into_iter()
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("event ").map(bytes))
        .collect()
}

/// Rows of TCP segments, of both families.
pub fn rows() -> Vec<Vec<u8>> {
    let lengths = [0, 4, 100, 1448];
    let kinds = lengths.map(|payload| [(true, payload), (false, payload)]);
    kinds.into_iter().flatten().map(row).collect()
}

fn row((is_ipv4, payload): (bool, usize)) -> Vec<u8> {
    let segment = |number| Segment {
        is_ipv4,
        number,
        payload,
        by: 0,
        to: 20,
        flow: 0,
    };
    let pieces = (0..5).flat_map(|number| piece(&segment(number).frame()));
    pieces.collect()
}

/// Packets of both families by every port to everywhere, in frames of each size; and rows.
pub fn packets() -> Vec<Vec<u8>> {
    let sizes = [1448, 3900, 9500].into_iter().zip(0..);
    sizes.map(everywhere).chain(rows()).collect()
}

/// Packets by every port to whatever there is a route to, behind the piece that chooses the size of
/// frames.
fn everywhere((longest, size): (usize, u8)) -> Vec<u8> {
    let mut seed = piece(&[size]);
    for to in 20..31 {
        for flow in 0..10u8 {
            let segment = Segment {
                is_ipv4: (to + flow) % 2 == 0,
                number: 0,
                payload: [0, 700, 1240, longest][usize::from(to + flow / 2) % 4],
                // Most by one of them: its bursts are full.
                by: flow.saturating_sub(6),
                to,
                flow,
            };
            seed.extend(piece(&segment.frame()));
        }
    }
    seed
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

/// The `number`th segment of a row, with right checksums.
struct Segment {
    is_ipv4: bool,
    number: u32,
    payload: usize,
    /// The port of ours that it is for.
    by: u8,
    /// The first byte of its destination.
    to: u8,
    flow: u8,
}

impl Segment {
    fn frame(&self) -> Vec<u8> {
        let length = u16::try_from(20 + self.payload).expect("a short segment");
        let addresses = match self.is_ipv4 {
            true => vec![self.from(), 0, 0, 2, self.to, 0, 0, 1],
            false => [[0xfd; 16], [self.to; 16]].concat(),
        };
        let mut frame = vec![2, 0, 0, 0, 0, self.by, 2, 0, 0, 0, 9, 9];
        if self.is_ipv4 {
            let mut ip = vec![0x45, 0];
            ip.extend((20 + length).to_be_bytes());
            ip.extend([0, self.number.to_be_bytes()[3], 0x40, 0, 64, 6, 0, 0]);
            ip.extend(&addresses);
            let sum = checksum(&ip).to_be_bytes();
            ip[10..12].copy_from_slice(&sum);
            frame.extend([8, 0]);
            frame.extend(ip);
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([6, 64]);
            frame.extend(&addresses);
        }
        frame.extend(self.tcp(length, &addresses));
        frame
    }

    /// Half of the flows come from behind a port that checks it.
    fn from(&self) -> u8 {
        [10, 27][usize::from(self.flow % 2)]
    }

    fn tcp(&self, length: u16, addresses: &[u8]) -> Vec<u8> {
        let sequence = self.number * u32::try_from(self.payload).expect("a short segment");
        let mut tcp = vec![0x12, self.flow, 0, 80];
        tcp.extend(sequence.to_be_bytes());
        tcp.extend([0, 0, 0, 1, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
        tcp.resize(20 + self.payload, 0x5a);
        let pseudo = [addresses, &[0, 6], &length.to_be_bytes(), &tcp].concat();
        let sum = checksum(&pseudo).to_be_bytes();
        tcp[16..18].copy_from_slice(&sum);
        tcp
    }
}
