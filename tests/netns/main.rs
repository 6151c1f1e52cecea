//! The router between hosts, in network namespaces: `cargo test --test netns` (root; `cargo xtask
//! test` installs the tools). `IXMAP_TEST_ROUTER=kernel` puts the plain kernel in ixmapd's place:
//! what passes there is how a Linux router behaves; tests of ixmapd itself are then skipped.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod bad_input;
mod crowd;
mod ecmp;
mod exhausted;
mod frames;
mod freshness;
mod icmp;
mod jumbo;
mod lifecycle;
mod local;
mod neighbours;
mod outgrown;
mod packet;
mod ports;
mod queues;
mod reachability;
mod routes;
mod rules;
mod service;
mod slow_port;
mod suite;
mod workers;
