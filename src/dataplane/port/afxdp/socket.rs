//! One AF_XDP socket: bound to one hardware queue of a netdev, with its own UMEM registration over
//! the worker's arena and its four rings.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::frame::Layout;
use super::ring::{Consumer, Producer};
use super::sys;
use crate::dataplane::mem::Arena;

/// Entries of the fill and receive rings, and the most frames that a socket holds for receiving:
/// so the receive ring can never overflow.
pub(super) const RX_ENTRIES: u32 = 2048;
/// Entries of the transmit and completion rings, and the most frames on their way out.
pub(super) const TX_ENTRIES: u32 = 2048;

/// Packets that one `sendto` may send in copy mode; the kernel's default is 32.
const TX_BUDGET: u32 = 256;
/// Linux 6.17: linux/if_xdp.h.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// A bound socket and its rings. The kernel pins the arena's pages until the socket is gone.
#[derive(Debug)]
pub(super) struct Socket {
    /// The rings' mappings keep the socket alive as well: they go first.
    pub(super) rx: Consumer<libc::xdp_desc>,
    pub(super) tx: Producer<libc::xdp_desc>,
    pub(super) fill: Producer<u64>,
    pub(super) completion: Consumer<u64>,
    pub(super) zero_copy: bool,
    fd: Arc<OwnedFd>,
}

/// What a kick of the transmit side came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kick {
    /// The kernel took frames, or will when it is asked again.
    Done,
    /// Nothing leaves while the netdev is down or gone.
    Down,
}

impl Socket {
    /// Makes a socket over `arena` for queue `queue` of the netdev `ifindex`. With `native`, tries
    /// zero-copy first.
    pub(super) fn bind(
        arena: &Arc<Arena>,
        layout: Layout,
        ifindex: u32,
        queue: u32,
        native: bool,
    ) -> io::Result<Socket> {
        let bind = |copying| Socket::bind_as(arena, layout, ifindex, queue, copying);
        if native && let Ok(socket) = bind(libc::XDP_ZEROCOPY) {
            return Ok(socket);
        }
        bind(libc::XDP_COPY)
    }

    fn bind_as(
        arena: &Arc<Arena>,
        layout: Layout,
        ifindex: u32,
        queue: u32,
        copying: libc::__u16,
    ) -> io::Result<Socket> {
        let fd = sys::socket(libc::AF_XDP, libc::SOCK_RAW)?;
        register(fd.as_fd(), arena, layout)?;
        set(fd.as_fd(), libc::XDP_UMEM_FILL_RING, RX_ENTRIES)?;
        set(fd.as_fd(), libc::XDP_UMEM_COMPLETION_RING, TX_ENTRIES)?;
        set(fd.as_fd(), libc::XDP_RX_RING, RX_ENTRIES)?;
        set(fd.as_fd(), libc::XDP_TX_RING, TX_ENTRIES)?;
        // Older kernels do without.
        let _ = set(fd.as_fd(), XDP_MAX_TX_SKB_BUDGET, TX_BUDGET);
        let at: libc::xdp_mmap_offsets =
            sys::option(fd.as_fd(), libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
        let page = |offset: libc::off_t| u64::try_from(offset).map_err(io::Error::other);
        let socket = Socket {
            rx: Consumer::map(
                fd.as_fd(),
                page(libc::XDP_PGOFF_RX_RING)?,
                &at.rx,
                RX_ENTRIES,
            )?,
            tx: Producer::map(
                fd.as_fd(),
                page(libc::XDP_PGOFF_TX_RING)?,
                &at.tx,
                TX_ENTRIES,
            )?,
            fill: Producer::map(
                fd.as_fd(),
                libc::XDP_UMEM_PGOFF_FILL_RING,
                &at.fr,
                RX_ENTRIES,
            )?,
            completion: Consumer::map(
                fd.as_fd(),
                libc::XDP_UMEM_PGOFF_COMPLETION_RING,
                &at.cr,
                TX_ENTRIES,
            )?,
            zero_copy: copying == libc::XDP_ZEROCOPY,
            fd: Arc::new(fd),
        };
        let mut flags = copying | libc::XDP_USE_NEED_WAKEUP;
        if layout.is_multi_buffer() {
            flags |= libc::XDP_USE_SG;
        }
        sys::bind_xdp(socket.fd(), ifindex, queue, flags)?;
        Ok(socket)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// For whoever wants to look at the socket for as long as its queue keeps it open.
    pub(super) fn shared_fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Has the kernel look at the fill ring, when it said that it would not by itself.
    pub(super) fn wake_fill(&self) {
        if self.fill.needs_wakeup() {
            sys::receive_nothing(self.fd());
        }
    }

    /// Has the kernel look at the transmit ring. In copy mode that is where it transmits, so it is
    /// always asked; in zero-copy mode only when it said so.
    pub(super) fn kick(&self) -> Kick {
        if self.zero_copy && !self.tx.needs_wakeup() {
            return Kick::Done;
        }
        match sys::send_nothing(self.fd()).map_err(|error| error.raw_os_error()) {
            Err(Some(libc::ENETDOWN | libc::ENXIO)) => Kick::Down,
            // EAGAIN, EBUSY, ENOBUFS: the rest goes with the next kick.
            _ => Kick::Done,
        }
    }
}

fn register(fd: BorrowedFd<'_>, arena: &Arena, layout: Layout) -> io::Result<()> {
    let umem = libc::xdp_umem_reg {
        addr: arena.base().expose_provenance() as u64,
        len: arena.len() as u64,
        chunk_size: layout.chunk_size,
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    sys::set_option(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &umem)
}

fn set(fd: BorrowedFd<'_>, option: libc::c_int, value: u32) -> io::Result<()> {
    sys::set_option(fd, libc::SOL_XDP, option, &value)
}

/// What the kernel counted at a port's sockets (XDP_STATISTICS).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Received frames dropped for other reasons than those below, such as being too long.
    pub rx_dropped: u64,
    /// Received frames dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// Received frames dropped because the fill ring was empty: the worker is too slow.
    pub rx_fill_ring_empty: u64,
    /// Fill descriptors that the kernel refused.
    pub rx_invalid: u64,
    /// Transmit descriptors that the kernel refused.
    pub tx_invalid: u64,
}

impl Statistics {
    pub(super) fn read(fd: BorrowedFd<'_>) -> io::Result<Statistics> {
        let kernel: libc::xdp_statistics = sys::option(fd, libc::SOL_XDP, libc::XDP_STATISTICS)?;
        Ok(Statistics {
            rx_dropped: kernel.rx_dropped,
            rx_ring_full: kernel.rx_ring_full,
            rx_fill_ring_empty: kernel.rx_fill_ring_empty_descs,
            rx_invalid: kernel.rx_invalid_descs,
            tx_invalid: kernel.tx_invalid_descs,
        })
    }

    /// Adds another socket's counts.
    pub(super) fn add(&mut self, other: &Statistics) {
        self.rx_dropped += other.rx_dropped;
        self.rx_ring_full += other.rx_ring_full;
        self.rx_fill_ring_empty += other.rx_fill_ring_empty;
        self.rx_invalid += other.rx_invalid;
        self.tx_invalid += other.tx_invalid;
    }
}
