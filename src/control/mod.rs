//! The tokio side: mirrors the kernel, publishes worlds, serves operators.

pub mod args;
pub mod config;
pub mod ctl;
pub mod logging;
pub mod mirror;
