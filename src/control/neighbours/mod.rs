//! Neighbours kept fresh. The kernel sees none of the traffic that the fast path forwards, so by
//! itself it would let neighbours in use grow stale, and never notice a host that moved.
//!
//! Once a second: `plan` decides whom to ask the kernel about, a blocking thread asks, and `tables`
//! watches that the kernel has room for all of them. What comes of the requests arrives as any other
//! change does, through the mirror.

mod plan;
mod tables;

use std::time::Instant;

use tokio::task::JoinHandle;

use self::plan::Plan;
use self::tables::{Watched, exempt};
use super::mirror::Mirror;
use super::netlink::{NeighbourRequest, NeighbourRound, NeighbourSocket, NetlinkError};
use super::resolve::Resolver;
use crate::shared::api::{self, Family};
use crate::shared::hits::{Hits, Taken};

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

type Round = (NeighbourSocket, std::io::Result<NeighbourRound>);

/// Who asks the kernel to look after neighbours.
pub struct Neighbours {
    /// Absent while a round is under way, and after one that failed.
    socket: Option<NeighbourSocket>,
    round: Option<JoinHandle<Round>>,
    plan: Plan,
    /// Requests sent, and of those refused.
    probes: u64,
    refused: u64,
    tables: [Watched; 2],
}

impl Neighbours {
    /// Needs a tokio runtime in the network namespace to look after.
    ///
    /// # Errors
    /// A socket cannot be opened.
    pub fn start() -> Result<Neighbours, NetlinkError> {
        Ok(Neighbours {
            socket: Some(NeighbourSocket::open()?),
            round: None,
            plan: Plan::default(),
            probes: 0,
            refused: 0,
            tables: [Watched::default(); 2],
        })
    }

    /// Collects the last round and begins the next; to be called once a second. Never waits: while
    /// the kernel takes its time, marks stay where they are.
    pub async fn look<'a>(
        &mut self,
        workers: impl IntoIterator<Item = &'a Hits>,
        resolver: &Resolver,
        mirror: &Mirror,
    ) {
        if self
            .round
            .as_ref()
            .is_some_and(|round| !round.is_finished())
        {
            return;
        }
        if let Some(round) = self.round.take() {
            self.collect(round.await.ok(), mirror);
        }
        let reopened = || NeighbourSocket::open().ok();
        let Some(socket) = self.socket.take().or_else(reopened) else {
            return;
        };
        let used: Vec<_> = resolver.used_neighbours().collect();
        let hits = Taken::from(workers);
        let requests = self.plan.requests(&used, &hits, mirror, Instant::now());
        if let Some(line) = self.plan.news() {
            tracing::warn!("{line}");
        }
        self.probes += requests.len() as u64;
        self.round = Some(ask(socket, requests));
    }

    /// Takes in what came of a round; `None` if its thread failed.
    fn collect(&mut self, round: Option<Round>, mirror: &Mirror) {
        let result = match round {
            Some((socket, result)) => {
                self.socket = Some(socket);
                result
            }
            None => Err(std::io::Error::other("its thread failed")),
        };
        match result {
            Ok(round) => {
                self.refused += round.refused;
                self.watch(&round, mirror);
            }
            Err(error) => {
                tracing::warn!("asking the kernel about neighbours failed: {error}; it is retried");
                // What the kernel has yet to say on the old one is of no use.
                self.socket = None;
            }
        }
    }

    fn watch(&mut self, round: &NeighbourRound, mirror: &Mirror) {
        let exempt = exempt(mirror);
        for (slot, family) in FAMILIES.into_iter().enumerate() {
            let watched = &mut self.tables[slot];
            if let Some(table) = round.tables[slot] {
                watched.update(table, exempt[slot]);
            }
            if let Some(line) = watched.news(family) {
                tracing::warn!("{line}");
            }
        }
    }

    /// For operators.
    pub fn report(&self) -> api::NeighbourCare {
        let table = |(family, watched): (Family, &Watched)| {
            let table = watched.table();
            api::NeighbourTable {
                family,
                entries: table.entries,
                limit: table.limit,
                full: table.full,
                warning: watched.warning(family),
            }
        };
        api::NeighbourCare {
            probes: self.probes,
            refused: self.refused,
            managed_gateways: self.plan.managed() as u64,
            unmanaged_gateways: self.plan.unmanaged() as u64,
            warning: self.plan.warning(),
            tables: FAMILIES.into_iter().zip(&self.tables).map(table).collect(),
        }
    }
}

/// Sends the requests on a thread that may wait for the kernel's locks.
fn ask(mut socket: NeighbourSocket, requests: Vec<NeighbourRequest>) -> JoinHandle<Round> {
    tokio::task::spawn_blocking(move || {
        let result = socket.round(&requests);
        (socket, result)
    })
}
