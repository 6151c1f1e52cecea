//! The virtual-machine harness: a stock Debian kernel under QEMU, with modelled NICs as its PCI
//! devices, and tests that are plain Rust functions.
//!
//! ```text
//!  test ── Guest::run("ping", "ping -c 1 ...") ──┐ virtio-serial
//!                                                ▼
//!  host namespace ── TAP ── Model ── vfio-user ── QEMU [ Linux, its own ixgbe ]
//! ```
//!
//! [`Machine`] is what guests are made of: QEMU, a kernel and tools, fetched once by apt into a
//! cache and never installed. Everything else lives in a temporary directory of its [`Guest`] or
//! [`Model`] and ends with it, also when a test panics or is killed.

mod agent;
mod apt;
mod build;
mod cpio;
mod error;
mod guest;
mod initramfs;
mod machine;
mod model;
mod process;
mod tree;

pub use agent::Output;
pub use build::router;
pub use error::{Error, Result};
pub use guest::{Builder, Guest};
pub use machine::Machine;
pub use model::{Model, Rings, Wire};
pub use process::PATIENCE;
