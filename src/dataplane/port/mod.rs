//! What a port is to a worker: a [`PortQueue`], dispatched once a burst.
//!
//! Opening a [`Device`], its settings and their restoration are control's business; a worker only ever
//! sees queues that are ready to run.

pub mod afxdp;
mod device;
pub mod ixgbe;
pub mod memory;
pub mod pci;

pub use self::device::{Device, Facts, Needs, OpenError, bind_card, numa_node};

use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;

use super::mem::{Frame, Pool};

/// The most frames that one receive returns.
pub const BURST: usize = 64;

/// Frames received together, one port's, in arrival order; or on their way out by one port.
pub type Burst = ArrayVec<Frame, BURST>;

/// The queues of one port that one worker owns. All calls are made by that worker's thread.
#[derive(Debug)]
pub enum PortQueue {
    /// AF_XDP sockets on a Linux netdev.
    Afxdp(afxdp::Queue),
    /// Rings of an Intel 82599.
    Ixgbe(Box<ixgbe::Queue>),
    /// Rings in RAM: benches and property tests.
    Memory(memory::Queue),
}

impl PortQueue {
    /// Appends received frames to `burst`, up to its capacity, and refills the receive ring from
    /// `pool`. Never blocks.
    pub fn receive(&mut self, pool: &mut Pool, burst: &mut Burst) {
        match self {
            PortQueue::Afxdp(queue) => queue.receive(pool, burst),
            PortQueue::Ixgbe(queue) => queue.receive(pool, burst),
            PortQueue::Memory(queue) => queue.receive(pool, burst),
        }
    }

    /// Whether the heads of two bursts lie together in the first cache. Not where the kernel places
    /// packets: always at the same byte of frames 2 KiB apart, in two sets of it.
    pub fn is_coloured(&self) -> bool {
        !matches!(self, PortQueue::Afxdp(_))
    }

    /// Sends frames from the front of `list` and removes them; what stays found no room. Also
    /// returns completed frames to `pool`. Never blocks.
    pub fn transmit(&mut self, pool: &mut Pool, list: &mut Burst) {
        match self {
            PortQueue::Afxdp(queue) => queue.transmit(pool, list),
            PortQueue::Ixgbe(queue) => queue.transmit(pool, list),
            PortQueue::Memory(queue) => queue.transmit(pool, list),
        }
    }

    /// Housekeeping of a quiet turn: reaps completions, kicks what the kernel has not taken yet.
    /// True while frames are still on their way out.
    pub fn tend(&mut self, pool: &mut Pool) -> bool {
        match self {
            PortQueue::Afxdp(queue) => queue.tend(pool),
            PortQueue::Ixgbe(queue) => queue.tend(pool),
            PortQueue::Memory(queue) => queue.tend(pool),
        }
    }

    /// Receives no more: gives back what only began to arrive. What is on its way out goes on its way as
    /// long as it is [tended](Self::tend); what nobody fetched from a ring in RAM never will.
    pub fn retire(&mut self, pool: &mut Pool) {
        match self {
            PortQueue::Afxdp(queue) => queue.retire(pool),
            PortQueue::Ixgbe(_) => {}
            PortQueue::Memory(queue) => queue.retire(pool),
        }
    }

    /// Ends all traffic and returns the frames that the rings had, except those in the pool's record,
    /// which [`Pool::reclaim`] takes back after that. Blocks, for some 20 ms.
    pub fn close(self) -> Vec<Frame> {
        match self {
            PortQueue::Ixgbe(queue) => queue.close(),
            // What the kernel's rings have is in the pool's record; a port in memory has nothing.
            PortQueue::Afxdp(_) | PortQueue::Memory(_) => Vec::new(),
        }
    }

    /// Descriptors that become readable (`POLLIN`) when a packet waits: what an idle worker sleeps
    /// on. One a hardware queue; none for a port that must be polled.
    pub fn wait_fds(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            PortQueue::Afxdp(queue) => queue.wait_fds(),
            PortQueue::Ixgbe(queue) => queue.wait_fds(),
            PortQueue::Memory(_) => Vec::new(),
        }
    }

    /// Has the next packet make [`Self::wait_fds`] readable, before the worker looks around once
    /// more and sleeps. True when one waits already.
    pub fn arm(&mut self) -> bool {
        match self {
            PortQueue::Ixgbe(queue) => queue.arm(),
            // Sockets are readable as long as a packet waits, whenever it came.
            PortQueue::Afxdp(_) | PortQueue::Memory(_) => false,
        }
    }

    /// The worker is awake: no packet needs to wake it.
    pub fn disarm(&mut self) {
        match self {
            PortQueue::Ixgbe(queue) => queue.disarm(),
            PortQueue::Afxdp(_) | PortQueue::Memory(_) => {}
        }
    }
}
