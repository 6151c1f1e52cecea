//! What the daemon answers. The JSON is stable: keys are added, never renamed or removed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Family;
use crate::shared::config::Idle;
use crate::shared::reason::{DropReason, InjectDropReason, PuntReason};
use crate::shared::stats::PortTotals;

/// The whole daemon at a glance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub uptime_seconds: u64,
    pub ports: Vec<Port>,
    pub workers: Vec<Worker>,
    /// Routes in the FIB.
    pub routes: FamilyCounts,
    /// Neighbours known on the ports.
    pub neighbours: FamilyCounts,
    pub neighbour_care: NeighbourCare,
    pub next_hops: NextHopCounts,
    pub mirror: Mirror,
}

/// A count for each address family.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct FamilyCounts {
    pub ipv4: u64,
    pub ipv6: u64,
}

/// How neighbours are kept fresh.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct NeighbourCare {
    /// Times that the kernel was asked to look after a neighbour.
    pub probes: u64,
    /// Of those, how many it refused.
    pub refused: u64,
    /// Next hops of routes that the kernel is to keep resolved.
    pub managed_gateways: u64,
    /// Those beyond the most that it is asked to.
    #[serde(default)]
    pub unmanaged_gateways: u64,
    /// What an operator should know of them.
    #[serde(default)]
    pub warning: Option<String>,
    /// The kernel's neighbour tables, IPv4's and IPv6's.
    pub tables: Vec<NeighbourTable>,
}

/// One of the kernel's neighbour tables, which all network namespaces of the machine share. All zero
/// until it is first looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NeighbourTable {
    pub family: Family,
    pub entries: u32,
    /// gc_thresh3.
    pub limit: u32,
    /// Times that an entry found no room.
    pub full: u64,
    /// What an operator has to do, when it is nearly full.
    pub warning: Option<String>,
}

/// The sizes of the tables that routes point to.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct NextHopCounts {
    pub groups: u64,
    pub adjacencies: u64,
    /// Groups with more legs than the fast path spreads over: the kernel forwards by them.
    #[serde(default)]
    pub oversized_groups: u64,
    /// What an operator should know of those.
    #[serde(default)]
    pub warning: Option<String>,
}

/// How well the FIB follows the kernel.
#[derive(Clone, PartialEq, Default, Debug, Serialize, Deserialize)]
pub struct Mirror {
    /// Everything that the kernel has said is in the FIB, and nothing it said was lost.
    pub in_sync: bool,
    /// What an operator has to put right before it can be in sync.
    pub fault: Option<String>,
    /// Full dumps since the first.
    pub resyncs: u64,
    /// Times that netlink events were lost, in the kernel's queue or in ixmapd's.
    pub overruns: u64,
    /// From the kernel's word to the FIB, at the last change.
    pub lag_seconds: f64,
    /// What sets the kernel's rules (`ip rule`) apart from the default ones. A family that has any
    /// such is forwarded by the kernel alone.
    #[serde(default)]
    pub rules: OddRules,
    /// Comparisons of a kernel at rest with what was followed of it.
    #[serde(default)]
    pub audits: u64,
    /// Differences that they found and repaired: each is a bug.
    #[serde(default)]
    pub drift: u64,
    /// What a newer kernel said and ixmap skipped.
    #[serde(default)]
    pub unknown_messages: u64,
    #[serde(default)]
    pub unknown_attributes: u64,
    /// Entries of the kernel's tables that the last dump had and ixmap could not read.
    #[serde(default)]
    pub unread_entries: u64,
}

/// Rules that ixmap does not follow, as `ip rule` words them; none where the rules are default.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct OddRules {
    pub ipv4: Vec<String>,
    pub ipv6: Vec<String>,
}

/// One port and its device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Port {
    /// The TAP's name.
    pub name: String,
    pub driver: String,
    pub device: String,
    pub link_up: bool,
    /// `null` where the device does not tell.
    pub speed_mbps: Option<u64>,
    pub mac: String,
    pub mtu: u32,
    pub queues: u16,
    /// How the device is reached. Driver `afxdp`: where the XDP program runs, `native` or `generic`.
    /// Driver `ixgbe`: what lends the card, `ixmap` or `vfio-pci`.
    pub mode: Option<String>,
    /// Packets pass between device and daemon without a copy.
    pub zero_copy: bool,
    /// Of a driver that sets where its interrupts go.
    pub interrupts: Vec<Interrupt>,
}

/// Where the interrupt of a hardware queue goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interrupt {
    pub queue: u32,
    /// Its number in /proc/interrupts; `null` when the kernel does not tell.
    pub irq: Option<u32>,
    /// The core of the queue's worker; `null` when the kernel refused to steer it there.
    pub core: Option<usize>,
}

/// One port with what it counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortWithCounters {
    #[serde(flatten)]
    pub port: Port,
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// A port's counters: rx_packets = forwarded_ipv4 + forwarded_ipv6 + punted + dropped once traffic
/// rests.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Traffic {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub forwarded_ipv4: u64,
    pub forwarded_ipv6: u64,
    /// Handed to the kernel.
    pub punted: u64,
    /// Received and dropped.
    pub dropped: u64,
    /// Sent by the kernel on the TAP and dropped.
    pub inject_dropped: u64,
}

impl From<&PortTotals> for Traffic {
    fn from(totals: &PortTotals) -> Traffic {
        Traffic {
            rx_packets: totals.rx_packets,
            rx_bytes: totals.rx_bytes,
            tx_packets: totals.tx_packets,
            tx_bytes: totals.tx_bytes,
            forwarded_ipv4: totals.forwarded_ipv4,
            forwarded_ipv6: totals.forwarded_ipv6,
            punted: totals.punted_total(),
            dropped: totals.dropped_total(),
            inject_dropped: totals.inject_dropped.iter().sum(),
        }
    }
}

/// All counters but the reasons, which are in [`PortDrops`].
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Counters {
    pub ports: Vec<PortTraffic>,
    pub workers: Vec<WorkerTraffic>,
}

/// One port's counters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortTraffic {
    pub port: String,
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// What one worker forwarded, over all ports and their lifetimes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerTraffic {
    pub worker: String,
    pub forwarded_ipv4: u64,
    pub forwarded_ipv6: u64,
}

/// Why one port's packets were not forwarded: a count for every reason, zeros included.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortDrops {
    pub port: String,
    pub dropped: BTreeMap<String, u64>,
    pub punted: BTreeMap<String, u64>,
    pub inject_dropped: BTreeMap<String, u64>,
    /// What the device or the kernel lost before ixmapd had it, or after.
    pub lost: BTreeMap<String, u64>,
}

impl PortDrops {
    /// `lost` has the driver's own names.
    pub fn new(port: &str, totals: &PortTotals, lost: &[(&str, u64)]) -> PortDrops {
        fn by_name<'a>(
            names: impl Iterator<Item = &'a str>,
            counts: &[u64],
        ) -> BTreeMap<String, u64> {
            names
                .map(str::to_owned)
                .zip(counts.iter().copied())
                .collect()
        }
        PortDrops {
            port: port.to_owned(),
            dropped: by_name(DropReason::ALL.iter().map(|r| r.name()), &totals.dropped),
            punted: by_name(PuntReason::ALL.iter().map(|r| r.name()), &totals.punted),
            inject_dropped: by_name(
                InjectDropReason::ALL.iter().map(|r| r.name()),
                &totals.inject_dropped,
            ),
            lost: lost
                .iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect(),
        }
    }
}

/// One worker thread.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Worker {
    pub name: String,
    pub core: usize,
    pub state: WorkerState,
    pub idle: Idle,
    /// The share of recent time spent on polls that found work, 0 to 1.
    pub busy_ratio: f64,
    /// Times it went to sleep.
    pub sleeps: u64,
}

/// How a worker is, as the supervisor sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Running,
    /// Neither polling nor asleep.
    Stalled,
    /// Its thread has ended.
    Dead,
}

/// What the FIB says about a destination. Without a match `prefix` and `type` are null.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    pub prefix: Option<IpNet>,
    #[serde(rename = "type")]
    pub kind: Option<RouteType>,
    /// What workers do with a packet for it.
    pub action: Action,
    /// Why they punt or drop it; null for a forwarded one.
    pub reason: Option<String>,
    /// The output port of the group's first leg; null unless forwarded.
    pub port: Option<String>,
    /// The gateway of the group's first leg; null on-link.
    pub via: Option<IpAddr>,
    pub group: Option<Group>,
}

/// A route's type, in the kernel's words (rtnetlink(7), RTN_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteType {
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
}

/// What happens to a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Forward,
    /// To the kernel.
    Punt,
    Drop,
}

/// A next-hop group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Group {
    pub id: u32,
    pub legs: Vec<Leg>,
}

/// One leg of a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Leg {
    pub port: Option<String>,
    pub via: Option<IpAddr>,
    pub weight: u32,
    /// The next hop's MAC; null while unresolved.
    pub mac: Option<String>,
    /// The neighbour's state, as `ip neighbour` names it; null where none is asked.
    pub state: Option<String>,
}

/// One neighbour of the kernel's caches.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Neighbour {
    pub address: IpAddr,
    /// The port, or the kernel's interface that is none.
    pub port: String,
    /// Null while unresolved.
    pub mac: Option<String>,
    /// As `ip neighbour` names it.
    pub state: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_without_a_route_has_null_prefix_and_type() {
        let route = Route {
            prefix: None,
            kind: None,
            action: Action::Punt,
            reason: Some("no_route".into()),
            port: None,
            via: None,
            group: None,
        };
        assert_eq!(
            serde_json::to_string(&route).unwrap(),
            r#"{"prefix":null,"type":null,"action":"punt","reason":"no_route","port":null,"via":null,"group":null}"#
        );
    }

    #[test]
    fn a_port_with_counters_is_one_flat_object() {
        let mut totals = PortTotals {
            rx_packets: 5,
            forwarded_ipv6: 2,
            ..PortTotals::default()
        };
        totals.punted[PuntReason::Ttl.index()] = 1;
        totals.dropped[DropReason::Blackhole.index()] = 2;
        let port = PortWithCounters {
            port: Port {
                name: "lan".into(),
                driver: "afxdp".into(),
                device: "eth0".into(),
                link_up: true,
                speed_mbps: None,
                mac: "02:00:00:00:00:01".into(),
                mtu: 1500,
                queues: 1,
                mode: Some("native".into()),
                zero_copy: false,
                interrupts: Vec::new(),
            },
            traffic: Traffic::from(&totals),
        };
        let json = serde_json::to_value(&port).unwrap();
        assert_eq!(json["name"], "lan");
        assert_eq!(json["rx_packets"], 5);
        assert_eq!((&json["punted"], &json["dropped"]), (&1.into(), &2.into()));
        assert_eq!(
            serde_json::from_value::<PortWithCounters>(json).unwrap(),
            port
        );
    }

    #[test]
    fn drops_name_every_reason_and_keep_its_count() {
        let mut totals = PortTotals::default();
        totals.dropped[DropReason::TxFull.index()] = 3;
        totals.inject_dropped[InjectDropReason::TxFull.index()] = 4;
        let drops = PortDrops::new("lan", &totals, &[("rx_ring_full", 5)]);
        assert_eq!(drops.dropped.len(), DropReason::COUNT);
        assert_eq!(drops.punted.len(), PuntReason::COUNT);
        assert_eq!(drops.inject_dropped.len(), InjectDropReason::COUNT);
        assert_eq!(drops.dropped["tx_full"], 3);
        assert_eq!(drops.inject_dropped["tx_full"], 4);
        assert_eq!(drops.lost["rx_ring_full"], 5);
    }
}
