//! The loop that keeps the mirror true: subscribe, dump, replay, follow; and dump again in doubt.
//!
//! The old tables stay in use, and follow events, while a new dump runs on a blocking thread. The
//! same events are queued and replayed over the fresh tables, which then take the old ones' place.
//! A doubt about an interface is settled only by a dump that finds nothing new, since the kernel may
//! announce a change before it has flushed the routes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::dump::Dumper;
use super::monitor::Monitor;
use super::{NetlinkError, Received};
use crate::control::mirror::{Changes, Doubt, Event, Mirror, Placement};

/// A dump starts when doubts have rested this long,
const SETTLE: Duration = Duration::from_millis(50);
/// or when the first of them is this old.
const PATIENCE: Duration = Duration::from_secs(1);
/// Pause after a dump that failed.
const RETRY: Duration = Duration::from_secs(1);
/// Events that are queued while a dump runs; beyond, the dump is repeated instead.
const REPLAY_LIMIT: usize = 1 << 18;

/// Sizes that only tests change.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of queue for events in the kernel; 64 MiB hold about 20,000 IPv6 routes.
    pub receive_buffer: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            receive_buffer: 64 << 20,
        }
    }
}

/// What operators want to know of the mirror's health.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Netlink messages read from the event socket.
    pub messages: u64,
    /// Times the kernel dropped events.
    pub overruns: u64,
    /// Dumps taken over after the first.
    pub resyncs: u64,
    /// From the first unread message of the last batch to its return.
    pub lag: Duration,
}

/// One step of the mirror.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Update {
    /// What to look at again; may be empty when only `in_sync` changed.
    pub changes: Changes,
    /// The mirror is the kernel's state, as far as the kernel tells.
    pub in_sync: bool,
}

type DumpTask = JoinHandle<(Dumper, Result<Mirror, NetlinkError>)>;

/// Owner of the mirror and its sockets.
pub struct Keeper {
    monitor: Monitor,
    mirror: Mirror,
    events: Vec<Event>,
    /// Events since the running dump began.
    replay: Vec<Event>,
    /// Some of them found no room.
    overflowed: bool,
    dumper: Option<Dumper>,
    task: Option<DumpTask>,
    dump_began: Instant,
    schedule: Schedule,
    /// The first dump has been taken over.
    synced: bool,
    /// What was last reported.
    reported_in_sync: bool,
    counters: Counters,
}

/// When to dump next, and why.
struct Schedule {
    /// Of the first and the last doubt that no running dump answers.
    doubts: Option<(Instant, Instant)>,
    /// The dump must find nothing new, or it is repeated.
    confirm: bool,
    /// Not before: after a failure, or to leave the machine half of its time.
    earliest: Instant,
}

impl Schedule {
    fn note(&mut self, doubt: &Doubt) {
        let now = Instant::now();
        let first = self.doubts.map_or(now, |(first, _)| first);
        self.doubts = Some((first, now));
        self.confirm |= matches!(doubt, Doubt::Interface(_));
    }

    fn due(&self) -> Option<Instant> {
        let (first, last) = self.doubts?;
        Some((last + SETTLE).min(first + PATIENCE).max(self.earliest))
    }
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
            dumper: Some(Dumper::open()?),
            task: None,
            dump_began: now,
            schedule: Schedule {
                doubts: None,
                confirm: false,
                earliest: now,
            },
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
        self.counters
    }

    /// Waits for the next step of the mirror. The first is the whole state (`changes.everything`).
    /// Cancel-safe: what was read is kept for the next call.
    ///
    /// # Errors
    /// The event socket broke, or the first dump failed; later dumps are retried.
    pub async fn next(&mut self) -> Result<Update, NetlinkError> {
        if !self.synced && self.task.is_none() {
            // What was said until now, the dump contains.
            self.monitor.discard()?;
            self.start_dump();
        }
        loop {
            let due = self.schedule.due().filter(|_| self.task.is_none());
            let mut changes = Changes::default();
            tokio::select! {
                biased;
                finished = finished(&mut self.task), if self.task.is_some() => {
                    self.task = None;
                    changes = self.take_over(finished)?;
                }
                received = self.monitor.receive(&mut self.events) => {
                    self.follow(received?, &mut changes);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    self.start_dump();
                }
            }
            let in_sync = self.in_sync();
            if self.synced && (!changes.is_empty() || in_sync != self.reported_in_sync) {
                self.reported_in_sync = in_sync;
                return Ok(Update { changes, in_sync });
            }
        }
    }

    /// False from a doubt until the dump that settles it.
    fn in_sync(&self) -> bool {
        self.synced && self.task.is_none() && self.schedule.doubts.is_none()
    }

    fn start_dump(&mut self) {
        let Some(mut dumper) = self.dumper.take() else {
            return;
        };
        self.schedule.doubts = None;
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
        self.counters.overruns += u64::from(received.overrun);
        let dumping = self.task.is_some();
        for event in std::mem::take(&mut self.events) {
            if dumping {
                self.queue(&event);
            }
            if !self.synced {
                continue;
            }
            match self.mirror.apply(event, changes) {
                // The tables in use are in doubt already: what they lack the dump brings.
                Some(Doubt::Unknown(_)) if dumping => {}
                Some(doubt) => self.doubt(&doubt),
                None => {}
            }
        }
        self.counters.lag = received.since.elapsed();
    }

    fn queue(&mut self, event: &Event) {
        if self.replay.len() < REPLAY_LIMIT {
            self.replay.push(event.clone());
        } else if !self.overflowed {
            self.overflowed = true;
            self.doubt(&Doubt::Message("too many changes during a dump".to_owned()));
        }
    }

    fn doubt(&mut self, doubt: &Doubt) {
        if self.in_sync() {
            tracing::debug!("dumping the kernel's state again: {doubt}");
        }
        self.schedule.note(doubt);
    }

    /// Replays what happened during the dump over its result, and puts that in use.
    fn take_over(&mut self, finished: Finished) -> Result<Changes, NetlinkError> {
        let now = Instant::now();
        let took = now - self.dump_began;
        let (dumper, result) = finished?;
        self.dumper = Some(dumper);
        let mut fresh = match result {
            Ok(fresh) => fresh,
            Err(error) if !self.synced => return Err(error),
            Err(error) => {
                tracing::warn!("{error}");
                self.schedule.note(&Doubt::Message(error.to_string()));
                self.schedule.earliest = now + RETRY;
                return Ok(Changes::default());
            }
        };
        self.schedule.earliest = now + took;
        if self.overflowed && self.synced {
            // Without the events that found no room it is older than the tables in use.
            return Ok(Changes::default());
        }
        for doubt in replay(&mut fresh, std::mem::take(&mut self.replay), self.synced) {
            self.schedule.note(&doubt);
        }
        let mut changes = self.mirror.replace_with(fresh);
        if self.synced {
            self.counters.resyncs += 1;
            self.confirm(&changes);
        } else {
            self.synced = true;
            changes.everything = true;
        }
        Ok(changes)
    }

    /// After a doubt about an interface a dump that still found news is repeated.
    fn confirm(&mut self, changes: &Changes) {
        let news = changes.addresses
            || !changes.links.is_empty()
            || !changes.nexthops.is_empty()
            || !changes.prefixes.is_empty();
        if self.schedule.confirm && news {
            self.schedule
                .note(&Doubt::Message("the last dump still found news".to_owned()));
        } else if self.schedule.doubts.is_none() {
            self.schedule.confirm = false;
        }
    }
}

type Finished = Result<(Dumper, Result<Mirror, NetlinkError>), NetlinkError>;

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
            Event::AddressGone(address) if !followed => {
                doubts.push(Doubt::Interface(address.ifindex));
            }
            _ => {}
        }
        match fresh.apply(event, &mut ignored) {
            None | Some(Doubt::Unknown(_)) => {}
            Some(doubt) => doubts.push(doubt),
        }
    }
    doubts
}
