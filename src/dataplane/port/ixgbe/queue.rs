//! What one worker has of a port: hardware receive queues and one transmit queue.
//!
//! Frames go round between the worker's pool and the rings. What the device writes back counts only
//! as far as it makes sense; which frame a descriptor has is remembered here, not read back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::receive::{Receive, ReceiveQueue, ReceiveSetup, buffer_size};
use super::registers::{Register, Registers};
use super::switch::{Standing, Switch};
use super::transmit::{Reap, Transmit, TransmitQueue, TransmitSetup};
use crate::dataplane::mem::{Arena, DmaMap, Frame, Loan, Pool};
use crate::dataplane::port::Burst;
use crate::dataplane::port::pci::Bar;
use crate::shared::fib::Path;
use crate::shared::stats::Counter;

/// EIMS_EX and EIMC_EX: a bit a vector, 32 a register.
const MASK_SET: u32 = 0xAA0;
const MASK_CLEAR: u32 = 0xAB0;
/// MSI-X vectors of the device.
const VECTORS: u16 = 64;

/// Turns without a frame sent after which a transmit queue counts as standing still.
const PATIENCE: u32 = 4096;
/// How long hardware queues may take to start or stop, and between two looks.
const SWITCHING: Duration = Duration::from_millis(20);
const LOOK: Duration = Duration::from_micros(100);

/// An interrupt of the device, as a worker waits for it.
#[derive(Debug)]
pub struct Vector {
    /// The number of the MSI-X vector.
    pub number: u16,
    /// A non-blocking eventfd that the interrupt is signalled by.
    pub event: OwnedFd,
}

/// What a worker's driver counts of its queues of a port, for control to read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Frames that the device found damaged, or of an impossible length: dropped.
    pub rx_errors: Counter,
    /// Frames longer than a buffer: dropped.
    pub rx_split: Counter,
    /// Frames whose IPv4 header's checksum the device found wrong; what becomes of them is counted
    /// elsewhere.
    pub rx_ip_checksum: Counter,
    /// Times that a receive ring ran out of buffers because the pool had none.
    pub rx_starved: Counter,
    /// Frames of a length that no device sends: dropped.
    pub tx_unsendable: Counter,
}

/// Keeps the device from memory altogether: bus mastering off. Called when a queue does not stop.
#[derive(Clone)]
pub struct LastResort(Arc<dyn Fn() + Send + Sync>);

impl LastResort {
    pub fn new(act: impl Fn() + Send + Sync + 'static) -> LastResort {
        LastResort(Arc::new(act))
    }
}

impl std::fmt::Debug for LastResort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastResort")
    }
}

/// Everything a queue starts with.
#[derive(Debug)]
pub struct Setup<R = Bar> {
    pub registers: R,
    /// None for a worker that only sends by this port.
    pub receive: Vec<ReceiveSetup>,
    pub transmit: TransmitSetup,
    /// Of the region that the rings are carved from.
    pub rings_map: DmaMap,
    /// Where the worker's frames are.
    pub arena: Arc<Arena>,
    pub arena_map: DmaMap,
    pub counters: Arc<Counters>,
    pub last_resort: LastResort,
}

/// Why a queue did not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QueueError {
    #[error(
        "packet memory was laid out in frames of {0} bytes at the start, and an 82599 needs 4096: put the \
         port into the configuration and restart ixmapd"
    )]
    FrameSize(u32),
    #[error("a hardware queue of the 82599 does not start: reset the card, or the machine")]
    Stuck,
    #[error("the card is gone")]
    Gone,
}

/// What all hardware queues of a worker's need.
#[derive(Debug)]
pub(super) struct Shared<R> {
    pub(super) registers: R,
    /// Of the arena's memory.
    pub(super) map: DmaMap,
    /// Bytes that the device may write into a frame.
    pub(super) buffer: u32,
    pub(super) counters: Arc<Counters>,
}

/// A port's hardware queues in the hands of one worker. Dropping it stops them, so that the device
/// no longer touches a frame, and loses the frames that they have; [`Self::close`] returns these.
#[derive(Debug)]
#[repr(align(128))]
pub struct Queue<R: Registers = Bar> {
    shared: Shared<R>,
    receive: Vec<ReceiveQueue>,
    transmit: TransmitQueue,
    /// The receive queue that the next receive starts with.
    turn: usize,
    /// Turns since a frame was last sent, while there are some to send.
    standstill: u32,
    stopped: bool,
    last_resort: LastResort,
}

impl<R: Registers> Queue<R> {
    /// Programs the hardware queues and starts them, empty: the first [`Self::receive`] gives the
    /// device its buffers. `DMATXCTL.TE` must be on; receiving may be enabled before or after.
    pub fn start(setup: Setup<R>) -> Result<Queue<R>, QueueError> {
        let frame_size = setup.arena.frame_size();
        let size = buffer_size(frame_size);
        if size < 2048 {
            return Err(QueueError::FrameSize(frame_size));
        }
        let Setup {
            registers,
            rings_map,
            ..
        } = setup;
        let arena = setup.arena;
        let begin = |receive| ReceiveQueue::start(receive, &registers, &rings_map, &arena, size);
        let receive = setup.receive.into_iter().map(begin).collect();
        let transmit = TransmitQueue::start(setup.transmit, &registers, &rings_map, &arena);
        let queue = Queue {
            receive,
            transmit,
            turn: 0,
            standstill: 0,
            stopped: false,
            shared: Shared {
                registers,
                map: setup.arena_map,
                buffer: size,
                counters: setup.counters,
            },
            last_resort: setup.last_resort,
        };
        // What has started by now stops when `queue` is dropped.
        match queue.wait_until(Standing::Runs) {
            true => Ok(queue),
            false if queue.is_gone() => Err(QueueError::Gone),
            false => Err(QueueError::Stuck),
        }
    }

    /// Stops the hardware queues, and returns the frames that they had. Takes up to 20 ms: not for a
    /// worker with other ports.
    pub fn close(mut self) -> Vec<Frame> {
        self.stop();
        let received = self.receive.iter_mut().map(|queue| &mut queue.lent);
        let lent = received.chain([&mut self.transmit.lent]);
        lent.flat_map(Loan::end).collect()
    }

    /// Appends received frames to `burst`, every hardware queue in its turn, and gives the device
    /// new buffers.
    pub(in crate::dataplane::port) fn receive(&mut self, pool: &mut Pool, burst: &mut Burst) {
        let queues = self.receive.len();
        for i in 0..queues {
            let at = (self.turn + i) % queues;
            Path::best().run(Receive {
                queue: &mut self.receive[at],
                shared: &self.shared,
                pool,
                burst,
            });
        }
        self.turn = (self.turn + 1).checked_rem(queues).unwrap_or(0);
    }

    /// Sends from the front of `list`; what stays found no room.
    pub(in crate::dataplane::port) fn transmit(&mut self, pool: &mut Pool, list: &mut Burst) {
        if list.is_empty() {
            return;
        }
        self.reap(pool);
        Path::best().run(Transmit {
            queue: &mut self.transmit,
            shared: &self.shared,
            pool,
            list,
        });
    }

    /// Reaps frames that are sent; true while some are on their way out and the device sends at all.
    pub(in crate::dataplane::port) fn tend(&mut self, pool: &mut Pool) -> bool {
        self.reap(pool);
        self.transmit.sending() > 0 && self.standstill < PATIENCE
    }

    /// The events of the receive queues' vectors: readable when a frame has come since
    /// [`Self::arm`].
    pub(in crate::dataplane::port) fn wait_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.vectors().map(|vector| vector.event.as_fd()).collect()
    }

    /// Has the next frame interrupt. True when one waits already, and the worker must not sleep.
    pub(in crate::dataplane::port) fn arm(&mut self) -> bool {
        for vector in self.vectors() {
            vector.swallow();
            self.shared
                .registers
                .write(vector.mask(MASK_SET), vector.bit());
        }
        // A frame that comes after this look raises the interrupt: the device keeps the cause until
        // the mask is open.
        self.receive.iter().any(ReceiveQueue::has_frame)
    }

    /// Ends what [`Self::arm`] began. An interrupt masks itself, but it may not have been this one
    /// that ended the sleep.
    pub(in crate::dataplane::port) fn disarm(&mut self) {
        for vector in self.vectors() {
            self.shared
                .registers
                .write(vector.mask(MASK_CLEAR), vector.bit());
        }
    }

    fn vectors(&self) -> impl Iterator<Item = &Vector> {
        self.receive
            .iter()
            .filter_map(|queue| queue.vector.as_ref())
    }

    fn reap(&mut self, pool: &mut Pool) {
        let moved = Path::best().run(Reap {
            queue: &mut self.transmit,
            pool,
        });
        self.standstill = if moved || self.transmit.sending() == 0 {
            0
        } else {
            self.standstill.saturating_add(1)
        };
    }

    fn switches(&self) -> impl Iterator<Item = Switch> {
        let receive = self.receive.iter().map(|queue| queue.switch);
        receive.chain([self.transmit.switch])
    }

    /// Waits a bounded time for all hardware queues to stand like this; false when they don't.
    fn wait_until(&self, standing: Standing) -> bool {
        let end = Instant::now() + SWITCHING;
        loop {
            let stands = |switch: Switch| switch.standing(&self.shared.registers) == standing;
            if self.switches().all(stands) {
                return true;
            }
            if self.is_gone() || Instant::now() >= end {
                return false;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Stops the hardware queues, once.
    fn stop(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.disarm();
        for switch in self.switches() {
            switch.stop(&self.shared.registers);
        }
        if !self.wait_until(Standing::Stopped) && !self.is_gone() {
            (self.last_resort.0)();
        }
        // What the device began before it stopped is done by now (datasheet 4.6.7.1.2).
        std::thread::sleep(LOOK);
    }

    fn is_gone(&self) -> bool {
        self.transmit.switch.standing(&self.shared.registers) == Standing::Gone
    }
}

impl<R: Registers> Drop for Queue<R> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Vector {
    /// This vector's register of one of the _EX masks.
    fn mask(&self, first: u32) -> Register {
        Register(first + 4 * u32::from(self.number % VECTORS / 32))
    }

    fn bit(&self) -> u32 {
        1 << (self.number % 32)
    }

    /// Forgets interrupts that came.
    fn swallow(&self) {
        // EAGAIN means that none came.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}
