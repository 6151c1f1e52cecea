//! Which of a prefix's routes the kernel would use, and what it means for the fast path.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::tables::{NextHop, Spec, SpecAction};
use crate::control::mirror::{Mirror, NextHopObject, Path, Paths, Route, RouteKey, RouteKind};
use crate::shared::reason::{DropReason, PuntReason};

/// RT_TABLE_LOCAL: the table that the kernel's default rules ask first.
pub(super) const LOCAL: u32 = 255;
/// RT_TABLE_MAIN: the table that they ask next.
pub(super) const MAIN: u32 = 254;

/// RT_TABLE_DEFAULT: the table that they ask last, for IPv4 only.
pub(super) const DEFAULT: u32 = 253;

pub(super) const ALL_IPV4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));

/// Stands for routes among which only the kernel can choose.
pub(super) static KERNELS_CHOICE: Route = Route::bare(RouteKind::Other(0), Paths::new_const());

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

/// Which of a key's routes the kernel would use: of those that lead anywhere and have the least
/// metric, the first that is preferred most. It asks routes for some sources before all others.
pub(super) fn usable(mirror: &Mirror, table: u32, prefix: IpNet) -> Option<&Route> {
    let routes = mirror.routes(&RouteKey { table, prefix });
    if let Some(specific) = routes.iter().find(|route| route.source.is_some()) {
        return Some(specific);
    }
    let mut leading = leading(routes, prefix, mirror);
    let first = leading.next()?;
    let equal = leading.take_while(|route| route.metric == first.metric);
    Some(equal.fold(first, |best, route| {
        match route.preference > best.preference {
            true => route,
            false => best,
        }
    }))
}

/// Of IPv4 default routes of equal metric the kernel prefers one whose gateway it reaches
/// (fib_select_default).
pub(super) fn neighbours_choose(mirror: &Mirror) -> bool {
    let has_gateway = |route: &Route| {
        let first = route.paths.first();
        let by_address = first.is_some_and(|path| path.via.is_some());
        route.kind == RouteKind::Unicast && (route.nexthop_id.is_some() || by_address)
    };
    let key = RouteKey {
        table: MAIN,
        prefix: ALL_IPV4,
    };
    let mut leading = leading(mirror.routes(&key), ALL_IPV4, mirror);
    leading.next().is_some_and(|first| {
        let mut equal = leading.take_while(|route| route.metric == first.metric);
        has_gateway(first) && first.paths.len() < 2 && equal.any(has_gateway)
    })
}

/// Those of a prefix's routes that lead anywhere.
fn leading<'a>(
    routes: &'a [Route],
    prefix: IpNet,
    mirror: &Mirror,
) -> impl Iterator<Item = &'a Route> {
    routes.iter().filter(move |route| {
        let leads = || live_paths(&route.paths, mirror).next().is_some();
        let by_object = route.nexthop_id.is_some();
        let needs_way = match route.kind {
            RouteKind::Unicast => true,
            RouteKind::Broadcast | RouteKind::Multicast => !route.paths.is_empty(),
            RouteKind::Anycast => prefix.addr().is_ipv4() && !route.paths.is_empty(),
            // Addresses of the router's outlive their links, and the rest has no legs.
            _ => false,
        };
        by_object || !needs_way || is_left_to_kernel(route) || leads()
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
        // The kernel goes on to the next table; here there is none that has more to say.
        RouteKind::Throw => SpecAction::Punt(PuntReason::NoRoute),
        RouteKind::Other(_) => SpecAction::Punt(PuntReason::KernelRoute),
        RouteKind::Unicast => {
            let does = match route.nexthop_id {
                Some(id) => object(id, mirror),
                None => forward(live_paths(&route.paths, mirror)),
            };
            let on_link = does.on_link().map(|ifindex| OnLink { ifindex, mtu });
            let action = route.nexthop_id.map_or(does, SpecAction::Object);
            let spec = Spec { action, mtu };
            return Meaning { spec, on_link };
        }
    };
    plain(action)
}

/// What a next-hop object does at the moment. The kernel has one that ixmap was not told of yet.
pub(super) fn object(id: u32, mirror: &Mirror) -> SpecAction {
    let leg = |id: &u32| match mirror.nexthop(*id) {
        Some(NextHopObject::Leg(path)) => Some(*path),
        _ => None,
    };
    let object = mirror.nexthop(id);
    let only = object.and_then(NextHopObject::only_member);
    let object = only.map_or(object, |only| mirror.nexthop(only));
    let paths: Option<Vec<Path>> = match object {
        Some(NextHopObject::Blackhole) => return SpecAction::Drop(DropReason::Blackhole),
        Some(NextHopObject::Leg(path)) => Some(vec![*path]),
        Some(NextHopObject::Group(members)) => members
            .iter()
            .map(|(id, weight)| {
                leg(id).map(|path| Path {
                    weight: *weight,
                    ..path
                })
            })
            .collect(),
        Some(NextHopObject::Foreign) | None => None,
    };
    match paths {
        Some(paths) => forward(live_paths(&paths, mirror)),
        None => SpecAction::Punt(PuntReason::KernelRoute),
    }
}

fn forward<'a>(paths: impl Iterator<Item = &'a Path>) -> SpecAction {
    let mut legs: Vec<(NextHop, u16)> = paths
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
    SpecAction::Forward(legs)
}

/// Routes that say more than destination and next hop, by TOS, by source, into a tunnel; or less, with
/// legs that may have ended.
fn is_left_to_kernel(route: &Route) -> bool {
    route.tos != 0 || route.source.is_some() || route.encapsulated || route.lapsed
}

/// The legs that the kernel would use: alive, behind an interface that is up.
fn live_paths<'a>(paths: &'a [Path], mirror: &'a Mirror) -> impl Iterator<Item = &'a Path> {
    paths.iter().filter(|path| {
        let up = |ifindex| mirror.link(ifindex).is_some_and(|link| link.up);
        !path.dead && path.ifindex.is_some_and(up)
    })
}
