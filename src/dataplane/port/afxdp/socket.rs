//! The AF_XDP sockets of a hardware queue of a netdev, one for each kind of frames, with one UMEM
//! registration over the worker's arena and their rings.
//!
//! All receive into frames of one fill ring: the kernel has one for each UMEM and hardware queue
//! (Documentation/networking/af_xdp.rst, XDP_SHARED_UMEM). A receive ring that is full takes no frame from
//! it, and it is given more frames than all receive rings take. So it never runs empty while the pool has
//! frames, and a flood that fills one receive ring takes nothing from the others.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};

use super::frame::Layout;
use super::program::Kind;
use super::receiver::Receiver;
use super::ring::{Consumer, Producer};
use super::sys;
use crate::dataplane::mem::{Arena, OwnLines};
use crate::shared::stats::Counter;

/// Entries of the receive ring of each kind.
const RX_ENTRIES: [u32; Kind::COUNT as usize] = [2048, 256, 512];
/// The most frames that a queue's sockets hold for receiving: as many as their rings take, those that a
/// worker may be late with, and those of a packet of several buffers that finds no room.
pub(super) const RECEIVE_FRAMES: u32 = RX_ENTRIES[0] + RX_ENTRIES[1] + RX_ENTRIES[2] + 256;
/// Entries of the fill ring: a power of two.
const FILL_ENTRIES: u32 = RECEIVE_FRAMES.next_power_of_two();
/// Entries of the transmit and completion rings, and the most frames on their way out.
pub(super) const TX_ENTRIES: u32 = 2048;

/// Packets that one `sendto` may send in copy mode; the kernel's default is 32.
const TX_BUDGET: u32 = 256;
/// Linux 6.17: linux/if_xdp.h.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// The bound sockets of a hardware queue and their rings. The kernel pins the arena's pages until they
/// are gone.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) tx: Producer<libc::xdp_desc>,
    pub(super) fill: Producer<u64>,
    pub(super) completion: Consumer<u64>,
    /// By kind. The first one's socket also sends, and has the registration.
    pub(super) receivers: [Receiver; Kind::COUNT as usize],
    pub(super) zero_copy: bool,
    /// Descriptors that came back and that nobody had given away.
    pub(super) bad: Arc<OwnLines<Counter>>,
}

/// What a kick of the transmit side came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kick {
    /// The kernel took frames, or will when it is asked again.
    Done,
    /// Nothing leaves while the netdev is down or gone.
    Down,
}

impl Sockets {
    /// Makes the sockets over `arena` of queue `queue` of the netdev `ifindex`. With `native`, tries
    /// zero-copy first.
    pub(super) fn bind(
        arena: &Arc<Arena>,
        layout: Layout,
        ifindex: u32,
        queue: u32,
        native: bool,
    ) -> io::Result<Sockets> {
        let bind = |copying| Sockets::bind_as(arena, layout, ifindex, queue, copying);
        if native && let Ok(sockets) = bind(libc::XDP_ZEROCOPY) {
            return Ok(sockets);
        }
        bind(libc::XDP_COPY)
    }

    fn bind_as(
        arena: &Arc<Arena>,
        layout: Layout,
        ifindex: u32,
        queue: u32,
        copying: libc::__u16,
    ) -> io::Result<Sockets> {
        let fd = sys::socket(libc::AF_XDP, libc::SOCK_RAW)?;
        register(fd.as_fd(), arena, layout)?;
        set(fd.as_fd(), libc::XDP_UMEM_FILL_RING, FILL_ENTRIES)?;
        set(fd.as_fd(), libc::XDP_UMEM_COMPLETION_RING, TX_ENTRIES)?;
        set(fd.as_fd(), libc::XDP_RX_RING, RX_ENTRIES[0])?;
        set(fd.as_fd(), libc::XDP_TX_RING, TX_ENTRIES)?;
        // Older kernels do without.
        let _ = set(fd.as_fd(), XDP_MAX_TX_SKB_BUDGET, TX_BUDGET);
        let at: libc::xdp_mmap_offsets =
            sys::option(fd.as_fd(), libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
        let page = u64::try_from(libc::XDP_PGOFF_TX_RING).map_err(io::Error::other)?;
        let tx = Producer::map(fd.as_fd(), page, &at.tx, TX_ENTRIES)?;
        let page = libc::XDP_UMEM_PGOFF_FILL_RING;
        let fill = Producer::map(fd.as_fd(), page, &at.fr, FILL_ENTRIES)?;
        let page = libc::XDP_UMEM_PGOFF_COMPLETION_RING;
        let completion = Consumer::map(fd.as_fd(), page, &at.cr, TX_ENTRIES)?;
        let first = Receiver::map(fd, &at, RX_ENTRIES[0])?;
        let mut flags = copying | libc::XDP_USE_NEED_WAKEUP;
        if layout.is_multi_buffer() {
            flags |= libc::XDP_USE_SG;
        }
        sys::bind_xdp(first.fd(), ifindex, queue, flags, None)?;
        let beside = |entries| bind_beside(first.fd(), &at, entries, ifindex, queue);
        let (second, third) = (beside(RX_ENTRIES[1])?, beside(RX_ENTRIES[2])?);
        Ok(Sockets {
            tx,
            fill,
            completion,
            receivers: [first, second, third],
            zero_copy: copying == libc::XDP_ZEROCOPY,
            bad: Arc::default(),
        })
    }

    /// The sockets, by kind.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.receivers.iter().map(Receiver::fd)
    }

    /// For whoever reads what the kernel counted.
    pub(super) fn counted(&self) -> Counted {
        let weak = |receiver: &Receiver| Arc::downgrade(receiver.shared_fd());
        Counted {
            sockets: self.receivers.each_ref().map(weak),
            zero_copy: self.zero_copy,
            bad: Arc::clone(&self.bad),
        }
    }

    /// Has the kernel look at the fill ring, when it said that it would not by itself.
    pub(super) fn wake_fill(&self) {
        if self.fill.needs_wakeup() {
            sys::receive_nothing(self.receivers[0].fd());
        }
    }

    /// Has the kernel look at the transmit ring. In copy mode that is where it transmits, so it is
    /// always asked; in zero-copy mode only when it said so.
    pub(super) fn kick(&self) -> Kick {
        if self.zero_copy && !self.tx.needs_wakeup() {
            return Kick::Done;
        }
        match sys::send_nothing(self.receivers[0].fd()).map_err(|error| error.raw_os_error()) {
            Err(Some(libc::ENETDOWN | libc::ENXIO)) => Kick::Down,
            // EAGAIN, EBUSY, ENOBUFS: the rest goes with the next kick.
            _ => Kick::Done,
        }
    }
}

/// Makes a socket beside one that is bound to the same queue: with its registration and its rings, but for
/// a receive ring of so many `entries`.
fn bind_beside(
    first: BorrowedFd<'_>,
    offsets: &libc::xdp_mmap_offsets,
    entries: u32,
    ifindex: u32,
    queue: u32,
) -> io::Result<Receiver> {
    let fd = sys::socket(libc::AF_XDP, libc::SOCK_RAW)?;
    set(fd.as_fd(), libc::XDP_RX_RING, entries)?;
    let receiver = Receiver::map(fd, offsets, entries)?;
    let flags = libc::XDP_SHARED_UMEM;
    sys::bind_xdp(receiver.fd(), ifindex, queue, flags, Some(first))?;
    Ok(receiver)
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

/// The sockets of a queue by kind, as long as they live, for what the kernel counted at them.
#[derive(Debug)]
pub(super) struct Counted {
    sockets: [Weak<OwnedFd>; Kind::COUNT as usize],
    zero_copy: bool,
    bad: Arc<OwnLines<Counter>>,
}

/// What the kernel counted at a port's sockets (XDP_STATISTICS): each lost frame once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Received frames dropped for other reasons than those below, such as being too long.
    pub rx_dropped: u64,
    /// Received frames dropped because the receive ring was full: the worker is too slow.
    pub rx_ring_full: u64,
    /// The same of ARP and neighbour discovery, which have a ring of their own.
    pub rx_neighbour_ring_full: u64,
    /// The same of routing protocols.
    pub rx_routing_ring_full: u64,
    /// Received frames dropped because the fill ring was empty: the worker's pool is. With zero-copy, how
    /// often the driver found none; it may have had some left.
    pub rx_fill_ring_empty: u64,
    /// Fill descriptors that the kernel refused.
    pub rx_invalid: u64,
    /// Transmit descriptors that the kernel refused.
    pub tx_invalid: u64,
    /// Descriptors of the kernel's that nobody had given to it: our count, not the kernel's.
    pub bad_descriptors: u64,
}

impl Counted {
    /// False when the queue has closed them.
    pub(super) fn is_open(&self) -> bool {
        self.sockets.iter().all(|socket| socket.strong_count() > 0)
    }

    /// Reads them; `None` when they are closed.
    pub(super) fn read(&self) -> Option<Statistics> {
        let read = |socket: &Weak<OwnedFd>| -> Option<libc::xdp_statistics> {
            let socket = socket.upgrade()?;
            sys::option(socket.as_fd(), libc::SOL_XDP, libc::XDP_STATISTICS).ok()
        };
        let [ordinary, neighbours, routing] = self.sockets.each_ref().map(read);
        let (ordinary, neighbours, routing) = (ordinary?, neighbours?, routing?);
        let sum = |count: fn(&libc::xdp_statistics) -> u64| {
            count(&ordinary) + count(&neighbours) + count(&routing)
        };
        // The fill ring's own count: each socket tells it.
        let rx_fill_ring_empty = ordinary.rx_fill_ring_empty_descs;
        let rx_dropped = sum(|socket| socket.rx_dropped);
        Some(Statistics {
            rx_dropped: if self.zero_copy {
                rx_dropped
            } else {
                // A frame that finds the fill ring empty counts at its socket as well.
                rx_dropped.saturating_sub(rx_fill_ring_empty)
            },
            rx_ring_full: ordinary.rx_ring_full,
            rx_neighbour_ring_full: neighbours.rx_ring_full,
            rx_routing_ring_full: routing.rx_ring_full,
            rx_fill_ring_empty,
            rx_invalid: sum(|socket| socket.rx_invalid_descs),
            tx_invalid: ordinary.tx_invalid_descs,
            bad_descriptors: self.bad.get(),
        })
    }
}

impl Statistics {
    /// Adds another queue's counts.
    pub(super) fn add(&mut self, other: &Statistics) {
        self.rx_dropped += other.rx_dropped;
        self.rx_ring_full += other.rx_ring_full;
        self.rx_neighbour_ring_full += other.rx_neighbour_ring_full;
        self.rx_routing_ring_full += other.rx_routing_ring_full;
        self.rx_fill_ring_empty += other.rx_fill_ring_empty;
        self.rx_invalid += other.rx_invalid;
        self.tx_invalid += other.tx_invalid;
        self.bad_descriptors += other.bad_descriptors;
    }
}
