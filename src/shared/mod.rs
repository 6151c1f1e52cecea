//! What both planes speak. No I/O, no tokio; unsafe only in the lookups of `fib`.

pub mod api;
pub mod config;
pub mod fib;
pub mod hits;
pub mod mac;
pub mod pci;
pub mod port;
pub mod reason;
pub mod stats;
pub mod wire;
