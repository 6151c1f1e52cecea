//! The tokio side: mirrors the kernel, publishes worlds, serves operators.

pub mod mirror;
pub mod netlink;
