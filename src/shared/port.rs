//! How ports are named and numbered on both sides.

use std::fmt;

/// The most ports that one daemon drives: the size of every table indexed by [`PortId`].
pub const MAX_PORTS: usize = 64;

/// A port's slot, `0..MAX_PORTS`; stable while the port lives, reused after it is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(u8);

impl PortId {
    /// The slot's id, or `None` past [`MAX_PORTS`].
    pub fn new(slot: usize) -> Option<PortId> {
        u8::try_from(slot)
            .ok()
            .filter(|_| slot < MAX_PORTS)
            .map(PortId)
    }

    /// The slot as a small number, for tables of bytes.
    pub fn slot(self) -> u8 {
        self.0
    }

    /// The slot as an index, always below [`MAX_PORTS`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Debug for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port#{}", self.0)
    }
}
