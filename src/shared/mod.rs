//! What both planes speak. No I/O, no tokio, no unsafe.

pub mod api;
pub mod config;
pub mod fib;
pub mod mac;
pub mod port;
pub mod reason;
pub mod stats;
pub mod wire;
