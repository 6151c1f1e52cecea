//! The forwarding tables: longest-prefix match, next-hop groups, adjacencies, and the world that
//! publishes them together.
//!
//! A lookup goes address -> [`GroupId`] ([`Fib`]) -> [`Group`] -> [`AdjacencyId`] -> [`Adjacency`].
//! A neighbour's new MAC touches one adjacency, a route's new next hop one leaf or one group.
//!
//! The match: control keeps prefixes in a [`rib`](self::rib), compiles what changed into blocks of
//! the [`arena`](self::arena) ([`lpm4`](self::lpm4), [`lpm6`](self::lpm6)), and commits a root; blocks
//! that no root reaches any more are used again ([`store`](self::store)).

mod address;
mod adjacency;
mod arena;
mod compile;
#[cfg(target_arch = "x86_64")]
mod fetch;
mod group;
mod locals;
mod lpm4;
mod lpm6;
mod packed;
mod path;
mod rib;
mod root;
mod runs;
mod store;
mod table;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vector;
mod world;

pub use address::Address;
pub use adjacency::{Adjacency, AdjacencyId, Exit, Rewrite};
pub use compile::Lpm;
pub use group::{Action, Buckets, Group, GroupId, Way};
pub use locals::AddressSet;
pub use packed::{Pack, PackedTable};
pub use path::{Path, Vectored};
pub use rib::WARM;
pub use table::{Exhausted, Fib, Table};
pub use world::{
    HashFields, HashPolicy, Interface, Interfaces, KernelOnly, Publisher, ReversePath, World,
};
