//! Which of a prefix's routes the kernel would use, and what it means for the fast path.

use ipnet::IpNet;

use super::tables::{NextHop, Spec, SpecAction};
use crate::control::mirror::{Mirror, Path, Route, RouteKey, RouteKind};
use crate::shared::reason::{DropReason, PuntReason};

/// RT_TABLE_LOCAL, RT_TABLE_MAIN: the tables of the kernel's default rules, in their order.
const TABLES: [u32; 2] = [255, 254];

/// A route in the fast path's terms.
pub(super) struct Meaning {
    pub(super) spec: Spec,
    /// The interface behind which every address of the prefix is a neighbour.
    pub(super) on_link: Option<u32>,
}

/// The route of a prefix that the kernel would use: first table, then its own order, and among
/// those the first that leads anywhere.
pub(super) fn best(mirror: &Mirror, prefix: IpNet) -> Option<&Route> {
    TABLES
        .iter()
        .flat_map(|table| {
            mirror.routes(&RouteKey {
                table: *table,
                prefix,
            })
        })
        .find(|route| {
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
        [(NextHop::OnLink { ifindex }, _)] => Some(*ifindex),
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
