//! A worker: one thread on one core that polls its queues of every port and runs each burst
//! through the pipeline. It takes no lock and allocates nothing once its ports are attached.
//!
//! Control talks to it through [`Command`]s, looked at between bursts, and through the packet rings
//! of each [`Attachment`].

mod attachment;
mod clock;
mod dispatch;
mod idle;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};

use arc_swap::{ArcSwap, Cache};
use arrayvec::ArrayVec;

pub use self::attachment::Attachment;
use self::clock::Clock;
use self::idle::Patience;
use super::bell::Bell;
use super::forward::{Arrival, Pipeline, Verdicts};
use super::mem::Pool;
use super::port::{Burst, TransmitList};
use crate::shared::config::Idle;
use crate::shared::fib::World;
use crate::shared::port::{MAX_PORTS, PortId};
use crate::shared::stats::WorkerCounters;

/// The longest frame that a TAP hands over: an Ethernet header, a VLAN tag and the largest MTU.
const MAX_INJECTED: usize = 65_535;

/// What control asks of a worker.
#[derive(Debug)]
pub enum Command {
    /// Start polling a port's queues.
    Attach(Box<Attachment>),
    /// Stop polling a port: drain it, close its queues, then drop the sender to say that it is done.
    Detach(PortId, SyncSender<()>),
    /// Close every port and end the thread.
    Stop,
}

/// Everything a worker starts with.
#[derive(Debug)]
pub struct Setup {
    pub core: usize,
    pub idle: Idle,
    pub pool: Pool,
    pub world: Arc<ArcSwap<World>>,
    pub commands: Receiver<Command>,
    /// Rung by whoever brings commands or packets to send.
    pub bell: Arc<Bell>,
    pub counters: Arc<WorkerCounters>,
}

/// Runs a worker until it is told to stop. To be called on a thread of its own.
pub fn run(setup: Setup) {
    // Refused by the kernel only if the core has gone offline since it was checked: the worker is
    // slower then, not wrong.
    core_affinity::set_for_current(core_affinity::CoreId { id: setup.core });
    let worker = Worker {
        pool: setup.pool,
        ports: std::array::from_fn(|_| None),
        active: ArrayVec::new(),
        pipeline: Pipeline::default(),
        clock: Clock::new(),
        counters: setup.counters,
        burst: Burst::new(),
        verdicts: Verdicts::new(),
        rest: ArrayVec::new(),
        scratch: vec![0; MAX_INJECTED].into_boxed_slice(),
    };
    worker.run(setup.idle, setup.world, &setup.commands, &setup.bell);
}

struct Worker {
    pool: Pool,
    ports: [Option<Box<Attachment>>; MAX_PORTS],
    /// Slots of `ports` that are taken.
    active: ArrayVec<PortId, MAX_PORTS>,
    pipeline: Pipeline,
    clock: Clock,
    counters: Arc<WorkerCounters>,
    burst: Burst,
    verdicts: Verdicts,
    /// Frames that found no room in a transmit ring.
    rest: TransmitList,
    scratch: Box<[u8]>,
}

impl Worker {
    fn run(
        mut self,
        idle: Idle,
        world: Arc<ArcSwap<World>>,
        commands: &Receiver<Command>,
        bell: &Bell,
    ) {
        let mut worlds = Cache::new(world);
        let mut patience = Patience::default();
        let mut armed = false;
        while self.obey(commands) {
            let busy = self.turn(&mut worlds);
            self.clock.turn(busy, &self.counters);
            if std::mem::take(&mut armed) {
                // This was the look after arming: whatever comes from here on wakes the sleeper.
                if !busy {
                    self.counters.sleeps.add(1);
                    idle::sleep(bell, self.ports.iter().flatten().map(|port| &**port));
                    self.clock.turn(false, &self.counters);
                }
                bell.disarm();
                patience = Patience::default();
            } else if idle == Idle::Adaptive && patience.is_spent(busy, self.clock.now()) {
                bell.arm();
                armed = true;
            }
        }
        for port in std::mem::take(&mut self.active) {
            self.close(port);
        }
    }

    /// Carries out what control asks; false when it is time to end.
    fn obey(&mut self, commands: &Receiver<Command>) -> bool {
        loop {
            match commands.try_recv() {
                Ok(Command::Attach(attachment)) => self.attach(attachment),
                Ok(Command::Detach(port, done)) => {
                    self.active.retain(|active| *active != port);
                    self.close(port);
                    drop(done);
                }
                Err(TryRecvError::Empty) => return true,
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn attach(&mut self, attachment: Box<Attachment>) {
        let port = attachment.port;
        self.active.retain(|active| *active != port);
        self.close(port);
        self.ports[port.index()] = Some(attachment);
        self.active.push(port);
    }

    fn close(&mut self, port: PortId) {
        if let Some(attachment) = self.ports[port.index()].take() {
            attachment.queue.close(&mut self.pool);
        }
    }

    /// Polls every port once; true when anything moved or is still on its way out.
    fn turn(&mut self, worlds: &mut Cache<Arc<ArcSwap<World>>, Arc<World>>) -> bool {
        let mut busy = false;
        for port in self.active.clone() {
            busy |= self.receive(port, worlds);
            busy |= self.inject(port);
        }
        if !busy {
            for port in self.ports.iter_mut().flatten() {
                busy |= port.queue.tend(&mut self.pool);
            }
        }
        busy
    }

    /// Receives one burst from a port and carries out the verdicts on it.
    fn receive(
        &mut self,
        ingress: PortId,
        worlds: &mut Cache<Arc<ArcSwap<World>>, Arc<World>>,
    ) -> bool {
        let Some(port) = self.ports[ingress.index()].as_mut() else {
            return false;
        };
        port.queue.receive(&mut self.pool, &mut self.burst);
        if self.burst.is_empty() {
            return false;
        }
        port.counters.rx_packets.add(self.burst.len() as u64);
        port.counters
            .rx_bytes
            .add(self.burst.iter().map(|frame| frame.len() as u64).sum());
        let arrival = Arrival {
            world: worlds.load(),
            ingress,
            limits: &mut port.limits,
            now: self.clock.now(),
        };
        self.pipeline
            .run(arrival, &self.pool, &mut self.burst, &mut self.verdicts);
        self.dispatch(ingress);
        true
    }
}
