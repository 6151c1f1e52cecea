//! The forwarding tables: longest-prefix match, next-hop groups, adjacencies, and the world that
//! publishes them together.
//!
//! A lookup goes address -> [`GroupId`] ([`Fib`]) -> [`Group`] -> [`AdjacencyId`] -> [`Adjacency`].
//! A neighbour's new MAC touches one adjacency, a route's new next hop one leaf or one group.

mod adjacency;
mod group;
mod locals;
mod trie;
mod world;

pub use adjacency::{Adjacency, AdjacencyId, Rewrite};
pub use group::{Action, Buckets, Group, GroupId};
pub use locals::AddressSet;
pub use trie::{Address, Fib, Table};
pub use world::{HashFields, HashPolicy, Interface, Interfaces, Publisher, ReversePath, World};
