//! The control socket: operators ask, the supervisor answers.
//!
//! `server` speaks JSON with clients and turns each request into a [`Call`]; whoever holds the
//! other end of [`channel`] answers it in its own loop, so that no state is shared. `client`,
//! `cli` and `render` are `ixmapctl`.

mod client;
mod render;
mod server;
mod socket;

pub mod cli;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::shared::api::{
    Counters, Neighbour, PortDrops, PortWithCounters, Request, Route, Status, Worker,
};

pub use socket::{BindError, Listener};

/// Calls that may wait for the supervisor; a client beyond them waits itself.
const WAITING_CALLS: usize = 64;
/// How long a call may take: a reload that opens every port included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A request on its way to the supervisor.
#[derive(Debug)]
pub struct Call {
    pub request: Request,
    pub reply: oneshot::Sender<Answer>,
}

/// Entries of a long list, made while they are written: an iterator over a snapshot.
pub type Items<T> = Box<dyn Iterator<Item = T> + Send>;

/// What the supervisor says; each variant belongs to the request of its name.
pub enum Answer {
    Status(Box<Status>),
    Ports(Vec<PortWithCounters>),
    Workers(Vec<Worker>),
    Counters(Counters),
    Drops(Vec<PortDrops>),
    Route(Box<Route>),
    Routes(Items<Route>),
    Neighbours(Items<Neighbour>),
    /// Reload, port_add, port_del, log: done.
    Done,
    /// Not done, and why, on one line.
    Refused(String),
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Answer::Status(_) => "Status",
            Answer::Ports(_) => "Ports",
            Answer::Workers(_) => "Workers",
            Answer::Counters(_) => "Counters",
            Answer::Drops(_) => "Drops",
            Answer::Route(_) => "Route",
            Answer::Routes(_) => "Routes",
            Answer::Neighbours(_) => "Neighbours",
            Answer::Done => "Done",
            Answer::Refused(reason) => return write!(f, "Refused({reason:?})"),
        })
    }
}

/// The asking side, for the socket's server and for metrics.
#[derive(Clone, Debug)]
pub struct Operations(mpsc::Sender<Call>);

/// Both ends of the way to the supervisor.
pub fn channel() -> (Operations, mpsc::Receiver<Call>) {
    let (sender, receiver) = mpsc::channel(WAITING_CALLS);
    (Operations(sender), receiver)
}

impl Operations {
    /// Asks the supervisor; a supervisor that is gone or busy for too long refuses.
    pub async fn ask(&self, request: Request) -> Answer {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.0.send(Call { request, reply }).await.ok()?;
            answer.await.ok()
        };
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Answer::Refused("the daemon is stopping".to_owned()),
            Err(_) => Answer::Refused("the daemon is busy: try again".to_owned()),
        }
    }
}
