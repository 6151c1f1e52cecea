//! Starting: everything is brought up in an order in which each step can be undone, and nothing is
//! logged before all of it stands.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::ports::PortError;
use super::workers::{Worker, memory_warnings};
use super::{Daemon, Options, Signals, StartError, cores};
use crate::control::ctl;
use crate::control::metrics::{self, Times};
use crate::control::neighbours::Neighbours;
use crate::control::netlink::{Keeper, Settings};
use crate::control::resolve::Resolver;
use crate::dataplane::mem::{Shortfall, node_of_core};
use crate::dataplane::port::Needs;
use crate::dataplane::port::afxdp::FRAMES_PER_QUEUE;
use crate::shared::config::Config;
use crate::shared::fib::Publisher;
use crate::shared::port::MAX_PORTS;

/// Frames of each worker beyond what the configured ports need: room for ports that are added later.
const SPARE_FRAMES: u32 = 2 * FRAMES_PER_QUEUE;

/// Bytes of a frame when no port says otherwise.
const DEFAULT_FRAME_SIZE: u32 = 2048;

/// How long a start waits for a kernel at rest.
const SETTLE: Duration = Duration::from_secs(2);

impl Daemon {
    /// Brings everything up; whatever was done is undone when a step fails.
    pub(super) async fn start(options: Options, cores: &[usize]) -> Result<Daemon, StartError> {
        // First, so that no signal ends the process with its changes left behind.
        let signals = Signals::new().map_err(StartError::Runtime)?;
        let config = &options.config;
        // Before anything is touched: refuses when another daemon lives.
        let group = config
            .group
            .as_deref()
            .map(|name| options.machine.group(name));
        let group = group.transpose().map_err(StartError::Group)?;
        let listener = ctl::Listener::bind(&config.socket, group)?;
        let (operations, calls) = ctl::channel();
        let times = Arc::new(Times::default());
        let mut servers = JoinSet::new();
        if let Some(address) = config.metrics {
            let server = metrics::Server::bind(address).await?;
            let (operations, times) = (operations.clone(), Arc::clone(&times));
            servers.spawn(server.serve(operations, times));
        }
        let (connection, handle, _) = rtnetlink::new_connection().map_err(StartError::Runtime)?;
        servers.spawn(connection);
        let publisher = Publisher::default();
        let workers = start_workers(config, cores, &publisher)?;
        let settings = Settings {
            audit: (config.audit_seconds > 0)
                .then(|| Duration::from_secs(u64::from(config.audit_seconds))),
            ..Settings::default()
        };
        let (newsroom, news) = mpsc::channel(MAX_PORTS);
        let mut daemon = Daemon {
            started: Instant::now(),
            workers,
            ports: std::iter::repeat_with(|| None).take(MAX_PORTS).collect(),
            keeper: Keeper::start(&settings)?,
            in_sync: false,
            told_rules: [false; 2],
            told_legs: false,
            exhausted: None,
            retry_at: Instant::now(),
            ready: false,
            published: Instant::now(),
            publish_at: None,
            neighbours: Neighbours::start()?,
            resolver: Resolver::with_fib_memory(config.fib_memory_mib),
            publisher,
            times,
            unpublished: None,
            lag: Duration::ZERO,
            handle,
            calls,
            news,
            newsroom,
            servers,
            signals,
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
        // The first dump may have begun before the last TAP was there.
        while !self.is_complete() {
            let update = self.keeper.next().await?;
            self.follow(update).await;
        }
        // The TAPs' coming up has put the dump in doubt: wait for the one that settles it, unless
        // the kernel never rests.
        let deadline = Instant::now() + SETTLE;
        while !self.in_sync {
            match timeout_at(deadline.into(), self.keeper.next()).await {
                Ok(update) => self.follow(update?).await,
                Err(_) => break,
            }
        }
        // No world that workers have forwards yet: a table that does not fit must not look like one
        // that does.
        self.publish();
        match self.exhausted.take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// The kernel's state is mirrored, every port's TAP included.
    fn is_complete(&self) -> bool {
        let mirror = self.keeper.mirror();
        let mut taps = self.ports.iter().flatten().map(|port| port.tap.ifindex());
        mirror.links().len() > 0 && taps.all(|ifindex| mirror.link(ifindex).is_some())
    }

    /// The first words in the log: a start that fails says one line only, its error.
    pub(super) fn introduce(&mut self) {
        self.ready = true;
        tracing::info!("ixmapd {} forwards", env!("CARGO_PKG_VERSION"));
        let cores: Vec<usize> = self.workers.iter().map(|worker| worker.core).collect();
        let mut lines = cores::warnings(&cores, &self.options.machine);
        lines.extend(memory_warnings(&self.workers));
        lines.iter().for_each(|line| tracing::warn!("{line}"));
        let ports = self.ports.iter().flatten();
        ports.for_each(|port| port.introduce(&self.workers));
        self.warn_of_forwarding();
        self.warn_of_addresses();
        self.tell_rules();
        self.tell_legs();
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
            let netdev = port.device.facts().ifindex;
            for address in self.keeper.mirror().addresses() {
                if Some(address.ifindex) == netdev && !is_link_local(address.address.addr()) {
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
    let mut frames = SPARE_FRAMES;
    let mut needs = Vec::new();
    for port in &config.ports {
        let failed = |source| StartError::Port {
            name: port.name.clone(),
            source: PortError::Device(source),
        };
        let need = Needs::survey(port, workers).map_err(failed)?;
        frames = frames.saturating_add(need.frames);
        needs.push(need);
    }
    // Frames move between ports.
    let frame_size = needs.iter().map(|need| need.frame_size).max();
    let frame_size = frame_size.unwrap_or(DEFAULT_FRAME_SIZE);
    check_hugepages(&needs, cores, frames, frame_size)?;
    let start =
        |core: &usize| Worker::start(*core, config.idle, frames, frame_size, publisher.current());
    cores.iter().map(start).collect()
}

/// Refuses to start cards without all the hugepages that they and the workers take.
fn check_hugepages(
    needs: &[Needs],
    cores: &[usize],
    frames: u32,
    frame_size: u32,
) -> Result<(), StartError> {
    let rings: Vec<_> = needs.iter().filter_map(|need| need.huge_rings).collect();
    if rings.is_empty() {
        return Ok(());
    }
    let bytes = u64::from(frames) * u64::from(frame_size);
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let arenas = cores.iter().map(|core| (bytes, node_of_core(*core)));
    match Shortfall::of_all(arenas.chain(rings)) {
        Some(shortfall) => Err(StartError::Hugepages(shortfall)),
        None => Ok(()),
    }
}
