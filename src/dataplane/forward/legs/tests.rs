//! Every path beside what tables say, entry by entry.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::dataplane::forward::slots::slots;
use crate::dataplane::mem::{Frame, HEAD};
use crate::dataplane::testing::pool;
use crate::shared::fib::{Action, PackedTable, Rewrite, Vectored};
use crate::shared::hits::Taken;
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
        4 => (port(), 60u16..100, any::<[[u8; 6]; 2]>()).prop_map(|(port, mtu, macs)| {
            let [destination, source] = macs.map(MacAddr);
            Adjacency::Resolved(Rewrite { port, destination, source, mtu })
        }),
        1 => port().prop_map(Adjacency::Unresolved),
        1 => Just(Adjacency::Foreign),
    ]
}

struct Follow<'a>(
    &'a mut Legs,
    Path,
    NextHops<'a>,
    ([GroupId; BURST], Lanes),
    Mask,
    Lanes,
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
    type Output = Mask;

    #[inline(always)]
    fn run(self) -> Mask {
        let Follow(legs, path, to, (groups, len), mask, flows) = self;
        let of_those = |first| Hashed(std::array::from_fn(|lane| flows[first + lane]));
        legs.follow(path, to, (&groups, &len), mask, of_those)
    }
}

struct Rewritten<'a, 'p>(
    &'a Legs,
    Path,
    NextHops<'a>,
    (&'a mut Packets<'p, BURST>, &'a mut Ahead<'a>),
    Mask,
    Changes<'a>,
);

impl Vectored for Rewritten<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rewritten(legs, path, to, packets, mask, changes) = self;
        legs.rewrite(path, to, packets, mask, changes);
    }
}

/// Masks with sixteens that are all set, as bursts mostly have them, and others.
fn mask() -> impl Strategy<Value = Mask> {
    let sixteen = prop_oneof![
        3 => Just(u16::MAX),
        1 => Just(0),
        2 => any::<u16>(),
    ];
    proptest::collection::vec(sixteen, BURST / LANES).prop_map(|sixteens| {
        let place = |mask, sixteen| mask << LANES | Mask::from(sixteen);
        sixteens.into_iter().fold(0, place)
    })
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
        mask in mask(),
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
            let to = NextHops::new(&world, INGRESS);
            let fit = path.run(Follow(&mut legs, path, to, (ids, len), mask, flows));
            prop_assert_eq!(fit & !mask, 0);
            for slot in slots(mask) {
                let goes = fit >> slot & 1 != 0;
                let found = goes.then(|| (AdjacencyId::new(legs.legs[slot]), legs.ports()[slot]));
                prop_assert_eq!(found, wanted(slot), "{} {}", path, slot);
            }
        }
    }

    /// Whatever the next hops are: also those that `follow` finds for no packet, and some beyond the table.
    #[test]
    fn packets_of_a_mask_get_their_next_hops_addresses_and_a_word_and_nothing_else(
        adjacencies in proptest::collection::vec(adjacency(), 1..40),
        ids in proptest::collection::vec(0u32..40, BURST),
        within in prop::bool::weighted(0.75),
        words in any::<[u32; BURST]>(),
        at in prop_oneof![Just(18usize), Just(22)],
        mask in mask(),
        count in prop_oneof![3 => Just(BURST), 1 => 1..BURST],
    ) {
        let most = if within { u32::try_from(adjacencies.len()).unwrap() } else { 40 };
        let adjacencies: PackedTable<_> = adjacencies.into_iter().collect();
        let world = World { adjacencies: Arc::new(adjacencies), ..World::default() };
        let to = NextHops::new(&world, INGRESS);
        let legs = Legs { legs: std::array::from_fn(|slot| ids[slot] % most), ..Legs::default() };
        let mask = mask & Mask::MAX >> (BURST - count);
        let before = |slot: usize| [u8::try_from(slot).unwrap(); HEAD];
        for path in Path::all() {
            let (mut pool, hits) = (pool(64), Box::<Hits>::default());
            let mut frames: Vec<Frame> = (0..count).map(|slot| {
                let mut frame = pool.take().unwrap();
                assert!(pool.fill(&mut frame, &before(slot)));
                frame
            }).collect();
            let changes = Changes { words: &words, at, hits: &hits };
            let mut packets = pool.packets(&mut frames).unwrap();
            let mut ahead = pool.ahead(&[]);
            let to_rewrite = (&mut packets, &mut ahead);
            path.run(Rewritten(&legs, path, to, to_rewrite, mask, changes));
            let taken = Taken::from([&*hits]);
            for (slot, word) in words.iter().enumerate().take(count) {
                let mut wanted = before(slot);
                let exit = to.exits.get(legs.legs[slot] as usize).filter(|_| mask >> slot & 1 != 0);
                if let Some(exit) = exit {
                    wanted[..12].copy_from_slice(&exit.addresses);
                    wanted[at..at + 4].copy_from_slice(&word.to_le_bytes());
                }
                prop_assert_eq!(packets.head(slot), &wanted, "{} {}", path, slot);
            }
            let used = |id: u32| slots(mask).any(|slot| legs.legs[slot] == id) && (id as usize) < to.exits.len();
            for id in 0..40 {
                prop_assert_eq!(taken.has(AdjacencyId::new(id)), used(id), "{} {}", path, id);
            }
            frames.into_iter().for_each(|frame| pool.give(frame));
        }
    }
}
