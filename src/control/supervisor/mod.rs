//! The daemon: starts workers and ports, follows the kernel, publishes worlds, answers operators,
//! and takes everything down again.
//!
//! One task owns all control state and reacts to one thing at a time: the mirror's next step, an
//! operator's call, a signal, a lost TAP, the second's tick. Whatever takes long (dumps, TAP I/O,
//! serving sockets) runs in tasks of its own.

mod answers;
mod ports;
mod reload;
mod workers;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtnetlink::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::ports::{Port, PortError};
use self::workers::Worker;
use super::args::Arguments;
use super::config::Machine;
use super::ctl::{self, Call};
use super::fault::Fault;
use super::logging;
use super::metrics::{self, Histogram};
use super::netlink::{Keeper, NetlinkError, Settings, Update};
use super::resolve::{PortFacts, Resolver};
use super::sysctl;
use crate::dataplane::port::afxdp::{self, OpenError};
use crate::shared::config::{Config, PortConfig};
use crate::shared::fib::Publisher;
use crate::shared::port::{MAX_PORTS, PortId};

/// Hardware queues beyond the configured ports' for which packet memory is laid out: room for
/// ports that are added later.
const SPARE_SOCKETS: u32 = 2;

/// How often sysctls, workers and carriers are looked at.
const TICK: Duration = Duration::from_secs(1);

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
        "port {name}: mtu {mtu} is too large, at most {max} fits a frame: set mtu of the port, or \
         `ip link set {device} mtu {max}`"
    )]
    Mtu {
        name: String,
        device: String,
        mtu: u32,
        max: u32,
    },
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("[daemon] group: {0}")]
    Group(Fault),
    #[error(transparent)]
    Socket(#[from] ctl::BindError),
    #[error(transparent)]
    Metrics(#[from] metrics::MetricsError),
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
    let cores = worker_cores(&options);
    keep_off(&cores, &options.machine);
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

/// The configured cores, or else the last one.
fn worker_cores(options: &Options) -> Vec<usize> {
    match options.config.cores.as_slice() {
        [] => options.machine.cores.last().copied().into_iter().collect(),
        cores => cores.to_vec(),
    }
}

/// Keeps this thread, and all that it starts, off the workers' cores where there are others.
fn keep_off(workers: &[usize], machine: &Machine) {
    if let Some(core) = machine.cores.iter().find(|core| !workers.contains(core)) {
        // One core serves: control is idle but for punts and route changes, and a thread that
        // wanders onto a worker's core costs packets.
        core_affinity::set_for_current(core_affinity::CoreId { id: *core });
    }
}

/// All control state.
struct Daemon {
    options: Options,
    started: Instant,
    workers: Vec<Worker>,
    ports: Vec<Option<Port>>,
    keeper: Keeper,
    in_sync: bool,
    resolver: Resolver,
    publisher: Publisher,
    publish_times: Arc<Histogram>,
    handle: Handle,
    calls: mpsc::Receiver<Call>,
    lost: (mpsc::Sender<PortId>, mpsc::Receiver<PortId>),
    /// Servers of the control socket and of metrics; they end with the daemon.
    servers: JoinSet<()>,
    hangups: Signal,
}

impl Daemon {
    /// Brings everything up; whatever was done is undone when a step fails.
    async fn start(options: Options, cores: &[usize]) -> Result<Daemon, StartError> {
        let config = &options.config;
        // Before anything is touched: refuses when another daemon lives.
        let group = config
            .group
            .as_deref()
            .map(|name| options.machine.group(name));
        let group = group.transpose().map_err(StartError::Group)?;
        let listener = ctl::Listener::bind(&config.socket, group)?;
        let (operations, calls) = ctl::channel();
        let publish_times = Arc::new(Histogram::default());
        let mut servers = JoinSet::new();
        if let Some(address) = config.metrics {
            let server = metrics::Server::bind(address).await?;
            let (operations, times) = (operations.clone(), Arc::clone(&publish_times));
            servers.spawn(server.serve(operations, times));
        }
        let (connection, handle, _) = rtnetlink::new_connection().map_err(StartError::Runtime)?;
        servers.spawn(connection);
        let publisher = Publisher::default();
        let workers = start_workers(config, cores, &publisher)?;
        let hangups = signal(SignalKind::hangup()).map_err(StartError::Runtime)?;
        let mut daemon = Daemon {
            started: Instant::now(),
            workers,
            ports: std::iter::repeat_with(|| None).take(MAX_PORTS).collect(),
            keeper: Keeper::start(&Settings::default())?,
            in_sync: false,
            resolver: Resolver::default(),
            publisher,
            publish_times,
            handle,
            calls,
            lost: mpsc::channel(MAX_PORTS),
            servers,
            hangups,
            options,
        };
        match daemon.open_all().await {
            Ok(()) => {
                daemon.servers.spawn(listener.serve(operations));
                Ok(daemon)
            }
            Err(error) => {
                daemon.stop().await;
                Err(error)
            }
        }
    }

    /// Opens the configured ports and waits until the kernel's state is in the FIB.
    async fn open_all(&mut self) -> Result<(), StartError> {
        for config in self.options.config.ports.clone() {
            let opened = self.add_port(&config).await;
            opened.map_err(|source| StartError::Port {
                name: config.name,
                source,
            })?;
        }
        let first = self.keeper.next().await?;
        self.follow(first).await;
        self.warn_of_forwarding();
        self.warn_of_addresses();
        Ok(())
    }

    /// Reacts until a signal ends it.
    async fn serve(&mut self) -> Result<(), StartError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Runtime)?;
        let mut tick = tokio::time::interval(TICK);
        tracing::info!("forwarding: every port is up and the kernel's routes are in the FIB");
        notify(&[sd_notify::NotifyState::Ready]);
        loop {
            tokio::select! {
                update = self.keeper.next() => {
                    let update = update?;
                    self.follow(update).await;
                }
                Some(call) = self.calls.recv() => self.answer(call).await,
                Some(port) = self.lost.1.recv() => self.drop_lost(port).await,
                _ = tick.tick() => self.look_around().await?,
                _ = self.hangups.recv() => {
                    if let Err(reason) = self.reload().await {
                        tracing::error!("the file is not in use: {reason}");
                    }
                }
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
    }

    /// Takes every port down, ends the workers, and lets go of sockets.
    async fn stop(&mut self) {
        notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("stopping");
        let ids: Vec<PortId> = self.ports.iter().flatten().map(|port| port.id).collect();
        for id in ids {
            self.close_port(id).await;
        }
        self.workers.iter_mut().for_each(Worker::stop);
        self.servers.shutdown().await;
    }

    /// Follows one step of the mirror into the FIB.
    async fn follow(&mut self, update: Update) {
        let began = Instant::now();
        self.in_sync = update.in_sync;
        if update.changes.is_empty() {
            return;
        }
        self.resolver.apply(self.keeper.mirror(), &update.changes);
        self.publish(began);
        for port in self.ports.iter_mut().flatten() {
            let device = port.device.facts().ifindex;
            if update.changes.everything || update.changes.links.contains(&device) {
                port.follow_carrier().await;
            }
        }
    }

    fn publish(&mut self, began: Instant) {
        self.publisher.publish(self.resolver.world());
        self.publish_times.observe(began.elapsed());
    }

    /// Puts a port into service.
    async fn add_port(&mut self, config: &PortConfig) -> Result<(), PortError> {
        let free = self
            .ports
            .iter()
            .position(Option::is_none)
            .and_then(PortId::new);
        let id = free.ok_or(PortError::TooMany)?;
        let (workers, lost) = (&mut self.workers, &self.lost.0);
        let mut port = Port::open(id, config, workers, &self.handle, lost).await?;
        port.follow_carrier().await;
        let facts = port.device.facts();
        tracing::info!(
            "port {}: {} in {} mode, {} queues, mtu {}",
            config.name,
            config.device,
            facts.mode,
            facts.queues,
            facts.mtu
        );
        self.ports[id.index()] = Some(port);
        self.refresh_facts(id);
        self.publish(Instant::now());
        Ok(())
    }

    /// Takes a port out of service: first out of the FIB, then off the workers, then off the kernel.
    async fn close_port(&mut self, id: PortId) {
        let Some(port) = self.ports[id.index()].take() else {
            return;
        };
        self.resolver
            .remove_port(port.tap.ifindex(), self.keeper.mirror());
        self.publish(Instant::now());
        let waits: Vec<_> = self
            .workers
            .iter_mut()
            .map(|worker| worker.detach(id))
            .collect();
        let detached = tokio::task::spawn_blocking(|| {
            waits.into_iter().for_each(workers::Detached::wait);
        });
        if detached.await.is_err() {
            tracing::error!("port {}: waiting for the workers failed", port.config.name);
        }
        tracing::info!("port {}: closed", port.config.name);
        port.close();
    }

    /// Tells the resolver what the kernel's settings say about a port; true when that was news.
    fn refresh_facts(&mut self, id: PortId) -> bool {
        let Some(port) = &mut self.ports[id.index()] else {
            return false;
        };
        let settings = sysctl::interface(&port.config.name);
        let facts = PortFacts {
            ifindex: port.tap.ifindex(),
            forward_ipv4: settings.forward_ipv4,
            forward_ipv6: settings.forward_ipv6,
            reverse_path: settings.reverse_path,
        };
        if port.facts == Some(facts) {
            return false;
        }
        port.facts = Some(facts);
        self.resolver.set_port(id, facts, self.keeper.mirror());
        true
    }

    /// Once a second: what the kernel says nothing about, and how the workers are.
    async fn look_around(&mut self) -> Result<(), StartError> {
        let began = Instant::now();
        let mut news = self.resolver.set_hash_policy(sysctl::hash_policy());
        for slot in 0..MAX_PORTS {
            news |= PortId::new(slot).is_some_and(|id| self.refresh_facts(id));
        }
        if news {
            self.publish(began);
        }
        self.publisher.sweep();
        for port in self.ports.iter_mut().flatten() {
            port.follow_carrier().await;
        }
        for worker in &mut self.workers {
            worker.check();
            if worker.is_dead() {
                return Err(StartError::WorkerDied(worker.core));
            }
        }
        Ok(())
    }

    /// A TAP that somebody deleted takes its port along.
    async fn drop_lost(&mut self, id: PortId) {
        if let Some(port) = &self.ports[id.index()] {
            let name = &port.config.name;
            tracing::error!("port {name}: its TAP was deleted; `ixmapctl port add` brings it back");
        }
        self.close_port(id).await;
    }

    fn warn_of_forwarding(&self) {
        for port in self.ports.iter().flatten() {
            let name = &port.config.name;
            if port.facts.is_some_and(|facts| !facts.forward_ipv4) {
                tracing::warn!(
                    "port {name}: the kernel does not forward IPv4: `sysctl -w net.ipv4.ip_forward=1`"
                );
            }
            if port.facts.is_some_and(|facts| !facts.forward_ipv6) {
                tracing::warn!(
                    "port {name}: the kernel does not forward IPv6: \
                     `sysctl -w net.ipv6.conf.all.forwarding=1`"
                );
            }
        }
    }

    /// The kernel hears nothing on a port's device, but would still route by an address there.
    fn warn_of_addresses(&self) {
        for port in self.ports.iter().flatten() {
            let device = port.device.facts().ifindex;
            for address in self.keeper.mirror().addresses() {
                if address.ifindex == device && !is_link_local(address.address.addr()) {
                    tracing::warn!(
                        "{} has the address {}: move it to the port, `ip address add {} dev {}`",
                        port.config.device,
                        address.address,
                        address.address,
                        port.config.name
                    );
                }
            }
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// Starts the configured workers with packet memory for the configured ports and a few more.
fn start_workers(
    config: &Config,
    cores: &[usize],
    publisher: &Publisher,
) -> Result<Vec<Worker>, StartError> {
    let workers = u32::try_from(cores.len()).unwrap_or(u32::MAX).max(1);
    let (mut sockets, mut largest) = (SPARE_SOCKETS, 0);
    for port in &config.ports {
        let failed = |source: OpenError| StartError::Port {
            name: port.name.clone(),
            source: PortError::Device(source),
        };
        let (device_mtu, queues) = afxdp::survey(&port.device).map_err(failed)?;
        let mtu = port.mtu.map_or(device_mtu, u32::from);
        if afxdp::frame_size_for(mtu).is_none() {
            let (name, device) = (port.name.clone(), port.device.clone());
            let max = afxdp::max_mtu(afxdp::MAX_FRAME_SIZE);
            return Err(StartError::Mtu {
                name,
                device,
                mtu,
                max,
            });
        }
        largest = largest.max(mtu);
        sockets += port.queues.map_or(queues, u32::from).div_ceil(workers);
    }
    let frame_size = afxdp::frame_size_for(largest).unwrap_or(afxdp::MAX_FRAME_SIZE);
    let start =
        |core: &usize| Worker::start(*core, config.idle, sockets, frame_size, publisher.current());
    cores.iter().map(start).collect()
}

/// Tells systemd, when it listens.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {error}");
    }
}
