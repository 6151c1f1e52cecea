//! Messages out of the byte stream, many per system call: a guest that writes a register in a loop
//! sends millions of them, and the client queues without limit what we do not take.

use super::message::{HEADER_SIZE, Header, MAX_FDS, MAX_PAYLOAD};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

const CAPACITY: usize = 4 * (HEADER_SIZE + MAX_PAYLOAD);

/// The longest payload that is skipped to keep the stream; a longer one is a stream that is lost.
const MAX_SKIPPED: usize = 16 << 20;

/// What a look at the socket gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    Some,
    Nothing,
    Closed,
}

/// The next message of the stream.
pub(super) enum Incoming<'a> {
    Message {
        header: Header,
        payload: &'a [u8],
        fds: Vec<OwnedFd>,
    },
    /// Larger than any command; its payload is passed over.
    TooLarge(Header),
    /// Not all of it is there yet.
    Incomplete,
    /// A size that cannot be: where the next message begins is not known.
    Lost,
}

pub(super) struct Inbox {
    bytes: Box<[u8]>,
    /// The bytes not yet taken are `start..end`.
    start: usize,
    end: usize,
    /// How many of the bytes to come belong to a payload that is passed over.
    skip: usize,
    /// The stream's position of `start`.
    position: u64,
    /// Descriptors, and the stream's position after the read they came with. The kernel ends a
    /// read behind the send that carries descriptors, so they belong to the message that the
    /// position lies in, or ends.
    fds: VecDeque<(u64, Vec<OwnedFd>)>,
}

impl Inbox {
    pub(super) fn new() -> Inbox {
        let bytes = vec![0; CAPACITY].into_boxed_slice();
        Inbox {
            bytes,
            start: 0,
            end: 0,
            skip: 0,
            position: 0,
            fds: VecDeque::new(),
        }
    }

    /// Reads once what the socket has. Call it when all complete messages are taken.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>) -> Filled {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let room = &mut [IoSliceMut::new(&mut self.bytes[self.end..])];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let len = match recvmsg(socket, room, &mut control, flags) {
            Ok(received) if received.bytes > 0 => received.bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Filled::Nothing,
            Ok(_) | Err(_) => return Filled::Closed,
        };
        self.end += len;
        let fds: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        if !fds.is_empty() {
            self.fds.push_back((self.position + count(self.end), fds));
        }
        // One message waits at most, and one send brings its descriptors.
        if self.fds.len() > MAX_FDS {
            return Filled::Closed;
        }
        self.pass_over();
        Filled::Some
    }

    /// Whether [`Inbox::next`] has something without another read.
    pub(super) fn is_ready(&self) -> bool {
        let here = self.end - self.start;
        self.header()
            .is_some_and(|header| match payload_length(&header) {
                Some(payload) if payload <= MAX_PAYLOAD => HEADER_SIZE + payload <= here,
                _ => true,
            })
    }

    pub(super) fn next(&mut self) -> Incoming<'_> {
        let Some(header) = self.header() else {
            return Incoming::Incomplete;
        };
        let Some(payload) = payload_length(&header) else {
            return Incoming::Lost;
        };
        if payload > MAX_PAYLOAD {
            self.skip = HEADER_SIZE + payload;
            self.pass_over();
            return Incoming::TooLarge(header);
        }
        let from = self.start + HEADER_SIZE;
        let to = from + payload;
        if to > self.end {
            return Incoming::Incomplete;
        }
        self.advance(HEADER_SIZE + payload);
        let fds = self.take_fds();
        Incoming::Message {
            header,
            payload: &self.bytes[from..to],
            fds,
        }
    }

    /// The header of the next message, when it is there.
    fn header(&self) -> Option<Header> {
        let (header, _) = self.bytes[self.start..self.end].split_first_chunk()?;
        (self.skip == 0).then(|| Header::parse(header))
    }

    /// Drops what is here of a payload that is passed over, and the descriptors with it.
    fn pass_over(&mut self) {
        if self.skip > 0 {
            let here = self.skip.min(self.end - self.start);
            self.skip -= here;
            self.advance(here);
            drop(self.take_fds());
        }
    }

    fn advance(&mut self, len: usize) {
        self.start += len;
        self.position += count(len);
    }

    /// The descriptors that came with what was taken.
    fn take_fds(&mut self) -> Vec<OwnedFd> {
        let mut taken = Vec::new();
        while self
            .fds
            .front()
            .is_some_and(|(position, _)| *position <= self.position)
        {
            taken.extend(self.fds.pop_front().into_iter().flat_map(|(_, fds)| fds));
        }
        taken
    }
}

/// The length of a message's payload, when it is one that can be.
fn payload_length(header: &Header) -> Option<usize> {
    let payload = usize::try_from(header.size).ok()?.checked_sub(HEADER_SIZE);
    payload.filter(|&payload| payload <= MAX_SKIPPED)
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
