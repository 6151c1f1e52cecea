//! `--frames`: what a packet costs when its destination comes from a frame and the answer goes into
//! it, as in a router. `benches/peers/frames.c` does the same, step by step, with DPDK's lookups.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use ixmap::shared::fib::{Fib, GroupId, Lpm, Path};
use ixmap::shared::wire::{checksum, ethernet, ipv4, ipv6};
use memmap2::{Advice, MmapMut};
use serde::Serialize;

use crate::lookups::ROUND;
use crate::rounded;

/// From one frame to the next: what AF_XDP takes, and twice as much as a full Ethernet packet needs.
const STRIDE: usize = 2048;
/// Where the packet starts in its frame.
const HEADROOM: usize = 128;
const TTL: u8 = 64;
/// Pairs of MAC addresses, which next hops share: a router has few neighbours.
const NEIGHBOURS: usize = 256;
const BURST: usize = 64;

type Frame = [u8; STRIDE];

/// What is printed besides the lookups'.
#[derive(Serialize)]
pub(crate) struct Report {
    frames: usize,
    ns_per_packet: f64,
    ns_per_packet_without_lookup: f64,
}

/// A packet of the address' family.
pub(crate) trait Packet: Lpm {
    /// Makes a packet to this destination.
    fn write(packet: &mut [u8], destination: Self);
    fn destination(packet: &[u8]) -> Self;
    /// Takes one off the TTL, or hop limit.
    fn age(packet: &mut [u8]);
}

impl Packet for u32 {
    fn write(packet: &mut [u8], destination: u32) {
        packet[12..14].copy_from_slice(&[0x08, 0x00]);
        let header = &mut packet[ethernet::HEADER_LEN..][..20];
        header.fill(0);
        header[..4].copy_from_slice(&[0x45, 0, 0, 50]);
        header[8] = TTL;
        header[9] = 17;
        header[16..].copy_from_slice(&destination.to_be_bytes());
        let sum = checksum::checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    fn destination(packet: &[u8]) -> u32 {
        u32::from_be_bytes([packet[30], packet[31], packet[32], packet[33]])
    }

    fn age(packet: &mut [u8]) {
        ipv4::decrement_ttl(packet);
    }
}

impl Packet for u128 {
    fn write(packet: &mut [u8], destination: u128) {
        packet[12..14].copy_from_slice(&[0x86, 0xdd]);
        let header = &mut packet[ethernet::HEADER_LEN..][..40];
        header.fill(0);
        header[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 10, 17, TTL]);
        header[24..].copy_from_slice(&destination.to_be_bytes());
    }

    fn destination(packet: &[u8]) -> u128 {
        let mut octets = [0; 16];
        octets.copy_from_slice(&packet[38..54]);
        u128::from_be_bytes(octets)
    }

    fn age(packet: &mut [u8]) {
        ipv6::decrement_hop_limit(packet);
    }
}

/// Nanoseconds per packet with and without lookups: medians over the rounds.
pub(crate) fn measure<A: Packet>(
    fib: &Fib<A>,
    addresses: &[A],
    count: usize,
    rounds: usize,
    path: Path,
) -> io::Result<Report> {
    let mut memory = MmapMut::map_anon(count * STRIDE)?;
    // Refused where the kernel has no huge pages: then the normal ones do.
    let _ = memory.advise(Advice::HugePage);
    let (frames, _) = memory.as_chunks_mut::<STRIDE>();
    let mut router = Router {
        fib,
        path,
        neighbours: std::array::from_fn(|i| [u8::try_from(i).unwrap_or(0); 12]),
    };
    let mut stream = addresses.iter().copied().cycle();
    let mut median = |lookups: bool| {
        router.round(frames, &mut stream, lookups);
        let mut times: Vec<f64> = (0..rounds)
            .map(|_| router.round(frames, &mut stream, lookups))
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        rounded(times[rounds / 2])
    };
    Ok(Report {
        frames: count,
        ns_per_packet: median(true),
        ns_per_packet_without_lookup: median(false),
    })
}

struct Router<'a, A> {
    fib: &'a Fib<A>,
    path: Path,
    neighbours: [[u8; 12]; NEIGHBOURS],
}

impl<A: Packet> Router<'_, A> {
    /// Nanoseconds per packet. Before each pass the frames are filled with the stream's next packets,
    /// off the clock: in a router, the NIC does it.
    fn round(
        &mut self,
        frames: &mut [Frame],
        stream: &mut impl Iterator<Item = A>,
        lookups: bool,
    ) -> f64 {
        let mut elapsed = Duration::ZERO;
        let mut packets = 0;
        while elapsed < ROUND {
            for (frame, destination) in frames.iter_mut().zip(&mut *stream) {
                A::write(&mut frame[HEADROOM..], destination);
            }
            let start = Instant::now();
            self.pass(frames, lookups);
            elapsed += start.elapsed();
            packets += frames.len();
        }
        elapsed.as_secs_f64() * 1e9 / packets as f64
    }

    /// Forwards the packet of each frame. Without lookups, all have the groups of a burst of old.
    fn pass(&self, frames: &mut [Frame], lookups: bool) {
        let mut destinations = [A::destination(&[0; 64]); BURST];
        let mut groups: [GroupId; BURST] =
            std::array::from_fn(|i| GroupId::new(u32::try_from(i).unwrap_or(0)));
        for burst in frames.chunks_mut(BURST) {
            for (frame, destination) in burst.iter().zip(&mut destinations) {
                *destination = A::destination(&frame[HEADROOM..]);
            }
            if lookups {
                let destinations = &destinations[..burst.len()];
                self.fib
                    .lookup_burst_by(self.path, destinations, &mut groups);
            }
            black_box((&mut destinations, &mut groups));
            for (frame, group) in burst.iter_mut().zip(&groups) {
                let packet = &mut frame[HEADROOM..];
                A::age(&mut packet[ethernet::HEADER_LEN..]);
                packet[..12].copy_from_slice(&self.neighbours[group.index() % NEIGHBOURS]);
            }
        }
        black_box(frames);
    }
}
