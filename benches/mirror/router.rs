//! The router under measurement: a namespace with two ports, an uplink that is none, and ixmapd.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ixmap_lab::{Daemon, Error, Metrics, Namespace, Result, unique_name};
use ixmap_tables::{Address, data};
use serde_json::Value;

/// How long the slowest step may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The Internet's routes as words for `ip -batch`, without their gateways.
pub(crate) struct Lines {
    ipv4: Vec<(String, u32)>,
    ipv6: Vec<(String, u32)>,
}

impl Lines {
    pub(crate) fn read() -> Lines {
        Lines {
            ipv4: prefixes::<u32>(),
            ipv6: prefixes::<u128>(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.ipv4.len() + self.ipv6.len()
    }

    /// An address that the first of the IPv4 routes covers.
    pub(crate) fn destination(&self) -> Ipv4Addr {
        let first = self
            .ipv4
            .first()
            .and_then(|(prefix, _)| prefix.split_once('/'));
        let address = first.and_then(|(address, _)| address.parse().ok());
        address.expect("the table has IPv4 routes")
    }
}

fn prefixes<A: Address>() -> Vec<(String, u32)> {
    let table = data::table::<A>().expect("tests/data has the table");
    let routes = table.iter().filter(|route| route.len > 0);
    routes
        .map(|route| (format!("{}/{}", route.prefix.to_ip(), route.len), route.id))
        .collect()
}

pub(crate) struct Router {
    daemon: Option<Daemon>,
    pub(crate) namespace: Namespace,
    scratch: tempfile::TempDir,
}

impl Router {
    /// Devices `d0` and `d1` for ports, their far ends `p0` and `p1`, and `up0`.
    pub(crate) fn new() -> Result<Router> {
        let namespace = Namespace::new(unique_name())?;
        for words in [
            "link add d0 type veth peer name p0",
            "link add d1 type veth peer name p1",
            "link add up0 type veth peer name up1",
        ] {
            namespace.ip(words)?;
        }
        for link in ["d0", "p0", "d1", "p1", "up0", "up1"] {
            namespace.ip(&format!("link set {link} up"))?;
        }
        namespace.sysctl(&[
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv6.conf.all.keep_addr_on_down=1",
        ])?;
        namespace.ip("addr add 10.8.0.1/16 dev up0")?;
        namespace.ip("addr add fd08::1/64 dev up0 nodad")?;
        let scratch = tempfile::tempdir().map_err(Error::io("make a directory"))?;
        Ok(Router {
            daemon: None,
            namespace,
            scratch,
        })
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let arguments = ["--port", "lan=afxdp:d0", "--port", "wan=afxdp:d1"];
        self.daemon = Some(Daemon::start(
            &self.namespace,
            Path::new(env!("CARGO_BIN_EXE_ixmapd")),
            Path::new(env!("CARGO_BIN_EXE_ixmapctl")),
            self.scratch.path(),
            &arguments.map(str::to_owned),
        )?);
        Ok(())
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        match self.daemon.take() {
            Some(daemon) => daemon.stop().map(drop),
            None => Ok(()),
        }
    }

    fn status(&self) -> Result<Value> {
        match &self.daemon {
            Some(daemon) => daemon.ctl_json(&self.namespace, &["status"]),
            None => Err(Error::NotReady("ixmapd is stopped".to_owned())),
        }
    }

    /// How many routes ixmapd has.
    pub(crate) fn routes(&self) -> Result<usize> {
        let status = self.status()?;
        let count = |family: &str| status["routes"][family].as_u64().unwrap_or_default();
        Ok(usize::try_from(count("ipv4") + count("ipv6")).unwrap_or_default())
    }

    pub(crate) fn until_routes(&self, count: usize) -> Result<()> {
        self.until(&format!("{count} routes"), || Ok(self.routes()? == count))
    }

    pub(crate) fn until_at_most(&self, count: usize) -> Result<()> {
        self.until(&format!("{count} routes"), || Ok(self.routes()? <= count))
    }

    pub(crate) fn until_in_sync(&self) -> Result<()> {
        self.until(
            "in sync",
            || Ok(self.status()?["mirror"]["in_sync"] == true),
        )
    }

    fn until(&self, what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
        let start = Instant::now();
        while !is_so()? {
            if start.elapsed() > PATIENCE {
                return Err(Error::Timeout(what.to_owned()));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Every route of the table, through a gateway on the uplink.
    pub(crate) fn fill(&self, lines: &Lines) -> Result<()> {
        let ipv4 = lines.ipv4.iter().map(|(prefix, id)| {
            format!("route add {prefix} via 10.8.{}.{}", 1 + id / 256, id % 256)
        });
        let ipv6 = lines
            .ipv6
            .iter()
            .map(|(prefix, id)| format!("route add {prefix} via fd08::{:x}", id + 2));
        self.namespace
            .ip_batch(&ipv4.chain(ipv6).collect::<Vec<_>>())
    }

    pub(crate) fn flush(&self) -> Result<()> {
        self.namespace
            .ip("route flush root 0.0.0.0/0 via 10.8.0.0/16")?;
        self.namespace
            .ip("-6 route flush root ::/0 via fd08::/64")?;
        Ok(())
    }

    /// All routes out of the kernel, by a reader that throws them away unread.
    pub(crate) fn dump(&self) -> Result<()> {
        for family in ["-4", "-6"] {
            let words = format!("ip {family} route save > /dev/null");
            self.namespace.run(&["sh", "-c", &words])?;
        }
        Ok(())
    }

    /// Makes ixmapd read all routes again: an address that goes takes routes with it silently.
    pub(crate) fn dump_again(&self) -> Result<()> {
        let before = self.resyncs()?;
        self.namespace.ip("addr add 10.99.0.1/32 dev lo")?;
        self.namespace.ip("addr del 10.99.0.1/32 dev lo")?;
        self.until("another dump", || Ok(self.resyncs()? > before))?;
        self.until_in_sync()
    }

    fn resyncs(&self) -> Result<u64> {
        Ok(self.status()?["mirror"]["resyncs"]
            .as_u64()
            .unwrap_or_default())
    }

    pub(crate) fn uplink(&self, state: &str) -> Result<()> {
        self.namespace
            .ip(&format!("link set up0 {state}"))
            .map(drop)
    }

    /// The most that was ever resident, in MiB.
    pub(crate) fn most_memory(&self) -> Result<u64> {
        let pids = self
            .namespace
            .run(&["ip", "netns", "pids", self.namespace.name()])?;
        let sizes = pids.lines().filter_map(|pid| {
            let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        });
        Ok(sizes.max().unwrap_or_default() / 1024)
    }

    /// The lag between the kernel's word and the published world since `before`; what was counted
    /// until now.
    pub(crate) fn print_lag(&self, when: &str, before: &Metrics) -> Result<Metrics> {
        let now = Metrics::scrape(&self.namespace)?;
        let p99 = now.quantile_since(before, "ixmap_netlink_lag_seconds", 0.99);
        println!("| lag {when}, p99 | at most {} ms |", p99 * 1e3);
        Ok(now)
    }

    /// 300,000 routes of one next-hop object on port `lan`, whose gateways all have a neighbour.
    pub(crate) fn share_a_next_hop(
        &self,
        lines: &Lines,
        count: usize,
        gateways: u8,
        compat: u8,
    ) -> Result<()> {
        self.namespace
            .sysctl(&[&format!("net.ipv4.nexthop_compat_mode={compat}")])?;
        self.namespace.ip("addr add 10.9.0.254/24 dev lan")?;
        self.namespace.ip("addr add 192.0.2.1/24 dev wan")?;
        for gateway in 1..=gateways {
            self.namespace.ip(&format!(
                "neigh replace 10.9.0.{gateway} lladdr 02:00:00:00:09:{gateway:02x} dev lan nud permanent"
            ))?;
        }
        self.namespace.ip("nexthop add id 1 via 10.9.0.1 dev lan")?;
        let before = self.routes()?;
        let chosen = lines.ipv4.iter().take(count);
        let words = chosen.map(|(prefix, _)| format!("route add {prefix} nhid 1"));
        self.namespace.ip_batch(&words.collect::<Vec<_>>())?;
        self.until_routes(before + count)
    }

    pub(crate) fn replace_next_hop(&self, gateway: u8) -> Result<()> {
        let words = format!("nexthop replace id 1 via 10.9.0.{gateway} dev lan");
        self.namespace.ip(&words).map(drop)
    }
}
