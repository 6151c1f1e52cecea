//! AF_XDP ports: any Linux netdev, taken over by an XDP program that hands every received frame to
//! a socket of ours. Raw bpf(2) and AF_XDP through libc: no clang, no libbpf.
//!
//! Control opens a [`Device`], which claims the netdev by attaching the program (`bpf`), silences
//! and prepares it (`netdev`, `ethtool`, `settings`) and puts everything back when it goes. It then
//! attaches one [`Queue`] a worker: the AF_XDP sockets (`socket`) of the netdev's hardware queues
//! that this worker serves, three for each, their rings (`ring`, `receiver`), and nothing else. Which of
//! the three a frame goes to says the XDP program (`program`).
//!
//! Every hardware queue registers its worker's whole arena as its UMEM. That the same pages are registered
//! once a queue costs the kernel a page table for them and counts as locked memory each time; it
//! keeps ports independent of each other (any of them may come and go, zero-copy or not), and lets a frame move from port to port without a copy: which
//! ring a frame lies in is the business of the worker's pool.
//!
//! What no program here can mend: a veth's peer that sends VLAN tags by offload (`txvlan on`) puts
//! them beside the frame, where AF_XDP does not see them (`ethtool -K PEER txvlan off`); and in
//! generic mode segments that the netdev below or the peer left merged are longer than a frame, and
//! dropped. A native program on a veth keeps its peer from sending such segments.

mod bpf;
mod device;
mod error;
mod ethtool;
mod frame;
mod netdev;
mod partial;
mod program;
mod queue;
mod receiver;
mod ring;
mod settings;
mod socket;
mod sys;

pub use bpf::Mode;
pub use device::{Device, Facts, survey};
pub use error::OpenError;
pub use frame::{MAX_MTU, frame_size_for, max_mtu};
pub use queue::{FRAMES_PER_QUEUE, Queue};
pub use socket::Statistics;

#[cfg(test)]
pub(in crate::dataplane) use program::tests::{is_of_neighbours, is_of_routing};
