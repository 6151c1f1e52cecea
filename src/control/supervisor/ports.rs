//! A port's life: the device, its TAP, its queues at the workers, and how they come and go together.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rtnetlink::Handle;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::cores;
use super::workers::Worker;
use crate::control::resolve::PortFacts;
use crate::control::tap::{Carrier, Tap, TapError, TapRings};
use crate::dataplane::bell::Bell;
use crate::dataplane::mem::node_of_core;
use crate::dataplane::port::{Device, OpenError, numa_node};
use crate::dataplane::ring::packet_ring;
use crate::dataplane::worker::{Attachment, Injections};
use crate::shared::config::PortConfig;
use crate::shared::port::{MAX_PORTS, PortId};
use crate::shared::stats::{PortCounters, PortTotals};

/// Bytes of each packet ring: some 1,400 frames of full size. TCP to and from the router itself
/// sends in bursts of tens of them.
const RING: usize = 2 * 1024 * 1024;

/// Why a port cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("there are {MAX_PORTS} ports already: remove one first")]
    TooMany,
    #[error(transparent)]
    Device(#[from] OpenError),
    #[error(transparent)]
    Tap(#[from] TapError),
    #[error(
        "{device} has {queues} of the {workers} queues that as many workers need: give it \
         more (`queues = {workers}` in its [[port]]) or run fewer workers"
    )]
    TooFewQueues {
        device: String,
        queues: u32,
        workers: usize,
    },
    #[error(
        "no packet memory is left for {device}: put it into the configuration and restart ixmapd, \
         which sizes the memory by the ports that it starts with"
    )]
    NoMemory { device: String },
    #[error("there is a port {0} already: `ixmapctl ports` lists them")]
    NameTaken(String),
    #[error("{device} belongs to port {name} already: `ixmapctl port del {name}` frees it")]
    DeviceTaken { device: String, name: String },
    #[error("{0} is the TAP of a port of this daemon: give the netdev behind a wire")]
    OwnTap(String),
    #[error("no port {0}: `ixmapctl ports` lists them")]
    NoSuchPort(String),
    #[error("cannot make a doorbell: {0}")]
    Bell(std::io::Error),
}

/// News of a port's device.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// It has something to say.
    Events(PortId),
    /// The kernel wants it back, and waits.
    Wanted(PortId),
}

/// A port in service. Dropping it removes the TAP and gives the device back; detach it from the
/// workers first.
pub(super) struct Port {
    pub(super) id: PortId,
    pub(super) config: PortConfig,
    pub(super) device: Device,
    pub(super) tap: Tap,
    /// What the TAP was last told.
    pub(super) carrier_up: bool,
    /// What the resolver was last told.
    pub(super) facts: Option<PortFacts>,
    pub(super) zero_copy: bool,
    /// One set a worker.
    counters: Vec<Arc<PortCounters>>,
    carrier: Carrier,
    /// Waits for what the device has to say; ends with the port.
    watch: JoinSet<()>,
}

impl Port {
    /// Claims the device, creates the TAP, and gives every worker its queues.
    pub(super) async fn open(
        id: PortId,
        config: &PortConfig,
        workers: &mut [Worker],
        handle: &Handle,
    ) -> Result<Port, PortError> {
        let frame_size = workers
            .first()
            .map_or(0, |worker| worker.arena.frame_size());
        let mut device = Device::open(config, frame_size, workers.len())?;
        let facts = device.facts();
        let queues = shares(facts.queues, workers.len());
        let fits = |(worker, queues): (&Worker, &Vec<u32>)| {
            worker.has_room_for(device.frames(queues.len()))
        };
        if !workers.iter().zip(&queues).all(fits) {
            return Err(PortError::NoMemory {
                device: config.device.clone(),
            });
        }
        if queues.iter().any(Vec::is_empty) {
            let (device, queues) = (config.device.clone(), facts.queues);
            return Err(PortError::TooFewQueues {
                device,
                queues,
                workers: workers.len(),
            });
        }
        let tap = Tap::create(handle, &config.name, facts.mac, facts.mtu).await?;
        let punt_bell = Arc::new(Bell::new().map_err(PortError::Bell)?);
        let room_bell = Arc::new(Bell::new().map_err(PortError::Bell)?);
        let (injections, frames) = packet_ring(RING);
        let room = Arc::clone(&room_bell);
        let mut injected = Some(Injections { frames, room });
        let (mut counters, mut punts) = (Vec::new(), Vec::new());
        let mut attachments = Vec::new();
        let mut zero_copy = true;
        for (worker, queues) in workers.iter().zip(&queues) {
            let (queue, without_copy) =
                device.attach_queue(&worker.arena, id, queues, worker.core)?;
            zero_copy &= without_copy;
            let (sender, receiver) = packet_ring(RING);
            let set = Arc::new(PortCounters::default());
            counters.push(Arc::clone(&set));
            punts.push(receiver);
            attachments.push(Attachment::new(
                id,
                queue,
                set,
                sender,
                Arc::clone(&punt_bell),
                injected.take(),
            ));
        }
        // Nothing can fail from here on.
        for ((worker, attachment), queues) in workers.iter_mut().zip(attachments).zip(&queues) {
            worker.attach(id, attachment, device.frames(queues.len()));
        }
        let worker_bell = workers.first().map_or(&punt_bell, |worker| &worker.bell);
        let rings = TapRings {
            punts,
            punt_bell: Arc::clone(&punt_bell),
            injections,
            worker_bell: Arc::clone(worker_bell),
            room_bell,
        };
        let carrier = tap.carry(rings);
        let config = config.clone();
        Ok(Port {
            id,
            config,
            device,
            tap,
            carrier_up: false,
            facts: None,
            zero_copy,
            counters,
            carrier,
            watch: JoinSet::new(),
        })
    }

    /// What all workers counted.
    pub(super) fn totals(&self) -> PortTotals {
        let mut totals = PortTotals::default();
        self.counters.iter().for_each(|set| totals.add(&set.read()));
        totals
    }

    /// Has the newsroom told whenever there is news of the device.
    pub(super) fn watch(&mut self, newsroom: &mpsc::Sender<News>) {
        self.watch_for(News::Events(self.id), self.device.event_fd(), newsroom);
        self.watch_for(News::Wanted(self.id), self.device.wanted_fd(), newsroom);
    }

    fn watch_for(&mut self, news: News, fd: Option<OwnedFd>, newsroom: &mpsc::Sender<News>) {
        // An eventfd is read as a pipe is: what counts is that there is something.
        let events = match fd.map(pipe::Receiver::from_owned_fd_unchecked) {
            None => return,
            Some(Ok(events)) => events,
            Some(Err(error)) => {
                tracing::warn!(
                    "port {}: its events are not heard: {error}",
                    self.config.name
                );
                return;
            }
        };
        let newsroom = newsroom.clone();
        self.watch.spawn(async move {
            while events.readable().await.is_ok() {
                match events.try_read(&mut [0; 8]) {
                    Ok(_) if newsroom.send(news).await.is_ok() => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    _ => break,
                }
            }
        });
    }

    /// Lets the TAP follow the device's carrier; true when it changed.
    pub(super) async fn follow_carrier(&mut self) -> bool {
        let up = self.device.link_up();
        if up == self.carrier_up {
            return false;
        }
        match self.tap.set_carrier(up).await {
            Ok(()) => {
                self.carrier_up = up;
                true
            }
            Err(error) => {
                tracing::warn!("port {}: {error}", self.config.name);
                false
            }
        }
    }

    /// Tells the log what the port is, and what an operator should know about its device.
    pub(super) fn introduce(&self, workers: &[Worker]) {
        let facts = self.device.facts();
        tracing::info!(
            "port {}: {} ({} mode, queues {}, mtu {}), link {}",
            self.config.name,
            self.config.device,
            facts.mode,
            facts.queues,
            facts.mtu,
            self.link(),
        );
        if let Some(module) = self.device.module() {
            tracing::info!("port {}: {module}", self.config.name);
        }
        let nodes = workers
            .iter()
            .map(|worker| (&*worker.name, node_of_core(worker.core)));
        let far = numa_node(&self.config).and_then(|node| cores::far(node, nodes));
        for line in self.device.warnings().into_iter().chain(far) {
            tracing::warn!("port {}: {line}", self.config.name);
        }
    }

    pub(super) fn link(&self) -> &'static str {
        if self.carrier_up { "up" } else { "down" }
    }

    /// Gives the device back as it was and removes the TAP. The workers have let go of the port
    /// before.
    pub(super) async fn close(self) {
        for line in self.device.restore() {
            tracing::warn!("port {}: {line}", self.config.name);
        }
        self.carrier.end().await;
    }
}

/// An id that no port has, and that no table leads to: whoever got the id of a port that is gone would
/// get its packets.
pub(super) fn free_id<P>(ports: &[Option<P>], leads_to: impl Fn(PortId) -> bool) -> Option<PortId> {
    let mut ids = (0..ports.len()).filter_map(PortId::new);
    ids.find(|id| ports[id.index()].is_none() && !leads_to(*id))
}

/// Which hardware queues each worker serves: queue i belongs to worker i, and round again.
fn shares(queues: u32, workers: usize) -> Vec<Vec<u32>> {
    let mut shares = vec![Vec::new(); workers];
    for (queue, worker) in (0..queues).zip((0..workers).cycle()) {
        shares[worker].push(queue);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_port_is_free_once_no_table_leads_to_it() {
        let id = |index| PortId::new(index);
        let to_second = |port: PortId| port.index() == 1;
        assert_eq!(free_id(&[Some(()), None, None], to_second), id(2));
        assert_eq!(free_id(&[Some(()), None], to_second), None);
        assert_eq!(free_id(&[Some(()), None, None], |_| false), id(1));
        assert_eq!(free_id(&[Some(()); 2], |_| false), None);
    }

    #[test]
    fn every_queue_has_one_worker() {
        assert_eq!(shares(5, 2), [vec![0, 2, 4], vec![1, 3]]);
        assert_eq!(shares(1, 1), [vec![0]]);
        assert!(shares(1, 2)[1].is_empty());
    }
}
