//! The tokio side: mirrors the kernel, publishes worlds, serves operators.

pub mod args;
mod bind;
pub mod config;
pub mod ctl;
pub mod fault;
pub mod logging;
pub mod metrics;
pub mod mirror;
pub mod neighbours;
pub mod netlink;
pub mod resolve;
mod slots;
pub mod supervisor;
pub mod sysctl;
pub mod tap;
