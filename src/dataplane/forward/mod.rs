//! The burst pipeline: classify -> look up -> decide and rewrite. What leaves it is one [`Verdict`]
//! a frame, in order; counting and moving frames is the worker's business.

mod classify;
mod decide;
mod flow;
#[cfg(test)]
mod reference;
#[cfg(test)]
pub(super) mod tests;

use std::time::Duration;

use arrayvec::ArrayVec;

use self::classify::Class;
pub use self::classify::settled;
use crate::dataplane::limit::PuntLimits;
use crate::dataplane::mem::Pool;
use crate::dataplane::port::{BURST, Burst};
use crate::shared::fib::{GroupId, World};
use crate::shared::hits::Hits;
use crate::shared::port::PortId;
use crate::shared::reason::{DropReason, PuntReason};

/// What becomes of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Rewritten and cut to `len` bytes; leaves by `port`.
    Forward { port: PortId, len: usize },
    /// To the kernel unchanged, if the limits let it; the number stands for the next hop.
    Punt(PuntReason, u32),
    /// To the kernel unchanged; the redirect limit has let it already.
    Redirect,
    /// Nowhere.
    Drop(DropReason),
}

/// One verdict a frame of the burst.
pub type Verdicts = ArrayVec<Verdict, BURST>;

/// Destinations to look up together, with the frames that they belong to.
#[derive(Debug)]
struct Keys<A> {
    slots: ArrayVec<u8, BURST>,
    addresses: ArrayVec<A, BURST>,
    groups: [GroupId; BURST],
}

impl<A> Default for Keys<A> {
    fn default() -> Self {
        Keys {
            slots: ArrayVec::new(),
            addresses: ArrayVec::new(),
            groups: [GroupId::NO_ROUTE; BURST],
        }
    }
}

impl<A> Keys<A> {
    fn clear(&mut self) {
        self.slots.clear();
        self.addresses.clear();
    }

    fn push(&mut self, slot: usize, address: A) {
        // At most BURST frames a burst, and 64 fits.
        self.slots.push(u8::try_from(slot).unwrap_or(u8::MAX));
        self.addresses.push(address);
    }
}

/// What the frames of a burst have in common.
#[derive(Debug)]
pub struct Arrival<'a> {
    pub world: &'a World,
    pub ingress: PortId,
    pub limits: &'a mut PuntLimits,
    /// The worker's: where forwarded packets leave their mark.
    pub hits: &'a Hits,
    /// The worker's clock.
    pub now: Duration,
}

/// The pipeline with its scratch space; one a worker.
#[derive(Debug, Default)]
pub struct Pipeline {
    ipv4: Keys<u32>,
    ipv6: Keys<u128>,
}

impl Pipeline {
    /// Decides on every frame of `burst` and rewrites those that go on. `verdicts` is replaced by
    /// one verdict a frame.
    pub fn run(
        &mut self,
        mut arrival: Arrival<'_>,
        pool: &Pool,
        burst: &mut Burst,
        verdicts: &mut Verdicts,
    ) {
        verdicts.clear();
        let down = Verdict::Drop(DropReason::PortDown);
        verdicts.extend(std::iter::repeat_n(down, burst.len()));
        let world = arrival.world;
        let Some(interface) = world
            .interfaces
            .get(arrival.ingress)
            .filter(|interface| interface.up)
        else {
            return;
        };
        self.ipv4.clear();
        self.ipv6.clear();
        for (slot, frame) in burst.iter().enumerate() {
            match classify::classify(pool.bytes(frame), interface.mac) {
                Class::Ipv4(destination) => self.ipv4.push(slot, destination),
                Class::Ipv6(destination) => self.ipv6.push(slot, destination),
                Class::Punt(reason) => verdicts[slot] = Verdict::Punt(reason, 0),
                Class::Drop(reason) => verdicts[slot] = Verdict::Drop(reason),
            }
        }
        world
            .ipv4
            .lookup_burst(&self.ipv4.addresses, &mut self.ipv4.groups);
        for (slot, group) in self.ipv4.slots.iter().zip(self.ipv4.groups) {
            let slot = usize::from(*slot);
            let bytes = pool.bytes_mut(&mut burst[slot]);
            verdicts[slot] = decide::ipv4(&mut arrival, interface, group, bytes);
        }
        world
            .ipv6
            .lookup_burst(&self.ipv6.addresses, &mut self.ipv6.groups);
        for (slot, group) in self.ipv6.slots.iter().zip(self.ipv6.groups) {
            let slot = usize::from(*slot);
            let bytes = pool.bytes_mut(&mut burst[slot]);
            verdicts[slot] = decide::ipv6(&mut arrival, interface, group, bytes);
        }
    }
}
