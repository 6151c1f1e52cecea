//! The serving loop: one thread for the socket, the wire and the clock. After traffic it looks
//! again at once for a short while, since the guest's next access is often microseconds away; then
//! it sleeps until something comes.

use super::function::Function;
use super::inbox::{Filled, Inbox, Incoming};
use super::outbox::Outbox;
use super::session::Session;
use crate::socket_file::{self, End, Listener};
use crate::{SocketFileError, Violation};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, accept_with};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
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
    #[error(transparent)]
    Socket(#[from] SocketFileError),
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

/// What the judge has to tell of the present client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    Violation(&'a Violation),
    /// Its record is full: further violations are only counted.
    RecordFull,
}

/// Serves one function to one client at a time, again and again.
pub struct Server {
    listener: Listener,
    function: Function,
    client: Option<Client>,
    start: Instant,
    /// Violations of the present client that were told.
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
        let listener = match socket_file::open(path, SocketType::STREAM)? {
            End::Listening(listener) => listener,
            End::Connected(_) => return Err(SocketFileError::InUse(path.to_owned()).into()),
        };
        Ok(Server {
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
        mut tell: impl FnMut(Told<'_>),
    ) -> Result<(), ServerError> {
        let (mut busy_until, mut sync_at) = (Duration::ZERO, Duration::ZERO);
        loop {
            let worked = self.step();
            let now = self.start.elapsed();
            if now >= sync_at {
                self.function.sync_rings();
                sync_at = now + RINGS_SYNC;
            }
            let next = self.function.tick(now);
            self.tell(&mut tell);
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
        self.function.begin_record();
        self.told = 0;
        Served::Commands
    }

    /// Tells what is new in the record. All of it is told before the next client empties it.
    pub(super) fn tell(&mut self, tell: &mut impl FnMut(Told<'_>)) {
        let nic = self.function.nic();
        let (told, recorded) = (self.told, nic.violations().len());
        let new = nic.violations().iter().skip(told);
        new.for_each(|violation| tell(Told::Violation(violation)));
        if recorded > told && nic.is_record_full() {
            tell(Told::RecordFull);
        }
        self.told = recorded;
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
