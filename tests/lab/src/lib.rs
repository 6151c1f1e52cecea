//! The lab: three hosts around a router, each in a network namespace of its own.
//!
//! ```text
//!  host A ── p0 ┐
//!  host B ── p1 ┼ router
//!  host C ── p2 ┘
//! ```
//!
//! The router is `ixmapd`, or the plain kernel as the reference that validates the tests
//! themselves. The test suite and `cargo xtask demo` share this crate.

mod daemon;
mod error;
mod flood;
mod host;
mod metrics;
mod names;
mod namespace;
mod tap;
mod tools;
mod topology;
mod wait;

pub use daemon::{Daemon, Exit};
pub use error::{Error, Result};
pub use flood::Flood;
pub use host::{Family, Host};
pub use metrics::Metrics;
pub use names::unique_name;
pub use namespace::{Background, Namespace};
pub use tap::{Tap, carries};
pub use tools::{Iperf, Ping};
pub use topology::{Lab, Ports, Router};
pub use wait::{PATIENCE, wait_until};
