//! One consistent forwarding state, and how it is published.
//!
//! Control builds a [`World`], [`Publisher::publish`] swaps it in, and each worker loads it once a
//! burst. Parts that did not change are shared with the world before. A worker never frees one:
//! the publisher keeps every world it replaced until nobody else holds it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::locals::AddressSet;
use super::{Action, Adjacency, AdjacencyId, Fib, Group, GroupId, PackedTable};
use crate::shared::mac::MacAddr;
use crate::shared::port::{MAX_PORTS, PortId};
use crate::shared::reason::PuntReason;

/// Everything that forwarding a packet depends on.
#[derive(Clone, Debug)]
pub struct World {
    pub ipv4: Fib<u32>,
    pub ipv6: Fib<u128>,
    pub groups: Arc<PackedTable<Group>>,
    pub adjacencies: Arc<PackedTable<Adjacency>>,
    pub interfaces: Arc<Interfaces>,
    /// The router's IPv4 addresses, which nobody else may send from.
    pub locals: Arc<AddressSet>,
    pub hash: HashPolicy,
    pub kernel_only: KernelOnly,
}

impl Default for World {
    /// A router without interfaces and routes.
    fn default() -> Self {
        let no_route = Group {
            action: Action::Punt(PuntReason::NoRoute),
            mtu: u16::MAX,
        };
        World {
            ipv4: Fib::default(),
            ipv6: Fib::default(),
            groups: Arc::new([no_route].into_iter().collect()),
            adjacencies: Arc::default(),
            interfaces: Arc::default(),
            locals: Arc::default(),
            hash: HashPolicy::default(),
            kernel_only: KernelOnly::default(),
        }
    }
}

impl World {
    /// The group behind an id; an id that no slot has counts as no route.
    #[inline]
    pub fn group(&self, id: GroupId) -> &Group {
        self.groups.get(id.index()).unwrap_or(&NO_ROUTE)
    }

    /// The adjacency behind an id; an id that no slot has is left to the kernel.
    #[inline]
    pub fn adjacency(&self, id: AdjacencyId) -> Adjacency {
        self.adjacencies
            .get(id.index())
            .copied()
            .unwrap_or(Adjacency::Foreign)
    }
}

static NO_ROUTE: Group = Group {
    action: Action::Punt(PuntReason::NoRoute),
    mtu: u16::MAX,
};

/// The layer 3 side of each port, by [`PortId`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interfaces([Option<Interface>; MAX_PORTS]);

impl Default for Interfaces {
    fn default() -> Self {
        Interfaces([None; MAX_PORTS])
    }
}

impl Interfaces {
    #[inline]
    pub fn get(&self, port: PortId) -> Option<&Interface> {
        self.0[port.index()].as_ref()
    }

    pub fn set(&mut self, port: PortId, interface: Option<Interface>) {
        self.0[port.index()] = interface;
    }
}

/// What the kernel says about a port's TAP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interface {
    pub mac: MacAddr,
    /// Administratively up.
    pub up: bool,
    /// net.ipv4.conf.X.forwarding
    pub forward_ipv4: bool,
    /// net.ipv6.conf.all.forwarding, or force_forwarding of X.
    pub forward_ipv6: bool,
    /// net.ipv4.conf.{all,X}.rp_filter, the larger of the two.
    pub reverse_path: ReversePath,
}

/// rp_filter: RFC 3704.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReversePath {
    #[default]
    Off,
    /// The best route back leaves by the receiving interface.
    Strict,
    /// Some route back exists.
    Loose,
}

/// Families that only the kernel forwards, since its rules (ip-rule(8)) say more than one lookup by
/// destination does: of their traffic nothing but what is for the router itself is told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KernelOnly {
    pub ipv4: bool,
    pub ipv6: bool,
}

/// net.{ipv4,ipv6}.fib_multipath_hash_policy, per family.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HashPolicy {
    pub ipv4: HashFields,
    pub ipv6: HashFields,
    /// net.ipv4.fib_multipath_hash_seed, for both families; a router's own where that is 0.
    pub seed: u32,
}

/// What the flow hash covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HashFields {
    /// Policy 0: addresses; IPv6 with flow label.
    #[default]
    Addresses,
    /// Policy 1: the 5-tuple; fragments by addresses.
    FiveTuple,
}

/// Swaps worlds in and keeps the old ones until the workers have let go of them.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<World>>,
    retired: Vec<Arc<World>>,
}

impl Default for Publisher {
    fn default() -> Self {
        Publisher {
            current: Arc::new(ArcSwap::from_pointee(World::default())),
            retired: Vec::new(),
        }
    }
}

impl Publisher {
    /// What workers load from.
    pub fn current(&self) -> Arc<ArcSwap<World>> {
        Arc::clone(&self.current)
    }

    /// Makes `world` the one that workers see from their next burst on, and frees the worlds that
    /// no worker sees any more.
    pub fn publish(&mut self, world: World) {
        let old = self.current.swap(Arc::new(world));
        self.retired.push(old);
        self.sweep();
    }

    /// Frees the worlds that no worker sees any more; returns how many are still waited for.
    pub fn sweep(&mut self) -> usize {
        // Nobody can gain a reference to a world that is no longer current, so a count of one stays.
        self.retired.retain(|world| Arc::strong_count(world) > 1);
        self.retired.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_lives_until_the_last_reader_lets_go_and_dies_with_the_publisher() {
        let mut publisher = Publisher::default();
        let current = publisher.current();
        let reader = current.load_full();
        let watch = Arc::downgrade(&reader);
        publisher.publish(World::default());
        assert_eq!(publisher.sweep(), 1, "still read");
        drop(reader);
        assert!(watch.upgrade().is_some(), "a reader never frees");
        assert_eq!(publisher.sweep(), 0);
        assert!(watch.upgrade().is_none());
    }

    #[test]
    fn readers_see_whole_worlds_only() {
        let mut publisher = Publisher::default();
        let current = publisher.current();
        let reader = std::thread::spawn(move || {
            let mut cache = arc_swap::Cache::new(current);
            let mut seen = 0;
            for _ in 0..100_000 {
                let world = cache.load();
                let (routes, groups) = (world.ipv4.routes(), world.groups.len());
                assert_eq!(routes + 1, groups, "routes and groups of different worlds");
                seen = seen.max(routes);
            }
            seen
        });
        let mut table = super::super::Table::default();
        let mut groups = vec![NO_ROUTE.clone()];
        for n in 1..200u32 {
            table.insert(n << 8, 24, GroupId::new(n));
            groups.push(NO_ROUTE.clone());
            let world = World {
                ipv4: table.commit().unwrap(),
                groups: Arc::new(groups.iter().cloned().collect()),
                ..World::default()
            };
            publisher.publish(world);
        }
        assert!(reader.join().unwrap() < 200);
        assert_eq!(publisher.sweep(), 0, "all readers are gone");
    }
}
