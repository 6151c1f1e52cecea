//! Whole Ethernet frames, sent and seen on a link by an AF_PACKET socket.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt};
use nix::sys::time::TimeVal;

use crate::error::{Error, Result};
use crate::namespace::Namespace;
use crate::wait::PATIENCE;

/// Room for every frame of a burst that the test sends before it looks.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A link of a namespace: sends frames, and sees those that arrive once it is open.
pub struct Tap(OwnedFd);

impl Tap {
    /// Opens the socket on the link.
    pub fn open(namespace: &Namespace, link: &str) -> Result<Tap> {
        namespace.enter(|| {
            let index = if_nametoindex(link).map_err(Error::io(format!("find {link}")))?;
            let socket = bound_packet_socket(index).map_err(Error::io("open a packet socket"))?;
            let timeout = TimeVal::new(0, 50_000);
            setsockopt(&socket, ReceiveTimeout, &timeout)
                .and_then(|()| setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER))
                .map_err(Error::io("set up a packet socket"))?;
            Ok(Tap(socket))
        })
    }

    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.0.as_raw_fd(), frame, MsgFlags::empty());
        sent.map(drop).map_err(Error::io("send a frame"))
    }

    /// The first frame that `wanted` accepts; what came before it is thrown away.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(frame) = self.receive()?.filter(|frame| wanted(frame)) {
                return Ok(frame);
            }
        }
        Err(Error::Timeout(format!("{what} arrives")))
    }

    /// Everything up to and including the first frame that `last` accepts.
    pub fn collect_until(&self, what: &str, last: impl Fn(&[u8]) -> bool) -> Result<Vec<Vec<u8>>> {
        let start = Instant::now();
        let mut frames = Vec::new();
        while start.elapsed() < PATIENCE {
            let Some(frame) = self.receive()? else {
                continue;
            };
            let done = last(&frame);
            frames.push(frame);
            if done {
                return Ok(frames);
            }
        }
        Err(Error::Timeout(format!("{what} arrives")))
    }

    /// Every frame that carries this text, until none has come for a quarter of a second.
    pub fn collect(&self, text: &str) -> Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        let mut last = Instant::now();
        while last.elapsed() < Duration::from_millis(250) {
            if let Some(frame) = self.receive()?.filter(|frame| carries(frame, text)) {
                frames.push(frame);
                last = Instant::now();
            }
        }
        Ok(frames)
    }

    fn receive(&self) -> Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 1 << 16];
        match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(Some(buffer))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(error) => Err(Error::io("receive a frame")(error)),
        }
    }
}

/// Whether a frame has this text somewhere.
pub fn carries(frame: &[u8], text: &str) -> bool {
    frame
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[allow(
    unsafe_code,
    reason = "no crate here wraps the address of an AF_PACKET socket"
)]
fn bound_packet_socket(index: u32) -> Result<OwnedFd, Errno> {
    let protocol = u16::try_from(libc::ETH_P_ALL)
        .map_err(|_| Errno::EINVAL)?
        .to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: socket() takes no pointers; protocol 0 receives nothing before bind() names the link.
    let descriptor = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor is fresh and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: all zeroes is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(|_| Errno::EINVAL)?;
    address.sll_protocol = protocol;
    address.sll_ifindex = i32::try_from(index).map_err(|_| Errno::EINVAL)?;
    let length =
        libc::socklen_t::try_from(mem::size_of_val(&address)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `address` is a live sockaddr_ll and `length` is its size.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    Errno::result(bound)?;
    let yes: libc::c_int = 1;
    let option = (libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING);
    let value = (&raw const yes).cast();
    let length = libc::socklen_t::try_from(mem::size_of_val(&yes)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: `value` points to a live int and `length` is its size.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), option.0, option.1, value, length) };
    Errno::result(set)?;
    Ok(socket)
}
