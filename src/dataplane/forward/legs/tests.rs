//! Every path beside what tables say, entry by entry.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::shared::fib::{Action, Rewrite, Vectored};
use crate::shared::mac::MacAddr;
use crate::shared::port::PortId;
use crate::shared::reason::{DropReason, PuntReason};

const INGRESS: u8 = 1;

fn group() -> impl Strategy<Value = Group> {
    let action = prop_oneof![
        4 => (0u32..12).prop_map(|leg| Action::Forward(AdjacencyId::new(leg))),
        3 => proptest::collection::vec((0u32..12, 1u16..300), 1..20).prop_map(|legs| {
            let legs: Vec<_> = legs.iter().map(|(leg, n)| (AdjacencyId::new(*leg), *n)).collect();
            Action::Spread(Buckets::new(&legs).unwrap())
        }),
        1 => Just(Action::Punt(PuntReason::NoRoute)),
        1 => Just(Action::Drop(DropReason::Blackhole)),
    ];
    (action, prop_oneof![Just(u16::MAX), 60u16..100])
        .prop_map(|(action, mtu)| Group { action, mtu })
}

fn adjacency() -> impl Strategy<Value = Adjacency> {
    let port = || (0usize..4).prop_map(|slot| PortId::new(slot).unwrap());
    prop_oneof![
        4 => (port(), 60u16..100).prop_map(|(port, mtu)| Adjacency::Resolved(Rewrite {
            port,
            destination: MacAddr([2; 6]),
            source: MacAddr([4; 6]),
            mtu,
        })),
        1 => port().prop_map(Adjacency::Unresolved),
        1 => Just(Adjacency::Foreign),
    ]
}

struct Follow<'a>(
    &'a mut Legs,
    Path,
    NextHops<'a>,
    [GroupId; BURST],
    Lanes,
    (usize, [u32; LANES]),
);

struct Hashed([u32; LANES]);

impl Vectored for Hashed {
    type Output = [u32; LANES];

    #[inline(always)]
    fn run(self) -> [u32; LANES] {
        self.0
    }
}

impl Vectored for Follow<'_> {
    type Output = u16;

    #[inline(always)]
    fn run(self) -> u16 {
        let (first, flows) = self.5;
        self.0
            .follow(self.1, self.2, (&self.3, &self.4), first, Hashed(flows))
    }
}

proptest! {
    /// Also where ids lead beyond the tables.
    #[test]
    fn packets_leave_where_their_groups_lead_if_they_fit(
        groups in proptest::collection::vec(group(), 1..20),
        adjacencies in proptest::collection::vec(adjacency(), 0..12),
        ids in proptest::collection::vec(0u32..24, BURST),
        lens in proptest::collection::vec(50u32..110, BURST),
        flows in any::<[u32; BURST]>(),
    ) {
        let world = World {
            groups: Arc::new(groups.iter().cloned().collect()),
            adjacencies: Arc::new(adjacencies.iter().copied().collect()),
            ..World::default()
        };
        let ids: [GroupId; BURST] = std::array::from_fn(|slot| GroupId::new(ids[slot]));
        let len: Lanes = std::array::from_fn(|slot| lens[slot]);
        let wanted = |slot: usize| {
            let group = groups.get(ids[slot].index())?;
            let leg = match &group.action {
                Action::Forward(leg) => *leg,
                Action::Spread(buckets) => buckets.pick(flows[slot]),
                Action::Punt(_) | Action::Drop(_) => return None,
            };
            let Some(Adjacency::Resolved(exit)) = adjacencies.get(leg.index()) else { return None };
            let fits = len[slot] <= u32::from(group.mtu.min(exit.mtu));
            (fits && exit.port.slot() != INGRESS).then(|| (leg, exit.port.slot()))
        };
        for path in Path::all() {
            let mut legs = Legs::default();
            for first in (0..BURST).step_by(LANES) {
                let to = NextHops::new(&world, INGRESS);
                let of_those = std::array::from_fn(|lane| flows[first + lane]);
                let fit = path.run(Follow(&mut legs, path, to, ids, len, (first, of_those)));
                for slot in first..first + LANES {
                    let goes = fit >> (slot - first) & 1 != 0;
                    let found = goes.then(|| (legs.leg(slot), legs.ports()[slot]));
                    prop_assert_eq!(found, wanted(slot), "{} {}", path, slot);
                }
            }
        }
    }
}
