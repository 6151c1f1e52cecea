//! The receiving side of one AF_XDP socket: its ring, and packets that come in several buffers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::ring::Consumer;
use crate::dataplane::mem::{Frame, Holder, Pool};
use crate::dataplane::port::Burst;

/// A socket's receive ring. Dropping it closes the socket, unless its other rings are mapped still.
#[derive(Debug)]
pub(super) struct Receiver {
    /// The mapping keeps the socket alive as well: it goes first.
    rx: Consumer<libc::xdp_desc>,
    /// The beginning of a packet that comes in several buffers.
    begun: Option<Frame>,
    fd: Arc<OwnedFd>,
}

/// What came of a look at a receive ring.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Received {
    /// Descriptors taken from the ring.
    pub(super) descriptors: u32,
    /// Those of them that the pool's records contradicted.
    pub(super) bad: u32,
}

impl Receiver {
    /// Maps the receive ring of `fd`, which was made with so many `entries`.
    pub(super) fn map(
        fd: OwnedFd,
        offsets: &libc::xdp_mmap_offsets,
        entries: u32,
    ) -> io::Result<Receiver> {
        let page = u64::try_from(libc::XDP_PGOFF_RX_RING).map_err(io::Error::other)?;
        Ok(Receiver {
            rx: Consumer::map(fd.as_fd(), page, &offsets.rx, entries)?,
            begun: None,
            fd: Arc::new(fd),
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// For whoever wants to look at the socket for as long as its queue keeps it open.
    pub(super) fn shared_fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Takes up to `most` descriptors, and appends the packets that are whole with them to `burst`, which
    /// has as much room.
    pub(super) fn receive(
        &mut self,
        pool: &mut Pool,
        holder: Holder,
        burst: &mut Burst,
        most: usize,
    ) -> Received {
        let mut received = Received {
            descriptors: self.rx.ready(u32::try_from(most).unwrap_or(0)),
            bad: 0,
        };
        for _ in 0..received.descriptors {
            let descriptor = self.rx.take();
            let len = u16::try_from(descriptor.len).ok();
            let frame = len.and_then(|len| pool.redeem(descriptor.addr, len, holder));
            let Some(frame) = frame else {
                received.bad += 1;
                continue;
            };
            let goes_on = descriptor.options & libc::XDP_PKT_CONTD != 0;
            if let Some(packet) = self.gather(pool, frame, goes_on) {
                burst.push(packet);
            }
        }
        if received.descriptors > 0 {
            self.rx.release();
        }
        received
    }

    /// Puts together what comes in several buffers; returns the packet when it is whole. What no frame
    /// has room for is cut off: the packet is shorter than it says then, and dropped for that.
    fn gather(&mut self, pool: &mut Pool, frame: Frame, goes_on: bool) -> Option<Frame> {
        let packet = match self.begun.take() {
            None => frame,
            Some(mut packet) => {
                pool.append(&mut packet, &frame);
                pool.give(frame);
                packet
            }
        };
        if goes_on {
            self.begun = Some(packet);
            return None;
        }
        Some(packet)
    }

    /// Gives up a packet of which only the beginning came.
    pub(super) fn give_up(&mut self, pool: &mut Pool) {
        if let Some(frame) = self.begun.take() {
            pool.give(frame);
        }
    }
}
