//! A worker: one thread on one core that polls its queues of every port and runs each burst
//! through the pipeline. It takes no lock, but to hand over a port that is taken away, and
//! while there is work it allocates nothing.
//!
//! Control talks to it through [`Command`]s, looked at between bursts, and through the packet rings
//! of each [`Attachment`].

mod attachment;
mod clock;
mod dispatch;
mod handover;
mod idle;
mod leaving;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use arrayvec::ArrayVec;
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};

use self::attachment::bytes;
pub use self::attachment::{Attachment, Injections};
use self::clock::Clock;
pub use self::handover::{Giver, Taken, Taker, handover};
use self::idle::Restful;
use self::leaving::Leaving;
use super::bell::Bell;
use super::forward::{Arrival, Pipeline, Verdicts};
use super::mem::{Arena, Frame, Holder, OwnLines, Pool};
use super::port::{BURST, Burst, PortQueue};
use super::ring::MAX_PACKET;
use crate::shared::config::Idle;
use crate::shared::fib::World;
use crate::shared::hits::Hits;
use crate::shared::port::{MAX_PORTS, PortId};
use crate::shared::stats::WorkerCounters;

/// On a busy worker, ports are tended once in so many turns.
const TEND_TURNS: u32 = 16;

/// Packets of a burst that is followed by another, as a rule.
const LARGE: usize = BURST / 2;

/// What control asks of a worker.
#[derive(Debug)]
pub enum Command {
    /// Start polling a port's queues.
    Attach(Box<Attachment>),
    /// Stop polling a port and send its queue back. Closing it takes the kernel milliseconds, which
    /// this worker's other ports don't have: whoever asked does that, then sends `Reclaim`.
    Detach(PortId, Giver<PortQueue>),
    /// Take back the frames that a detached port's rings held: these, and those that the pool's record
    /// says. Its queue has been closed.
    Reclaim(PortId, Vec<Frame>),
    /// Close every port and end the thread.
    Stop,
}

/// Everything a worker starts with.
#[derive(Debug)]
pub struct Setup {
    pub core: usize,
    pub idle: Idle,
    /// Whose frames are the worker's.
    pub arena: Arc<Arena>,
    pub world: Arc<ArcSwap<World>>,
    pub commands: Receiver<Command>,
    /// Rung by whoever brings commands or packets to send.
    pub bell: Arc<Bell>,
    pub counters: Arc<WorkerCounters>,
    pub hits: Arc<Hits>,
}

/// A worker's look at the published world.
pub type Worlds = Cache<Arc<ArcSwap<World>>, Arc<World>>;

/// Starts a worker on a thread of its own, which it keeps until it is told to stop. Returns once it
/// is on its core.
pub fn start(name: String, setup: Setup) -> io::Result<JoinHandle<()>> {
    let (tell, told) = sync_channel(1);
    let thread = thread::Builder::new().name(name).spawn(move || {
        let idle = setup.idle;
        match Shift::begin(setup) {
            Ok(mut shift) => {
                // Whoever starts it waits.
                let _ = tell.send(Ok(()));
                idle::run(&mut shift, idle);
                shift.worker.close_all();
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        }
    })?;
    let begun = told.recv();
    begun.unwrap_or_else(|_| Err(io::Error::other("it panicked")))?;
    Ok(thread)
}

/// Keeps this thread on one core, with no priority there.
fn pin(core: usize) -> io::Result<()> {
    let refused = || io::Error::other("it is offline, or not for this process: see `lscpu -e`");
    if core >= CpuSet::MAX_CPU {
        return Err(refused());
    }
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|_| refused())?;
    // Not as control, which goes before others: the kernel's threads on the core must run. Refused
    // only to who may not go first either.
    let _ = setpriority_process(None, 0);
    Ok(())
}

/// A worker with everything that it looks at between bursts.
struct Shift {
    worker: Worker,
    worlds: Worlds,
    commands: Receiver<Command>,
    bell: Arc<Bell>,
}

impl Shift {
    /// On its core before it makes anything: what a worker writes is then in its thread's own heap,
    /// apart from all others', and on its core's NUMA node.
    fn begin(setup: Setup) -> io::Result<Shift> {
        pin(setup.core)?;
        let taken = || io::Error::other("its packet memory is another worker's");
        let pool = Pool::new(setup.arena).ok_or_else(taken)?;
        Ok(Shift {
            worker: Worker::new(pool, setup.counters, setup.hits),
            worlds: Cache::new(setup.world),
            commands: setup.commands,
            bell: setup.bell,
        })
    }
}

impl Restful for Shift {
    fn turn(&mut self) -> Option<bool> {
        let goes_on = self.worker.obey(&self.commands);
        goes_on.then(|| self.worker.turn(&mut self.worlds))
    }

    fn now(&self) -> Duration {
        self.worker.clock.now()
    }

    fn arm(&mut self) {
        self.bell.arm();
        // A packet that waits already is for the turn to find.
        self.worker.queues().for_each(|queue| {
            queue.arm();
        });
    }

    fn sleep(&mut self) {
        let worker = &mut self.worker;
        worker.counters.sleeps.add(1);
        idle::sleep(
            &self.bell,
            worker.ports.iter().flatten().map(|port| &**port),
        );
        worker.clock.turn(false, &worker.counters);
    }

    fn disarm(&mut self) {
        self.bell.disarm();
        self.worker.queues().for_each(PortQueue::disarm);
    }
}

/// Everything of a worker but its thread: tests and benches turn it by hand.
#[derive(Debug)]
pub struct Worker {
    pool: Pool,
    ports: [Option<Box<Attachment>>; MAX_PORTS],
    /// Slots of `ports` that are taken.
    active: ArrayVec<PortId, MAX_PORTS>,
    pipeline: Pipeline,
    /// Ports that are no longer polled.
    leaving: Vec<Leaving>,
    clock: Clock,
    counters: Arc<WorkerCounters>,
    hits: Arc<Hits>,
    burst: Box<OwnLines<Burst>>,
    verdicts: Verdicts,
    scratch: Box<[u8]>,
    turns: u32,
}

impl Worker {
    /// A worker without ports, whose frames are those of `pool`.
    pub fn new(pool: Pool, counters: Arc<WorkerCounters>, hits: Arc<Hits>) -> Worker {
        Worker {
            pool,
            ports: std::array::from_fn(|_| None),
            active: ArrayVec::new(),
            pipeline: Pipeline::default(),
            leaving: Vec::new(),
            clock: Clock::new(),
            counters,
            hits,
            burst: Box::default(),
            verdicts: Verdicts::default(),
            scratch: vec![0; MAX_PACKET].into_boxed_slice(),
            turns: 0,
        }
    }

    /// Carries out what control asks; false when it is time to end.
    fn obey(&mut self, commands: &Receiver<Command>) -> bool {
        loop {
            match commands.try_recv() {
                Ok(Command::Attach(attachment)) => self.attach(attachment),
                Ok(Command::Detach(port, to)) => self.leave(port, to),
                Ok(Command::Reclaim(port, frames)) => {
                    // Should the port be leaving still, whoever waited gave up: its rings are closed first.
                    self.end_leave(port);
                    self.take_back(port, frames);
                }
                Err(TryRecvError::Empty) => return true,
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// The queues of a port, with the frames that they take and give.
    pub fn queue(&mut self, port: PortId) -> Option<(&mut PortQueue, &mut Pool)> {
        let attachment = self.ports[port.index()].as_mut()?;
        Some((&mut attachment.queue, &mut self.pool))
    }

    fn queues(&mut self) -> impl Iterator<Item = &mut PortQueue> {
        self.ports.iter_mut().flatten().map(|port| &mut port.queue)
    }

    /// Starts polling a port's queues.
    pub fn attach(&mut self, mut attachment: Box<Attachment>) {
        let port = attachment.port;
        self.close(port);
        // The others may be armed, with a sleep ahead.
        attachment.queue.arm();
        self.ports[port.index()] = Some(attachment);
        self.active.push(port);
    }

    /// Takes a port out of the loop. Some of it may be on its way out.
    fn detach(&mut self, port: PortId) -> Option<Box<Attachment>> {
        self.active.retain(|active| *active != port);
        let mut attachment = self.ports[port.index()].take()?;
        self.pool.give_all(attachment.ahead.drain(..));
        attachment.queue.retire(&mut self.pool);
        Some(attachment)
    }

    fn close_all(&mut self) {
        for port in self.active.clone() {
            self.close(port);
        }
        while let Some(leaving) = self.leaving.first() {
            self.end_leave(leaving.port());
        }
    }

    /// Closes a port after a while for what is on its way out. Here the other ports do wait: at a worker's end,
    /// or when a place is taken whose port was not taken away.
    fn close(&mut self, port: PortId) {
        self.end_leave(port);
        if let Some(mut attachment) = self.detach(port) {
            let end = Instant::now() + leaving::PATIENCE;
            while attachment.queue.tend(&mut self.pool) && Instant::now() < end {
                thread::yield_now();
            }
            self.take_back(port, attachment.queue.close());
        }
    }

    /// Takes back what the rings of a closed queue held: these frames, and those of the pool's record.
    fn take_back(&mut self, port: PortId, frames: Vec<Frame>) {
        self.pool.give_all(frames);
        self.pool.reclaim(Holder::port(port));
    }

    /// Polls every port once; true when anything moved or is still on its way out.
    pub fn turn(&mut self, worlds: &mut Worlds) -> bool {
        let busy = self.poll(worlds);
        self.clock.turn(busy, &self.counters);
        busy
    }

    fn poll(&mut self, worlds: &mut Worlds) -> bool {
        let mut busy = false;
        self.turns = self.turns.wrapping_add(1);
        for at in 0..self.active.len() {
            let port = self.active[at];
            busy |= self.receive(port, worlds);
            busy |= self.inject(port);
        }
        // Not only on quiet turns: a port that stands still must not wait until all others do.
        if !busy || self.turns.is_multiple_of(TEND_TURNS) {
            for port in self.ports.iter_mut().flatten() {
                busy |= port.queue.tend(&mut self.pool);
            }
            if !self.leaving.is_empty() {
                self.see_off();
            }
        }
        // It does not sleep before they are gone.
        busy | !self.leaving.is_empty()
    }

    /// Receives one burst from a port and carries out the verdicts on it. Behind a large burst there
    /// mostly is another, which is received already: its packets come nearer meanwhile.
    fn receive(&mut self, ingress: PortId, worlds: &mut Worlds) -> bool {
        let Some(port) = self.ports[ingress.index()].as_mut() else {
            return false;
        };
        std::mem::swap(&mut self.burst, &mut port.ahead);
        let fetched = !self.burst.is_empty();
        if !fetched {
            port.queue.receive(&mut self.pool, &mut self.burst);
        }
        if self.burst.len() >= LARGE && port.queue.is_coloured() {
            port.queue.receive(&mut self.pool, &mut port.ahead);
        }
        if self.burst.is_empty() {
            return false;
        }
        port.counters.rx_packets.add(self.burst.len() as u64);
        port.counters.rx_bytes.add(bytes(&self.burst));
        let arrival = Arrival {
            world: worlds.load(),
            ingress,
            limits: &mut port.limits,
            hits: &self.hits,
            now: self.clock.now(),
            fetched,
            ahead: &port.ahead,
        };
        let forwarded = self
            .pipeline
            .run(arrival, &self.pool, &mut self.burst, &mut self.verdicts);
        self.dispatch(ingress, forwarded);
        true
    }
}
