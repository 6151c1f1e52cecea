//! The mirror's entries, in the kernel's terms (rtnetlink(7)).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::netconf::Netconf;
use super::rules::Rule;
use crate::shared::mac::MacAddr;

/// One network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Absent for interfaces without an Ethernet address.
    pub mac: Option<MacAddr>,
    pub mtu: u32,
    /// IFF_UP: administratively up.
    pub up: bool,
    /// IFF_LOWER_UP: has carrier.
    pub carrier: bool,
    /// IFF_RUNNING: its operstate is UP (RFC 2863); may come a second after the carrier.
    pub running: bool,
}

impl Link {
    /// Up, and not without both carrier and operation: otherwise the kernel drops the next-hop objects
    /// behind it (nh_netdev_event in net/ipv4/nexthop.c).
    pub(super) fn works(&self) -> bool {
        self.up && (self.carrier || self.running)
    }
}

/// One interface address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    pub ifindex: u32,
    /// The address itself with its prefix length (host bits kept).
    pub address: IpNet,
    /// The other end's address where an IPv4 address has one: the kernel takes a second of the same for
    /// another end. (An IPv6 address is but one, and its other end no part of it.)
    pub peer: Option<IpAddr>,
}

/// A route's key in the kernel: routing table and prefix (host bits zero).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RouteKey {
    pub table: u32,
    pub prefix: IpNet,
}

/// RTN_*: what a route does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RouteKind {
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
    /// RTN_* of a kind that ixmap does not know.
    Other(u8),
}

/// The legs of a route: seldom more than one, which has room in the route itself.
pub type Paths = SmallVec<[Path; 1]>;

/// One entry of the ordered list behind a [`RouteKey`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Route {
    pub kind: RouteKind,
    /// RTA_PRIORITY: the metric; lower wins.
    pub metric: u32,
    /// IPv4 TOS selector; 0 for all traffic.
    pub tos: u8,
    /// RTPROT_*: who installed it.
    pub protocol: u8,
    /// RT_SCOPE_*.
    pub scope: u8,
    /// Legs in the kernel's order; empty for kinds without an output, and behind a next-hop object.
    pub paths: Paths,
    /// RTA_NH_ID: the next-hop object it goes through, which says where to. Behind a blackhole its kind
    /// is one as well.
    pub nexthop_id: Option<u32>,
    /// RTA_METRICS / RTAX_MTU; absent for the device's.
    pub mtu: Option<u32>,
    /// RTA_PREFSRC: the source address the kernel itself would use.
    pub preferred_source: Option<IpAddr>,
    /// RTA_PREF, in the order of the kernel's choice among IPv6 routes of equal metric (RFC 4191).
    pub preference: Preference,
    /// RTA_SRC of IPv6 source-specific routes.
    pub source: Option<IpNet>,
    /// The path is encapsulated (RTA_ENCAP): only the kernel can follow it.
    pub encapsulated: bool,
    /// The first of its IPv6 legs has ended (RTA_EXPIRES). The kernel uses all of them until it forgets
    /// that one, unless all have ended, which it does not tell.
    pub lapsed: bool,
}

impl Route {
    /// A route of which nothing else is said.
    pub const fn bare(kind: RouteKind, paths: Paths) -> Route {
        Route {
            kind,
            metric: 0,
            tos: 0,
            protocol: 0,
            scope: 0,
            paths,
            nexthop_id: None,
            mtu: None,
            preferred_source: None,
            preference: Preference::Medium,
            source: None,
            encapsulated: false,
            lapsed: false,
        }
    }

    /// As `ip route` makes it when nothing else is said.
    #[cfg(test)]
    pub(crate) fn ordinary(kind: RouteKind, paths: Vec<Path>) -> Route {
        const RTPROT_STATIC: u8 = 4;
        Route {
            protocol: RTPROT_STATIC,
            ..Route::bare(kind, paths.into())
        }
    }
}

/// How much a router wants to be used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub enum Preference {
    Low,
    #[default]
    Medium,
    High,
}

/// One leg.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Path {
    /// Output interface; absent only for kinds without one.
    pub ifindex: Option<u32>,
    /// Gateway (RTA_GATEWAY, or RTA_VIA: IPv4 through IPv6, RFC 8950); absent on-link.
    pub via: Option<IpAddr>,
    /// 1 to 256 (rtnh_hops + 1).
    pub weight: u16,
    /// RTNH_F_ONLINK.
    pub onlink: bool,
    /// RTNH_F_DEAD: the kernel does not use this leg.
    pub dead: bool,
}

/// A next-hop object (ip-nexthop(8)), which routes go through by its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NextHopObject {
    Leg(Path),
    Blackhole,
    /// Other objects, which are no groups, with their weights. A resilient group is one as well.
    Group(Vec<(u32, u16)>),
    /// Only the kernel can follow it: encapsulation (NHA_ENCAP), or a bridge's (NHA_FDB).
    Foreign,
}

impl NextHopObject {
    /// The member of a group that has but one. A blackhole is never one of several.
    pub fn only_member(&self) -> Option<u32> {
        match self {
            NextHopObject::Group(members) => match members[..] {
                [(only, _)] => Some(only),
                _ => None,
            },
            NextHopObject::Leg(_) | NextHopObject::Blackhole | NextHopObject::Foreign => None,
        }
    }
}

/// NUD_*: how sure the kernel is of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NeighbourState {
    None,
    Incomplete,
    Reachable,
    Stale,
    Delay,
    Probe,
    Failed,
    NoArp,
    Permanent,
}

impl NeighbourState {
    /// NUD_VALID: the kernel would send to its link-layer address.
    pub fn is_valid(self) -> bool {
        !matches!(
            self,
            NeighbourState::None | NeighbourState::Incomplete | NeighbourState::Failed
        )
    }

    /// The name that `ip neighbour` prints.
    pub fn name(self) -> &'static str {
        match self {
            NeighbourState::None => "NONE",
            NeighbourState::Incomplete => "INCOMPLETE",
            NeighbourState::Reachable => "REACHABLE",
            NeighbourState::Stale => "STALE",
            NeighbourState::Delay => "DELAY",
            NeighbourState::Probe => "PROBE",
            NeighbourState::Failed => "FAILED",
            NeighbourState::NoArp => "NOARP",
            NeighbourState::Permanent => "PERMANENT",
        }
    }
}

/// One neighbour entry (ARP or ND cache).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Neighbour {
    pub ifindex: u32,
    pub address: IpAddr,
    /// Absent while unresolved.
    pub mac: Option<MacAddr>,
    pub state: NeighbourState,
    pub flags: NeighbourFlags,
}

/// NTF_*: who looks after a neighbour. A request about a neighbour sets all of them anew.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NeighbourFlags {
    /// NTF_EXT_LEARNED: a control plane put it there.
    pub learned: bool,
    /// NTF_EXT_MANAGED: the kernel keeps it resolved by itself.
    pub managed: bool,
    /// NTF_EXT_EXT_VALIDATED: a control plane answers for it.
    pub validated: bool,
}

/// The NLM_F_* flags of a new route that say where in its key's list it goes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Placement {
    pub replace: bool,
    pub append: bool,
    pub exclusive: bool,
}

/// One message of the kernel, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    LinkSet(Link),
    LinkGone {
        index: u32,
    },
    AddressSet(Address),
    AddressGone(Address),
    /// RTM_NEWROUTE.
    RouteSet {
        key: RouteKey,
        route: Route,
        place: Placement,
    },
    RouteGone {
        key: RouteKey,
        route: Route,
    },
    /// RTM_NEWNEXTHOP.
    NextHopSet {
        id: u32,
        object: NextHopObject,
    },
    NextHopGone {
        id: u32,
    },
    NeighbourSet(Neighbour),
    NeighbourGone {
        ifindex: u32,
        address: IpAddr,
    },
    /// RTM_NEWRULE.
    RuleSet(Rule),
    RuleGone(Rule),
    /// The kernel has no rules, and does as by the default ones.
    RulesAbsent {
        ipv6: bool,
    },
    /// RTM_NEWNETCONF: what changed of a family's settings, by ifindex or NETCONFA_IFINDEX_ALL.
    NetconfSet {
        ipv6: bool,
        ifindex: i32,
        values: Netconf,
    },
    NetconfGone {
        ipv6: bool,
        ifindex: i32,
    },
    /// The kernel will change a route at that time and not say it.
    SilentChange {
        at: Instant,
        /// The route that ends, and when.
        ends: Option<(RouteKey, Instant)>,
    },
    /// Messages were lost, or one made no sense: only a new dump helps.
    Doubt {
        why: String,
    },
}

/// What one dump of the kernel's tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Links,
    Addresses,
    NextHops,
    Routes { ipv6: bool },
    Neighbours { ipv6: bool },
    Rules { ipv6: bool },
    Netconf { ipv6: bool },
}

/// What a step of the mirror touched: all that `resolve` has to look at again.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Changes {
    /// Everything may have changed (first dump).
    pub everything: bool,
    /// Prefixes with a change in any table.
    pub prefixes: BTreeSet<IpNet>,
    /// Next-hop objects by id, groups of changed members included.
    pub nexthops: BTreeSet<u32>,
    /// Neighbours by (ifindex, address).
    pub neighbours: BTreeSet<(u32, IpAddr)>,
    /// Links by ifindex: MAC, MTU, up, name.
    pub links: BTreeSet<u32>,
    /// Interface addresses were added or removed.
    pub addresses: bool,
    /// Rules were added or removed.
    pub rules: bool,
    /// The kernel said something of an interface's settings (NETCONF).
    pub settings: bool,
}

impl Changes {
    /// True when nothing has to be looked at.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// Adds many prefixes: quickly where there are none yet, and more so in order.
    pub(super) fn add_prefixes(&mut self, prefixes: Vec<IpNet>) {
        match self.prefixes.is_empty() {
            true => self.prefixes = prefixes.into_iter().collect(),
            false => self.prefixes.extend(prefixes),
        }
    }
}
