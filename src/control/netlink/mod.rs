//! The kernel's voice: rtnetlink sockets, messages, dumps, and the loop that keeps the mirror true.
//!
//! `monitor` hears what changes, `dump` asks for what is there, `decode` turns both into
//! [`Event`](crate::control::mirror::Event)s, and `sync` ties them into one stream of changes.
//! `neighbours` is the one place that asks the kernel to do something.

mod attributes;
mod audit;
mod decode;
mod dump;
mod expiry;
mod lifetimes;
mod message;
mod monitor;
mod neighbours;
mod netconf;
mod nexthop;
mod route;
mod rule;
mod schedule;
mod socket;
mod sync;
mod unknown;

pub use decode::decode;
pub use dump::{Dump, Dumper, dump};
pub use message::{Message, Messages};
pub use monitor::{Monitor, Received};
pub use neighbours::{NeighbourRequest, NeighbourRound, NeighbourSocket, NeighbourTable};
pub use sync::{Counters, Keeper, Settings, Update};
pub use unknown::Unknown;

/// What can go wrong between ixmap and the kernel's rtnetlink.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("cannot open a netlink socket: {0}; run as root or give ixmapd CAP_NET_ADMIN")]
    Open(#[source] std::io::Error),
    #[error("cannot watch netlink group {group}: {source}; is the kernel older than 5.3?")]
    Subscribe {
        group: u32,
        #[source]
        source: std::io::Error,
    },
    #[error("reading kernel events failed: {0}; restart ixmapd")]
    Receive(#[source] std::io::Error),
    #[error("reading the kernel's {what} failed: {source}; ixmapd needs CAP_NET_ADMIN")]
    Dump {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("the kernel's {what} made no sense: {why}; report it with the kernel's version")]
    Malformed { what: &'static str, why: String },
}

#[cfg(test)]
mod tests;
