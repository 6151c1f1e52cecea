//! Preparing an rtnetlink socket and reading one datagram from it.

use std::io;

use netlink_sys::Socket;
use nix::sys::socket::{setsockopt, sockopt};

/// The kernel builds dump datagrams of at most 32 KiB; an event with many legs may be larger.
pub(super) const DATAGRAM: usize = 256 << 10;

/// Binds an rtnetlink socket and gives it `receive_buffer` bytes of queue.
pub(super) fn prepare(socket: &mut Socket, receive_buffer: usize) -> io::Result<()> {
    socket.bind_auto()?;
    // Without CAP_NET_ADMIN the size is bounded by net.core.rmem_max: smaller, but no failure.
    if setsockopt(socket, sockopt::RcvBufForce, &receive_buffer).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &receive_buffer)?;
    }
    Ok(())
}

/// One datagram read into a buffer.
pub(super) enum Datagram {
    /// The kernel's, complete.
    Whole,
    /// Longer than the buffer: its messages are lost.
    Cut,
    /// Sent by another process: no news of the kernel.
    Foreign,
}

/// Reads one datagram into `buffer`, which is cleared first.
pub(super) fn receive(socket: &Socket, buffer: &mut Vec<u8>) -> io::Result<Datagram> {
    buffer.clear();
    buffer.reserve(DATAGRAM);
    let (length, sender) = socket.recv_from(buffer, libc::MSG_TRUNC)?;
    Ok(if sender.port_number() != 0 {
        Datagram::Foreign
    } else if length > buffer.len() {
        Datagram::Cut
    } else {
        Datagram::Whole
    })
}
