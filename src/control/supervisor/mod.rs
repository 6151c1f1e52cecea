//! The daemon: starts workers and ports, follows the kernel, publishes worlds, answers operators,
//! and takes everything down again.
//!
//! One task owns all control state and reacts to one thing at a time: the mirror's next step, an
//! operator's call, a signal, the second's tick. Whatever takes long (dumps, TAP I/O,
//! serving sockets) runs in tasks of its own.

mod answers;
mod cores;
mod legs;
mod look;
mod ports;
mod reload;
mod rules;
mod start;
mod workers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtnetlink::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, sleep_until};

use self::ports::{News, Port, PortError};
use self::workers::Worker;
use super::args::Arguments;
use super::config::Machine;
use super::ctl::{self, Call};
use super::fault::Fault;
use super::logging;
use super::metrics::{self, Times};
use super::mirror::{Changes, Link};
use super::neighbours::Neighbours;
use super::netlink::{Keeper, NetlinkError, Update};
use super::resolve::Resolver;
use crate::dataplane::mem::Shortfall;
use crate::shared::config::{Config, PortConfig};
use crate::shared::fib::{Exhausted, Publisher, World};
use crate::shared::port::{MAX_PORTS, PortId};

/// How often sysctls, workers and carriers are looked at.
const TICK: Duration = Duration::from_secs(1);

/// The least time between two worlds.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(5);

/// The most that becomes of it while the mirror is far behind.
const LONGEST_INTERVAL: Duration = Duration::from_millis(250);

/// The least time between two tries of a table that did not fit: each compiles all of it.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// How many times as long as the last try control attends to other things before the next.
const RETRY_REST: u32 = 3;

/// Why the daemon does not run (any longer).
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot start the control runtime: {0}")]
    Runtime(std::io::Error),
    #[error("cannot start the worker on core {core}: {source}")]
    Worker { core: usize, source: std::io::Error },
    #[error("port {name}: {source}")]
    Port { name: String, source: PortError },
    #[error(
        "what ports with driver ixgbe and their workers read and write must lie in hugepages: {0} \
         (docs/hardware.md)"
    )]
    Hugepages(Shortfall),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("[daemon] group: {0}")]
    Group(Fault),
    #[error(transparent)]
    Socket(#[from] ctl::BindError),
    #[error(transparent)]
    Metrics(#[from] metrics::MetricsError),
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    #[error("the worker on core {0} has died: see the log, and report it")]
    WorkerDied(usize),
}

/// What the daemon was started with.
pub struct Options {
    /// To be read again, with the file that they name, on reload.
    pub arguments: Arguments,
    pub machine: Machine,
    pub config: Config,
    pub log: logging::Handle,
}

/// Runs the daemon until a signal stops it or it cannot go on.
pub fn run(options: Options) -> Result<(), StartError> {
    let cores = cores::of_workers(&options.config, &options.machine);
    cores::keep_off(&cores, &options.machine);
    cores::go_first();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("ixmap-control")
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    runtime.block_on(async {
        let mut daemon = Daemon::start(options, &cores).await?;
        let ended = daemon.serve().await;
        daemon.stop().await;
        ended
    })
}

/// What init and operators send.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// All control state.
struct Daemon {
    options: Options,
    started: Instant,
    workers: Vec<Worker>,
    ports: Vec<Option<Port>>,
    keeper: Keeper,
    /// The mirror has all that the kernel has said.
    in_sync: bool,
    /// Families whose odd rules the log has told of: IPv4, IPv6.
    told_rules: [bool; 2],
    /// The log has told of groups with too many legs.
    told_legs: bool,
    /// Why the tables do not fit in memory: workers go on with the last world that did.
    exhausted: Option<Exhausted>,
    /// When to try again.
    retry_at: Instant,
    /// Every port is up and the kernel's state is in the FIB: from here on the log speaks.
    ready: bool,
    resolver: Resolver,
    neighbours: Neighbours,
    publisher: Publisher,
    times: Arc<Times>,
    /// When the kernel's first word was found that no published world has.
    unpublished: Option<Instant>,
    /// From the kernel's word to the world that has it, at the last publish.
    lag: Duration,
    published: Instant,
    /// A world waits to be made.
    publish_at: Option<Instant>,
    handle: Handle,
    calls: mpsc::Receiver<Call>,
    /// Of the ports' devices.
    news: mpsc::Receiver<News>,
    /// For each port's watches.
    newsroom: mpsc::Sender<News>,
    /// Servers of the control socket and of metrics; they end with the daemon.
    servers: JoinSet<()>,
    signals: Signals,
}

impl Daemon {
    /// Reacts until a signal ends it.
    async fn serve(&mut self) -> Result<(), StartError> {
        let mut tick = tokio::time::interval(TICK);
        // Not in a burst after something took long: a sleeping worker would look stalled.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.introduce();
        notify(&[sd_notify::NotifyState::Ready]);
        loop {
            let publish_at = self.publish_at.unwrap_or_else(Instant::now);
            tokio::select! {
                () = sleep_until(publish_at.into()), if self.publish_at.is_some() => self.publish(),
                update = self.keeper.next() => {
                    let update = update?;
                    self.follow(update).await;
                }
                Some(call) = self.calls.recv() => self.answer(call).await,
                Some(news) = self.news.recv() => self.hear(news).await,
                _ = tick.tick() => self.look_around().await?,
                _ = self.signals.hangup.recv() => {
                    if let Err(reason) = self.reload().await {
                        tracing::error!("the file is not in use: {reason}");
                    }
                }
                _ = self.signals.terminate.recv() => return Ok(()),
                _ = self.signals.interrupt.recv() => return Ok(()),
            }
        }
    }

    /// Takes every port down, ends the workers, and lets go of sockets.
    async fn stop(&mut self) {
        notify(&[sd_notify::NotifyState::Stopping]);
        if self.ready {
            tracing::info!("stopping");
        }
        let ids: Vec<PortId> = self.ports.iter().flatten().map(|port| port.id).collect();
        for id in ids {
            self.close_port(id).await;
        }
        self.workers.iter_mut().for_each(Worker::stop);
        self.servers.shutdown().await;
    }

    /// Follows one step of the mirror into the FIB.
    async fn follow(&mut self, update: Update) {
        self.in_sync = update.in_sync;
        if update.changes.is_empty() {
            return;
        }
        let heard = [self.unpublished, update.heard];
        self.unpublished = heard.into_iter().flatten().min();
        if update.changes.settings {
            self.refresh_all_facts();
        }
        self.resolver.apply(self.keeper.mirror(), &update.changes);
        self.publish_soon();
        self.tell_legs();
        if update.changes.rules {
            self.tell_rules();
        }
        for id in (0..MAX_PORTS).filter_map(PortId::new) {
            self.follow_links(id, &update.changes).await;
        }
    }

    /// What a change of links means for a port: a TAP that somebody deleted takes its port along,
    /// and the TAP's carrier is the device's.
    async fn follow_links(&mut self, id: PortId, changes: &Changes) {
        let Some(port) = &self.ports[id.index()] else {
            return;
        };
        let (tap, netdev) = (port.tap.ifindex(), port.device.facts().ifindex);
        let changed = |ifindex| changes.links.contains(&ifindex);
        // The kernel is asked as well: a mirror that missed something must not cost a port.
        if changed(tap) && self.keeper.mirror().link(tap).is_none() && port.tap.is_gone() {
            let name = &port.config.name;
            tracing::error!(
                "port {name}: its TAP was deleted or moved away: `ixmapctl port add` makes a new one"
            );
            self.close_port(id).await;
            return;
        }
        let device_changed = netdev.is_some_and(changed);
        if device_changed && self.link_of(netdev).is_none() {
            let (name, device) = (&port.config.name, &port.config.device);
            tracing::error!(
                "port {name}: {device} is gone: once it is back, `ixmapctl port del {name}` and add \
                 the port again"
            );
        }
        if device_changed || changes.everything {
            self.follow_carrier(id).await;
        }
        if device_changed || changed(tap) {
            self.fit_mtu(id).await;
        }
        if changed(tap) {
            self.follow_mac(id);
        }
    }

    /// The device takes frames for the address that the TAP has now.
    fn follow_mac(&mut self, id: PortId) {
        let Some(port) = &mut self.ports[id.index()] else {
            return;
        };
        let tap = self.keeper.mirror().link(port.tap.ifindex());
        if let Some(mac) = tap.and_then(|tap| tap.mac) {
            port.device.set_mac(mac);
        }
    }

    /// Keeps the TAP's MTU within what the device carries: the kernel answers for larger packets
    /// only if it knows.
    async fn fit_mtu(&self, id: PortId) {
        let Some(port) = &self.ports[id.index()] else {
            return;
        };
        let facts = port.device.facts();
        let netdev = self.link_of(facts.ifindex);
        let carries = netdev.map_or(facts.mtu, |netdev| netdev.mtu);
        let tap = self.keeper.mirror().link(port.tap.ifindex());
        let Some(tap) = tap.filter(|tap| tap.mtu > carries) else {
            return;
        };
        tracing::warn!(
            "port {}: mtu {} is more than {} carries ({carries}), which it is set to: set both",
            port.config.name,
            tap.mtu,
            port.config.device,
        );
        if let Err(error) = port.tap.set_mtu(carries).await {
            tracing::warn!("port {}: {error}", port.config.name);
        }
    }

    fn link_of(&self, ifindex: Option<u32>) -> Option<&Link> {
        self.keeper.mirror().link(ifindex?)
    }

    /// Publishes now, or shortly when the last time was a moment ago: under a flood of changes
    /// worlds are made at a bounded rate.
    fn publish_soon(&mut self) {
        // The farther behind, the more at once, which costs less each.
        let interval = PUBLISH_INTERVAL.max(self.lag / 4).min(LONGEST_INTERVAL);
        let due = self.published + interval;
        if Instant::now() >= due {
            self.publish();
        } else {
            self.publish_at.get_or_insert(due);
        }
    }

    /// Publishes the state as it is, or as much of it as fits in memory: the operator hears once of
    /// what does not, and it is tried again before long.
    fn publish(&mut self) {
        let began = Instant::now();
        let told = self.exhausted.is_some();
        let world = match told && began < self.retry_at {
            true => self.resolver.partial_world(),
            false => self.make_world(began),
        };
        self.publisher.publish(world);
        self.published = Instant::now();
        self.publish_at = None;
        self.times.publish.observe(began.elapsed());
        match &self.exhausted {
            Some(error) if self.ready && !told => {
                tracing::error!("{error}; until then the last one that fitted is in use");
            }
            None if self.ready && told => {
                tracing::info!("the forwarding tables fit again and follow the kernel");
            }
            Some(_) | None => {}
        }
        if let Some(heard) = self.unpublished.take_if(|_| self.exhausted.is_none()) {
            self.lag = heard.elapsed();
            self.times.lag.observe(self.lag);
        }
    }

    /// How far the published world is behind the kernel: as at the last change, or as the oldest
    /// word has waited since.
    fn lag(&self) -> Duration {
        let waiting = [self.unpublished, self.keeper.unanswered()];
        let oldest = waiting.into_iter().flatten().min();
        let waits = oldest.map_or(Duration::ZERO, |since| since.elapsed());
        waits.max(self.lag)
    }

    /// Makes a world of everything, if it fits.
    fn make_world(&mut self, began: Instant) -> World {
        match self.resolver.world() {
            Ok(world) => {
                self.exhausted = None;
                world
            }
            Err(error) => {
                self.exhausted = Some(error);
                let now = Instant::now();
                self.retry_at = now + RETRY_INTERVAL.max((now - began) * RETRY_REST);
                self.resolver.partial_world()
            }
        }
    }

    /// Hears what a port's device has to say: its link, first of all.
    async fn hear(&mut self, news: News) {
        let (News::Events(id) | News::Wanted(id)) = news;
        let Some(port) = &mut self.ports[id.index()] else {
            return;
        };
        if let News::Wanted(_) = news {
            let (name, device) = (&port.config.name, &port.config.device);
            tracing::error!("port {name}: the kernel wants {device} back, so the port is closed");
            port.device.surrender();
            return self.close_port(id).await;
        }
        for line in port.device.events() {
            tracing::warn!("port {}: {line}", port.config.name);
        }
        self.follow_carrier(id).await;
    }

    async fn follow_carrier(&mut self, id: PortId) {
        let Some(port) = &mut self.ports[id.index()] else {
            return;
        };
        if port.follow_carrier().await && self.ready {
            tracing::info!("port {}: link {}", port.config.name, port.link());
        }
    }

    /// Puts a port into service.
    async fn add_port(&mut self, config: &PortConfig) -> Result<(), PortError> {
        let leads_to = |id| self.resolver.leads_to(id);
        let id = ports::free_id(&self.ports, leads_to).ok_or(PortError::TooMany)?;
        let mut port = Port::open(id, config, &mut self.workers, &self.handle).await?;
        port.follow_carrier().await;
        port.watch(&self.newsroom);
        if self.ready {
            port.introduce(&self.workers);
        }
        self.ports[id.index()] = Some(port);
        self.refresh_facts(id);
        self.publish();
        Ok(())
    }

    /// Takes a port out of service: first out of the FIB, then off the workers, then off the kernel.
    async fn close_port(&mut self, id: PortId) {
        let Some(port) = self.ports[id.index()].take() else {
            return;
        };
        self.resolver
            .remove_port(port.tap.ifindex(), self.keeper.mirror());
        self.publish();
        let waits: Vec<_> = self
            .workers
            .iter_mut()
            .map(|worker| worker.detach(id))
            .collect();
        let detached = tokio::task::spawn_blocking(|| {
            waits.into_iter().for_each(workers::Detached::close);
        });
        if detached.await.is_err() {
            tracing::error!("port {}: waiting for the workers failed", port.config.name);
        }
        if self.ready {
            tracing::info!("port {}: closed", port.config.name);
        }
        port.close().await;
    }
}

/// Tells systemd, when it listens.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {error}");
    }
}
