//! The world that packets are forwarded in: the routes of a table, two ports, and next hops behind
//! the second of them.

use std::sync::Arc;

use ixmap::shared::fib::{
    Action, Adjacency, AdjacencyId, Exhausted, Fib, Group, GroupId, Interface, Interfaces, Lpm,
    ReversePath, Rewrite, Table, World,
};
use ixmap::shared::mac::MacAddr;
use ixmap::shared::port::PortId;
use ixmap_tables::Route;

use crate::packet::OWN;

/// Next hops that the routes share: a router has few neighbours.
const NEIGHBOURS: u8 = 255;
/// The MAC of the port that packets leave by.
pub(crate) const FAR: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The router's own addresses, which no packet may claim to come from.
const LOCALS: [[u8; 4]; 4] = [
    [192, 0, 2, 1],
    [192, 0, 2, 255],
    [198, 51, 100, 1],
    [198, 51, 100, 255],
];

/// Group 0 is where addresses without a route lead.
pub(crate) fn load<A: Lpm>(routes: &[Route<A>]) -> Result<Fib<A>, Exhausted> {
    let mut table = Table::default();
    for route in routes {
        table.insert(route.prefix, route.len, GroupId::new(route.id + 1));
    }
    table.commit()
}

/// The MAC of the neighbour that routes with this id lead to.
pub(crate) fn neighbour(id: u32) -> [u8; 6] {
    let [.., low] = (id % u32::from(NEIGHBOURS)).to_be_bytes();
    [2, 0, 0, 0, 1, low]
}

/// Adds ports and next hops: all routes, with ids up to `largest`, lead out by `egress`, to the
/// neighbours that `mac` tells of.
pub(crate) fn furnish(
    world: World,
    largest: u32,
    ingress: PortId,
    egress: PortId,
    mac: impl Fn(u32) -> [u8; 6],
) -> World {
    let adjacency = |id| {
        Adjacency::Resolved(Rewrite {
            port: egress,
            destination: MacAddr(mac(id)),
            source: MacAddr(FAR),
            mtu: 1500,
        })
    };
    let groups = (0..=largest).map(|id| Group {
        action: Action::Forward(AdjacencyId::new(id % u32::from(NEIGHBOURS))),
        mtu: u16::MAX,
    });
    let groups = world.groups.iter().cloned().chain(groups).collect();
    let mut interfaces = Interfaces::default();
    for (port, mac) in [(ingress, OWN), (egress, FAR)] {
        let interface = Interface {
            mac: MacAddr(mac),
            up: true,
            forward_ipv4: true,
            forward_ipv6: true,
            reverse_path: ReversePath::Off,
        };
        interfaces.set(port, Some(interface));
    }
    World {
        groups: Arc::new(groups),
        adjacencies: Arc::new((0..u32::from(NEIGHBOURS)).map(adjacency).collect()),
        interfaces: Arc::new(interfaces),
        locals: Arc::new(LOCALS.into_iter().map(u32::from_be_bytes).collect()),
        ..world
    }
}
