//! The tables against a linear scan: every path, every snapshot, whatever the order of edits.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::compile::Lpm;
use super::{Fib, GroupId, Path, Table};

mod interleaving;
mod life;
mod lpm6;
mod shapes;

/// Prefixes by length and address.
type Routes<A> = BTreeMap<(u8, A), GroupId>;

fn group(id: u32) -> GroupId {
    GroupId::new(id)
}

/// The reference: scan all prefixes, the longest that matches wins.
fn scan<A: Family>(routes: &Routes<A>, address: A) -> GroupId {
    routes
        .iter()
        .rev()
        .find(|((len, prefix), _)| address.mask(*len) == *prefix)
        .map_or(GroupId::NO_ROUTE, |(_, group)| *group)
}

/// Checks a snapshot by all paths against `routes`.
fn check<A: Family>(fib: &Fib<A>, routes: &Routes<A>, probes: &[A]) {
    assert_eq!(fib.routes(), routes.len());
    let expected: Vec<GroupId> = probes.iter().map(|probe| scan(routes, *probe)).collect();
    for path in Path::all() {
        let mut groups = vec![group(77); probes.len()];
        fib.lookup_burst_by(path, probes, &mut groups);
        assert_eq!(groups, expected, "by {path} for {probes:x?} in {routes:x?}");
    }
    let single: Vec<GroupId> = probes.iter().map(|probe| fib.lookup(*probe)).collect();
    assert_eq!(single, expected);
}

/// A table beside its reference.
struct Pair<A> {
    table: Table<A>,
    routes: Routes<A>,
}

impl<A: Family> Pair<A> {
    fn new() -> Pair<A> {
        Pair {
            table: Table::default(),
            routes: BTreeMap::new(),
        }
    }

    fn insert(&mut self, prefix: A, len: u8, id: u32) {
        let old = self.routes.insert((len, prefix.mask(len)), group(id));
        assert_eq!(self.table.insert(prefix, len, group(id)), old);
    }

    fn remove(&mut self, prefix: A, len: u8) {
        let old = self.routes.remove(&(len, prefix.mask(len)));
        assert_eq!(self.table.remove(prefix, len), old);
    }

    fn commit(&mut self) -> Fib<A> {
        self.table.commit().unwrap()
    }

    /// Commits, and checks at each prefix's edges and just beyond them.
    fn check(&mut self) {
        let fib = self.commit();
        check(&fib, &self.routes, &self.edges());
    }

    fn edges(&self) -> Vec<A> {
        let edges = self.routes.keys();
        edges.flat_map(|(len, prefix)| prefix.edges(*len)).collect()
    }
}

/// What only tests need of an address.
trait Family: Lpm {
    /// A prefix's first and last address, and those just outside.
    fn edges(self, len: u8) -> [Self; 4];
}

impl Family for u32 {
    fn edges(self, len: u8) -> [u32; 4] {
        let last = self | u32::MAX.checked_shr(u32::from(len)).unwrap_or(0);
        [self, last, self.wrapping_sub(1), last.wrapping_add(1)]
    }
}

impl Family for u128 {
    fn edges(self, len: u8) -> [u128; 4] {
        let last = self | u128::MAX.checked_shr(u32::from(len)).unwrap_or(0);
        [self, last, self.wrapping_sub(1), last.wrapping_add(1)]
    }
}

/// An edit: set or remove, prefix, length, group.
type Edit<A> = (bool, A, u8, u32);

/// Applies edits with a commit after each, then checks every snapshot: none was changed by later
/// edits.
fn every_snapshot_keeps_its_answers<A: Family>(edits: Vec<Edit<A>>, probes: &[A]) {
    let mut pair = Pair::new();
    let mut earlier = Vec::new();
    for (set, prefix, len, id) in edits {
        match set {
            true => pair.insert(prefix, len, id),
            false => pair.remove(prefix, len),
        }
        let probes = pair.edges().into_iter().chain(probes.iter().copied());
        earlier.push((
            pair.commit(),
            pair.routes.clone(),
            probes.collect::<Vec<A>>(),
        ));
    }
    for (fib, routes, probes) in earlier {
        check(&fib, &routes, &probes);
    }
}

proptest! {
    #[test]
    fn ipv4_every_snapshot_answers_as_a_linear_scan_does(
        // Few distinct bits in each byte, so that prefixes nest and collide.
        edits in proptest::collection::vec(
            (any::<bool>(), any::<u32>(), 0u8..=32, prop_oneof![0u32..9, 32_760u32..32_780]), 1..40),
        probes in proptest::collection::vec(any::<u32>(), 1..10),
    ) {
        let edits = edits.into_iter().map(|(set, a, len, id)| (set, a & 0x8101_0181, len, id));
        every_snapshot_keeps_its_answers(edits.collect(), &probes);
    }

    #[test]
    fn ipv6_every_snapshot_answers_as_a_linear_scan_does(
        edits in proptest::collection::vec(
            (any::<bool>(), any::<u128>(), 0u8..=128, prop_oneof![0u32..9, 32_760u32..32_780]), 1..40),
        probes in proptest::collection::vec(any::<u128>(), 1..10),
    ) {
        let bits = 0x8001_0100_0100_0001_0181_0000_0100_0181;
        let edits = edits.into_iter().map(|(set, a, len, id)| (set, a & bits, len, id));
        every_snapshot_keeps_its_answers(edits.collect(), &probes);
    }
}
