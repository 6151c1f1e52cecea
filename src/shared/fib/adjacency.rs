//! Adjacencies: where a packet leaves and what is written in front of it.

use super::Pack;
use crate::shared::mac::MacAddr;
use crate::shared::port::PortId;

/// Index of an [`Adjacency`] in its world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct AdjacencyId(u32);

impl AdjacencyId {
    pub const fn new(slot: u32) -> AdjacencyId {
        AdjacencyId(slot)
    }

    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The same as a number.
    #[inline]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A next hop as the fast path needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Adjacency {
    /// The neighbour is known: write the header, send by the port.
    Resolved(Rewrite),
    /// The neighbour behind this port is not known: the kernel queues the packet and resolves.
    Unresolved(PortId),
    /// Behind this port every destination is a neighbour of its own, and those that are known have
    /// routes of their own: the kernel queues the packet and resolves.
    Connected(PortId),
    /// The next hop is behind an interface that is no port: the kernel forwards.
    Foreign,
}

impl Adjacency {
    /// The port that packets would leave by; `None` behind a foreign interface.
    #[inline]
    pub fn port(&self) -> Option<PortId> {
        match self {
            Adjacency::Resolved(rewrite) => Some(rewrite.port),
            Adjacency::Unresolved(port) | Adjacency::Connected(port) => Some(*port),
            Adjacency::Foreign => None,
        }
    }
}

/// Ethernet addresses to write and the port to leave by; the EtherType stays the packet's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rewrite {
    pub port: PortId,
    pub destination: MacAddr,
    pub source: MacAddr,
    /// Largest IP packet that the egress interface carries.
    pub mtu: u16,
}

/// What plain packets need of an adjacency: where they leave, in a sixteenth of two cache lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(16))]
pub struct Exit {
    /// The first bytes of the frame: destination and source.
    pub addresses: [u8; 12],
    /// The largest IP packet, 0 where none leaves without the long way's decision; above these 16 bits
    /// the port's index. One number, for vectors.
    limits: u32,
}

impl Exit {
    /// No port's index.
    pub const NOWHERE: u8 = u8::MAX;
    /// Where in an exit its limits lie.
    pub const LIMITS_AT: usize = std::mem::offset_of!(Exit, limits);
    /// Those of [`Adjacency::NONE`].
    pub const NO_LIMITS: u32 = (Exit::NOWHERE as u32) << 16;

    fn new(addresses: [u8; 12], mtu: u16, port: u8) -> Exit {
        Exit {
            addresses,
            limits: u32::from(mtu) | u32::from(port) << 16,
        }
    }

    /// What [`Exit::mtu`] and [`Exit::port`] are of.
    #[inline(always)]
    pub fn limits(&self) -> u32 {
        self.limits
    }

    /// The largest IP packet; 0 for none.
    #[inline(always)]
    pub fn mtu(limits: u32) -> u32 {
        limits & 0xffff
    }

    /// The port's index; [`Exit::NOWHERE`] for none.
    #[inline(always)]
    pub fn port(limits: u32) -> u8 {
        limits.to_le_bytes()[2]
    }
}

impl Pack for Adjacency {
    type Packed = Exit;
    /// Nothing: an adjacency is one.
    type Listed = ();
    const NONE: Exit = Exit {
        addresses: [0; 12],
        limits: Exit::NO_LIMITS,
    };

    fn list(&self) -> &[()] {
        &[]
    }

    fn pack(&self, _list_at: usize) -> Exit {
        let Adjacency::Resolved(rewrite) = self else {
            return Adjacency::NONE;
        };
        let mut addresses = [0; 12];
        addresses[..6].copy_from_slice(&rewrite.destination.0);
        addresses[6..].copy_from_slice(&rewrite.source.0);
        Exit::new(addresses, rewrite.mtu, rewrite.port.slot())
    }
}
