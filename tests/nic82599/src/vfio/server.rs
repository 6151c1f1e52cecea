//! The serving loop: one thread for the socket, the wire and the clock. After traffic it looks
//! again at once for a short while, since the guest's next access is often microseconds away; then
//! it sleeps until something comes.

use super::function::Function;
use super::inbox::{Filled, Inbox, Incoming};
use super::outbox::Outbox;
use super::session::Session;
use crate::Violation;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long after traffic the loop goes on without sleeping.
const BUSY: Duration = Duration::from_micros(50);

/// Commands carried out before the wire, the clock and orders have their turn.
pub(super) const SLICE: usize = 64;

/// How often all mapped ring pages are looked at, those of rings not yet enabled too. It is also
/// the longest sleep with mapped rings.
const RINGS_SYNC: Duration = Duration::from_micros(200);

#[derive(Debug, Error)]
pub enum ServerError {
    #[error("{}: somebody serves this socket already; give another --socket", .0.display())]
    InUse(PathBuf),
    #[error("{}: cannot listen: {error}", path.display())]
    Listen {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("cannot wait for events: {0}")]
    Poll(std::io::Error),
}

/// What whoever runs the server may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The end of serving.
    Stop,
    /// The card is torn out of its slot.
    PullCard,
}

/// Serves one function to one client at a time, again and again.
pub struct Server {
    path: PathBuf,
    listener: OwnedFd,
    function: Function,
    client: Option<Client>,
    start: Instant,
    /// Violations already told.
    told: usize,
}

pub(super) struct Client {
    socket: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    session: Session,
}

/// What a look at the client gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Served {
    Commands,
    Nothing,
    Gone,
}

impl Server {
    /// Listens at `path`, where a socket that nobody serves any more is replaced.
    pub fn new(path: &Path, function: Function) -> Result<Server, ServerError> {
        let listener = listen_at(path).map_err(|error| match error {
            Errno::ADDRINUSE => ServerError::InUse(path.to_owned()),
            error => ServerError::Listen {
                path: path.to_owned(),
                error: error.into(),
            },
        })?;
        Ok(Server {
            path: path.to_owned(),
            listener,
            function,
            client: None,
            start: Instant::now(),
            told: 0,
        })
    }

    pub fn function(&self) -> &Function {
        &self.function
    }

    #[cfg(test)]
    pub(super) fn function_mut(&mut self) -> &mut Function {
        &mut self.function
    }

    /// Serves until an order says to stop; `orders` is readable when there is one. Each violation
    /// is told as soon as it is on record.
    pub fn run(
        &mut self,
        orders: BorrowedFd<'_>,
        mut next_order: impl FnMut() -> Option<Order>,
        mut tell: impl FnMut(&Violation),
    ) -> Result<(), ServerError> {
        let (mut busy_until, mut sync_at) = (Duration::ZERO, Duration::ZERO);
        loop {
            let worked = self.step();
            let violations = self.function.nic().violations();
            violations.iter().skip(self.told).for_each(&mut tell);
            self.told = violations.len();

            let now = self.start.elapsed();
            if now >= sync_at {
                self.function.sync_rings();
                sync_at = now + RINGS_SYNC;
            }
            let next = self.function.tick(now);
            if worked {
                busy_until = now + BUSY;
            }
            let waiting = self.client.as_ref().is_some_and(Client::is_ready);
            let busy = waiting || now < busy_until || self.function.slot.wire.is_waiting();
            let wait = if busy {
                Some(Duration::ZERO)
            } else {
                self.wait(now, next)
            };
            if self.sleep(orders, wait)? {
                match next_order() {
                    Some(Order::Stop) => return Ok(()),
                    Some(Order::PullCard) => self.function.pull_card(),
                    None => {}
                }
            }
            if busy && !worked {
                std::thread::yield_now();
            }
        }
    }

    /// Looks once at the client, the rings and the wire; says whether there was anything.
    pub(super) fn step(&mut self) -> bool {
        let served = match &mut self.client {
            Some(client) => client.serve(&mut self.function),
            None => self.accept(),
        };
        if served == Served::Gone {
            self.client = None;
            self.function.unplug();
        }
        self.function.poll_rings();
        let frames = self.function.poll_wire();
        served != Served::Nothing || frames > 0
    }

    fn accept(&mut self) -> Served {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = accept_with(&self.listener, flags) else {
            return Served::Nothing;
        };
        self.client = Some(Client::new(socket));
        Served::Commands
    }

    /// How long to sleep at most.
    fn wait(&self, now: Duration, next: Option<Duration>) -> Option<Duration> {
        let device = next.map(|next| next.saturating_sub(now));
        let rings =
            (self.client.is_some() && self.function.rings().is_some()).then_some(RINGS_SYNC);
        device.into_iter().chain(rings).min()
    }

    /// Sleeps until there is something to do; says whether there is an order.
    fn sleep(&self, orders: BorrowedFd<'_>, wait: Option<Duration>) -> Result<bool, ServerError> {
        let (client, interest) = match &self.client {
            Some(client) => (client.socket.as_fd(), client.interest()),
            None => (self.listener.as_fd(), PollFlags::IN),
        };
        let wire = self.function.slot.wire.fd();
        let mut fds = [
            PollFd::from_borrowed_fd(orders, PollFlags::IN),
            PollFd::from_borrowed_fd(client, interest),
            PollFd::from_borrowed_fd(wire.unwrap_or(orders), PollFlags::IN),
        ];
        let wait = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(ServerError::Poll(error.into())),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = rustix::fs::unlink(&self.path);
    }
}

impl Client {
    pub(super) fn new(socket: OwnedFd) -> Client {
        Client {
            socket,
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            session: Session::default(),
        }
    }

    /// Carries out a slice of what the client sent, as far as it takes the replies.
    pub(super) fn serve(&mut self, function: &mut Function) -> Served {
        if !self.flush() {
            return Served::Gone;
        }
        let mut served = self.take(function);
        if served == Served::Nothing && !self.outbox.is_full() {
            served = match self.inbox.fill(self.socket.as_fd()) {
                Filled::Some => self.take(function),
                Filled::Nothing => Served::Nothing,
                Filled::Closed => Served::Gone,
            };
        }
        if !self.flush() {
            return Served::Gone;
        }
        served
    }

    /// Sends replies; false when the client is gone.
    pub(super) fn flush(&mut self) -> bool {
        self.outbox.flush(self.socket.as_fd()).is_ok()
    }

    /// Carries out the messages that are here, at most a slice of them.
    fn take(&mut self, function: &mut Function) -> Served {
        let mut served = Served::Nothing;
        for _ in 0..SLICE {
            if self.outbox.is_full() {
                break;
            }
            match self.inbox.next() {
                Incoming::Message {
                    header,
                    payload,
                    fds,
                } => {
                    self.session
                        .handle(function, &mut self.outbox, header, payload, fds);
                }
                Incoming::TooLarge(header) if header.wants_reply() => {
                    self.outbox.push(header.reply(Err(Errno::MSGSIZE)), None);
                }
                Incoming::TooLarge(_) => {}
                Incoming::Incomplete => break,
                Incoming::Lost => return Served::Gone,
            }
            served = Served::Commands;
        }
        served
    }

    /// Whether commands that are here can be carried out: the socket does not wake us for them.
    pub(super) fn is_ready(&self) -> bool {
        !self.outbox.is_full() && self.inbox.is_ready()
    }

    /// What to wait for: room for replies if some wait, commands if they can be taken.
    pub(super) fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, !self.outbox.is_full());
        interest.set(PollFlags::OUT, !self.outbox.is_empty());
        interest
    }
}

fn listen_at(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let address = SocketAddrUnix::new(path)?;
    let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&probe, &address) {
        Ok(()) | Err(Errno::AGAIN) => return Err(Errno::ADDRINUSE),
        Err(Errno::CONNREFUSED) => rustix::fs::unlink(path)?,
        // Whatever else is wrong, bind() says better.
        Err(_) => {}
    }
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&listener, &address)?;
    listen(&listener, 1)?;
    Ok(listener)
}
