//! ixmap: a user-space IPv4/IPv6 router whose control plane is the Linux kernel.
//!
//! - [`shared`]: what both planes speak: wire formats, the FIB and its published snapshot, reasons
//!   and counters, the configuration file's types, the control socket's messages.
//! - [`dataplane`]: pinned workers, the burst pipeline, ports and packet memory; `std` and `libc`
//!   only.
//! - [`control`]: the tokio side: the kernel's mirror over netlink, resolution into forwarding
//!   snapshots, TAP interfaces, the control socket, metrics and the supervisor.
//!
//! Arrows run one way: `bin -> control -> dataplane -> shared`.

pub mod control;
pub mod dataplane;
pub mod shared;
