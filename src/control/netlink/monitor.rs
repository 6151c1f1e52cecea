//! The event socket: every change of links, addresses, routes and neighbours as it happens.
//!
//! The kernel drops messages when the socket's queue is full and says so once (ENOBUFS): an overrun
//! is a normal path that ends in a new dump, never an error. That queue has no clock either, so a
//! thread empties it at once: what waits to be followed waits here, and since when is known. The
//! thread rests between two looks, as a wake-up for every message of a flood would cost the kernel and
//! ixmap more than the messages do.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::decode::decode;
use super::expiry::silent_change;
use super::message::Messages;
use super::socket::{self, Datagram};
use super::{NetlinkError, Settings, Unknown};
use crate::control::mirror::Event;

/// RTNLGRP_*: what ixmap listens to.
const GROUPS: [u32; 11] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_NEXTHOP,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
    libc::RTNLGRP_IPV4_NETCONF,
    libc::RTNLGRP_IPV6_NETCONF,
];

/// Events that are handed on at once.
const BATCH: usize = 256;
/// Datagrams after which those that follow hear of them.
const READS: usize = 256;
/// Events that wait to be followed; beyond, a dump is the shorter way.
const LIMIT: usize = 1 << 18;
/// Pause after something was read.
const REST: Duration = Duration::from_millis(1);
/// Datagrams that are thrown away at once: several times what the largest queue holds.
const DISCARDS: usize = 1 << 20;

/// The subscribed socket.
pub struct Monitor {
    inbox: Arc<Inbox>,
    /// Until somebody listens.
    socket: Option<Socket>,
    reader: Option<Reader>,
}

/// The thread that has the socket.
struct Reader {
    thread: JoinHandle<()>,
    /// The thread ends when this is closed.
    alive: PipeWriter,
}

/// What one call brought.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Before when the first message did not wait in the kernel.
    pub since: Instant,
    /// Netlink messages read, of use or not.
    pub messages: u64,
    /// What ixmap does not know of them.
    pub unknown: Unknown,
    /// Times that messages were lost: the kernel dropped them, or too many waited here.
    pub overruns: u64,
}

/// What was read and not handed on.
#[derive(Default)]
struct Inbox {
    read: Mutex<Read>,
    news: Notify,
}

#[derive(Default)]
struct Read {
    /// Each with the time since when at most it waits.
    waiting: VecDeque<(Instant, Event)>,
    messages: u64,
    unknown: Unknown,
    overruns: u64,
    broken: Option<io::Error>,
}

impl Monitor {
    /// Subscribes; from [`Monitor::listen`] on no change is missed unnoticed.
    ///
    /// # Errors
    /// The socket cannot be opened, or the kernel lacks a group.
    pub fn open(settings: &Settings) -> Result<Monitor, NetlinkError> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
        socket::prepare(&mut socket, settings.receive_buffer).map_err(NetlinkError::Open)?;
        socket.set_non_blocking(true).map_err(NetlinkError::Open)?;
        for group in GROUPS {
            socket
                .add_membership(group)
                .map_err(|source| NetlinkError::Subscribe { group, source })?;
        }
        Ok(Monitor {
            inbox: Arc::default(),
            socket: Some(socket),
            reader: None,
        })
    }

    /// Throws away what waits, and receives what comes from now on.
    ///
    /// # Errors
    /// The socket is broken, or there is no thread to be had.
    pub fn listen(&mut self) -> Result<(), NetlinkError> {
        let Some(socket) = self.socket.take() else {
            return Ok(());
        };
        let mut listener = Listener {
            socket,
            buffer: Vec::with_capacity(socket::DATAGRAM),
            inbox: Arc::clone(&self.inbox),
        };
        listener.discard().map_err(NetlinkError::Receive)?;
        let (ended, alive) = io::pipe().map_err(NetlinkError::Receive)?;
        let thread = thread::Builder::new()
            .name("ixmap-netlink".to_owned())
            .spawn(move || listener.run(&ended))
            .map_err(NetlinkError::Receive)?;
        self.reader = Some(Reader { thread, alive });
        Ok(())
    }

    /// Waits for news and appends a batch of it to `events`.
    /// Cancel-safe: what was read is always returned.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn receive(&self, events: &mut Vec<Event>) -> Result<Received, NetlinkError> {
        if self.waiting().is_some() {
            // Between two batches others on this thread have their turn.
            tokio::task::yield_now().await;
        }
        loop {
            if let Some(received) = self.inbox.read().take(events) {
                return received.map_err(NetlinkError::Receive);
            }
            self.inbox.news.notified().await;
        }
    }

    /// Since when at most the oldest message waits that was not handed on.
    pub fn waiting(&self) -> Option<Instant> {
        self.inbox.read().waiting.front().map(|(since, _)| *since)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if let Some(Reader { thread, alive }) = self.reader.take() {
            drop(alive);
            // It says nothing but that it panicked, which the panic itself has said.
            drop(thread.join());
        }
    }
}

impl Inbox {
    fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    /// A batch of what waits, if there is anything to tell.
    fn take(&mut self, events: &mut Vec<Event>) -> Option<io::Result<Received>> {
        if let Some(error) = self.broken.take() {
            return Some(Err(error));
        }
        if self.messages == 0 && self.waiting.is_empty() {
            return None;
        }
        let oldest = self.waiting.front().map(|(since, _)| *since);
        let batch = self.waiting.len().min(BATCH);
        events.extend(self.waiting.drain(..batch).map(|(_, event)| event));
        Some(Ok(Received {
            since: oldest.unwrap_or_else(Instant::now),
            messages: std::mem::take(&mut self.messages),
            unknown: std::mem::take(&mut self.unknown),
            overruns: std::mem::take(&mut self.overruns),
        }))
    }

    /// Decodes one datagram and counts its messages.
    fn put(&mut self, datagram: &[u8], since: Instant) {
        for message in Messages::new(datagram) {
            self.messages += 1;
            match message {
                Ok(message) => {
                    self.unknown.count(&message);
                    let event = decode(&message);
                    let silent = silent_change(&message, event.as_ref());
                    if let Some(event) = event {
                        self.waiting.push_back((since, event));
                    }
                    if let Some(silent) = silent {
                        self.waiting.push_back((since, silent));
                    }
                }
                Err(error) => {
                    let why = error.to_string();
                    self.waiting.push_back((since, Event::Doubt { why }));
                }
            }
        }
        if self.waiting.len() > LIMIT {
            self.lose("more changes came than can be followed", since);
        }
    }

    /// A dump knows it all, and followed after that, what waits would undo what was lost.
    fn lose(&mut self, why: &str, since: Instant) {
        let oldest = self.waiting.front().map_or(since, |(since, _)| *since);
        self.waiting.clear();
        let why = why.to_owned();
        self.waiting.push_back((oldest, Event::Doubt { why }));
        self.overruns += 1;
    }
}

/// The thread that reads the socket.
struct Listener {
    socket: Socket,
    buffer: Vec<u8>,
    inbox: Arc<Inbox>,
}

impl Listener {
    /// Reads until `ended` is closed at its other end, or the socket breaks.
    fn run(mut self, ended: &PipeReader) {
        if let Err(error) = self.listen(ended) {
            self.inbox.read().broken = Some(error);
            self.inbox.news.notify_one();
        }
    }

    fn listen(&mut self, ended: &PipeReader) -> io::Result<()> {
        // When the socket was last seen empty, unless that is long ago.
        let mut dry = None;
        loop {
            let patience = dry.map(|_| Timespec::default());
            match self.wait(ended, patience.as_ref())? {
                Woken::End => return Ok(()),
                Woken::Nothing => dry = None,
                Woken::News => {
                    let since = *dry.get_or_insert_with(Instant::now);
                    if self.drain(since)? < READS {
                        dry = Some(Instant::now());
                        thread::sleep(REST);
                    }
                }
            }
        }
    }

    fn wait(&self, ended: &PipeReader, patience: Option<&Timespec>) -> io::Result<Woken> {
        let mut sources = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match poll(&mut sources, patience) {
            Ok(_) if !sources[1].revents().is_empty() => Ok(Woken::End),
            Ok(0) | Err(Errno::INTR) => Ok(Woken::Nothing),
            Ok(_) => Ok(Woken::News),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what the kernel has, within bounds; returns how many datagrams that were.
    fn drain(&mut self, since: Instant) -> io::Result<usize> {
        let mut datagrams = 0;
        while datagrams < READS {
            match self.receive() {
                // Only the kernel, port 0, is believed.
                Ok(Some(Datagram::Foreign)) => {}
                // One that was cut ends in a doubt.
                Ok(Some(Datagram::Whole | Datagram::Cut)) => {
                    self.inbox.read().put(&self.buffer, since);
                }
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.discard()?;
                    self.inbox.read().lose("netlink events were lost", since);
                }
                Err(error) => return Err(error),
            }
            datagrams += 1;
        }
        if datagrams > 0 {
            self.inbox.news.notify_one();
        }
        Ok(datagrams)
    }

    fn discard(&mut self) -> io::Result<()> {
        for _ in 0..DISCARDS {
            match self.receive() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads one datagram into the buffer, if there is one.
    fn receive(&mut self) -> io::Result<Option<Datagram>> {
        loop {
            match socket::receive(&self.socket, &mut self.buffer) {
                Ok(datagram) => return Ok(Some(datagram)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What ended a wait.
enum Woken {
    News,
    Nothing,
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_are_too_many_to_follow_become_one_doubt_as_old_as_the_oldest() {
        let mut read = Read::default();
        let (first, last) = (Instant::now(), Instant::now() + REST);
        for index in 0..u32::try_from(LIMIT).unwrap() {
            read.waiting.push_back((first, Event::LinkGone { index }));
        }
        // Not a message, so a doubt of its own, and one too many.
        read.put(&[0], last);
        let mut events = Vec::new();
        let received = read.take(&mut events).unwrap().unwrap();
        let why = "more changes came than can be followed".to_owned();
        assert_eq!(events, [Event::Doubt { why }]);
        assert_eq!((received.since, received.overruns), (first, 1));
        assert!(read.take(&mut events).is_none());
    }
}
