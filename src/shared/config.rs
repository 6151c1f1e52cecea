//! What an operator may configure: the types behind the TOML file and the command line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the control socket is unless configured otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ixmap/ixmapd.sock";

/// Where `/metrics` listens unless configured otherwise.
pub const DEFAULT_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9473);

/// MiB that the forwarding table of a family may take: a huge page to what a table is made for, some
/// hundred times the Internet's. The largest unless configured otherwise.
pub const FIB_MEMORY_MIB: RangeInclusive<u16> = 2..=512;

/// Which driver runs a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// AF_XDP on any Linux netdev; the device is the netdev's name.
    Afxdp,
    /// Our own driver of the Intel 82599; the device is a PCI address, bound to `ixmap` or `vfio-pci`.
    Ixgbe,
}

impl Driver {
    /// Every driver, for error messages and the nearest-name hint.
    pub const ALL: &'static [Driver] = &[Driver::Afxdp, Driver::Ixgbe];

    /// The name in configuration, CLI and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Afxdp => "afxdp",
            Driver::Ixgbe => "ixgbe",
        }
    }
}

/// The kernel's driver that lends a PCI function to this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelDriver {
    /// Our own module, kmod/.
    Ixmap,
    /// The kernel's; it needs an IOMMU.
    VfioPci,
}

impl KernelDriver {
    /// Every such driver.
    pub const ALL: &'static [KernelDriver] = &[KernelDriver::Ixmap, KernelDriver::VfioPci];

    /// The name in sysfs, configuration and JSON.
    pub fn name(self) -> &'static str {
        match self {
            KernelDriver::Ixmap => "ixmap",
            KernelDriver::VfioPci => "vfio-pci",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One port: the TAP that the kernel sees and the device behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortConfig {
    /// The TAP's interface name.
    pub name: String,
    pub driver: Driver,
    /// A netdev for `afxdp`, a PCI address for `ixgbe`.
    pub device: String,
    /// Bind the PCI function to this driver at the start, and back to its own at the end.
    pub bind: Option<KernelDriver>,
    /// The MTU to set on device and TAP; the netdev's own, or 1500, when absent.
    pub mtu: Option<u16>,
    /// How many queues to use; as many as the netdev has, or one a worker, when absent.
    pub queues: Option<u16>,
    /// Receive frames for other MACs too (they are then dropped and counted).
    pub promiscuous: bool,
}

/// What a worker does when its ports are quiet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// Never sleeps: lowest latency, a full core.
    Poll,
    /// Polls while there is work, then sleeps until a port or the kernel has some.
    #[default]
    Adaptive,
}

impl Idle {
    /// Every strategy.
    pub const ALL: &'static [Idle] = &[Idle::Poll, Idle::Adaptive];

    /// The name in configuration and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Idle::Poll => "poll",
            Idle::Adaptive => "adaptive",
        }
    }
}

/// How often a kernel at rest may be compared with what was followed of it.
pub const AUDIT_SECONDS: std::ops::RangeInclusive<u32> = 10..=86_400;

/// Everything the daemon needs to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub socket: PathBuf,
    /// Group that may use the control socket besides root.
    pub group: Option<String>,
    /// Where `/metrics` listens; `None` for off.
    pub metrics: Option<SocketAddr>,
    /// A tracing filter: `info`, `debug`, `ixmap::control=trace` ...
    pub log: String,
    /// MiB that the forwarding table of each family may take, within [`FIB_MEMORY_MIB`].
    pub fib_memory_mib: u16,
    /// Seconds between two audits, within [`AUDIT_SECONDS`]; 0 for none.
    pub audit_seconds: u32,
    /// Worker cores; empty for one worker on the last core.
    pub cores: Vec<usize>,
    pub idle: Idle,
    pub ports: Vec<PortConfig>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            socket: PathBuf::from(DEFAULT_SOCKET),
            group: None,
            metrics: Some(DEFAULT_METRICS),
            log: "info".to_owned(),
            fib_memory_mib: *FIB_MEMORY_MIB.end(),
            audit_seconds: 300,
            cores: Vec::new(),
            idle: Idle::default(),
            ports: Vec::new(),
        }
    }
}
