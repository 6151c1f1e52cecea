//! A Unix socket to a peer: one SOCK_SEQPACKET message is one frame. Of two models given the same
//! path the first listens and the second connects; a test may be either. A peer that goes away is
//! a cable pulled out: the link is down until one is there again.

use super::MAX_FRAME;
use crate::socket_file::{self, End, Listener, SocketFileError};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, recv, send};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

pub struct Unix {
    path: PathBuf,
    /// None while we are the one that connects.
    listener: Option<Listener>,
    peer: Option<OwnedFd>,
}

impl Unix {
    pub(super) fn open(path: PathBuf) -> Result<Unix, SocketFileError> {
        let mut wire = Unix {
            path,
            listener: None,
            peer: None,
        };
        wire.plug()?;
        Ok(wire)
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.peer
            .as_ref()
            .map(AsFd::as_fd)
            .or(self.listener.as_ref().map(AsFd::as_fd))
    }

    pub(super) fn is_connected(&self) -> bool {
        self.peer.is_some()
    }

    pub(super) fn receive(&mut self, frame: &mut [u8; MAX_FRAME]) -> Option<usize> {
        let Some(peer) = &self.peer else {
            self.await_peer();
            return None;
        };
        match recv(peer, frame.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((len, _)) if len > 0 => Some(len),
            Err(Errno::AGAIN | Errno::INTR) => None,
            // Zero bytes are the end: nobody sends an empty frame.
            Ok(_) | Err(_) => {
                self.peer = None;
                self.await_peer();
                None
            }
        }
    }

    pub(super) fn transmit(&mut self, frame: &[u8]) {
        if let Some(peer) = &self.peer {
            // A peer that does not keep up loses the frame; one that is gone is seen by receive().
            let _lost = send(peer, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    fn await_peer(&mut self) {
        match &self.listener {
            Some(listener) => self.peer = accept_with(listener, FLAGS).ok(),
            // Tried again at the next call.
            None => drop(self.plug()),
        }
    }

    /// Connects to whoever listens at the path, or listens there.
    fn plug(&mut self) -> Result<(), SocketFileError> {
        match socket_file::open(&self.path, SocketType::SEQPACKET)? {
            End::Connected(peer) => self.peer = Some(peer),
            End::Listening(listener) => self.listener = Some(listener),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> [u8; MAX_FRAME] {
        [0; MAX_FRAME]
    }

    #[test]
    fn two_ends_given_one_path_find_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wire");
        let mut first = Unix::open(path.clone()).unwrap();
        assert!(!first.is_connected());
        let mut second = Unix::open(path).unwrap();
        assert_eq!(first.receive(&mut frame()), None);
        assert!(first.is_connected() && second.is_connected());

        second.transmit(b"one");
        second.transmit(b"other");
        let mut got = frame();
        assert_eq!(first.receive(&mut got), Some(3));
        assert_eq!(first.receive(&mut got), Some(5));
        assert_eq!(&got[..5], b"other");
        first.transmit(b"back");
        assert_eq!(second.receive(&mut got), Some(4));
    }

    #[test]
    fn a_peer_that_goes_is_a_link_down_until_another_comes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wire");
        let mut first = Unix::open(path.clone()).unwrap();
        let mut second = Unix::open(path.clone()).unwrap();
        first.receive(&mut frame());
        drop(second);
        first.receive(&mut frame());
        assert!(!first.is_connected());

        second = Unix::open(path.clone()).unwrap();
        first.receive(&mut frame());
        assert!(first.is_connected());

        // The one that connected listens when the one that listened is gone.
        drop(first);
        second.receive(&mut frame());
        assert!(!second.is_connected() && second.fd().is_some());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_behind_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wire");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(Unix::open(path).unwrap().fd().is_some());
    }
}
