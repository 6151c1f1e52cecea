//! The event socket: every change of links, addresses, routes and neighbours as it happens.
//!
//! The kernel drops messages when the socket's queue is full and says so once (ENOBUFS): an overrun
//! is a normal path that ends in a new dump, never an error.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, TokioSocket};

use super::decode::decode;
use super::expiry::silent_change;
use super::message::Messages;
use super::socket;
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

/// The subscribed socket.
pub struct Monitor {
    socket: TokioSocket,
    buffer: Vec<u8>,
    /// When the last batch was handed on, unless the socket has been seen dry since.
    left: Option<Instant>,
}

/// What one wake-up brought.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// When the first message was found waiting; of one that came while the batch before was dealt
    /// with, when that began.
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
            left: None,
        })
    }

    /// Waits for news and appends it to `events`: until the socket is dry or a batch is full.
    /// Cancel-safe: what was read is always returned.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn receive(&mut self, events: &mut Vec<Event>) -> Result<Received, NetlinkError> {
        poll_fn(|context| self.poll_receive(context, events)).await
    }

    /// Throws away what waits to be received.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn discard(&mut self) -> Result<(), NetlinkError> {
        loop {
            match socket::receive(self.socket.socket_ref(), &mut self.buffer) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(NetlinkError::Receive(error)),
            }
        }
    }

    fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
        events: &mut Vec<Event>,
    ) -> Poll<Result<Received, NetlinkError>> {
        let mut received = Received {
            since: self.left.take().unwrap_or_else(Instant::now),
            messages: 0,
            unknown: Unknown::default(),
            overrun: false,
        };
        let enough = events.len() + BATCH;
        for read in 0..READS {
            if events.len() >= enough {
                break;
            }
            self.buffer.clear();
            match self.socket.poll_recv_from(context, &mut self.buffer) {
                Poll::Pending if read == 0 => return Poll::Pending,
                Poll::Pending => break,
                // Only the kernel, port 0, is believed. A datagram that was cut ends in a doubt.
                Poll::Ready(Ok(sender)) if sender.port_number() == 0 => {
                    take(&self.buffer, events, &mut received);
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    received.overrun = true;
                    events.push(Event::Doubt {
                        why: "netlink events were lost".to_owned(),
                    });
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(NetlinkError::Receive(error))),
            }
        }
        self.left = Some(Instant::now());
        Poll::Ready(Ok(received))
    }
}

/// Decodes one datagram and counts its messages.
fn take(datagram: &[u8], events: &mut Vec<Event>, received: &mut Received) {
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
}
