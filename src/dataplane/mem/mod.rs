//! Packet memory: one [`Arena`] a worker, cut into equal frames; a [`Pool`] that knows who holds
//! each of them; and [`Frame`], the move-only token without which no packet byte can be touched.
//!
//! A frame is either in user space (on the pool's free list, or as a token in somebody's hand) or
//! lent to a port's rings, where the kernel or a device may read and write it. A ring that gives frames
//! back in the order in which it got them has a [`Loan`] of their tokens: it says how many are done, never
//! which. One that says which frame it gives back is a [`Holder`]: the pool checks every
//! address that comes back against its record, so a ring that returns an address twice, or one that it
//! was never given, cannot produce a second token for the same bytes.

mod apart;
mod arena;
mod dma;
mod list;
mod loan;
mod numa;
mod packets;
mod pool;
mod region;
mod shortfall;

pub use apart::{Apart, OwnLines};
pub use arena::Arena;
pub use dma::DmaMap;
pub use list::move_frames;
pub use loan::Loan;
pub use numa::{node_of_core, node_of_netdev};
pub use packets::{Ahead, HEAD, Head, Packets};
pub use pool::{Frame, Holder, Pool};
pub use region::{HUGE_PAGE, PageKind, Region};
pub use shortfall::Shortfall;

/// Bytes left free in front of a received or fresh packet: room to grow a header. Equal to the
/// kernel's XDP_PACKET_HEADROOM, which native AF_XDP applies by itself.
pub const HEADROOM: usize = 256;

/// Headers at the same place of every frame would all fall into the same few sets of the cache: behind
/// the headroom, packets begin at one of so many cache lines, by frame. Where it is known how long they
/// are, at one of as many as there is room for. An odd number: an even one would have factors in common
/// with a frame's 32 lines, and packets meet fewer of a cache's sets. So many that no packet begins
/// behind 1 KiB: a device then has 3 KiB of a frame of 4.
pub const COLOURS: usize = 13;
/// Bytes of a cache line.
pub const LINE: usize = 64;
