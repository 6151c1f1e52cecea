//! Publish, read and reclaim in every order: the real tables, publisher and readers' caches, one step
//! at a time. Readers never touch more than a reference count, and what they read does not change
//! while they hold it, so that steps in some order are all that threads can add.
//!
//! The state is carried on from schedule to schedule: blocks are used again all the time, and what
//! leaks adds up.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Weak};

use arc_swap::{ArcSwap, Cache};

use super::shapes::Rng;
use super::*;
use crate::shared::fib::arena::Arena;
use crate::shared::fib::rib::Block;
use crate::shared::fib::store::{Census, ZEROS};
use crate::shared::fib::{Publisher, World};

/// The prefixes that come, change and go: all in one chunk of slots, nested and side by side.
const IPV4: [(u32, u8); 10] = [
    (0x0a00_0000, 8),
    (0x0a01_0000, 16),
    (0x0a01_0200, 24),
    (0x0a01_0280, 25),
    (0x0a01_02ff, 32),
    (0x0a01_4000, 18),
    (0x0a02_0300, 24),
    (0x0a02_0304, 30),
    (0x0a03_0000, 17),
    (0, 0),
];
const IPV6: [(u128, u8); 10] = [
    (0x2001_0db8 << 96, 32),
    (0x2001_0db8_0001 << 80, 48),
    (0x2001_0db8_0001_0200 << 64, 56),
    (0x2001_0db8_0001_0203 << 64, 64),
    (0x2001_0db8_0001_0203_0000_0000_0000_0001, 128),
    (0x2001_0db8_0001_0203_8000 << 48, 81),
    (0x2001_0db9 << 96, 33),
    (0x2001_0db9_4000 << 80, 44),
    (0x2001 << 112, 16),
    (0, 0),
];

/// What a snapshot of one family must answer, and the memory that it must keep.
struct Snapshot<A> {
    probes: Rc<[A]>,
    answers: Vec<GroupId>,
    arena: Arc<Arena>,
    blocks: Vec<Block>,
}

impl<A: Family> Snapshot<A> {
    fn check_answers(&self, fib: &Fib<A>) {
        let singles: Vec<GroupId> = self.probes.iter().map(|probe| fib.lookup(*probe)).collect();
        assert_eq!(singles, self.answers);
    }

    /// Its blocks may be live or retired; once free, they would be handed out and written to.
    fn check_blocks(&self, census: &Census) {
        if Arc::ptr_eq(&self.arena, &census.arena) {
            let free: HashSet<u32> = census.free.iter().map(|block| block.start).collect();
            let lost = self.blocks.iter().find(|block| free.contains(&block.start));
            assert_eq!(
                lost, None,
                "free, though a snapshot that is held reaches it"
            );
        }
    }
}

/// A table beside its reference, and how often a commit took a new arena.
struct Side<A: Family> {
    pair: Pair<A>,
    prefixes: &'static [(A, u8)],
    probes: Rc<[A]>,
    rebuilds: usize,
}

impl<A: Family> Side<A> {
    fn new(prefixes: &'static [(A, u8)]) -> Side<A> {
        let first_and_next = |(prefix, len): &(A, u8)| {
            let [first, _, _, next] = prefix.edges(*len);
            [first, next]
        };
        let mut pair = Pair::new();
        pair.commit();
        Side {
            pair,
            prefixes,
            probes: prefixes.iter().flat_map(first_and_next).collect(),
            rebuilds: 0,
        }
    }

    /// The edits of a round. Groups are new each time, so that a block used too soon shows.
    fn edit(&mut self, round: usize) {
        let id = u32::try_from(round % 10_000).unwrap() * 2;
        let at = |step: usize| self.prefixes[round * step % self.prefixes.len()];
        for (step, id) in [(1, id + 1), (3, id + 2)] {
            let (prefix, len) = at(step);
            self.pair.insert(prefix, len, id);
        }
        let (prefix, len) = at(7);
        self.pair.remove(prefix, len);
    }

    fn commit(&mut self) -> (Fib<A>, Snapshot<A>) {
        let before = self.pair.table.census().arena;
        let fib = self.pair.commit();
        let census = self.pair.table.census();
        self.rebuilds += usize::from(!Arc::ptr_eq(&before, &census.arena));
        let answers = self
            .probes
            .iter()
            .map(|probe| scan(&self.pair.routes, *probe));
        let snapshot = Snapshot {
            probes: Rc::clone(&self.probes),
            answers: answers.collect(),
            arena: census.arena,
            blocks: census.live,
        };
        (fib, snapshot)
    }

    /// Every word is in exactly one block: none is lost, and none has two owners.
    fn check_words(&self) -> Census {
        let census = self.pair.table.census();
        let all = [&census.live, &census.free, &census.retired];
        let mut blocks: Vec<(u32, u32)> = all
            .into_iter()
            .flatten()
            .map(|block| (block.start, block.len))
            .collect();
        blocks.sort_unstable();
        let end = blocks.into_iter().fold(ZEROS, |end, (start, len)| {
            assert_eq!(
                start, end,
                "words that are nobody's, or two blocks': {census:?}"
            );
            start + len
        });
        assert_eq!(end, census.used);
        census
    }

    /// With nobody behind, all that is neither in the newest snapshot nor in the published one is
    /// free, and the newest takes what a table of the same routes takes that was never edited.
    fn check_at_rest(&self) {
        let census = self.check_words();
        assert_eq!(census.generations, 2, "the newest, and the published one");
        let mut fresh: Table<A> = Table::default();
        for ((len, prefix), group) in &self.pair.routes {
            fresh.insert(*prefix, *len, *group);
        }
        fresh.commit().unwrap();
        let words = |census: &Census| census.live.iter().map(|block| block.len).sum::<u32>();
        assert_eq!(words(&census), words(&fresh.census()));
    }
}

struct Version {
    ipv4: Snapshot<u32>,
    ipv6: Snapshot<u128>,
}

/// What a worker does: its cache holds a world until it asks again.
#[derive(Default)]
struct Reader {
    cache: Option<Cache<Arc<ArcSwap<World>>, Arc<World>>>,
    /// What the cache holds, without holding it as well.
    held: Option<(Weak<World>, Rc<Version>)>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Edit,
    Commit,
    Publish,
    Sweep,
    Load(usize),
    LetGo(usize),
}

/// Control with its tables, and the readers.
struct Model {
    ipv4: Side<u32>,
    ipv6: Side<u128>,
    round: usize,
    /// Committed, not yet published.
    pending: Option<(World, Rc<Version>)>,
    publisher: Publisher,
    published: Rc<Version>,
    readers: Vec<Reader>,
}

impl Model {
    fn new(readers: usize) -> Model {
        let (mut ipv4, mut ipv6) = (Side::new(&IPV4), Side::new(&IPV6));
        let version = Version {
            ipv4: ipv4.commit().1,
            ipv6: ipv6.commit().1,
        };
        Model {
            ipv4,
            ipv6,
            round: 0,
            pending: None,
            publisher: Publisher::default(),
            published: Rc::new(version),
            readers: std::iter::repeat_with(Reader::default)
                .take(readers)
                .collect(),
        }
    }

    /// Takes one step, then looks at everything.
    fn step(&mut self, step: Step) {
        match step {
            Step::Edit => {
                self.round += 1;
                self.ipv4.edit(self.round);
                self.ipv6.edit(self.round);
            }
            Step::Commit => {
                let ((ipv4, version4), (ipv6, version6)) = (self.ipv4.commit(), self.ipv6.commit());
                let version = Version {
                    ipv4: version4,
                    ipv6: version6,
                };
                let world = World {
                    ipv4,
                    ipv6,
                    ..World::default()
                };
                self.pending = Some((world, Rc::new(version)));
                // Nothing else hands blocks out, or takes them back.
                self.check_blocks();
            }
            Step::Publish => {
                if let Some((world, version)) = self.pending.take() {
                    self.publisher.publish(world);
                    self.published = version;
                }
            }
            Step::Sweep => {
                self.publisher.sweep();
            }
            Step::Load(reader) => {
                let reader = &mut self.readers[reader];
                let current = self.publisher.current();
                let cache = reader.cache.get_or_insert_with(|| Cache::new(current));
                let world = Arc::downgrade(cache.load());
                reader.held = Some((world, Rc::clone(&self.published)));
            }
            Step::LetGo(reader) => self.readers[reader] = Reader::default(),
        }
        self.check_answers();
    }

    fn held(&self) -> impl Iterator<Item = &(Weak<World>, Rc<Version>)> {
        self.readers
            .iter()
            .filter_map(|reader| reader.held.as_ref())
    }

    fn check_answers(&self) {
        for (world, version) in self.held() {
            let world = world.upgrade().expect("a world that is read is not freed");
            version.ipv4.check_answers(&world.ipv4);
            version.ipv6.check_answers(&world.ipv6);
        }
    }

    fn check_blocks(&self) {
        let (census4, census6) = (self.ipv4.check_words(), self.ipv6.check_words());
        let held = self.held().map(|(_, version)| version);
        let pending = self.pending.iter().map(|(_, version)| version);
        for version in held.chain(pending).chain([&self.published]) {
            version.ipv4.check_blocks(&census4);
            version.ipv6.check_blocks(&census6);
        }
    }

    fn check_at_rest(&mut self) {
        assert_eq!(self.publisher.sweep(), 0, "every reader has let go");
        for step in [
            Step::Edit,
            Step::Commit,
            Step::Publish,
            Step::Edit,
            Step::Commit,
        ] {
            self.step(step);
        }
        self.ipv4.check_at_rest();
        self.ipv6.check_at_rest();
        self.step(Step::Publish);
    }
}

/// Calls `run` with every interleaving of the programs, each of which keeps its own order.
fn every_interleaving(
    programs: &mut [&[Step]],
    order: &mut Vec<Step>,
    run: &mut impl FnMut(&[Step]),
) {
    if programs.iter().all(|program| program.is_empty()) {
        return run(order);
    }
    for i in 0..programs.len() {
        if let Some((first, rest)) = programs[i].split_first() {
            let whole = std::mem::replace(&mut programs[i], rest);
            order.push(*first);
            every_interleaving(programs, order, run);
            order.pop();
            programs[i] = whole;
        }
    }
}

#[test]
fn in_every_order_what_is_held_stays_and_what_is_not_is_used_again() {
    use Step::*;
    let writer: &[Step] = &[Edit, Commit, Publish, Edit, Commit, Publish];
    let (refreshing, brief): (&[Step], &[Step]) =
        (&[Load(0), Load(0), LetGo(0)], &[Load(1), LetGo(1)]);
    let mut model = Model::new(2);
    let mut schedules = 0;
    every_interleaving(
        &mut [writer, refreshing, brief],
        &mut Vec::new(),
        &mut |order| {
            order.iter().for_each(|step| model.step(*step));
            schedules += 1;
        },
    );
    assert_eq!(schedules, 4620);
    model.check_at_rest();
    let rebuilds = (model.ipv4.rebuilds, model.ipv6.rebuilds);
    assert_eq!(rebuilds, (0, 0), "the smallest arena lasts for ever");
}

#[test]
fn readers_that_are_slow_or_quick_at_random_keep_what_they_hold() {
    let mut model = Model::new(3);
    let mut rng = Rng(11);
    for _ in 0..8000 {
        let reader = usize::try_from(rng.below(3)).unwrap();
        model.step(match rng.below(16) {
            0..4 => Step::Edit,
            4..8 => Step::Commit,
            8..12 => Step::Publish,
            12 => Step::Sweep,
            13..15 => Step::Load(reader),
            _ => Step::LetGo(reader),
        });
    }
    (0..3).for_each(|reader| model.step(Step::LetGo(reader)));
    model.step(Step::Publish);
    model.check_at_rest();
}

#[test]
fn threads_that_read_while_control_commits_see_one_version_at_a_time() {
    const VERSIONS: u32 = 1000;
    const READERS: usize = 3;
    /// The group of a route in a version.
    fn expected(version: usize, route: usize) -> GroupId {
        group(u32::try_from(version * 31 + route * 7 + 1).unwrap() % 32_000)
    }
    let mut publisher = Publisher::default();
    let (mut ipv4, mut ipv6): (Table<u32>, Table<u128>) = (Table::default(), Table::default());
    let no_route = World::default().groups.get(0).unwrap().clone();
    let mut world_of = |version: usize| {
        // Host routes, so that each hides the ones around it.
        for (route, (prefix, _)) in IPV4.iter().enumerate() {
            ipv4.insert(prefix | 8, 32, expected(version, route));
        }
        for (route, (prefix, _)) in IPV6.iter().enumerate() {
            ipv6.insert(prefix | 8, 128, expected(version, route));
        }
        World {
            ipv4: ipv4.commit().unwrap(),
            ipv6: ipv6.commit().unwrap(),
            // Tells the version, out of reach of the arena.
            groups: Arc::new(std::iter::repeat_n(no_route.clone(), version).collect()),
            ..World::default()
        }
    };
    publisher.publish(world_of(1));
    let (begun, over) = (Barrier::new(READERS + 1), AtomicBool::new(false));
    let read = |current: Arc<ArcSwap<World>>| {
        let probes4 = IPV4.map(|(prefix, _)| prefix | 8);
        let probes6 = IPV6.map(|(prefix, _)| prefix | 8);
        let mut cache = Cache::new(current);
        let (mut versions, mut lookups) = (HashSet::new(), 0);
        let mut groups = [GroupId::NO_ROUTE; 10];
        versions.insert(cache.load().groups.len());
        begun.wait();
        loop {
            let last = over.load(Ordering::Acquire);
            let world = cache.load();
            let version = world.groups.len();
            for _ in 0..4 {
                world.ipv4.lookup_burst(&probes4, &mut groups);
                assert_eq!(
                    groups,
                    std::array::from_fn(|route| expected(version, route))
                );
                world.ipv6.lookup_burst(&probes6, &mut groups);
                assert_eq!(
                    groups,
                    std::array::from_fn(|route| expected(version, route))
                );
                lookups += 2 * groups.len();
            }
            versions.insert(version);
            if last {
                return (versions.len(), lookups);
            }
        }
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| publisher.current())
            .map(|current| scope.spawn(|| read(current)))
            .collect();
        begun.wait();
        for version in 2..=VERSIONS {
            publisher.publish(world_of(usize::try_from(version).unwrap()));
        }
        over.store(true, Ordering::Release);
        for reader in readers {
            let (versions, lookups) = reader.join().unwrap();
            assert!(versions >= 2, "the first and the last, at the least");
            assert!(lookups >= 160);
        }
    });
    assert_eq!(publisher.sweep(), 0, "all readers are gone");
}
