//! The machines of a network and their cables. A node is a namespace: a router with an ixmapd of
//! its own, or a plain machine of the kernel. An interface is named after the node at its far end.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ixmap_lab::{Daemon, Error, Family, Metrics, Namespace, Result, unique_name, wait_until};
use serde_json::Value;
use tempfile::TempDir;

/// The names' common part, so that namespaces of one network are told from another's.
pub(crate) struct Network(String);

impl Network {
    pub(crate) fn new() -> Network {
        Network(unique_name())
    }

    /// A machine whose links ixmapd drives.
    pub(crate) fn router(&self, name: &'static str) -> Result<Node> {
        Node::new(&self.0, name, true)
    }

    /// A machine whose links the kernel drives: a host, or a router of the kernel.
    pub(crate) fn plain(&self, name: &'static str) -> Result<Node> {
        Node::new(&self.0, name, false)
    }
}

/// An end of a cable.
struct Port {
    /// What the kernel and its daemons see: the name of the node at the other end.
    name: &'static str,
    addresses: [String; 2],
}

pub(crate) struct Node {
    // ixmapd must end before its namespace does.
    daemon: Option<Daemon>,
    pub(crate) namespace: Namespace,
    name: &'static str,
    ports: Vec<Port>,
    has_ixmapd: bool,
    scratch: TempDir,
}

/// The address of an end (1 or 2) of cable `number`.
pub(crate) fn address(family: Family, number: u8, end: u8) -> IpAddr {
    let text = match family {
        Family::Ipv4 => format!("10.0.{number}.{end}"),
        Family::Ipv6 => format!("fd00:0:0:{number}::{end}"),
    };
    text.parse().unwrap()
}

/// Lays cable `number` between two nodes; `left` has end 1 of its subnet, `right` end 2.
pub(crate) fn cable(number: u8, left: &mut Node, right: &mut Node) -> Result<()> {
    let ends = (left.device(right.name), right.device(left.name));
    wire((&left.namespace, &ends.0), (&right.namespace, &ends.1))?;
    left.plug(right.name, number, 1);
    right.plug(left.name, number, 2);
    Ok(())
}

/// The same with a switch in between, whose ports are named after the nodes behind them: a node
/// keeps its carrier when the other's port goes down.
pub(crate) fn cable_by_switch(
    number: u8,
    left: &mut Node,
    switch: &Node,
    right: &mut Node,
) -> Result<()> {
    let ends = (left.device(right.name), right.device(left.name));
    let switch = &switch.namespace;
    wire((&left.namespace, &ends.0), (switch, left.name))?;
    wire((&right.namespace, &ends.1), (switch, right.name))?;
    let mut lines = vec!["link add switch type bridge".to_owned()];
    lines.extend([left.name, right.name].map(|port| format!("link set {port} master switch")));
    lines.push("link set switch up".to_owned());
    switch.ip_batch(&lines)?;
    left.plug(right.name, number, 1);
    right.plug(left.name, number, 2);
    Ok(())
}

/// A veth pair between two namespaces, up.
fn wire(left: (&Namespace, &str), right: (&Namespace, &str)) -> Result<()> {
    let (namespace, peer) = (left.0.name(), right.0.name());
    let (near, far) = (left.1, right.1);
    left.0.ip(&format!(
        "link add {near} netns {namespace} type veth peer name {far} netns {peer}"
    ))?;
    left.0.ip(&format!("link set {near} up"))?;
    right.0.ip(&format!("link set {far} up")).map(drop)
}

impl Node {
    fn new(network: &str, name: &'static str, has_ixmapd: bool) -> Result<Node> {
        let namespace = Namespace::new(format!("{network}-{name}"))?;
        namespace.sysctl(&[
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
            "net.ipv6.conf.default.keep_addr_on_down=1",
        ])?;
        Ok(Node {
            daemon: None,
            namespace,
            name,
            ports: Vec::new(),
            has_ixmapd,
            scratch: tempfile::tempdir().map_err(Error::io("make a temporary directory"))?,
        })
    }

    /// Has a port towards `peer` from the next start on.
    fn plug(&mut self, peer: &'static str, number: u8, end: u8) {
        let addresses = [(Family::Ipv4, 24), (Family::Ipv6, 64)]
            .map(|(family, length)| format!("{}/{length}", address(family, number, end)));
        self.ports.push(Port {
            name: peer,
            addresses,
        });
    }

    /// The netdev at this node's end of the cable to `peer`.
    pub(crate) fn device(&self, peer: &str) -> String {
        if self.has_ixmapd {
            format!("dev-{peer}")
        } else {
            peer.to_owned()
        }
    }

    /// Starts ixmapd on all ports, if this is its router, and gives the ports their addresses.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.start_ixmapd()?;
        let lines = self.ports.iter().flat_map(|port| {
            let name = port.name;
            let addresses = port.addresses.iter();
            let addresses = addresses.map(move |address| format!("addr add {address} dev {name}"));
            [format!("link set {name} up")].into_iter().chain(addresses)
        });
        self.namespace.ip_batch(&lines.collect::<Vec<_>>())
    }

    /// Starts ixmapd alone: somebody else sets the addresses.
    pub(crate) fn start_ixmapd(&mut self) -> Result<()> {
        if !self.has_ixmapd {
            return Ok(());
        }
        let arguments = self.ports.iter().flat_map(|port| {
            let device = self.device(port.name);
            ["--port".to_owned(), format!("{}=afxdp:{device}", port.name)]
        });
        let arguments = arguments.collect::<Vec<_>>();
        let [binary, ctl] = [env!("CARGO_BIN_EXE_ixmapd"), env!("CARGO_BIN_EXE_ixmapctl")];
        self.daemon = Some(Daemon::start(
            &self.namespace,
            Path::new(binary),
            Path::new(ctl),
            self.scratch.path(),
            &arguments,
        )?);
        Ok(())
    }

    /// Points a host's default routes to the router at `end` of cable `number`.
    pub(crate) fn default_route(&self, number: u8, end: u8) -> Result<()> {
        let lines = Family::BOTH.map(|family| {
            let gateway = address(family, number, end);
            format!("route add default via {gateway}")
        });
        self.namespace.ip_batch(&lines)
    }

    /// Takes the running ixmapd, for an end of the test's choice.
    pub(crate) fn take_ixmapd(&mut self) -> Daemon {
        self.daemon.take().expect("ixmapd is running")
    }

    /// `ixmapctl WORDS --json`.
    pub(crate) fn ctl(&self, words: &[&str]) -> Result<Value> {
        let daemon = self.daemon.as_ref().expect("ixmapd is running");
        daemon.ctl_json(&self.namespace, words)
    }

    /// Waits until ixmapd's route to `to` leaves by `port`, and says what it is.
    pub(crate) fn wait_route(&self, to: IpAddr, port: &str) -> Result<Value> {
        let mut route = Value::Null;
        let what = format!("{}'s route to {to} leaves by {port}", self.name);
        wait_until(&what, || {
            route = self.ctl(&["route", &to.to_string()])?;
            Ok(route["port"] == port)
        })?;
        Ok(route)
    }

    /// Packets that ixmapd forwarded.
    pub(crate) fn forwarded(&self, family: Family) -> Result<f64> {
        Ok(Metrics::scrape(&self.namespace)?.forwarded(family))
    }

    /// What ixmapd has in memory now, and had at most, as the kernel writes it.
    pub(crate) fn memory(&self) -> Result<String> {
        let daemon = self.daemon.as_ref().expect("ixmapd is running");
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))
            .map_err(Error::io("read ixmapd's status"))?;
        let lines = status.lines();
        let memory = lines.filter(|line| line.starts_with("VmRSS:") || line.starts_with("VmHWM:"));
        Ok(memory.collect::<Vec<_>>().join(", "))
    }

    /// Answers to `count` echo requests, a tenth of a second apart.
    pub(crate) fn ping(&self, to: IpAddr, count: u32) -> Result<u32> {
        Ok(self.namespace.ping(to, count)?.received)
    }

    /// Waits until three echo requests in a row are answered.
    pub(crate) fn wait_answers(&self, to: IpAddr) -> Result<()> {
        wait_until(&format!("{to} answers {}", self.name), || {
            Ok(self.ping(to, 3)? == 3)
        })
    }
}
