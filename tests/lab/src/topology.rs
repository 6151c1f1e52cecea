//! The lab's wiring: namespaces, veth pairs, and the router under test.

use std::env;
use std::path::PathBuf;
use std::sync::Once;

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{Daemon, Exit};
use crate::error::{Error, Result};
use crate::host::{Family, Host};
use crate::metrics::Metrics;
use crate::names::unique_name;
use crate::namespace::Namespace;
use crate::wait::wait_until;

/// Who forwards.
#[derive(Clone)]
pub enum Router {
    /// The Linux kernel: the reference for how a router behaves.
    Kernel,
    /// ixmapd, steered by ixmapctl.
    Ixmapd { daemon: PathBuf, ctl: PathBuf },
}

impl Router {
    /// ixmapd from these binaries, or the kernel if `IXMAP_TEST_ROUTER=kernel` asks for it.
    pub fn from_environment(daemon: &str, ctl: &str) -> Router {
        match env::var("IXMAP_TEST_ROUTER").as_deref() {
            Ok("kernel") => Router::Kernel,
            _ => Router::Ixmapd {
                daemon: daemon.into(),
                ctl: ctl.into(),
            },
        }
    }
}

/// Which hosts' ports the router drives from the start. All three hosts are always cabled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// p0 and p1: hosts A and B.
    Two,
    /// p0, p1 and p2.
    Three,
}

/// Hosts A, B and C around a router that is running, addressed and reachable.
pub struct Lab {
    // Fields drop in this order: the daemon must end before its namespace does.
    daemon: Option<Daemon>,
    pub a: Host,
    pub b: Host,
    pub c: Host,
    pub router: Namespace,
    /// For sockets, logs and files of the test.
    pub scratch: TempDir,
    kind: Router,
    ports: Ports,
}

impl Lab {
    /// Builds the lab, starts the router and waits until its hosts reach each other.
    pub fn new(kind: &Router, ports: Ports) -> Result<Lab> {
        let mut lab = Lab::cabled(kind, ports)?;
        lab.start()?;
        Ok(lab)
    }

    /// Builds the lab without a running daemon.
    pub fn cabled(kind: &Router, ports: Ports) -> Result<Lab> {
        static SWEPT: Once = Once::new();
        // What cannot be swept is in nobody's way: the new names are unique.
        SWEPT.call_once(|| drop(Namespace::sweep()));
        let name = unique_name();
        let lab = Lab {
            daemon: None,
            a: Host::new(&name, 0)?,
            b: Host::new(&name, 1)?,
            c: Host::new(&name, 2)?,
            router: Namespace::new(format!("{name}-r"))?,
            scratch: tempfile::tempdir().map_err(Error::io("make a temporary directory"))?,
            kind: kind.clone(),
            ports,
        };
        lab.router.sysctl(&[
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
            // The tests ask for one ICMP error after the other.
            "net.ipv4.icmp_ratelimit=0",
            "net.ipv6.icmp.ratelimit=0",
        ])?;
        for host in lab.hosts() {
            lab.cable(host)?;
        }
        Ok(lab)
    }

    pub fn hosts(&self) -> [&Host; 3] {
        [&self.a, &self.b, &self.c]
    }

    fn hosts_with_a_port(&self) -> &'static [usize] {
        match self.ports {
            Ports::Two => &[0, 1],
            Ports::Three => &[0, 1, 2],
        }
    }

    fn cable(&self, host: &Host) -> Result<()> {
        let end = match self.kind {
            Router::Kernel => host.port(),
            Router::Ixmapd { .. } => host.device(),
        };
        self.router.ip_batch(&[
            format!(
                "link add {end} type veth peer name eth0 netns {}",
                host.name()
            ),
            format!("link set {end} address {}", host.gateway_mac_text()),
            format!("link set {end} up"),
        ])?;
        host.configure()
    }

    /// Starts the router and addresses its ports; returns once the hosts reach each other.
    pub fn start(&mut self) -> Result<()> {
        self.start_with(&[])
    }

    /// The same with more arguments for ixmapd.
    pub fn start_with(&mut self, arguments: &[&str]) -> Result<()> {
        if let Router::Ixmapd { daemon, ctl } = &self.kind {
            let hosts = self.hosts();
            let ports = self.hosts_with_a_port().iter();
            let ports = ports.flat_map(|&index| ["--port".to_owned(), port_argument(hosts[index])]);
            let arguments = arguments.iter().map(|&word| word.to_owned());
            let arguments: Vec<String> = ports.chain(arguments).collect();
            let daemon = Daemon::start(&self.router, daemon, ctl, self.scratch.path(), &arguments)?;
            self.daemon = Some(daemon);
        }
        for &index in self.hosts_with_a_port() {
            self.address_port(self.hosts()[index])?;
        }
        for &index in &self.hosts_with_a_port()[1..] {
            self.wait_reachable(&self.a, self.hosts()[index])?;
        }
        Ok(())
    }

    /// Brings the router's port towards `host` up and gives it its addresses.
    pub fn address_port(&self, host: &Host) -> Result<()> {
        let mut lines = vec![format!("link set {} up", host.port())];
        lines.extend(host.gateway_addresses());
        self.router.ip_batch(&lines)
    }

    /// Waits until `from` gets answers from `to` in both families.
    pub fn wait_reachable(&self, from: &Host, to: &Host) -> Result<()> {
        for family in Family::BOTH {
            let address = to.address(family);
            wait_until(&format!("{address} answers"), || {
                Ok(from.ping(address, 1)?.received == 1)
            })?;
        }
        Ok(())
    }

    /// Waits until echo and reply between A and B go by the fast path alone: the first packets may
    /// go by the kernel, until neighbours are resolved and published.
    pub fn wait_fast_path(&self, family: Family) -> Result<()> {
        wait_until("a ping is forwarded by the fast path", || {
            let before = self.metrics()?.forwarded(family);
            self.a.ping(self.b.address(family), 1)?;
            Ok(self.metrics()?.forwarded(family) >= before + 2.0)
        })
    }

    /// Stops the daemon, if there is one, and starts it again as an operator would.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// SIGTERM; the exit is returned for judgement.
    pub fn stop(&mut self) -> Result<Exit> {
        self.take_daemon()?.stop()
    }

    /// The running daemon, to end it by other means; the lab then has none.
    pub fn take_daemon(&mut self) -> Result<Daemon> {
        self.daemon.take().ok_or(Error::KernelRouter("daemon"))
    }

    pub fn daemon(&self) -> Result<&Daemon> {
        self.daemon.as_ref().ok_or(Error::KernelRouter("daemon"))
    }

    /// Whether ixmapd is the router, so that its counters and commands can be asked.
    pub fn is_ixmapd(&self) -> bool {
        matches!(self.kind, Router::Ixmapd { .. })
    }

    /// `ixmapctl WORDS --json`, parsed.
    pub fn ctl(&self, words: &[&str]) -> Result<Value> {
        self.daemon()?.ctl_json(&self.router, words)
    }

    /// The daemon's counters now.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(&self.router)
    }
}

/// `NAME=DRIVER:DEVICE` of the port towards `host`.
fn port_argument(host: &Host) -> String {
    format!("{}=afxdp:{}", host.port(), host.device())
}
