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
    use super::*;

    const RUNS: u32 = 2000;

    #[test]
    fn hostile_frames_do_no_harm_to_the_pipeline() {
        random::run(pipeline, RUNS);
    }

    #[test]
    fn hostile_frames_do_no_harm_to_the_taps_offloads() {
        random::run(tap, RUNS);
    }

    #[test]
    fn hostile_messages_do_no_harm_to_the_mirror() {
        random::run(netlink, RUNS);
    }

    /// Without this the runs could pass by never getting far.
    #[test]
    fn seeds_reach_what_they_are_for() {
        let seeds = random::seeds();
        let forwarded: u64 = seeds.iter().map(|seed| pipeline::forwarded(seed)).sum();
        assert!(forwarded > 10, "{forwarded} frames forwarded");
        let joined: usize = seeds.iter().map(|seed| tap::joined(seed)).sum();
        assert!(joined > 10, "{joined} segments joined");
        let events: usize = seeds.iter().map(|seed| netlink::events(seed)).sum();
        assert!(events > 10, "{events} events");
    }
}
