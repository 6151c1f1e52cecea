//! A naive resolver: for one address, the kernel's rules read straight from the mirror by linear
//! scans, without groups, slots or host routes.

use super::*;

/// Ports by ifindex, as the test added them.
pub(super) type ModelPorts = BTreeSet<u32>;

/// What the kernel would do with a packet to `address`, as far as the fast path may do it.
pub(super) fn way(mirror: &Mirror, ports: &ModelPorts, address: IpAddr) -> Way {
    let mut candidates: Vec<(RouteKey, &[Route])> = mirror
        .all_routes()
        .filter(|(key, _)| [LOCAL, MAIN].contains(&key.table) && key.prefix.contains(&address))
        .collect();
    // IPv4 keeps both tables in one trie; IPv6 asks the local one first, whatever main has.
    candidates.sort_by_key(|(key, _)| {
        let len = u32::from(key.prefix.prefix_len());
        std::cmp::Reverse(match address {
            IpAddr::V4(_) => (len, key.table),
            IpAddr::V6(_) => (key.table, len),
        })
    });
    let mut ways = candidates
        .iter()
        .filter_map(|(key, list)| Some((key.table, choose(*key, list, mirror, ports, address)?)));
    let asked_last = || {
        let routes = mirror.all_routes();
        let mut last = routes.filter(|(key, _)| key.table == LAST && key.prefix.contains(&address));
        address.is_ipv4()
            && last.any(|(key, list)| choose(key, list, mirror, ports, address).is_some())
    };
    match ways.next() {
        None | Some((MAIN, Way::Punt(PuntReason::NoRoute))) if asked_last() => {
            Way::Punt(PuntReason::KernelRoute)
        }
        // Or so IPv4 did until there was a rule: from then on it asks as IPv6 does.
        Some((MAIN, _)) if address.is_ipv4() && ways.any(|(table, _)| table == LOCAL) => {
            Way::Punt(PuntReason::KernelRoute)
        }
        Some((_, way)) => way,
        None => Way::Punt(PuntReason::NoRoute),
    }
}

/// What a list does: its first route that does anything, or a later one of the same metric that is
/// preferred to it. Routes for some sources hide all others.
fn choose(
    key: RouteKey,
    list: &[Route],
    mirror: &Mirror,
    ports: &ModelPorts,
    address: IpAddr,
) -> Option<Way> {
    if list.iter().any(|route| route.source.is_some()) {
        return Some(Way::Punt(PuntReason::KernelRoute));
    }
    let mut does: Vec<(&Route, Way)> = list
        .iter()
        .filter_map(|route| Some((route, decide(route, mirror, ports, address)?)))
        .collect();
    let metric = does.first()?.0.metric;
    let end = does
        .iter()
        .position(|(route, _)| route.metric != metric)
        .unwrap_or(does.len());
    does.truncate(end);
    // Of default routes alike IPv4 takes one whose neighbour answers.
    let has_gateway = |route: &Route| {
        let by_address = || route.paths.first().is_some_and(|path| path.via.is_some());
        route.kind == RouteKind::Unicast && (route.nexthop_id.is_some() || by_address())
    };
    let (first, others) = (does[0].0, &does[1..]);
    if (key.table, key.prefix) == (MAIN, "0.0.0.0/0".parse().unwrap())
        && has_gateway(first)
        && first.paths.len() < 2
        && others.iter().any(|(route, _)| has_gateway(route))
    {
        return Some(Way::Punt(PuntReason::KernelRoute));
    }
    // Stable: the first of those that are preferred alike.
    does.sort_by_key(|(route, _)| std::cmp::Reverse(route.preference));
    let (route, way) = does.into_iter().next()?;
    // The next table, or for IPv4 perhaps the one after.
    if route.kind == RouteKind::Throw && key.table == LOCAL {
        return Some(Way::Punt(PuntReason::KernelRoute));
    }
    Some(way)
}

/// `None` when the kernel looks further: no leg of the route is alive.
fn decide(route: &Route, mirror: &Mirror, ports: &ModelPorts, address: IpAddr) -> Option<Way> {
    let to_kernel = Some(Way::Punt(PuntReason::KernelRoute));
    if route.tos != 0 || route.source.is_some() || route.encapsulated || route.lapsed {
        return to_kernel;
    }
    if let (RouteKind::Unicast, Some(id)) = (route.kind, route.nexthop_id) {
        return match paths_of(id, mirror) {
            Some(paths) => forward(route, &paths, mirror, ports, address).or(to_kernel),
            None if is_blackhole(id, mirror) => Some(Way::Drop(DropReason::Blackhole)),
            None => to_kernel,
        };
    }
    let outlives_links = match route.kind {
        RouteKind::Broadcast | RouteKind::Multicast => false,
        RouteKind::Anycast => address.is_ipv6(),
        _ => true,
    };
    let mut paths = route.paths.iter();
    if !outlives_links && !route.paths.is_empty() && !paths.any(|path| is_alive(path, mirror)) {
        return None;
    }
    Some(match route.kind {
        RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast => {
            Way::Punt(PuntReason::Local)
        }
        RouteKind::Multicast => Way::Punt(PuntReason::Multicast),
        RouteKind::Blackhole => Way::Drop(DropReason::Blackhole),
        RouteKind::Unreachable => Way::Punt(PuntReason::Unreachable),
        RouteKind::Prohibit => Way::Punt(PuntReason::Prohibit),
        RouteKind::Throw => Way::Punt(PuntReason::NoRoute),
        RouteKind::Other(_) => Way::Punt(PuntReason::KernelRoute),
        RouteKind::Unicast => return forward(route, &route.paths, mirror, ports, address),
    })
}

fn is_blackhole(id: u32, mirror: &Mirror) -> bool {
    match mirror.nexthop(id) {
        Some(NextHopObject::Group(members)) => {
            let [(only, _)] = members[..] else {
                return false;
            };
            mirror.nexthop(only) == Some(&NextHopObject::Blackhole)
        }
        object => object == Some(&NextHopObject::Blackhole),
    }
}

/// The legs of a next-hop object.
fn paths_of(id: u32, mirror: &Mirror) -> Option<Vec<Path>> {
    match mirror.nexthop(id)? {
        NextHopObject::Leg(path) => Some(vec![*path]),
        NextHopObject::Group(members) => {
            let mut paths = Vec::new();
            for (id, weight) in members {
                let Some(NextHopObject::Leg(path)) = mirror.nexthop(*id) else {
                    return None;
                };
                let weight = *weight;
                paths.push(Path { weight, ..*path });
            }
            Some(paths)
        }
        NextHopObject::Blackhole | NextHopObject::Foreign => None,
    }
}

fn is_alive(path: &Path, mirror: &Mirror) -> bool {
    let link = path.ifindex.and_then(|index| mirror.link(index));
    link.is_some_and(|link| link.up) && !path.dead
}

/// To the legs that are alive, if any.
fn forward(
    route: &Route,
    paths: &[Path],
    mirror: &Mirror,
    ports: &ModelPorts,
    address: IpAddr,
) -> Option<Way> {
    let paths: Vec<&Path> = paths.iter().filter(|path| is_alive(path, mirror)).collect();
    if paths.is_empty() {
        return None;
    }
    let single = paths.len() == 1;
    let legs = paths.iter().map(|path| {
        // Among several legs the kernel sends what goes on-link.
        let gateway = path.via.or(Some(address).filter(|_| single));
        let ifindex = path.ifindex.unwrap();
        let weight = if single { 1 } else { usize::from(path.weight) };
        let adjacency = match adjacent(mirror, ports, ifindex, gateway) {
            (Adjacency::Unresolved(port), false) if path.via.is_none() => {
                Adjacency::Connected(port)
            }
            (adjacency, _) => adjacency,
        };
        (adjacency, weight)
    });
    Some(Way::To {
        legs: legs.collect(),
        mtu: route
            .mtu
            .map_or(u16::MAX, |mtu| u16::try_from(mtu).unwrap()),
    })
}

/// What a next hop is, and whether its neighbour is known.
fn adjacent(
    mirror: &Mirror,
    ports: &ModelPorts,
    ifindex: u32,
    gateway: Option<IpAddr>,
) -> (Adjacency, bool) {
    if !ports.contains(&ifindex) {
        return (Adjacency::Foreign, false);
    }
    let link = mirror.links().find(|link| link.index == ifindex).unwrap();
    let entry = mirror
        .neighbours()
        .find(|entry| entry.ifindex == ifindex && Some(entry.address) == gateway);
    let usable = entry.filter(|entry| {
        use NeighbourState::{Failed, Incomplete, None};
        ![None, Incomplete, Failed].contains(&entry.state)
    });
    let destination = usable.and_then(|entry| entry.mac);
    let adjacency = match (link.mac, destination) {
        (Some(source), Some(destination)) => Adjacency::Resolved(Rewrite {
            port: port(ifindex),
            destination,
            source,
            mtu: u16::try_from(link.mtu).unwrap(),
        }),
        _ => unresolved(ifindex),
    };
    (adjacency, destination.is_some())
}

/// A way without the order of its legs and the scale of its weights, which the kernel does not fix.
pub(super) fn normal(way: Way) -> Way {
    let Way::To { legs, mtu } = way else {
        return way;
    };
    let mut sums: std::collections::BTreeMap<String, (Adjacency, usize)> = Default::default();
    for (adjacency, weight) in legs {
        sums.entry(format!("{adjacency:?}"))
            .or_insert((adjacency, 0))
            .1 += weight;
    }
    let gcd = sums.values().fold(0, |mut a, &(_, mut b)| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    });
    let legs = sums
        .into_values()
        .map(|(adjacency, sum)| (adjacency, sum / gcd));
    Way::To {
        legs: legs.collect(),
        mtu,
    }
}
