//! The kernel's state as the kernel tells it: links, addresses, routes, neighbours. Nothing here is
//! derived; `resolve` reads these tables and compiles them.
//!
//! Tables are keyed as the kernel keys them: links by ifindex, routes by (table, prefix) with the
//! kernel's ordered list behind each key, neighbours by (ifindex, address).

mod types;

pub use types::{
    Address, Changes, Event, Link, Neighbour, NeighbourState, Path, Route, RouteKey, RouteKind,
};
