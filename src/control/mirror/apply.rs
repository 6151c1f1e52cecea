//! Following the kernel event by event, and what it does without a word.
//!
//! A link that goes down, a link or an address that goes away take routes with them silently. The
//! part of that which is simple is done at once, so that forwarding stops where the kernel's did;
//! the doubt that is returned asks for a new dump, which settles the rest.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv6Net};

use super::Mirror;
use super::lists::{self, Outcome};
use super::rules::Rule;
use super::types::{
    Address, Changes, Event, Link, Neighbour, Part, Placement, Route, RouteKey, RouteKind,
};

/// RT_SCOPE_HOST: local addresses; they answer even while their link is down.
const RT_SCOPE_HOST: u8 = 254;

/// Why the mirror may differ from the kernel; only a new dump tells.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Doubt {
    /// Messages were lost or made no sense.
    #[error("{0}")]
    Message(String),
    /// The kernel flushes and revives routes silently, possibly after it announced the change.
    #[error("interface {0} or its addresses changed, and the kernel's routes with them")]
    Interface(u32),
    /// The kernel copies the settings of new interfaces into others.
    #[error("the default settings of interfaces changed")]
    Settings,
    /// The time of a change came that the kernel does not announce.
    #[error("a route has ended or got its options, of which the kernel sends no word")]
    Silent,
    /// The kernel told the object's type in place of its routes'.
    #[error(
        "next-hop object {0} is no blackhole any more, and the types of its routes were not told"
    )]
    Kinds(u32),
    /// There may be another that is equal to it.
    #[error("the rule `{0}` was deleted, which was not known once")]
    Rule(Rule),
    /// A route was replaced in a way that kernels differ in.
    #[error("the routes to {} in table {} were replaced", .0.prefix, .0.table)]
    Replaced(RouteKey),
    /// A route was deleted that the mirror does not have.
    #[error("an unknown route to {} in table {} was deleted", .0.prefix, .0.table)]
    Unknown(RouteKey),
}

/// What happened to an interface, as far as its routes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Administratively down.
    Down,
    /// Its last IPv4 address went.
    LastAddress,
    /// Deleted, or moved to another network namespace.
    Gone,
    /// Without carrier, by families that do not use it then.
    Carrier { ipv4: bool, ipv6: bool },
    /// IPv6 ends there (disable_ipv6).
    Ipv6,
}

/// Silent changes that are looked for at one time.
const TOGETHER: Duration = Duration::from_millis(20);

impl Mirror {
    /// Adds an entry of a dump, in the dump's order.
    pub fn load(&mut self, event: Event) {
        match event {
            Event::RouteSet { key, route, .. } => {
                self.routes.edit(key, |list| {
                    lists::load(list, route, is_ipv6(&key));
                    Outcome::Changed
                });
            }
            // It has ended: a dump tells of no deletions.
            Event::RouteGone { key, .. } => {
                self.expired.insert(key);
            }
            event => drop(self.apply(event, &mut Changes::default())),
        }
    }

    /// Forgets what one dump loads.
    pub fn forget(&mut self, part: Part) {
        match part {
            Part::Links => self.links.clear(),
            Part::Addresses => self.addresses.clear(),
            Part::NextHops => {
                self.nexthops.clear();
                self.memberships.clear();
            }
            Part::Routes { ipv6 } => {
                self.routes.clear(ipv6);
                self.expired.retain(|key| is_ipv6(key) != ipv6);
            }
            Part::Rules { ipv6 } => self.rules.forget(ipv6),
            Part::Netconf { ipv6 } => self.netconf.retain(|(family, _), _| *family != ipv6),
            Part::Neighbours { ipv6 } => {
                let other = |address: &IpAddr| address.is_ipv6() != ipv6;
                self.neighbours.retain(|(_, address), _| other(address));
                self.neighbours_by_address
                    .retain(|(address, _)| other(address));
            }
        }
    }

    /// Follows one event and notes in `changes` what it touched. A doubt that is returned asks for
    /// a new dump; the tables stay the best guess until then.
    pub fn apply(&mut self, event: Event, changes: &mut Changes) -> Option<Doubt> {
        let doubt = self.begin(event, changes);
        self.finish(changes);
        doubt
    }

    /// As [`Mirror::apply`] for one of many events, after which [`Mirror::finish`] is due.
    pub fn begin(&mut self, event: Event, changes: &mut Changes) -> Option<Doubt> {
        self.sweep_before(&event, changes);
        self.follow(event, changes)
    }

    /// Prepares for a row of events: a matter of time only.
    pub fn warm(&self, events: &[Event]) {
        let keys = events.iter().filter_map(|event| match event {
            Event::RouteSet { key, .. } | Event::RouteGone { key, .. } => Some(*key),
            _ => None,
        });
        self.warm_keys(keys);
    }

    /// Prepares for a row of keys that are looked for.
    pub fn warm_keys(&self, keys: impl Iterator<Item = RouteKey>) {
        keys.for_each(|key| self.routes.warm(&key));
    }

    /// Ends a row of events: what several of them have in common is done once for all.
    pub fn finish(&mut self, changes: &mut Changes) {
        self.sweep(changes);
    }

    fn follow(&mut self, event: Event, changes: &mut Changes) -> Option<Doubt> {
        match event {
            Event::LinkSet(link) => self.link_set(link, changes),
            Event::LinkGone { index } => self.link_gone(index, changes),
            Event::AddressSet(address) => self.address_set(address, changes),
            Event::AddressGone(address) => self.address_gone(address, changes),
            Event::RouteSet { key, route, place } => self.route_set(key, route, place, changes),
            Event::RouteGone { key, route } => self.route_gone(key, &route, changes),
            Event::NextHopSet { id, object } => self.object_set(id, object, changes),
            Event::NextHopGone { id } => {
                self.nexthop_gone(id, changes);
                None
            }
            Event::NeighbourSet(neighbour) => {
                self.neighbour_set(neighbour, changes);
                None
            }
            Event::NeighbourGone { ifindex, address } => {
                if self.neighbours.remove(&(ifindex, address)).is_some() {
                    self.neighbours_by_address.remove(&(address, ifindex));
                    changes.neighbours.insert((ifindex, address));
                }
                None
            }
            Event::RuleSet(rule) => {
                changes.rules |= self.rules.insert(rule);
                None
            }
            Event::RuleGone(rule) => {
                let outcome = self.rules.remove(&rule);
                changes.rules |= outcome == Outcome::Changed;
                (outcome == Outcome::Doubtful).then_some(Doubt::Rule(rule))
            }
            Event::RulesAbsent { ipv6 } => {
                self.rules.assume_default(ipv6);
                None
            }
            Event::NetconfSet {
                ipv6,
                ifindex,
                values,
            } => self.netconf_set(ipv6, ifindex, values, changes),
            Event::NetconfGone { ipv6, ifindex } => {
                self.netconf.remove(&(ipv6, ifindex));
                changes.settings = true;
                None
            }
            Event::SilentChange { at, ends } => {
                self.ends.extend(ends);
                // Those that end together are found together.
                if self
                    .silent_changes
                    .range(at..at + TOGETHER)
                    .next()
                    .is_none()
                {
                    self.silent_changes.insert(at);
                }
                None
            }
            Event::Doubt { why } => Some(Doubt::Message(why)),
        }
    }

    fn link_set(&mut self, link: Link, changes: &mut Changes) -> Option<Doubt> {
        let index = link.index;
        let now = (link.up, link.carrier, link.mtu);
        let works = link.works();
        let old = self.links.insert(index, link);
        if old.as_ref() != self.links.get(&index) {
            changes.links.insert(index);
        }
        let old = old?;
        let mut in_doubt = (old.up, old.carrier, old.mtu) != now;
        if old.up && !now.0 {
            self.lose_routes(index, Loss::Down, changes);
        } else if !now.1 {
            // Whenever it is said: the kernel may flag the legs up to a second after its first word.
            let [ipv4, ipv6] = [false, true].map(|ipv6| self.ignores_linkdown(ipv6, index));
            if ipv4 || ipv6 {
                self.lose_routes(index, Loss::Carrier { ipv4, ipv6 }, changes);
                in_doubt = true;
            }
        }
        if old.works() && !works {
            self.lose_nexthops(index, changes);
        }
        in_doubt.then_some(Doubt::Interface(index))
    }

    fn link_gone(&mut self, index: u32, changes: &mut Changes) -> Option<Doubt> {
        self.links.remove(&index)?;
        changes.links.insert(index);
        let before = self.addresses.len();
        self.addresses.retain(|address| address.ifindex != index);
        changes.addresses |= self.addresses.len() != before;
        self.neighbours.retain(|&key, _| {
            if key.0 == index {
                changes.neighbours.insert(key);
            }
            key.0 != index
        });
        self.neighbours_by_address
            .retain(|&(_, ifindex)| ifindex != index);
        self.lose_nexthops(index, changes);
        self.lose_routes(index, Loss::Gone, changes);
        Some(Doubt::Interface(index))
    }

    /// The first IPv4 address of an interface revives its dead legs silently (fib_sync_up).
    fn address_set(&mut self, address: Address, changes: &mut Changes) -> Option<Doubt> {
        if !self.addresses.insert(address) {
            return None;
        }
        changes.addresses = true;
        self.doubt_dead_legs(address.ifindex)
    }

    /// The kernel may have revived dead legs of an interface.
    fn doubt_dead_legs(&self, ifindex: u32) -> Option<Doubt> {
        let is_dead = |route: &Route| {
            let mut paths = route.paths.iter();
            paths.any(|path| path.dead && path.ifindex == Some(ifindex))
        };
        let mut dead = self.routes.with(&is_dead);
        dead.next().map(|_| Doubt::Interface(ifindex))
    }

    fn address_gone(&mut self, address: Address, changes: &mut Changes) -> Option<Doubt> {
        if !self.addresses.remove(&address) {
            return None;
        }
        changes.addresses = true;
        let ifindex = address.ifindex;
        let is_ipv4 = |net: &ipnet::IpNet| net.addr().is_ipv4();
        let others = self
            .addresses
            .iter()
            .any(|a| a.ifindex == ifindex && is_ipv4(&a.address));
        if is_ipv4(&address.address) && !others {
            self.lose_routes(ifindex, Loss::LastAddress, changes);
        }
        Some(Doubt::Interface(ifindex))
    }

    fn route_set(
        &mut self,
        key: RouteKey,
        route: Route,
        place: Placement,
        changes: &mut Changes,
    ) -> Option<Doubt> {
        let set = if is_ipv6(&key) {
            lists::set6
        } else {
            lists::set4
        };
        let ipv6_began = multicast_of(&key, &route);
        let outcome = self.routes.edit(key, |list| set(list, route, place));
        if outcome != Outcome::Unchanged {
            changes.prefixes.insert(key.prefix);
        }
        match (outcome, ipv6_began) {
            (Outcome::Doubtful, _) => Some(Doubt::Replaced(key)),
            (Outcome::Changed, Some(ifindex)) => self.doubt_dead_legs(ifindex),
            _ => None,
        }
    }

    fn route_gone(&mut self, key: RouteKey, route: &Route, changes: &mut Changes) -> Option<Doubt> {
        let gone = if is_ipv6(&key) {
            lists::gone6
        } else {
            lists::gone4
        };
        let outcome = self.routes.edit(key, |list| gone(list, route));
        self.expired.remove(&key);
        if outcome == Outcome::Changed {
            changes.prefixes.insert(key.prefix);
            if self.ends.contains_key(&key) {
                if !self.routes.get(&key).is_empty() {
                    // The first leg's end was told, and now another may be the first.
                    return Some(Doubt::Silent);
                }
                self.ends.remove(&key);
            }
            if let Some(ifindex) = multicast_of(&key, route) {
                self.lose_routes(ifindex, Loss::Ipv6, changes);
                return Some(Doubt::Interface(ifindex));
            }
        }
        let lapsed = || self.routes.get(&key).iter().any(|route| route.lapsed);
        (outcome == Outcome::Doubtful).then(|| match lapsed() {
            true => Doubt::Silent,
            false => Doubt::Unknown(key),
        })
    }

    fn neighbour_set(&mut self, neighbour: Neighbour, changes: &mut Changes) {
        let key = (neighbour.ifindex, neighbour.address);
        if self.neighbours.insert(key, neighbour) != Some(neighbour) {
            self.neighbours_by_address
                .insert((neighbour.address, neighbour.ifindex));
            changes.neighbours.insert(key);
        }
    }

    /// The kernel's silent flush (fib_sync_down_dev, fib6_ifdown).
    fn lose_routes(&mut self, ifindex: u32, loss: Loss, changes: &mut Changes) {
        let leaves = |route: &Route| {
            let mut paths = route.paths.iter();
            paths.any(|path| path.ifindex == Some(ifindex))
        };
        let edit = |list: &mut Vec<Route>, ipv6| {
            let mut touched = false;
            list.retain_mut(|route| {
                if !leaves(route) {
                    return true;
                }
                let (keep, changed) = survives(route, ifindex, loss, ipv6);
                touched |= changed;
                keep
            });
            touched
        };
        changes.add_prefixes(self.routes.edit_all(leaves, edit));
    }
}

fn is_ipv6(key: &RouteKey) -> bool {
    key.prefix.addr().is_ipv6()
}

/// The interface of which a route is the kernel's own for multicast: it comes and goes with IPv6 there,
/// which is all that the kernel says of disable_ipv6 (addrconf_ifdown, addrconf_add_mroute).
fn multicast_of(key: &RouteKey, route: &Route) -> Option<u32> {
    const RT_TABLE_LOCAL: u32 = 255;
    const RTPROT_KERNEL: u8 = 2;
    const MULTICAST: IpNet = IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0),
        8,
    ));
    let is_own = key.table == RT_TABLE_LOCAL && route.protocol == RTPROT_KERNEL;
    match route.paths[..] {
        [path] if is_own && key.prefix == MULTICAST => path.ifindex,
        _ => None,
    }
}

/// Whether a route with a leg on the interface stays, and whether it changed.
fn survives(route: &mut Route, ifindex: u32, loss: Loss, ipv6: bool) -> (bool, bool) {
    match (ipv6, loss) {
        // Its legs stay and are dead until the carrier is back.
        (_, Loss::Carrier { ipv4, ipv6: six }) => {
            let ignored = if ipv6 { six } else { ipv4 };
            // fib_sync_down_dev, fib6_ifdown
            let exempt = match route.kind {
                RouteKind::Local => true,
                RouteKind::Anycast => ipv6,
                _ => false,
            };
            (true, ignored && !exempt && mark_dead(route, ifindex))
        }
        (true, Loss::LastAddress) | (false, Loss::Ipv6) => (true, false),
        // A single IPv6 route's DELROUTE follows.
        (true, Loss::Down | Loss::Ipv6) if route.paths.len() < 2 => (true, false),
        (true, Loss::Down | Loss::Ipv6) => (true, mark_dead(route, ifindex)),
        (true, Loss::Gone) => {
            route.paths.retain(|path| path.ifindex != Some(ifindex));
            if let [last] = route.paths.as_mut_slice() {
                last.weight = 1;
            }
            (!route.paths.is_empty(), true)
        }
        (false, Loss::Gone) => (false, true),
        (false, Loss::Down) if route.scope == RT_SCOPE_HOST => (true, false),
        (false, Loss::Down | Loss::LastAddress) => {
            let changed = mark_dead(route, ifindex);
            let alive = route.paths.iter().any(|path| !path.dead);
            (alive, changed || !alive)
        }
    }
}

fn mark_dead(route: &mut Route, ifindex: u32) -> bool {
    let mut changed = false;
    for path in &mut route.paths {
        if path.ifindex == Some(ifindex) && !path.dead {
            path.dead = true;
            changed = true;
        }
    }
    changed
}
