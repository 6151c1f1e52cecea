//! Next-hop groups: what a FIB leaf points at.

use std::sync::Arc;

use super::{AdjacencyId, Pack};
use crate::shared::reason::{DropReason, PuntReason};

/// The most buckets of a multipath group; weights that need more are rounded.
const MAX_BUCKETS: usize = Buckets::MAX_LEGS;

/// Index of a [`Group`] in its world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct GroupId(u32);

impl GroupId {
    /// The group of every address without a route; always in slot 0.
    pub const NO_ROUTE: GroupId = GroupId(0);

    /// The last slot that tables can lead to.
    pub const MAX_SLOT: u32 = 0x7fff_fffd;

    /// The group in a slot; beyond [`GroupId::MAX_SLOT`], for which no machine has the memory, the
    /// one in that.
    pub fn new(slot: u32) -> GroupId {
        GroupId(slot.min(GroupId::MAX_SLOT))
    }

    /// What tables store: 0 stands for no route at all.
    pub(super) fn leaf(self) -> u32 {
        self.0 + 1
    }

    pub(super) fn from_leaf(leaf: u32) -> GroupId {
        GroupId(leaf.saturating_sub(1))
    }

    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What happens to packets whose longest match leads here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub action: Action,
    /// A route's own MTU (RTAX_MTU); `u16::MAX` when only the egress interface limits.
    pub mtu: u16,
}

/// What plain packets need of a group, in eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(8))]
pub struct Way {
    /// The next hop, if it is the only one; else where the group's buckets begin among all buckets.
    pub first: u32,
    /// The route's MTU, and above these 16 bits the number of buckets, 1 for a single next hop. Both 0
    /// where packets do not go on: so short is none. One number, for vectors.
    pub mtu_and_buckets: u32,
}

impl Way {
    /// The route's MTU.
    #[inline(always)]
    pub fn mtu(mtu_and_buckets: u32) -> u32 {
        mtu_and_buckets & 0xffff
    }

    /// How many buckets there are.
    #[inline(always)]
    pub fn buckets(mtu_and_buckets: u32) -> u32 {
        mtu_and_buckets >> 16
    }
}

impl Pack for Group {
    type Packed = Way;
    type Listed = AdjacencyId;
    const NONE: Way = Way {
        first: 0,
        mtu_and_buckets: 0,
    };

    fn list(&self) -> &[AdjacencyId] {
        match &self.action {
            Action::Spread(buckets) => &buckets.0,
            Action::Forward(_) | Action::Punt(_) | Action::Drop(_) => &[],
        }
    }

    fn pack(&self, list_at: usize) -> Way {
        let (first, buckets) = match &self.action {
            Action::Forward(leg) => (leg.number(), 1),
            Action::Spread(buckets) => match (u32::try_from(list_at), buckets.count()) {
                // What is listed even beyond that takes the long way.
                (Err(_), _) => return Group::NONE,
                // A list of one is a next hop.
                (Ok(_), 1) => (buckets.0[0].number(), 1),
                (Ok(first), count) => (first, count),
            },
            Action::Punt(_) | Action::Drop(_) => return Group::NONE,
        };
        let mtu = u32::from(self.mtu);
        Way {
            first,
            mtu_and_buckets: mtu | buckets << 16,
        }
    }
}

/// The four things a route can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// One next hop.
    Forward(AdjacencyId),
    /// Several: the flow hash picks a bucket.
    Spread(Buckets),
    /// The kernel decides.
    Punt(PuntReason),
    /// Silence.
    Drop(DropReason),
}

/// Next hops by hash bucket, each as often as its weight says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buckets(Arc<[AdjacencyId]>);

impl Buckets {
    /// The most next hops of a group.
    pub const MAX_LEGS: usize = 256;

    /// Spreads `legs` (next hop, weight >= 1) in the order given: the same legs always make the same
    /// buckets. Exact while the reduced weights add up to at most 256, rounded (but never to zero)
    /// beyond. `None` for no legs, or more than 256.
    pub fn new(legs: &[(AdjacencyId, u16)]) -> Option<Buckets> {
        if legs.is_empty() || legs.len() > MAX_BUCKETS {
            return None;
        }
        let divisor = legs
            .iter()
            .fold(0, |d, (_, weight)| gcd(d, usize::from(*weight).max(1)));
        let weights: Vec<usize> = legs
            .iter()
            .map(|(_, weight)| usize::from(*weight).max(1) / divisor)
            .collect();
        let total: usize = weights.iter().sum();
        let shares = if total <= MAX_BUCKETS {
            weights
        } else {
            apportion(&weights, total, MAX_BUCKETS)
        };
        let buckets = legs
            .iter()
            .zip(shares)
            .flat_map(|((id, _), n)| std::iter::repeat_n(*id, n));
        Some(Buckets(buckets.collect()))
    }

    /// The next hop for a flow: hash-threshold (RFC 2992), so equal hashes always agree.
    #[inline]
    pub fn pick(&self, hash: u32) -> AdjacencyId {
        self.0[Buckets::slot(hash, self.count()) as usize]
    }

    /// The bucket, of so many, for a flow's hash, of which the upper half counts.
    #[inline(always)]
    pub fn slot(hash: u32, count: u32) -> u32 {
        ((hash >> 16) * count) >> 16
    }

    /// At least one, at most 256.
    #[inline]
    fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Whether any next hop passes `test`; allocates nothing.
    pub fn any(&self, test: impl Fn(AdjacencyId) -> bool) -> bool {
        self.0.iter().any(|id| test(*id))
    }

    /// Distinct next hops with their number of buckets, in order.
    pub fn legs(&self) -> Vec<(AdjacencyId, usize)> {
        let mut legs: Vec<(AdjacencyId, usize)> = Vec::new();
        for id in self.0.iter() {
            match legs.iter_mut().find(|(known, _)| known == id) {
                Some((_, n)) => *n += 1,
                None => legs.push((*id, 1)),
            }
        }
        legs
    }
}

/// Shares `slots` among `weights` (which add up to `total`) by largest remainder, one at least each.
fn apportion(weights: &[usize], total: usize, slots: usize) -> Vec<usize> {
    let spare = slots - weights.len();
    let mut shares: Vec<usize> = weights.iter().map(|w| 1 + w * spare / total).collect();
    let mut left = slots - shares.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(weights[*i] * spare % total));
    for i in order {
        if left == 0 {
            break;
        }
        shares[i] += 1;
        left -= 1;
    }
    shares
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn legs(weights: &[u16]) -> Vec<(AdjacencyId, u16)> {
        (0u32..)
            .map(AdjacencyId::new)
            .zip(weights.iter().copied())
            .collect()
    }

    #[test]
    fn small_weights_are_exact() {
        let buckets = Buckets::new(&legs(&[2, 6, 4])).unwrap();
        let counts: Vec<usize> = buckets.legs().iter().map(|(_, n)| *n).collect();
        assert_eq!(counts, [1, 3, 2]);
    }

    #[test]
    fn no_legs_and_too_many_make_no_group() {
        assert!(Buckets::new(&[]).is_none());
        assert!(Buckets::new(&legs(&[1; 257])).is_none());
    }

    proptest! {
        #[test]
        fn large_weights_are_kept_within_five_percent_and_no_leg_starves(
            weights in proptest::collection::vec(1u16..=256, 1..8),
        ) {
            let buckets = Buckets::new(&legs(&weights)).unwrap();
            let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            let all: usize = buckets.legs().iter().map(|(_, n)| n).sum();
            prop_assert!(all <= 256);
            for ((_, n), weight) in buckets.legs().iter().zip(&weights) {
                prop_assert!(*n >= 1);
                let (got, want) = (*n as f64 / all as f64, f64::from(*weight) / total as f64);
                prop_assert!((got - want).abs() < 0.05, "{got} for {want}");
            }
        }

        #[test]
        fn every_hash_finds_a_leg(weights in proptest::collection::vec(1u16..=256, 1..8), hash in any::<u32>()) {
            let buckets = Buckets::new(&legs(&weights)).unwrap();
            for hash in [hash, 0, u32::MAX] {
                prop_assert!(buckets.pick(hash).index() < weights.len());
            }
        }
    }
}
