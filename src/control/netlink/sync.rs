//! The loop that keeps the mirror true: subscribe, dump, replay, follow; and dump again in doubt.
//!
//! The old tables stay in use, and follow events, while a new dump runs on a blocking thread. The
//! same events are queued and replayed over the fresh tables, which then take the old ones' place.
//! A doubt about an interface is settled only by a dump that finds nothing new, since the kernel may
//! announce a change before it has flushed the routes.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::audit::Audit;
use super::dump::{Dump, Dumper};
use super::lifetimes::Lifetimes;
use super::monitor::Monitor;
use super::schedule::Schedule;
use super::{NetlinkError, Received, Unknown};
use crate::control::mirror::{Changes, Doubt, Event, Mirror, Placement, RouteKey};

/// Pause after a dump that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Dumps in a row that lack an IPv6 route before it is believed.
const MISSES: u8 = 3;
/// Events that are queued while a dump runs; beyond, the dump is repeated instead.
const REPLAY_LIMIT: usize = 1 << 18;

/// Sizes that only tests change.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of queue for events in the kernel; 64 MiB hold about 20,000 IPv6 routes.
    pub receive_buffer: usize,
    /// How often a kernel at rest is compared with the mirror, if at all.
    pub audit: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            receive_buffer: 64 << 20,
            audit: Some(Duration::from_secs(300)),
        }
    }
}

/// What operators want to know of the mirror's health.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Netlink messages read from the event socket.
    pub messages: u64,
    /// Times that events were lost: the kernel dropped them, or too many waited to be followed.
    pub overruns: u64,
    /// Dumps taken over after the first.
    pub resyncs: u64,
    /// What of the messages a newer kernel than ixmap knows must have meant.
    pub unknown: Unknown,
    /// Comparisons of a kernel at rest with the mirror.
    pub audits: u64,
    /// Differences that they found: every one is a bug.
    pub drift: u64,
    /// Entries that the last dump had and ixmap could not read.
    pub unread: u64,
}

/// One step of the mirror.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// What to look at again; may be empty when only `in_sync` changed.
    pub changes: Changes,
    /// The mirror is the kernel's state, as far as the kernel tells.
    pub in_sync: bool,
    /// When the kernel's word for the changes was found; for what a dump brought, when it was
    /// first in doubt. `None` for what nobody told of.
    pub heard: Option<Instant>,
}

type DumpTask = JoinHandle<(Dumper, Result<Dump, NetlinkError>)>;

/// Owner of the mirror and its sockets.
pub struct Keeper {
    monitor: Monitor,
    mirror: Mirror,
    events: Vec<Event>,
    /// Events since the running dump began.
    replay: Vec<Event>,
    /// Some of them found no room.
    overflowed: bool,
    /// IPv6 routes that dumps lacked, maybe because others changed meanwhile, and how many dumps.
    missed: BTreeMap<RouteKey, u8>,
    dumper: Option<Dumper>,
    task: Option<DumpTask>,
    dump_began: Instant,
    schedule: Schedule,
    audit: Audit,
    lifetimes: Lifetimes,
    /// The running dump is an audit's: it settles no doubt.
    auditing: bool,
    /// The first dump has been taken over.
    synced: bool,
    /// What was last reported.
    reported_in_sync: bool,
    counters: Counters,
}

impl Keeper {
    /// Subscribes; the first [`Keeper::next`] begins the first dump. Needs a tokio runtime in the
    /// network namespace to mirror.
    ///
    /// # Errors
    /// A socket cannot be opened or subscribed.
    pub fn start(settings: &Settings) -> Result<Keeper, NetlinkError> {
        let monitor = Monitor::open(settings)?;
        let now = Instant::now();
        Ok(Keeper {
            monitor,
            mirror: Mirror::default(),
            events: Vec::new(),
            replay: Vec::new(),
            overflowed: false,
            missed: BTreeMap::new(),
            dumper: Some(Dumper::open()?),
            task: None,
            dump_began: now,
            audit: Audit::new(settings.audit, now),
            lifetimes: Lifetimes::open(now)?,
            auditing: false,
            schedule: Schedule::new(now),
            synced: false,
            reported_in_sync: false,
            counters: Counters::default(),
        })
    }

    /// The tables. Empty before the first update.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Health, counted since the start.
    pub fn counters(&self) -> Counters {
        Counters {
            audits: self.audit.audits,
            drift: self.audit.drift,
            ..self.counters
        }
    }

    /// Since when the oldest word of the kernel's waits that the tables do not have: read and not
    /// followed yet, or in doubt and not dumped yet.
    pub fn unanswered(&self) -> Option<Instant> {
        let waits = [self.monitor.waiting(), self.schedule.oldest()];
        waits.into_iter().flatten().min()
    }

    /// Waits for the next step of the mirror. The first is the whole state (`changes.everything`).
    /// Cancel-safe: what was read is kept for the next call.
    ///
    /// # Errors
    /// The event socket broke, or the first dump failed; later dumps are retried.
    pub async fn next(&mut self) -> Result<Update, NetlinkError> {
        if !self.synced && self.task.is_none() {
            // What was said until now, the dump contains.
            self.monitor.listen()?;
            self.start_dump();
        }
        loop {
            let due = self.due().filter(|_| self.task.is_none());
            let mut changes = Changes::default();
            let mut heard = None;
            tokio::select! {
                biased;
                finished = finished(&mut self.task), if self.task.is_some() => {
                    self.task = None;
                    changes = self.take_over(finished)?;
                    heard = self.schedule.answered();
                }
                received = self.monitor.receive(&mut self.events) => {
                    let received = received?;
                    heard = Some(received.since);
                    self.follow(received, &mut changes);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    self.act();
                }
            }
            let in_sync = self.in_sync();
            if self.synced && (!changes.is_empty() || in_sync != self.reported_in_sync) {
                self.reported_in_sync = in_sync;
                return Ok(Update {
                    changes,
                    in_sync,
                    heard,
                });
            }
        }
    }

    /// False from a doubt until the dump that settles it.
    fn in_sync(&self) -> bool {
        let resyncing = self.task.is_some() && !self.auditing;
        self.synced && !resyncing && self.schedule.is_clear()
    }

    /// When to act next of its own accord.
    fn due(&self) -> Option<Instant> {
        let silent = self.mirror.silent_change();
        let ends = self.lifetimes.due(&self.mirror);
        [self.schedule.due(), silent, self.audit_due(), ends]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the audit has something to do. It dumps nothing while there is a doubt, and judges nothing
    /// while a word from before the end of its dump waits to be followed.
    fn audit_due(&self) -> Option<Instant> {
        let waiting = self.monitor.waiting();
        let followed = |end| waiting.is_none_or(|since| since > end);
        let ready = self.in_sync() && self.audit.dump_ended().is_none_or(followed);
        self.audit.due().filter(|_| ready)
    }

    /// Does what is due: a dump that settles doubts or finds a silent change; or else the audit.
    fn act(&mut self) {
        let now = Instant::now();
        let come = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if come(self.mirror.silent_change()) {
            self.mirror.forget_silent_changes(now);
            self.schedule.note(&Doubt::Silent, now, now);
        }
        if come(self.lifetimes.due(&self.mirror)) && self.lifetimes.poll(&mut self.mirror, now) {
            self.schedule.note(&Doubt::Silent, now, now);
        }
        if come(self.schedule.due()) {
            self.audit.abandon(now);
            self.start_dump();
        } else if come(self.audit_due()) {
            self.audit_now(now);
        }
    }

    fn audit_now(&mut self, now: Instant) {
        if self.audit.dump_ended().is_none() {
            self.start_dump();
            self.auditing = true;
            self.audit.begin();
            return;
        }
        let (mirror, lifetimes) = (&self.mirror, &mut self.lifetimes);
        let has_gone = |prefix: &IpNet| lifetimes.has_gone(prefix, mirror);
        if self.audit.judge(mirror, now, has_gone) {
            let doubt = Doubt::Message("an audit found it out of date".to_owned());
            self.doubt(&doubt, now);
        }
    }

    fn start_dump(&mut self) {
        let Some(mut dumper) = self.dumper.take() else {
            return;
        };
        self.schedule.begin();
        self.replay.clear();
        self.overflowed = false;
        self.dump_began = Instant::now();
        self.task = Some(tokio::task::spawn_blocking(move || {
            let result = dumper.dump();
            // A dump that broke off may still be running in the kernel: it keeps its socket busy.
            if let (Err(_), Ok(fresh)) = (&result, Dumper::open()) {
                dumper = fresh;
            }
            (dumper, result)
        }));
    }

    /// Applies a batch of events to the tables in use, and queues it while a dump runs.
    fn follow(&mut self, received: Received, changes: &mut Changes) {
        self.counters.messages += received.messages;
        self.counters.overruns += received.overruns;
        self.counters.unknown.messages += received.unknown.messages;
        self.counters.unknown.attributes += received.unknown.attributes;
        let dumping = self.task.is_some() && !self.auditing;
        self.mirror.warm(&self.events);
        for event in std::mem::take(&mut self.events) {
            if dumping {
                self.queue(&event, received.since);
            }
            if !self.synced {
                continue;
            }
            self.audit.heed(&event);
            match self.mirror.begin(event, changes) {
                // The tables in use are in doubt already: what they lack the dump brings.
                Some(Doubt::Unknown(_)) if dumping => {}
                Some(doubt) => self.doubt(&doubt, received.since),
                None => {}
            }
        }
        self.mirror.finish(changes);
        self.audit.touch(changes, Instant::now());
    }

    /// While IPv6 routes change, the kernel's dump of them lacks some that did not: it goes on by how
    /// many it has shown (fib6_dump_table in net/ipv6/ip6_fib.c). A route that no event speaks of stays
    /// until several dumps lack it.
    fn mend(&mut self, fresh: &mut Mirror, spoken_of: &HashSet<RouteKey>, now: Instant) {
        let missed = std::mem::take(&mut self.missed);
        if spoken_of.is_empty() {
            return;
        }
        let times = |key: &RouteKey| missed.get(key).copied().unwrap_or_default();
        let ends = self.mirror.ends();
        let has_ended = |key: &RouteKey| ends.get(key).is_some_and(|end| *end <= now);
        let kept = fresh.keep_ipv6(&self.mirror, |key| {
            !spoken_of.contains(key) && !has_ended(key) && times(key) < MISSES
        });
        let kept = kept.into_iter().map(|key| (key, times(&key) + 1));
        self.missed = kept.collect();
        if !self.missed.is_empty() || !self.synced {
            let why = "IPv6 routes changed during their dump, which may lack others";
            self.schedule.note_unsettled(why, now);
        }
    }

    fn queue(&mut self, event: &Event, since: Instant) {
        if self.replay.len() < REPLAY_LIMIT {
            self.replay.push(event.clone());
        } else if !self.overflowed {
            self.overflowed = true;
            let doubt = Doubt::Message("too many changes during a dump".to_owned());
            self.doubt(&doubt, since);
        }
    }

    /// Notes a doubt about what was said at `since`.
    fn doubt(&mut self, doubt: &Doubt, since: Instant) {
        if self.in_sync() {
            tracing::debug!("dumping the kernel's state again: {doubt}");
        }
        self.schedule.note(doubt, since, Instant::now());
    }

    /// Replays what happened during the dump over its result, and puts that in use.
    fn take_over(&mut self, finished: Finished) -> Result<Changes, NetlinkError> {
        let now = Instant::now();
        let took = now - self.dump_began;
        let (dumper, result) = finished?;
        self.dumper = Some(dumper);
        if let Ok(dump) = &result {
            self.counters.unread = dump.unread;
        }
        if std::mem::take(&mut self.auditing) {
            match result {
                Ok(Dump {
                    mirror, torn: None, ..
                }) => self.audit.dumped(mirror, now),
                Ok(_) | Err(_) => self.audit.postpone(now),
            }
            return Ok(Changes::default());
        }
        let Dump { mirror, torn, .. } = match result {
            Ok(dump) => dump,
            Err(error) if !self.synced => return Err(error),
            Err(error) => {
                tracing::warn!("{error}");
                self.schedule.failed(now);
                self.schedule.rest_until(now + RETRY);
                return Ok(Changes::default());
            }
        };
        self.schedule.rest_after(took, now);
        if self.overflowed && self.synced {
            // Without the events that found no room it is older than the tables in use.
            self.schedule.failed(now);
            return Ok(Changes::default());
        }
        if let Some(name) = torn {
            let why = format!("the kernel's {name} changed during every try of a dump");
            self.schedule.note_unsettled(&why, now);
        }
        let mut fresh = mirror;
        let spoken_of = ipv6_keys(&self.replay);
        for doubt in replay(&mut fresh, std::mem::take(&mut self.replay), self.synced) {
            self.schedule.note(&doubt, self.dump_began, now);
        }
        self.mend(&mut fresh, &spoken_of, now);
        if !self.synced {
            self.synced = true;
            return Ok(self.mirror.begin_with(fresh));
        }
        let changes = self.mirror.replace_with(fresh);
        self.counters.resyncs += 1;
        let news = changes.addresses
            || !changes.links.is_empty()
            || !changes.nexthops.is_empty()
            || !changes.prefixes.is_empty();
        self.schedule.confirm(news, now);
        Ok(changes)
    }
}

/// The IPv6 routes that events speak of.
fn ipv6_keys(events: &[Event]) -> HashSet<RouteKey> {
    let keys = events.iter().filter_map(|event| match event {
        Event::RouteSet { key, .. } | Event::RouteGone { key, .. } => Some(*key),
        _ => None,
    });
    keys.filter(|key| key.prefix.addr().is_ipv6()).collect()
}

type Finished = Result<(Dumper, Result<Dump, NetlinkError>), NetlinkError>;

/// Waits for the running dump; pending forever without one.
async fn finished(task: &mut Option<DumpTask>) -> Finished {
    match task {
        Some(task) => task
            .await
            .map_err(|error| NetlinkError::Receive(std::io::Error::other(error))),
        None => std::future::pending().await,
    }
}

/// Replays events over a dump that may or may not contain them; returns what remains doubtful.
/// `followed`: the tables in use have seen the same events and have told their own doubts.
fn replay(fresh: &mut Mirror, events: Vec<Event>, followed: bool) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let mut replaced = HashSet::new();
    let mut ignored = Changes::default();
    for event in events {
        match &event {
            // Which of several routes it replaced, the dump does not tell; if the new one is
            // deleted again, the wrong one may be lost.
            Event::RouteSet {
                key,
                route,
                place: Placement { replace: true, .. },
            } => {
                let list = fresh.routes(key);
                if list.len() > 1 || !list.is_empty() && !list.contains(route) {
                    replaced.insert(*key);
                }
            }
            Event::RouteGone { key, .. } if replaced.contains(key) => {
                doubts.push(Doubt::Replaced(*key));
            }
            // One of two that are equal, of which the dump may have the other.
            Event::RuleGone(rule) => doubts.push(Doubt::Rule(rule.clone())),
            Event::AddressGone(address) if !followed => {
                doubts.push(Doubt::Interface(address.ifindex));
            }
            _ => {}
        }
        match fresh.begin(event, &mut ignored) {
            None | Some(Doubt::Unknown(_)) => {}
            Some(doubt) => doubts.push(doubt),
        }
    }
    fresh.finish(&mut ignored);
    doubts
}
