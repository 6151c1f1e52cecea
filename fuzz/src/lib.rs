//! What hostile bytes may not do, whatever they are: one function a target, which panics if they did.
//!
//! cargo-fuzz finds inputs by what they reach, and takes nightly Rust. [`random`] makes some without
//! it, from good ones: that is what the tests here run, a bounded number of times.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target tells by panicking"
)]

mod netlink;
mod pipeline;
pub mod random;
mod tap;

pub use netlink::netlink;
pub use pipeline::pipeline;
pub use tap::tap;

/// The pieces that an input is cut into: two bytes of length, then so many bytes or what is left.
fn pieces(mut data: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        pieces.push(piece);
        data = rest;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use ixmap::shared::reason::{DropReason, PuntReason};
    use ixmap::shared::stats::PortTotals;

    use super::*;

    const RUNS: u32 = 2000;

    #[test]
    fn hostile_frames_do_no_harm_to_the_pipeline() {
        random::run(pipeline, &random::packets(), RUNS / 2);
    }

    #[test]
    fn hostile_frames_do_no_harm_to_the_taps_offloads() {
        random::run(tap, &random::rows(), RUNS);
    }

    #[test]
    fn hostile_messages_do_no_harm_to_the_mirror() {
        random::run(netlink, &random::messages(), RUNS);
    }

    /// Adds what the ports count of an input.
    fn add(sums: &mut [PortTotals; 4], input: &[u8]) {
        for (sum, port) in sums.iter_mut().zip(pipeline::run(input)) {
            sum.add(&port);
        }
    }

    /// Frames left by every port, and some for each of these reasons.
    fn assert_reached(ports: &[PortTotals; 4], punted: &[PuntReason], dropped: &[DropReason]) {
        for (slot, totals) in ports.iter().enumerate() {
            assert!(totals.tx_packets > 5, "by port {slot}: {totals:?}");
        }
        let sum = ports.iter().fold(PortTotals::default(), |mut sum, port| {
            sum.add(port);
            sum
        });
        assert!(sum.forwarded_ipv4 > 10 && sum.forwarded_ipv6 > 10);
        let missed = punted.iter().filter(|it| sum.punted[it.index()] == 0);
        assert_eq!(missed.collect::<Vec<_>>(), Vec::<&PuntReason>::new());
        let missed = dropped.iter().filter(|it| sum.dropped[it.index()] == 0);
        assert_eq!(missed.collect::<Vec<_>>(), Vec::<&DropReason>::new());
    }

    const PUNTED: [PuntReason; 5] = [
        PuntReason::Local,
        PuntReason::NoNeighbour,
        PuntReason::Unreachable,
        PuntReason::Mtu,
        PuntReason::Redirect,
    ];
    const DROPPED: [DropReason; 2] = [DropReason::Blackhole, DropReason::ReversePath];

    /// Without this the runs could pass by never getting far.
    #[test]
    fn damaged_frames_still_reach_every_way_through_the_pipeline() {
        let mut sums: [PortTotals; 4] = Default::default();
        let add = |input: &[u8]| add(&mut sums, input);
        random::run(add, &random::packets(), RUNS / 10);
        let broken = [
            DropReason::OtherHost,
            DropReason::Ipv4BadChecksum,
            DropReason::TxFull,
        ];
        assert_reached(&sums, &PUNTED, &[&DROPPED[..], &broken].concat());
    }

    #[test]
    fn seeds_reach_what_they_are_for() {
        let mut sums: [PortTotals; 4] = Default::default();
        for seed in random::packets() {
            add(&mut sums, &seed);
        }
        assert_reached(&sums, &PUNTED, &DROPPED);
        let rows = random::rows();
        let joined: usize = rows.iter().map(|seed| tap::joined(seed)).sum();
        assert!(joined > 10, "{joined} segments joined");
        let messages = random::messages();
        let events: usize = messages.iter().map(|seed| netlink::events(seed)).sum();
        assert!(events > 10, "{events} events");
    }
}
