//! Where a route goes in the list of its key, and which one a deletion means: the kernel's rules
//! (fib_table_insert in net/ipv4/fib_trie.c, fib6_add_rt2node in net/ipv6/ip6_fib.c).
//!
//! Both families keep runs of routes of equal preference. In an IPv4 run the first wins, and a
//! message's flags say whether a route went before it, behind it or in its place. In an IPv6 run all
//! routes with a gateway are one multipath route, and each message carries all of its legs.
//!
//! Every rule is idempotent where it can be: messages are replayed over a dump that may already
//! contain them.

use std::ops::Range;

use super::types::{Placement, Route, RouteKind};

/// RTPROT_RA: routes of router advertisements are never legs of a multipath route.
const RTPROT_RA: u8 = 9;

/// What a message did to a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// The list already said so.
    Unchanged,
    Changed,
    /// Changed as far as known; the kernel may see it otherwise.
    Doubtful,
}

/// The same route but for what a link's state does to its legs.
fn same(one: &Route, other: &Route) -> bool {
    let legs = || {
        one.paths.len() == other.paths.len()
            && one.paths.iter().zip(&other.paths).all(|(a, b)| {
                (a.ifindex, a.via, a.weight, a.onlink) == (b.ifindex, b.via, b.weight, b.onlink)
            })
    };
    same_but_legs(one, other)
        && (one.kind, one.nexthop_id) == (other.kind, other.nexthop_id)
        && legs()
}

fn same_but_legs(one: &Route, other: &Route) -> bool {
    let rest = |route: &Route| {
        let Route {
            metric,
            tos,
            protocol,
            scope,
            mtu,
            preferred_source,
            source,
            ..
        } = *route;
        (
            metric,
            tos,
            protocol,
            scope,
            mtu,
            preferred_source,
            source,
            route.encapsulated,
        )
    };
    rest(one) == rest(other)
}

/// IPv4: the run of equal TOS and metric; TOS falls, then the metric rises.
fn run4(list: &[Route], route: &Route) -> Range<usize> {
    let rank = |other: &Route| (std::cmp::Reverse(other.tos), other.metric);
    let start = list.partition_point(|other| rank(other) < rank(route));
    start..list.partition_point(|other| rank(other) <= rank(route))
}

/// IPv6: the run of equal source prefix and metric; source-specific routes come first.
fn run6(list: &[Route], route: &Route) -> Range<usize> {
    let rank = |other: &Route| (other.source.is_none(), other.source, other.metric);
    let start = list.partition_point(|other| rank(other) < rank(route));
    start..list.partition_point(|other| rank(other) <= rank(route))
}

/// rt6_qualify_for_ecmp: routes that the kernel joins into one multipath route.
fn joins(route: &Route) -> bool {
    route.kind == RouteKind::Unicast
        && route.nexthop_id.is_none()
        && route.protocol != RTPROT_RA
        && !route.paths.is_empty()
        && route.paths.iter().all(|path| path.via.is_some())
}

/// Appends a dumped route: the dump's order is the kernel's.
pub(super) fn load(list: &mut Vec<Route>, route: Route, ipv6: bool) {
    let at = if ipv6 {
        let run = run6(list, &route);
        // A dump tells some routes twice when others come meanwhile (fib6_dump_table).
        if list[run.clone()].contains(&route) {
            return;
        }
        run.end
    } else {
        list.len()
    };
    list.insert(at, route);
}

/// The only route of its run: the kernel found no other when it added this one.
fn reset(list: &mut Vec<Route>, run: Range<usize>, route: Route) -> Outcome {
    if list[run.clone()] == [route.clone()] {
        return Outcome::Unchanged;
    }
    list.splice(run, [route]);
    Outcome::Changed
}

/// Puts `route` in the place of `list[at]`.
fn put(list: &mut [Route], at: usize, route: Route) -> Outcome {
    if list[at] == route {
        return Outcome::Unchanged;
    }
    list[at] = route;
    Outcome::Changed
}

/// A new or changed IPv4 route.
pub(super) fn set4(list: &mut Vec<Route>, route: Route, place: Placement) -> Outcome {
    let run = run4(list, &route);
    if place.exclusive {
        return reset(list, run, route);
    }
    // The kernel refuses a second of the same: this one is known from the dump.
    if let Some(at) = run.clone().find(|&at| same(&list[at], &route)) {
        return put(list, at, route);
    }
    if place.replace && !run.is_empty() {
        return put(list, run.start, route);
    }
    list.insert(if place.append { run.end } else { run.start }, route);
    Outcome::Changed
}

/// A deleted IPv4 route, matched by content.
pub(super) fn gone4(list: &mut Vec<Route>, route: &Route) -> Outcome {
    let run = run4(list, route);
    remove_same(list, run, route)
}

fn remove_same(list: &mut Vec<Route>, run: Range<usize>, route: &Route) -> Outcome {
    match run.clone().find(|&at| same(&list[at], route)) {
        Some(at) => {
            list.remove(at);
            Outcome::Changed
        }
        None if run.is_empty() => Outcome::Unchanged,
        None => Outcome::Doubtful,
    }
}

/// A new or changed IPv6 route.
pub(super) fn set6(list: &mut Vec<Route>, route: Route, place: Placement) -> Outcome {
    let run = run6(list, &route);
    let class = joins(&route);
    if place.exclusive || run.is_empty() {
        // A leg was appended to one that was not known: the first may have ended.
        let doubtful = place.append && class && route.paths.len() > 1;
        let outcome = reset(list, run, route);
        return if doubtful { Outcome::Doubtful } else { outcome };
    }
    let of_class = run.clone().find(|&at| joins(&list[at]) == class);
    match of_class {
        Some(at) if class && !place.replace => {
            // The dump shows the first leg's protocol and metrics, the message the newest leg's.
            let doubtful = !same_but_legs(&list[at], &route);
            let known = Route {
                paths: route.paths,
                lapsed: list[at].lapsed || route.lapsed,
                ..list[at].clone()
            };
            let outcome = put(list, at, known);
            if doubtful { Outcome::Doubtful } else { outcome }
        }
        _ if run.clone().any(|at| list[at] == route) => Outcome::Unchanged,
        Some(at) if place.replace => put(list, at, route),
        _ => {
            let known = run.clone().find(|&at| same(&list[at], &route));
            if let Some(at) = known {
                return put(list, at, route);
            }
            list.insert(run.end, route);
            // A replacement that found none of its class: kernels differ in what they do.
            if place.replace {
                Outcome::Doubtful
            } else {
                Outcome::Changed
            }
        }
    }
}

/// A deleted IPv6 route, or deleted legs of a multipath route.
pub(super) fn gone6(list: &mut Vec<Route>, route: &Route) -> Outcome {
    let run = run6(list, route);
    if !joins(route) {
        return remove_same(list, run, route);
    }
    let Some(at) = run.clone().find(|&at| joins(&list[at])) else {
        return if run.is_empty() {
            Outcome::Unchanged
        } else {
            Outcome::Doubtful
        };
    };
    // Another leg may be the first now, whose end is not known.
    if list[at].lapsed {
        return Outcome::Doubtful;
    }
    let legs = &mut list[at].paths;
    let before = legs.len();
    legs.retain(|leg| {
        !route
            .paths
            .iter()
            .any(|p| (p.ifindex, p.via) == (leg.ifindex, leg.via))
    });
    let after = legs.len();
    if after == before {
        return Outcome::Doubtful;
    }
    match legs.as_mut_slice() {
        [] => drop(list.remove(at)),
        // A lone leg has no weight.
        [last] => last.weight = 1,
        _ => {}
    }
    Outcome::Changed
}
