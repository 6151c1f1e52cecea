//! Replies on their way to the client. When it does not read them, they wait here, and no more
//! commands are taken once too many wait.

use rustix::io::{Errno, IoSlice};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Bytes that may wait before commands have to.
const FULL: usize = 1 << 20;

struct Reply {
    bytes: Vec<u8>,
    /// Sent along with the first byte.
    fd: Option<Rc<OwnedFd>>,
}

#[derive(Default)]
pub(super) struct Outbox {
    replies: VecDeque<Reply>,
    /// How much of the first reply is sent.
    sent: usize,
    waiting: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, bytes: Vec<u8>, fd: Option<Rc<OwnedFd>>) {
        self.waiting += bytes.len();
        self.replies.push_back(Reply { bytes, fd });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting >= FULL
    }

    /// Sends what the socket takes; an error when the client is gone.
    pub(super) fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        while let Some(reply) = self.replies.front() {
            let fds: Vec<BorrowedFd<'_>> = reply.fd.iter().map(|fd| fd.as_fd()).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(&fds));
            }
            let rest = [IoSlice::new(&reply.bytes[self.sent..])];
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match sendmsg(socket, &rest, &mut control, flags) {
                Ok(len) => self.sent_some(len),
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sent_some(&mut self, len: usize) {
        self.sent += len;
        self.waiting -= len;
        let Some(reply) = self.replies.front_mut() else {
            return;
        };
        reply.fd = None;
        if self.sent == reply.bytes.len() {
            self.replies.pop_front();
            self.sent = 0;
        }
    }
}
