//! The worker threads as control sees them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::{StartError, cores};
use crate::dataplane::bell::Bell;
use crate::dataplane::mem::{Arena, Shortfall, node_of_core};
use crate::dataplane::port::PortQueue;
use crate::dataplane::worker::{self, Attachment, Command, Setup, Taken, Taker, handover};
use crate::shared::api::WorkerState;
use crate::shared::config::Idle;
use crate::shared::fib::World;
use crate::shared::hits::Hits;
use crate::shared::port::PortId;
use crate::shared::stats::WorkerCounters;

/// How long a worker may take to let go of a port: much longer than it looks after one that leaves.
const DETACH_TIMEOUT: Duration = Duration::from_secs(5);

/// One worker thread.
pub(super) struct Worker {
    pub(super) name: String,
    pub(super) core: usize,
    pub(super) idle: Idle,
    pub(super) arena: Arc<Arena>,
    pub(super) bell: Arc<Bell>,
    pub(super) counters: Arc<WorkerCounters>,
    pub(super) hits: Arc<Hits>,
    /// Frames that rings hold, by port.
    lent: BTreeMap<PortId, u32>,
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
    health: Health,
}

/// What the last look at the counters told.
#[derive(Clone, Copy)]
struct Health {
    busy_ns: u64,
    total_ns: u64,
    turns: u64,
    busy_ratio: f64,
    /// Looks in a row at which the loop had not turned.
    still: u32,
}

impl Worker {
    /// Maps packet memory and starts the thread.
    pub(super) fn start(
        core: usize,
        idle: Idle,
        frames: u32,
        frame_size: u32,
        world: Arc<ArcSwap<World>>,
    ) -> Result<Worker, StartError> {
        let failed = |source| StartError::Worker { core, source };
        let (arena, _) = Arena::on_node(frames, frame_size, node_of_core(core)).map_err(failed)?;
        let arena = Arc::new(arena);
        let bell = Arc::new(Bell::new().map_err(failed)?);
        let counters = Arc::new(WorkerCounters::default());
        let hits = Arc::new(Hits::default());
        let (commands, receiver) = channel();
        let setup = Setup {
            core,
            idle,
            arena: Arc::clone(&arena),
            world,
            commands: receiver,
            bell: Arc::clone(&bell),
            counters: Arc::clone(&counters),
            hits: Arc::clone(&hits),
        };
        let name = format!("core{core}");
        let thread = worker::start(cores::thread_name(core), setup).map_err(failed)?;
        let health = Health {
            busy_ns: 0,
            total_ns: 0,
            turns: 0,
            busy_ratio: 0.0,
            still: 0,
        };
        let thread = Some(thread);
        Ok(Worker {
            name,
            core,
            idle,
            arena,
            bell,
            counters,
            hits,
            lent: BTreeMap::new(),
            commands,
            thread,
            health,
        })
    }

    /// Whether the packet memory suffices for another port whose rings hold `frames`.
    pub(super) fn has_room_for(&self, frames: u32) -> bool {
        let lent = self
            .lent
            .values()
            .copied()
            .fold(frames, u32::saturating_add);
        lent <= self.arena.frames()
    }

    /// Gives the worker a port whose rings hold `frames`.
    pub(super) fn attach(&mut self, port: PortId, attachment: Attachment, frames: u32) {
        self.lent.insert(port, frames);
        self.orders().give(Command::Attach(Box::new(attachment)));
    }

    /// Takes a port away: the worker stops polling it at once and hands its queue over.
    pub(super) fn detach(&mut self, port: PortId) -> Detached {
        self.lent.remove(&port);
        let (queue, wait) = handover();
        self.orders().give(Command::Detach(port, queue));
        Detached {
            worker: self.name.clone(),
            port,
            wait,
            orders: self.orders(),
        }
    }

    fn orders(&self) -> Orders {
        Orders {
            commands: self.commands.clone(),
            bell: Arc::clone(&self.bell),
        }
    }

    /// Looks at the counters; called once a second.
    pub(super) fn check(&mut self) {
        let (busy, total) = (self.counters.busy_ns.get(), self.counters.total_ns.get());
        let turns = self.counters.turns.get();
        let spent = total.saturating_sub(self.health.total_ns);
        let working = busy.saturating_sub(self.health.busy_ns);
        // Nanoseconds of a second or two: exact in a double.
        let ratio = if spent == 0 {
            0.0
        } else {
            working as f64 / spent as f64
        };
        let still = if turns == self.health.turns {
            self.health.still + 1
        } else {
            0
        };
        self.health = Health {
            busy_ns: busy,
            total_ns: total,
            turns,
            busy_ratio: ratio,
            still,
        };
    }

    /// The share of the last second or so spent on polls that found work.
    pub(super) fn busy_ratio(&self) -> f64 {
        self.health.busy_ratio
    }

    /// A sleeping worker turns once a second; three looks without a turn are a stall.
    pub(super) fn state(&self) -> WorkerState {
        match &self.thread {
            Some(thread) if !thread.is_finished() => match self.health.still {
                0..3 => WorkerState::Running,
                _ => WorkerState::Stalled,
            },
            _ => WorkerState::Dead,
        }
    }

    /// True when the thread has ended by itself.
    pub(super) fn is_dead(&self) -> bool {
        self.state() == WorkerState::Dead
    }

    /// Ends the thread, its ports with it.
    pub(super) fn stop(&mut self) {
        self.orders().give(Command::Stop);
        let Some(thread) = self.thread.take() else {
            return;
        };
        let deadline = Instant::now() + DETACH_TIMEOUT;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !thread.is_finished() {
            tracing::error!("the worker on core {} is stalled: left behind", self.core);
        } else if thread.join().is_err() {
            tracing::error!("the worker on core {} had panicked", self.core);
        }
    }
}

/// What an operator should know about the workers' packet memory, a line each.
pub(super) fn memory_warnings(workers: &[Worker]) -> Vec<String> {
    let short = |worker: &Worker| Some((worker.name.clone(), worker.arena.shortfall()?));
    by_node(workers.iter().filter_map(short))
}

/// One line for each NUMA node, whose command is right for all of its workers.
fn by_node(workers: impl Iterator<Item = (String, Shortfall)>) -> Vec<String> {
    let mut nodes: BTreeMap<Option<u32>, (String, Shortfall)> = BTreeMap::new();
    for (name, short) in workers {
        let together = match nodes.remove(&short.node) {
            Some((names, others)) => (format!("{names}, {name}"), others.with(short)),
            None => (name, short),
        };
        nodes.insert(short.node, together);
    }
    let lines = nodes
        .into_values()
        .map(|(names, short)| format!("the packets of {names} lie in normal pages: {short}"));
    lines.collect()
}

/// The way to a worker's ear.
struct Orders {
    commands: Sender<Command>,
    bell: Arc<Bell>,
}

impl Orders {
    fn give(&self, command: Command) {
        // A worker whose thread has ended shows in its state, and has no ports any more.
        let _ = self.commands.send(command);
        self.bell.ring();
    }
}

/// A port's queue on its way back from a worker.
pub(super) struct Detached {
    worker: String,
    port: PortId,
    wait: Taker<PortQueue>,
    orders: Orders,
}

impl Detached {
    /// Closes the queue and lets the worker have the frames back. Blocks.
    pub(super) fn close(self) {
        let frames = match self.wait.take(DETACH_TIMEOUT) {
            Taken::Thing(queue) => queue.close(),
            Taken::Nothing => Vec::new(),
            Taken::TooLate => {
                tracing::error!("{} does not let go of a port: is it stalled?", self.worker);
                // Once it does, it closes the queue itself, and must still take back what the pool's
                // record says.
                Vec::new()
            }
        };
        self.orders.give(Command::Reclaim(self.port, frames));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_a_node_share_one_command_that_suffices_for_all() {
        let on = |node| Shortfall {
            page_size: 2 << 20,
            needed: 8,
            free: 3,
            reserved: 71,
            node,
            is_default_size: true,
        };
        let workers = [(1, Some(0)), (2, Some(1)), (3, Some(0))];
        let workers = workers.map(|(core, node)| (format!("core{core}"), on(node)));
        let lines = by_node(workers.into_iter());
        let pool = |node| format!("/sys/devices/system/node/node{node}/hugepages/hugepages-2048kB");
        assert_eq!(
            lines,
            [
                format!(
                    "the packets of core1, core3 lie in normal pages: 16 hugepages of 2 MiB are \
                     needed and 3 are free on NUMA node 0: `echo 84 > {}/nr_hugepages`",
                    pool(0)
                ),
                format!(
                    "the packets of core2 lie in normal pages: 8 hugepages of 2 MiB are needed \
                     and 3 are free on NUMA node 1: `echo 76 > {}/nr_hugepages`",
                    pool(1)
                ),
            ]
        );
    }
}
