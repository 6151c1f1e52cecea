//! ixmap's answer beside the kernel's, the followed mirror beside a dump.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use ixmap::control::mirror::{Mirror, Neighbour, NeighbourState, RouteKind};
use ixmap::control::resolve::{Answer, AnswerLeg};
use ixmap::shared::fib::{Action, Adjacency};
use ixmap::shared::reason::{DropReason, PuntReason};
use netlink_packet_route::route::RouteType;

use crate::kernel::{Leg, Verdict};

/// Of 1000 flows: ixmap has 256 buckets at most, one at least for each leg.
const TOLERANCE: usize = 15;

/// How ixmap's answer relates to the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Relation {
    /// The same way.
    Same,
    /// ixmap leaves it to the kernel, which is always right.
    Left,
    Wrong,
}

/// Compares the answers about an address.
pub(crate) fn relation(address: IpAddr, answer: Option<&Answer>, kernel: &Verdict) -> Relation {
    let Some(answer) = answer else {
        return same(*kernel == Verdict::Refused(libc::ENETUNREACH));
    };
    if answer.action == Action::Punt(PuntReason::KernelRoute) {
        return Relation::Left;
    }
    same(match kernel {
        Verdict::Refused(errno) => refusal(answer) == Some(*errno),
        Verdict::Route {
            prefix, kind, legs, ..
        } => {
            answer.prefix == Some(*prefix)
                && match kind {
                    RouteType::Unicast => leads(answer, address, legs),
                    RouteType::Local | RouteType::Broadcast | RouteType::Anycast => {
                        answer.action == Action::Punt(PuntReason::Local)
                    }
                    RouteType::Multicast => answer.action == Action::Punt(PuntReason::Multicast),
                    _ => refusal(answer).is_some(),
                }
        }
    })
}

fn same(same: bool) -> Relation {
    if same {
        Relation::Same
    } else {
        Relation::Wrong
    }
}

/// The errno of a route that refuses (fib_props, ip6_rt_type_to_error).
fn refusal(answer: &Answer) -> Option<i32> {
    match (&answer.action, answer.kind) {
        (Action::Drop(DropReason::Blackhole), _) => Some(libc::EINVAL),
        (Action::Punt(PuntReason::Unreachable), _) => Some(libc::EHOSTUNREACH),
        (Action::Punt(PuntReason::Prohibit), _) => Some(libc::EACCES),
        (Action::Punt(PuntReason::NoRoute), Some(RouteKind::Throw)) => Some(libc::ENETUNREACH),
        _ => None,
    }
}

fn leads(answer: &Answer, address: IpAddr, legs: &BTreeMap<Leg, usize>) -> bool {
    let mut own: BTreeMap<Leg, usize> = BTreeMap::new();
    for leg in &answer.legs {
        *own.entry((leg.ifindex.unwrap_or_default(), leg.via))
            .or_default() += leg.weight;
    }
    // A gateway that is the destination is none.
    let mut wanted: BTreeMap<Leg, usize> = BTreeMap::new();
    for ((ifindex, via), weight) in legs {
        let via = via.filter(|via| *via != address);
        *wanted.entry((*ifindex, via)).or_default() += weight;
    }
    let forwards = matches!(answer.action, Action::Forward(_) | Action::Spread(_));
    let alike = own.keys().eq(wanted.keys())
        && shares(&own)
            .zip(shares(&wanted))
            .all(|(own, wanted)| own.abs_diff(wanted) <= TOLERANCE);
    forwards && answer.kind == Some(RouteKind::Unicast) && alike
}

/// What each leg takes of 1000 flows.
fn shares(legs: &BTreeMap<Leg, usize>) -> impl Iterator<Item = usize> {
    let total: usize = legs.values().sum();
    legs.values().map(move |weight| weight * 1000 / total)
}

/// Whether a next hop on the way to `destination` is what links and neighbours of `mirror` make it;
/// true for neighbours whose state passes with time.
pub(crate) fn adjacency_is_right(
    leg: &AnswerLeg,
    destination: IpAddr,
    is_port: bool,
    mirror: &Mirror,
) -> bool {
    let ifindex = leg.ifindex.unwrap_or_default();
    if !is_port {
        return leg.adjacency == Adjacency::Foreign;
    }
    let neighbour = mirror.neighbour(ifindex, leg.via.unwrap_or(destination));
    match (neighbour, &leg.adjacency) {
        // Among several legs, one without a gateway is left to the kernel.
        (_, Adjacency::Connected(_)) => leg.via.is_none(),
        (Some(neighbour), _) if !lasts(&neighbour) => true,
        (Some(neighbour), Adjacency::Resolved(rewrite)) => {
            let link = mirror.link(ifindex);
            neighbour.mac == Some(rewrite.destination)
                && link.and_then(|link| link.mac) == Some(rewrite.source)
        }
        (Some(neighbour), _) => neighbour.mac.is_none(),
        (None, adjacency) => !matches!(adjacency, Adjacency::Resolved(_) | Adjacency::Foreign),
    }
}

/// Entries whose state does not change with time alone.
fn lasts(neighbour: &&Neighbour) -> bool {
    matches!(
        neighbour.state,
        NeighbourState::Permanent | NeighbourState::NoArp
    )
}

/// The first thing in which a followed mirror differs from a dump.
pub(crate) fn difference(mirror: &Mirror, kernel: &Mirror) -> Option<String> {
    let entries = |mirror: &Mirror| {
        let links = mirror.links().map(|link| format!("{link:?}"));
        let addresses = mirror.addresses().iter();
        let addresses = addresses.map(|address| format!("{address:?}"));
        let routes = mirror.all_routes();
        let routes = routes.map(|(key, list)| format!("{key:?} {list:?}"));
        let nexthops = mirror.nexthops();
        let nexthops = nexthops.map(|(id, object)| format!("nexthop {id} {object:?}"));
        let neighbours = mirror.neighbours().filter(lasts);
        let neighbours = neighbours.map(|entry| format!("{entry:?}"));
        let rules = [false, true].map(|ipv6| mirror.rules().of(ipv6));
        let rules = rules.into_iter().flatten().map(|rule| format!("{rule:?}"));
        links
            .chain(rules)
            .chain(addresses)
            .chain(routes)
            .chain(nexthops)
            .chain(neighbours)
            .collect::<BTreeSet<_>>()
    };
    let (mirror, kernel) = (entries(mirror), entries(kernel));
    let extra = mirror.difference(&kernel).next();
    let missing = kernel.difference(&mirror).next();
    (extra.is_some() || missing.is_some())
        .then(|| format!("only mirrored: {extra:?}\nonly in the kernel: {missing:?}"))
}

/// Addresses worth asking about a prefix: its ends, their neighbours, one within.
pub(crate) fn addresses_around(prefix: IpNet, within: u64) -> Vec<IpAddr> {
    let shift = |address: IpAddr, by: i8| match address {
        IpAddr::V4(address) => {
            IpAddr::V4(u32::from(address).wrapping_add_signed(i32::from(by)).into())
        }
        IpAddr::V6(address) => IpAddr::V6(
            u128::from(address)
                .wrapping_add_signed(i128::from(by))
                .into(),
        ),
    };
    let inner = match prefix {
        IpNet::V4(net) => {
            let host = u32::try_from(within >> 32).unwrap() & u32::from(net.hostmask());
            IpAddr::V4((u32::from(net.network()) | host).into())
        }
        IpNet::V6(net) => {
            let host = u128::from(within) << 64 | u128::from(within);
            IpAddr::V6((u128::from(net.network()) | host & u128::from(net.hostmask())).into())
        }
    };
    let (first, last) = (prefix.network(), prefix.broadcast());
    let all = [
        first,
        shift(first, -1),
        shift(first, 1),
        last,
        shift(last, -1),
        shift(last, 1),
        inner,
    ];
    all.into_iter().filter(is_askable).collect()
}

/// Addresses that the lookup is asked about: others are the kernel's before it.
fn is_askable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] != 0 && address.octets()[0] < 224,
        IpAddr::V6(address) => {
            !address.is_unspecified() && !address.is_multicast() && !address.is_unicast_link_local()
        }
    }
}
