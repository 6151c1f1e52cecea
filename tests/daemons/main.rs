//! Debian's FRR and BIRD, as they are, on the TAPs of ixmapd: `cargo test --test daemons` (root;
//! `cargo xtask test` installs them). Each router is a namespace with an ixmapd of its own.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod bgp;
mod bird;
mod flood;
mod frr;
mod full_table;
mod line;
mod multipath;
mod node;
mod ospf;
mod process;
mod restart;
mod topology;
mod traffic;
