//! The audit: now and then the kernel's state is dumped and compared with what was followed. They must
//! be the same; where they are not, ixmap or the kernel has a fault.
//!
//! The kernel does not rest for that. What an event touched between the dump's begin and the verdict
//! is not judged, since the dump may have it either way; and the verdict waits until all that was
//! dumped has come as an event too. What differs has to differ in a second dump.
//!
//! While IPv6 routes change, the kernel's dump of them lacks some that did not, and has others twice:
//! it goes on by how many it has shown (fib6_dump_table in net/ipv6/ip6_fib.c). Then what it has and the
//! mirror has not is judged of them, and of the others the kernel is asked one by one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::control::mirror::{Changes, Event, Link, Mirror};

/// Between the dump's end and the verdict.
const REST: Duration = Duration::from_secs(1);
/// An audit that came to nothing is tried again after this part of the period: a dump costs time.
const RETRY_PART: u32 = 10;
/// Entries that may be touched during an audit; beyond, it is given up.
const TOUCHED: usize = 1 << 16;
/// Differences that the log names.
const NAMED: usize = 8;
/// Routes that the kernel is asked after in one audit, some microseconds each.
const ASKED: usize = 256;

/// Where the audit is.
enum Stage {
    /// The next dump begins when this has come.
    Waiting(Instant),
    Off,
    Dumping,
    /// A dump with which the mirror is compared a while after its end.
    Judging {
        fresh: Box<Mirror>,
        ended: Instant,
    },
}

impl Stage {
    fn after(pause: Option<Duration>, now: Instant) -> Stage {
        pause.map_or(Stage::Off, |pause| Stage::Waiting(now + pause))
    }
}

/// When to audit, and what came of it.
pub(super) struct Audit {
    /// The period; none without audits.
    every: Option<Duration>,
    stage: Stage,
    /// What events touched since the first of the audit's dumps began.
    touched: Changes,
    /// What differed in the first dump, while the second is to confirm it.
    suspects: Option<Changes>,
    /// The last route that the kernel was asked after: with those behind it the next audit goes on.
    asked: Option<IpNet>,
    /// Differences found since the start.
    pub(super) drift: u64,
    /// Comparisons made.
    pub(super) audits: u64,
}

impl Audit {
    pub(super) fn new(every: Option<Duration>, now: Instant) -> Audit {
        Audit {
            every,
            stage: Stage::after(every, now),
            touched: Changes::default(),
            suspects: None,
            asked: None,
            drift: 0,
            audits: 0,
        }
    }

    /// From the first dump's begin to the verdict.
    fn is_under_way(&self) -> bool {
        self.suspects.is_some() || matches!(self.stage, Stage::Dumping | Stage::Judging { .. })
    }

    /// When the dump that waits for its verdict ended.
    pub(super) fn dump_ended(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Judging { ended, .. } => Some(*ended),
            Stage::Waiting(_) | Stage::Off | Stage::Dumping => None,
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting(at) => Some(*at),
            Stage::Dumping | Stage::Off => None,
            Stage::Judging { ended, .. } => Some(*ended + REST),
        }
    }

    /// What an event speaks of is not judged, news or not.
    pub(super) fn heed(&mut self, event: &Event) {
        if self.is_under_way() {
            name(event, &mut self.touched);
        }
    }

    /// Nor is what the events changed beyond that.
    pub(super) fn touch(&mut self, changes: &Changes, now: Instant) {
        if self.is_under_way() {
            add(&mut self.touched, changes);
            if self.touched.prefixes.len() > TOUCHED {
                self.abandon(now);
            }
        }
    }

    /// What the kernel does without a word is being looked for: only when that is found, what was
    /// followed is complete.
    pub(super) fn abandon(&mut self, now: Instant) {
        if self.is_under_way() {
            self.suspects = None;
            self.stage = Stage::after(self.every.map(|every| every / RETRY_PART), now);
        }
    }

    /// The dump that begins is an audit's.
    pub(super) fn begin(&mut self) {
        if self.suspects.is_none() {
            self.touched = Changes::default();
        }
        self.stage = Stage::Dumping;
    }

    /// The next one is a whole period away.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.suspects = None;
        self.stage = Stage::after(self.every, now);
    }

    /// What an audit dumped, to be judged after a rest; after one that was given up, it is dropped.
    pub(super) fn dumped(&mut self, fresh: Mirror, now: Instant) {
        if matches!(self.stage, Stage::Dumping) {
            self.stage = Stage::Judging {
                fresh: Box::new(fresh),
                ended: now,
            };
        }
    }

    /// Compares a dump that waited long enough with the mirror; true when that is out of date.
    /// `has_gone` asks the kernel whether it no longer has an IPv6 route that packets would go by.
    pub(super) fn judge(
        &mut self,
        mirror: &Mirror,
        now: Instant,
        has_gone: impl FnMut(&IpNet) -> bool,
    ) -> bool {
        let stage = std::mem::replace(&mut self.stage, Stage::after(self.every, now));
        let Stage::Judging { fresh, .. } = stage else {
            return false;
        };
        let mut found = Changes {
            neighbours: mirror.moved_neighbours(&fresh),
            ..mirror.differences(&fresh)
        };
        remove(&mut found, &self.touched);
        match self.suspects.take() {
            None if !found.is_empty() => {
                self.suspects = Some(found);
                self.stage = Stage::Waiting(now);
                return false;
            }
            None => {}
            Some(suspects) => {
                let mut cleared = found.clone();
                remove(&mut cleared, &suspects);
                remove(&mut found, &cleared);
                let ipv6_moves = self.touched.prefixes.iter().any(|p| p.addr().is_ipv6());
                if ipv6_moves && !found.prefixes.is_empty() {
                    self.keep_proven(&mut found, mirror, &fresh, has_gone);
                }
            }
        }
        self.audits += 1;
        let moved = without_moved_ends(&mut found, mirror, &fresh);
        let different = words(&found);
        if !different.is_empty() {
            self.drift += u64::try_from(different.len()).unwrap_or(u64::MAX);
            tracing::error!("{}", complaint(&different));
        }
        moved || !different.is_empty()
    }
}

impl Audit {
    /// Leaves of the IPv6 prefixes those of which `fresh` has a route that the mirror has not, and those
    /// of which the kernel itself has none: what a dump lacks or has twice, while routes come and go,
    /// proves nothing.
    fn keep_proven(
        &mut self,
        found: &mut Changes,
        mirror: &Mirror,
        fresh: &Mirror,
        mut has_gone: impl FnMut(&IpNet) -> bool,
    ) {
        let news = news(found, mirror, fresh);
        let is_open = |prefix: &&IpNet| prefix.addr().is_ipv6() && !news.contains(prefix);
        let open: Vec<IpNet> = found.prefixes.iter().filter(is_open).copied().collect();
        let last = self.asked.take();
        let start = open.partition_point(|prefix| last.is_some_and(|last| *prefix <= last));
        let (before, behind) = open.split_at(start);
        let mut gone = BTreeSet::new();
        for prefix in behind.iter().chain(before).take(ASKED) {
            self.asked = Some(*prefix);
            if has_gone(prefix) {
                gone.insert(*prefix);
            }
        }
        found.prefixes.retain(|prefix| {
            prefix.addr().is_ipv4() || news.contains(prefix) || gone.contains(prefix)
        });
    }
}

/// Notes the entries that an event names.
fn name(event: &Event, touched: &mut Changes) {
    match event {
        Event::LinkSet(Link { index, .. }) | Event::LinkGone { index } => {
            touched.links.insert(*index);
        }
        Event::AddressSet(_) | Event::AddressGone(_) => touched.addresses = true,
        Event::RouteSet { key, .. } | Event::RouteGone { key, .. } => {
            touched.prefixes.insert(key.prefix);
        }
        Event::NextHopSet { id, .. } | Event::NextHopGone { id } => {
            touched.nexthops.insert(*id);
        }
        Event::NeighbourSet(entry) => {
            touched.neighbours.insert((entry.ifindex, entry.address));
        }
        Event::NeighbourGone { ifindex, address } => {
            touched.neighbours.insert((*ifindex, *address));
        }
        Event::RuleSet(_) | Event::RuleGone(_) | Event::RulesAbsent { .. } => touched.rules = true,
        Event::NetconfSet { .. } | Event::NetconfGone { .. } => touched.settings = true,
        Event::SilentChange { .. } | Event::Doubt { .. } => {}
    }
}

fn add(to: &mut Changes, more: &Changes) {
    to.prefixes.extend(&more.prefixes);
    to.nexthops.extend(&more.nexthops);
    to.neighbours.extend(&more.neighbours);
    to.links.extend(&more.links);
    to.addresses |= more.addresses;
    to.rules |= more.rules;
    to.settings |= more.settings;
}

fn remove(from: &mut Changes, what: &Changes) {
    fn drop_common<K: Ord>(from: &mut BTreeSet<K>, what: &BTreeSet<K>) {
        from.retain(|key| !what.contains(key));
    }
    drop_common(&mut from.prefixes, &what.prefixes);
    drop_common(&mut from.nexthops, &what.nexthops);
    drop_common(&mut from.neighbours, &what.neighbours);
    drop_common(&mut from.links, &what.links);
    from.addresses &= !what.addresses;
    from.rules &= !what.rules;
    from.settings &= !what.settings;
}

/// The prefixes of which `fresh` has a route that the mirror has not, or knows the end.
fn news(found: &Changes, mirror: &Mirror, fresh: &Mirror) -> BTreeSet<IpNet> {
    let mut news: BTreeSet<IpNet> = fresh.expired().iter().map(|key| key.prefix).collect();
    for (key, routes) in fresh.all_routes() {
        let is_new = |route| !mirror.routes(&key).contains(route);
        if found.prefixes.contains(&key.prefix) && routes.iter().any(is_new) {
            news.insert(key.prefix);
        }
    }
    news
}

/// Leaves out the IPv6 routes of which the kernel may have moved the end, as it does without a word; true
/// when there are any.
fn without_moved_ends(found: &mut Changes, mirror: &Mirror, fresh: &Mirror) -> bool {
    let sooner = fresh.expired().iter();
    let sooner = sooner.filter(|key| mirror.ends().contains_key(key));
    let moved = mirror.expired().iter().chain(sooner);
    let before = found.prefixes.len();
    for key in moved {
        found.prefixes.remove(&key.prefix);
    }
    found.prefixes.len() < before
}

/// What an audit found that nothing explains, in the words of `ip`.
fn words(found: &Changes) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let prefixes = found.prefixes.iter();
    words.extend(prefixes.map(|prefix| format!("route {prefix}")));
    let neighbours = found.neighbours.iter();
    words.extend(
        neighbours.map(|(index, address)| format!("neighbour {address} on interface {index}")),
    );
    let objects = found.nexthops.iter();
    words.extend(objects.map(|id| format!("nexthop id {id}")));
    let links = found.links.iter();
    words.extend(links.map(|index| format!("interface {index}")));
    for (differ, name) in [
        (found.addresses, "addresses"),
        (found.rules, "rules"),
        (found.settings, "settings"),
    ] {
        words.extend(differ.then(|| name.to_owned()));
    }
    words
}

fn complaint(different: &[String]) -> String {
    let named = different[..different.len().min(NAMED)].join(", ");
    let others = match different.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!(
        "the kernel differed from what it had told: {named}{others}; ixmapd has taken over the \
         kernel's state; please report this with `uname -r` and what was changed before"
    )
}

#[cfg(test)]
mod tests;
