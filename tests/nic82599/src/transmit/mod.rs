//! The transmit engine: from the descriptors of the queues to the wire (datasheet 7.2).
//!
//! [`run`] gives each ready queue its turn: a [`Turn`] reads a batch of descriptors, sends the
//! packets that are whole and writes their completions back. A packet is fetched and sent by
//! [`packet`]; [`offload`] inserts its checksums, [`segment`] cuts it up.

mod context;
mod descriptor;
mod offload;
mod packet;
mod segment;
#[cfg(test)]
mod tests;
mod turn;

use crate::host::Host;
use crate::state::State;
use context::Context;
use turn::Turn;

const QUEUES: usize = 128;
/// Work between two ticks, but for the rest of the last packet: a few milliseconds. It is counted in
/// bytes that are fetched and sent. What is left waits for the next tick.
const BUDGET: usize = 2 << 20;
/// What a descriptor, a frame or a turn costs besides its bytes.
const OVERHEAD: usize = 512;

/// What the engine keeps between descriptors.
pub(crate) struct Engine {
    queues: Box<[Queue; QUEUES]>,
    buffers: Buffers,
    /// The queue whose turn comes first.
    next: usize,
    /// Work that may still be done before the next tick.
    budget: usize,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine {
            queues: Box::new([Queue::default(); QUEUES]),
            buffers: Buffers::default(),
            next: 0,
            budget: BUDGET,
        }
    }
}

impl Engine {
    /// Back to power on, but for the budget: resets do not buy more work.
    pub(crate) fn reset(&mut self) {
        let budget = self.budget;
        *self = Engine::default();
        self.budget = budget;
    }

    /// A queue starts: what it kept from before is gone.
    pub(crate) fn start(&mut self, queue: usize) {
        self.queues[queue] = Queue::default();
    }
}

/// What a queue keeps between descriptors.
#[derive(Clone, Copy, Default)]
struct Queue {
    contexts: [Option<Context>; 2],
    /// The rest of a packet of too many descriptors is passed over.
    skipping: bool,
}

/// Room for packets, that grows to the largest and stays.
#[derive(Default)]
struct Buffers {
    /// A packet as it was fetched.
    packet: Vec<u8>,
    /// One of the frames it is cut into.
    frame: Vec<u8>,
}

/// Goes on with a new budget. Called at every tick.
pub(crate) fn tick(state: &mut State, host: &mut dyn Host) {
    state.transmit.budget = BUDGET;
    run(state, host);
}

/// Sends what the queues in `state.rings.transmit_ready` have, as far as the budget goes; a queue
/// that is done leaves the set. Called when a tail moved and when a queue was enabled.
pub(crate) fn run(state: &mut State, host: &mut dyn Host) {
    let mut buffers = std::mem::take(&mut state.transmit.buffers);
    while state.transmit.budget > 0
        && let Some(queue) = next_ready(state)
    {
        let budget = state.transmit.budget;
        let (work, more) = Turn::new(state, host, &mut buffers, queue).run(budget);
        state.transmit.budget = budget.saturating_sub(work);
        if !more {
            state.rings.transmit_ready &= !(1 << queue);
        }
    }
    state.transmit.buffers = buffers;
}

/// The ready queue whose turn it is.
fn next_ready(state: &mut State) -> Option<usize> {
    let ready = state.rings.transmit_ready;
    let later = ready & (u128::MAX << state.transmit.next);
    let first = if later == 0 { ready } else { later };
    let queue = (first != 0).then_some(first.trailing_zeros() as usize)?;
    state.transmit.next = (queue + 1) % QUEUES;
    Some(queue)
}
