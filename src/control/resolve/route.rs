//! Which of a prefix's routes the kernel would use, and what it means for the fast path.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::tables::{NextHop, Spec, SpecAction};
use crate::control::mirror::{Mirror, Path, Route, RouteKey, RouteKind};
use crate::shared::reason::{DropReason, PuntReason};

/// RT_TABLE_LOCAL: the table that the kernel's default rules ask first.
pub(super) const LOCAL: u32 = 255;
/// RT_TABLE_MAIN: the table that they ask next.
pub(super) const MAIN: u32 = 254;

/// RT_TABLE_DEFAULT: the table that they ask last, for IPv4 only.
pub(super) const DEFAULT: u32 = 253;

pub(super) const ALL_IPV4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

/// Stands for all routes of [`DEFAULT`].
pub(super) static LAST_TABLE: Route = Route {
    kind: RouteKind::Other(0),
    metric: 0,
    tos: 0,
    protocol: 0,
    scope: 0,
    paths: Vec::new(),
    nexthop_id: None,
    mtu: None,
    preferred_source: None,
    source: None,
    encapsulated: false,
};

/// A route in the fast path's terms.
pub(super) struct Meaning {
    pub(super) spec: Spec,
    /// Set when every address of the prefix is a neighbour.
    pub(super) on_link: Option<OnLink>,
}

/// Where the neighbours of a connected prefix are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OnLink {
    pub(super) ifindex: u32,
    /// The route's own MTU, as in [`Spec`].
    pub(super) mtu: u16,
}

/// The first of a key's routes, in the kernel's order, that leads anywhere.
pub(super) fn usable(mirror: &Mirror, table: u32, prefix: IpNet) -> Option<&Route> {
    let routes = mirror.routes(&RouteKey { table, prefix }).iter();
    routes.into_iter().find(|route| {
        route.kind != RouteKind::Unicast || is_left_to_kernel(route) || {
            live_paths(route, mirror).next().is_some()
        }
    })
}

/// What a route asks of the fast path.
pub(super) fn meaning(route: &Route, mirror: &Mirror) -> Meaning {
    let mtu = route
        .mtu
        .map_or(u16::MAX, |mtu| u16::try_from(mtu).unwrap_or(u16::MAX));
    let plain = |action| Meaning {
        spec: Spec {
            action,
            mtu: u16::MAX,
        },
        on_link: None,
    };
    if is_left_to_kernel(route) {
        return plain(SpecAction::Punt(PuntReason::KernelRoute));
    }
    let action = match route.kind {
        RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast => {
            SpecAction::Punt(PuntReason::Local)
        }
        RouteKind::Multicast => SpecAction::Punt(PuntReason::Multicast),
        RouteKind::Blackhole => SpecAction::Drop(DropReason::Blackhole),
        RouteKind::Unreachable => SpecAction::Punt(PuntReason::Unreachable),
        RouteKind::Prohibit => SpecAction::Punt(PuntReason::Prohibit),
        // The kernel goes on to the next table, and there is none that has more to say.
        RouteKind::Throw => SpecAction::Punt(PuntReason::NoRoute),
        RouteKind::Other(_) => SpecAction::Punt(PuntReason::KernelRoute),
        RouteKind::Unicast => return unicast(route, mtu, mirror),
    };
    plain(action)
}

fn unicast(route: &Route, mtu: u16, mirror: &Mirror) -> Meaning {
    let mut legs: Vec<(NextHop, u16)> = live_paths(route, mirror)
        .filter_map(|path| {
            let ifindex = path.ifindex?;
            let next_hop = match path.via {
                Some(address) => NextHop::Gateway { ifindex, address },
                None => NextHop::OnLink { ifindex },
            };
            Some((next_hop, path.weight))
        })
        .collect();
    // The kernel lists IPv6 legs in one order when it announces and in another when it dumps.
    legs.sort_unstable();
    let on_link = match legs.as_slice() {
        [(NextHop::OnLink { ifindex }, _)] => Some(OnLink {
            ifindex: *ifindex,
            mtu,
        }),
        _ => None,
    };
    Meaning {
        spec: Spec {
            action: SpecAction::Forward(legs),
            mtu,
        },
        on_link,
    }
}

/// Routes that say more than destination and next hop: by TOS, by source, into a tunnel, or
/// through a next-hop object whose legs the message did not carry.
fn is_left_to_kernel(route: &Route) -> bool {
    let unresolved = route.nexthop_id.is_some() && route.paths.is_empty();
    let by_object = unresolved && route.kind == RouteKind::Unicast;
    route.tos != 0 || route.source.is_some() || route.encapsulated || by_object
}

/// The legs that the kernel would use: alive, behind an interface that is up.
fn live_paths<'a>(route: &'a Route, mirror: &'a Mirror) -> impl Iterator<Item = &'a Path> {
    route.paths.iter().filter(|path| {
        let up = |ifindex| mirror.link(ifindex).is_some_and(|link| link.up);
        !path.dead && path.ifindex.is_some_and(up)
    })
}
