//! The event socket: every change of links, addresses, routes and neighbours as it happens.
//!
//! The kernel drops messages when the socket's queue is full and says so once (ENOBUFS): an overrun
//! is a normal path that ends in a new dump, never an error. That queue has no clock either, so it is
//! read ahead of those who follow: what waits, waits here, and since when is known.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, TokioSocket};

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

/// Events that one wake-up collects before they are handed on.
pub(super) const BATCH: usize = 256;
/// Datagrams that one wake-up reads, events or not.
const READS: usize = 1024;
/// Events that wait here to be followed; beyond, they wait in the kernel.
const AHEAD: usize = 1 << 16;

/// Datagrams that are thrown away at once: several times what the largest queue holds.
const DISCARDS: usize = 1 << 20;

/// The subscribed socket.
pub struct Monitor {
    socket: TokioSocket,
    buffer: Vec<u8>,
    /// Events that nobody has taken yet, and since when at most they wait.
    waiting: VecDeque<(Instant, Event)>,
    /// The earliest that what is read next can have come: when the socket was last seen dry. Absent
    /// while nothing else is done than waiting for it.
    dry: Option<Instant>,
    /// The socket was not seen dry when it was last read.
    more: bool,
}

/// What one wake-up brought.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// When the first message was found waiting; of one that came while others were dealt with, when
    /// the socket was last seen empty before.
    pub since: Instant,
    /// Netlink messages read, of use or not.
    pub messages: u64,
    /// What ixmap does not know of them.
    pub unknown: Unknown,
    /// The kernel dropped messages.
    pub overrun: bool,
}

impl Monitor {
    /// Subscribes; from here on no change is missed unnoticed. Needs a tokio runtime.
    ///
    /// # Errors
    /// The socket cannot be opened, or the kernel lacks a group.
    pub fn open(settings: &Settings) -> Result<Monitor, NetlinkError> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
        socket::prepare(socket.socket_mut(), settings.receive_buffer)
            .map_err(NetlinkError::Open)?;
        for group in GROUPS {
            socket
                .socket_mut()
                .add_membership(group)
                .map_err(|source| NetlinkError::Subscribe { group, source })?;
        }
        Ok(Monitor {
            socket,
            buffer: Vec::with_capacity(socket::DATAGRAM),
            waiting: VecDeque::new(),
            dry: None,
            more: false,
        })
    }

    /// Waits for news and appends a batch of it to `events`.
    /// Cancel-safe: what was read is always returned.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn receive(&mut self, events: &mut Vec<Event>) -> Result<Received, NetlinkError> {
        if self.waiting().is_some() {
            // Between two batches others on this thread have their turn.
            tokio::task::yield_now().await;
        }
        poll_fn(|context| self.poll_receive(context, events)).await
    }

    /// Since when at most the oldest message waits that was not handed on.
    pub fn waiting(&self) -> Option<Instant> {
        let read = self.waiting.front().map(|(since, _)| *since);
        read.or(self.dry.filter(|_| self.more))
    }

    /// Throws away what waits to be received.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn discard(&mut self) -> Result<(), NetlinkError> {
        self.empty().map_err(NetlinkError::Receive)
    }

    fn empty(&mut self) -> io::Result<()> {
        self.waiting.clear();
        (self.dry, self.more) = (None, false);
        for _ in 0..DISCARDS {
            match socket::receive(self.socket.socket_ref(), &mut self.buffer) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        events: &mut Vec<Event>,
    ) -> Poll<Result<Received, NetlinkError>> {
        let mut received = Received {
            since: Instant::now(),
            messages: 0,
            unknown: Unknown::default(),
            overrun: false,
        };
        if let Err(error) = self.drain(&mut received) {
            return Poll::Ready(Err(NetlinkError::Receive(error)));
        }
        while self.waiting.is_empty() && received.messages == 0 {
            self.dry = None;
            // One that comes right now: as any other.
            self.buffer.clear();
            let polled = ready!(self.socket.poll_recv_from(context, &mut self.buffer));
            self.dry = Some(received.since);
            let whole = polled.map(|sender| sender.port_number() == 0);
            if let Err(error) = self.heed(whole, received.since, &mut received) {
                return Poll::Ready(Err(NetlinkError::Receive(error)));
            }
        }
        if let Some((since, _)) = self.waiting.front() {
            received.since = *since;
        }
        let batch = self.waiting.len().min(BATCH);
        events.extend(self.waiting.drain(..batch).map(|(_, event)| event));
        Poll::Ready(Ok(received))
    }

    /// Reads what the kernel has, within bounds.
    fn drain(&mut self, received: &mut Received) -> io::Result<()> {
        let since = self.dry.unwrap_or_else(Instant::now);
        for _ in 0..READS {
            if self.waiting.len() >= AHEAD {
                break;
            }
            let read = socket::receive(self.socket.socket_ref(), &mut self.buffer);
            let whole = match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (self.dry, self.more) = (Some(Instant::now()), false);
                    return Ok(());
                }
                read => read.map(|datagram| !matches!(datagram, Datagram::Foreign)),
            };
            self.heed(whole, since, received)?;
        }
        (self.dry, self.more) = (Some(since), true);
        Ok(())
    }

    /// Takes in what one read brought: a datagram, which is the kernel's or is not, or an error.
    fn heed(
        &mut self,
        read: io::Result<bool>,
        since: Instant,
        received: &mut Received,
    ) -> io::Result<()> {
        match read {
            // Only the kernel, port 0, is believed. A datagram that was cut ends in a doubt.
            Ok(true) => {
                let events = take(&self.buffer, received);
                self.waiting
                    .extend(events.into_iter().map(|event| (since, event)));
            }
            Ok(false) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                received.overrun = true;
                // The dump knows it all, and followed after that it would undo what was lost.
                self.empty()?;
                let why = "netlink events were lost".to_owned();
                self.waiting.push_back((since, Event::Doubt { why }));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Decodes one datagram and counts its messages.
fn take(datagram: &[u8], received: &mut Received) -> Vec<Event> {
    let mut events = Vec::new();
    for message in Messages::new(datagram) {
        received.messages += 1;
        match message {
            Ok(message) => {
                received.unknown.count(&message);
                let event = decode(&message);
                let silent = silent_change(&message, event.as_ref());
                events.extend(event);
                events.extend(silent);
            }
            Err(error) => events.push(Event::Doubt {
                why: error.to_string(),
            }),
        }
    }
    events
}
