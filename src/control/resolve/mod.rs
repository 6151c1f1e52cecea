//! Mirror -> forwarding state: which group every prefix leads to, and where each next hop is.
//!
//! A [`Resolver`] is fed the mirror with what changed in it ([`Changes`]) and edits its tables by
//! just that; [`Resolver::world`] is the snapshot to publish. It does no I/O: everything it knows
//! comes through [`Resolver::apply`], [`Resolver::set_port`] and [`Resolver::set_hash_policy`].
//!
//! A neighbour on a connected prefix gets a host route of its own in the FIB, so that the fast path
//! finds it by the one lookup; [`Resolver::route`] still answers with the kernel's prefix.

mod answer;
mod choice;
mod neighbours;
mod placed;
mod route;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use arrayvec::ArrayVec;
use ipnet::{IpNet, Ipv4Net};
use prefix_trie::PrefixSet;

pub use self::answer::{Answer, AnswerLeg};
use self::choice::{Hidden, Prefixes};
pub use self::neighbours::UsedNeighbour;
use self::placed::Placed;
use self::route::OnLink;
use self::tables::{Adjacencies, Groups, NextHop, Spec, SpecAction};
use super::mirror::{Changes, Mirror, Route, RouteKey};
use crate::shared::fib::{
    AddressSet, Adjacency, Exhausted, Fib, GroupId, HashPolicy, Interface, Interfaces, KernelOnly,
    ReversePath, Rewrite, Table, WARM, World,
};
use crate::shared::mac::MacAddr;
use crate::shared::port::PortId;

/// A port as the resolver needs to know it; the rest comes from the mirror's link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortFacts {
    /// The TAP's.
    pub ifindex: u32,
    /// net.ipv4.conf.X.forwarding
    pub forward_ipv4: bool,
    /// net.ipv6.conf.all.forwarding, or force_forwarding of X.
    pub forward_ipv6: bool,
    /// rp_filter in force.
    pub reverse_path: ReversePath,
}

/// Ports by the ifindex of their TAP.
type Ports = HashMap<u32, (PortId, PortFacts)>;

/// The forwarding state in the making.
#[derive(Debug, Default)]
pub struct Resolver {
    fib4: Placed<u32>,
    fib6: Placed<u128>,
    /// Prefixes whose every address is a neighbour.
    connected: BTreeMap<IpNet, OnLink>,
    /// Prefixes that the local table has a route for.
    local: Prefixes,
    groups: Groups,
    adjacencies: Adjacencies,
    ports: Ports,
    interfaces: Arc<Interfaces>,
    locals: Arc<AddressSet>,
    hash: HashPolicy,
    kernel_only: KernelOnly,
    /// Prefixes that the table which IPv4 asks last has a route for.
    last4: PrefixSet<Ipv4Net>,
    /// Interfaces that were up when routes were last chosen.
    up: HashSet<u32>,
}

impl Resolver {
    /// A resolver whose forwarding tables take at most `mib` MiB each.
    pub fn with_fib_memory(mib: u16) -> Resolver {
        let words = (usize::from(mib) << 20) / size_of::<u32>();
        Resolver {
            fib4: Placed::with(Table::with_limit(words)),
            fib6: Placed::with(Table::with_limit(words)),
            ..Resolver::default()
        }
    }

    /// The snapshot of everything resolved so far. After an error the next call tries again, and
    /// [`Self::partial_world`] has what fits.
    pub fn world(&mut self) -> Result<World, Exhausted> {
        let fibs = (self.fib4.commit()?, self.fib6.commit()?);
        self.groups.settle();
        self.adjacencies.settle();
        Ok(self.with(fibs))
    }

    /// As [`Self::world`], with the last table that fitted in place of a family's that does not
    /// fit: what that leads to is not given to anything else meanwhile.
    pub fn partial_world(&mut self) -> World {
        let fibs = (self.fib4.latest(), self.fib6.latest());
        self.with(fibs)
    }

    fn with(&self, (ipv4, ipv6): (Fib<u32>, Fib<u128>)) -> World {
        World {
            ipv4,
            ipv6,
            groups: self.groups.snapshot(),
            adjacencies: self.adjacencies.snapshot(),
            interfaces: Arc::clone(&self.interfaces),
            locals: Arc::clone(&self.locals),
            hash: self.hash,
            kernel_only: self.kernel_only,
        }
    }

    /// Sets what the flow hash covers; true when that is news.
    pub fn set_hash_policy(&mut self, policy: HashPolicy) -> bool {
        std::mem::replace(&mut self.hash, policy) != policy
    }

    /// Adds a port or changes its facts.
    pub fn set_port(&mut self, port: PortId, facts: PortFacts, mirror: &Mirror) {
        let known = self.ports.insert(facts.ifindex, (port, facts));
        if let Some((old, _)) = known.filter(|(old, _)| *old != port) {
            Arc::make_mut(&mut self.interfaces).set(old, None);
        }
        self.refresh_interface(port, facts.ifindex, mirror);
        if known.is_none_or(|(old, _)| old != port) {
            self.refresh_link(facts.ifindex, mirror);
            self.replace_hosts(facts.ifindex, mirror);
        }
    }

    /// Forgets a port: what left by it is for the kernel to forward now.
    pub fn remove_port(&mut self, ifindex: u32, mirror: &Mirror) {
        if let Some((port, _)) = self.ports.remove(&ifindex) {
            Arc::make_mut(&mut self.interfaces).set(port, None);
            self.refresh_link(ifindex, mirror);
            self.replace_hosts(ifindex, mirror);
        }
    }

    /// Whether packets may still leave by a port that is gone: a table that does not follow, since
    /// what came after it did not fit, may lead there.
    pub fn leads_to(&self, port: PortId) -> bool {
        self.adjacencies.resting_behind(port)
    }

    /// Follows the mirror: `changes` says where to look.
    pub fn apply(&mut self, mirror: &Mirror, changes: &Changes) {
        if changes.everything || changes.rules {
            self.kernel_only = KernelOnly {
                ipv4: !mirror.rules().are_default(false),
                ipv6: !mirror.rules().are_default(true),
            };
        }
        if changes.everything {
            return self.apply_everything(mirror);
        }
        let mut flipped = HashSet::new();
        for ifindex in &changes.links {
            if self.follow_link(*ifindex, mirror) {
                flipped.insert(*ifindex);
            }
        }
        let objects = match flipped.is_empty() {
            true => changes.nexthops.clone(),
            false => self.groups.objects(),
        };
        for id in objects {
            self.follow_nexthop(id, mirror);
        }
        let behind = prefixes_behind(&flipped, mirror);
        let prefixes: Vec<IpNet> = changes.prefixes.union(&behind).copied().collect();
        let mut hidden = Hidden::default();
        for some in prefixes.chunks(WARM) {
            self.warm(some);
            warm_mirror(mirror, route::MAIN, some);
            for prefix in some {
                self.follow_prefix(*prefix, mirror, &mut hidden);
            }
        }
        self.choose_hidden(&hidden, mirror);
        for (ifindex, address) in &changes.neighbours {
            self.follow_neighbour(*ifindex, *address, mirror);
        }
        if changes.addresses {
            self.refresh_locals(mirror);
        }
    }

    /// Prepares the tables for changes at these prefixes.
    fn warm(&self, prefixes: &[IpNet]) {
        let ipv4 = prefixes.iter().filter_map(|prefix| match prefix {
            IpNet::V4(net) => Some(u32::from(net.addr())),
            IpNet::V6(_) => None,
        });
        let ipv6 = prefixes.iter().filter_map(|prefix| match prefix {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some(u128::from(net.addr())),
        });
        self.fib4.warm(&ipv4.collect::<ArrayVec<_, WARM>>());
        self.fib6.warm(&ipv6.collect::<ArrayVec<_, WARM>>());
    }

    /// Looks at all that the mirror has; it had nothing before.
    fn apply_everything(&mut self, mirror: &Mirror) {
        for link in mirror.links() {
            self.follow_link(link.index, mirror);
        }
        for prefix in mirror.sorted_prefixes(route::LOCAL) {
            self.follow_local(prefix, mirror);
        }
        for prefix in mirror.sorted_prefixes(route::DEFAULT) {
            self.follow_last(prefix, mirror);
        }
        for table in [route::LOCAL, route::MAIN, route::DEFAULT] {
            let mut prefixes = mirror.sorted_prefixes(table);
            loop {
                let some: ArrayVec<IpNet, WARM> = prefixes.by_ref().take(WARM).collect();
                if some.is_empty() {
                    break;
                }
                warm_mirror(mirror, table, &some);
                for prefix in some {
                    self.choose(prefix, mirror);
                }
            }
        }
        for neighbour in mirror.neighbours() {
            self.place_host(neighbour.address, mirror);
        }
        self.refresh_locals(mirror);
    }

    /// Kernel routes in the tables: (IPv4, IPv6).
    pub fn route_counts(&self) -> (usize, usize) {
        (self.fib4.routes(), self.fib6.routes())
    }

    /// Groups and adjacencies in use.
    pub fn next_hop_counts(&self) -> (usize, usize) {
        (self.groups.in_use(), self.adjacencies.in_use())
    }

    /// Groups that have more legs than the fast path spreads over: the kernel forwards by them.
    pub fn oversized_groups(&self) -> usize {
        self.groups.oversized()
    }

    /// Follows a link's MAC, MTU and state; true when it came up, went down or vanished, which
    /// changes the choice among routes.
    fn follow_link(&mut self, ifindex: u32, mirror: &Mirror) -> bool {
        let up = mirror.link(ifindex).is_some_and(|link| link.up);
        let flipped = match up {
            true => self.up.insert(ifindex),
            false => self.up.remove(&ifindex),
        };
        if let Some((port, _)) = self.ports.get(&ifindex) {
            self.refresh_interface(*port, ifindex, mirror);
        }
        self.refresh_link(ifindex, mirror);
        flipped
    }

    fn refresh_interface(&mut self, port: PortId, ifindex: u32, mirror: &Mirror) {
        let Some((_, facts)) = self.ports.get(&ifindex) else {
            return;
        };
        let interface = mirror.link(ifindex).map(|link| Interface {
            mac: link.mac.unwrap_or_default(),
            up: link.up,
            forward_ipv4: facts.forward_ipv4,
            forward_ipv6: facts.forward_ipv6,
            reverse_path: facts.reverse_path,
        });
        if self.interfaces.get(port) != interface.as_ref() {
            Arc::make_mut(&mut self.interfaces).set(port, interface);
        }
    }

    /// Recomputes the adjacencies behind an interface.
    fn refresh_link(&mut self, ifindex: u32, mirror: &Mirror) {
        for next_hop in self.adjacencies.behind(ifindex) {
            let value = adjacency(next_hop, &self.ports, mirror);
            self.adjacencies.set(next_hop, value);
        }
    }

    /// Looks again at the host routes of an interface's neighbours.
    fn replace_hosts(&mut self, ifindex: u32, mirror: &Mirror) {
        let behind = mirror
            .neighbours()
            .filter(|neighbour| neighbour.ifindex == ifindex);
        let addresses: Vec<IpAddr> = behind.map(|neighbour| neighbour.address).collect();
        addresses
            .into_iter()
            .for_each(|address| self.place_host(address, mirror));
    }

    fn refresh_locals(&mut self, mirror: &Mirror) {
        let own = mirror
            .addresses()
            .iter()
            .filter_map(|address| match address.address {
                IpNet::V4(net) => Some(u32::from(net.addr())),
                IpNet::V6(_) => None,
            });
        let locals: AddressSet = own.collect();
        if *self.locals != locals {
            self.locals = Arc::new(locals);
        }
    }

    /// Follows a next-hop object: its groups change, the routes through it do not, unless their
    /// destinations become neighbours by that, or no longer are.
    fn follow_nexthop(&mut self, id: u32, mirror: &Mirror) {
        let does = route::object(id, mirror);
        let mut on_link_changed = false;
        for group in self.groups.outdated(id, &does) {
            let (adjacencies, ports) = (&mut self.adjacencies, &self.ports);
            let did = self.groups.update(group, does.clone(), |next_hop| {
                adjacencies.acquire(next_hop, || adjacency(next_hop, ports, mirror))
            });
            if let Some(did) = did {
                on_link_changed |= did.on_link() != does.on_link();
                self.release_legs(&did);
            }
        }
        if on_link_changed {
            let through = mirror.routes_with(&|route| route.nexthop_id == Some(id));
            through.for_each(|key| self.choose(key.prefix, mirror));
        }
    }

    /// Follows a neighbour: its adjacencies, if it has any, and its host route.
    fn follow_neighbour(&mut self, ifindex: u32, address: IpAddr, mirror: &Mirror) {
        for next_hop in [
            NextHop::Gateway { ifindex, address },
            NextHop::Host { ifindex, address },
        ] {
            if self.adjacencies.contains(next_hop) {
                let value = adjacency(next_hop, &self.ports, mirror);
                self.adjacencies.set(next_hop, value);
            }
        }
        self.place_host(address, mirror);
    }

    /// Gives a neighbour on a connected prefix its host route, or takes it away.
    fn place_host(&mut self, address: IpAddr, mirror: &Mirror) {
        // Link-local destinations never reach the lookup: the kernel has them.
        if let IpAddr::V6(address) = address
            && address.is_unicast_link_local()
        {
            return;
        }
        let longest = self.longest(address, mirror);
        let behind = longest.and_then(|(prefix, _)| self.connected.get(&prefix).copied());
        let resolved = behind.filter(|OnLink { ifindex, .. }| {
            self.ports.contains_key(ifindex) && neighbour_mac(*ifindex, address, mirror).is_some()
        });
        let group = resolved.map(|OnLink { ifindex, mtu }| {
            let next_hop = NextHop::Host { ifindex, address };
            self.acquire(Spec::to(next_hop, mtu), mirror)
        });
        let old = match address {
            IpAddr::V4(address) => self.fib4.set_host(u32::from(address), group),
            IpAddr::V6(address) => self.fib6.set_host(u128::from(address), group),
        };
        if let Some(old) = old {
            self.release(old);
        }
    }

    fn acquire(&mut self, spec: Spec, mirror: &Mirror) -> GroupId {
        if let Some(group) = self.groups.share(&spec) {
            return group;
        }
        let does = match &spec.action {
            SpecAction::Object(id) => route::object(*id, mirror),
            action => action.clone(),
        };
        let (adjacencies, ports) = (&mut self.adjacencies, &self.ports);
        self.groups.add(spec, does, |next_hop| {
            adjacencies.acquire(next_hop, || adjacency(next_hop, ports, mirror))
        })
    }

    fn release(&mut self, group: GroupId) {
        if let Some(did) = self.groups.release(group) {
            self.release_legs(&did);
        }
    }

    fn release_legs(&mut self, did: &SpecAction) {
        for (next_hop, _) in did.legs() {
            self.adjacencies.release(*next_hop);
        }
    }
}

fn warm_mirror(mirror: &Mirror, table: u32, prefixes: &[IpNet]) {
    let keys = prefixes.iter().map(|prefix| RouteKey {
        table,
        prefix: *prefix,
    });
    mirror.warm_keys(keys);
}

/// The prefixes that have a route by one of the interfaces.
fn prefixes_behind(interfaces: &HashSet<u32>, mirror: &Mirror) -> BTreeSet<IpNet> {
    if interfaces.is_empty() {
        return BTreeSet::new();
    }
    let leaves = |route: &Route| {
        let mut outputs = route.paths.iter().filter_map(|path| path.ifindex);
        outputs.any(|ifindex| interfaces.contains(&ifindex))
    };
    let keys = mirror.routes_with(&leaves);
    keys.map(|key| key.prefix).collect()
}

/// What a next hop is at this moment.
fn adjacency(next_hop: NextHop, ports: &Ports, mirror: &Mirror) -> Adjacency {
    let ifindex = next_hop.ifindex();
    let Some((port, _)) = ports.get(&ifindex) else {
        return Adjacency::Foreign;
    };
    let Some(address) = next_hop.address() else {
        return Adjacency::Connected(*port);
    };
    let unresolved = Adjacency::Unresolved(*port);
    let Some(link) = mirror.link(ifindex) else {
        return unresolved;
    };
    let Some((source, destination)) = link.mac.zip(neighbour_mac(ifindex, address, mirror)) else {
        return unresolved;
    };
    let mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);
    Adjacency::Resolved(Rewrite {
        port: *port,
        destination,
        source,
        mtu,
    })
}

/// The MAC that the kernel would send to.
fn neighbour_mac(ifindex: u32, address: IpAddr, mirror: &Mirror) -> Option<MacAddr> {
    let neighbour = mirror.neighbour(ifindex, address)?;
    neighbour.mac.filter(|_| neighbour.state.is_valid())
}
