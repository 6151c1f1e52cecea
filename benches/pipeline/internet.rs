//! The worlds that the pipeline is measured in.

use std::sync::Arc;

use ixmap::shared::fib::{
    Action, Adjacency, AdjacencyId, Buckets, Group, HashFields, HashPolicy, Rewrite, World,
};
use ixmap::shared::port::PortId;
use ixmap::shared::reason::PuntReason;
use ixmap_tables::{Address, Route, SEED, Stream, data};

use crate::world::{furnish, load, neighbour};
use crate::{FRAMES, LOCAL};

/// Both tables, and destinations drawn uniformly from their prefixes.
#[derive(Clone)]
pub(crate) struct Internet {
    pub(crate) world: Arc<World>,
    pub(crate) ipv4: Vec<u32>,
    pub(crate) ipv6: Vec<u128>,
    pub(crate) ingress: PortId,
    pub(crate) egress: Vec<PortId>,
}

impl Internet {
    pub(crate) fn load() -> Internet {
        let mut routes: Vec<Route<u32>> = data::table().unwrap();
        let ipv4 = destinations(&routes);
        let ipv6_routes: Vec<Route<u128>> = data::table().unwrap();
        let ids = routes.iter().map(|route| route.id);
        let largest = ids
            .chain(ipv6_routes.iter().map(|route| route.id))
            .max()
            .unwrap();
        routes.push(Route {
            prefix: u32::from_be_bytes(LOCAL),
            len: 32,
            id: largest + 1,
        });
        let world = World {
            ipv4: load(&routes).unwrap(),
            ipv6: load(&ipv6_routes).unwrap(),
            ..World::default()
        };
        let [ingress, egress] = [0, 1].map(|slot| PortId::new(slot).unwrap());
        let world = furnish(world, largest, ingress, egress, neighbour);
        let local = Group {
            action: Action::Punt(PuntReason::Local),
            mtu: u16::MAX,
        };
        let groups = world.groups.iter().cloned().chain([local]).collect();
        Internet {
            world: Arc::new(World {
                groups: Arc::new(groups),
                ..world
            }),
            ipv4,
            ipv6: destinations(&ipv6_routes),
            ingress,
            egress: vec![egress],
        }
    }

    /// The same, but that next hops are behind so many ports, in turn.
    pub(crate) fn with_ports(&self, count: usize) -> Internet {
        let ports = (1..=count).map(|slot| PortId::new(slot).unwrap());
        let ports: Vec<PortId> = ports.collect();
        let behind = |(adjacency, port): (&Adjacency, &PortId)| match adjacency {
            Adjacency::Resolved(rewrite) => Adjacency::Resolved(Rewrite {
                port: *port,
                ..*rewrite
            }),
            other => *other,
        };
        let adjacencies = self.world.adjacencies.iter().zip(ports.iter().cycle());
        Internet {
            world: Arc::new(World {
                adjacencies: Arc::new(adjacencies.map(behind).collect()),
                ..World::clone(&self.world)
            }),
            egress: ports,
            ..self.clone()
        }
    }

    /// The same, but that every group with a next hop has so many of them.
    pub(crate) fn with_legs(&self, count: u32) -> Internet {
        let next_hops = u32::try_from(self.world.adjacencies.iter().count()).unwrap();
        let spread = |group: &Group| match &group.action {
            Action::Forward(first) if count > 1 => {
                let leg = |n| AdjacencyId::new((first.number() + n) % next_hops);
                let legs: Vec<(AdjacencyId, u16)> = (0..count).map(|n| (leg(n), 1)).collect();
                Group {
                    action: Action::Spread(Buckets::new(&legs).unwrap()),
                    mtu: group.mtu,
                }
            }
            _ => group.clone(),
        };
        Internet {
            world: Arc::new(World {
                groups: Arc::new(self.world.groups.iter().map(spread).collect()),
                hash: HashPolicy {
                    ipv4: HashFields::FiveTuple,
                    ..HashPolicy::default()
                },
                ..World::clone(&self.world)
            }),
            ..self.clone()
        }
    }
}

fn destinations<A: Address>(routes: &[Route<A>]) -> Vec<A> {
    let mut addresses = Stream::UniformPrefix.addresses(routes, SEED);
    addresses.truncate(FRAMES);
    addresses
}
