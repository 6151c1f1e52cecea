//! What one worker has of a port: the AF_XDP sockets of the hardware queues that it serves.
//!
//! Frames go round between the worker's pool and the sockets' rings: lent to the fill ring, back
//! from the receive ring; lent to the transmit ring, back from the completion ring. Addresses that
//! the kernel returns count only as far as the pool's records agree.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::frame::{Layout, Outstanding};
use super::partial;
use super::program::Kind;
use super::socket::{Counted, Kick, RECEIVE_FRAMES, Sockets, TX_ENTRIES};
use crate::dataplane::mem::{Arena, Frame, Holder, Pool};
use crate::dataplane::port::{BURST, Burst};

/// The most frames that the sockets of one hardware queue hold: what a pool must have for each.
pub const FRAMES_PER_QUEUE: u32 = RECEIVE_FRAMES + TX_ENTRIES;

/// Frames that refilling leaves in the pool, for what else the worker does.
const RESERVE: usize = 4 * BURST;
/// Fewer frames than this are not worth touching the fill ring for, while packets flow.
const REFILL: u32 = 64;
/// In which order kinds of frames are received, and the most that each has of a burst: a flood of one kind
/// leaves room for the others.
const SHARES: [(Kind, usize); 3] = [
    (Kind::Routing, BURST / 2),
    (Kind::Neighbours, BURST / 4),
    (Kind::Ordinary, BURST),
];

/// A port's sockets in the hands of one worker. Dropping it closes them, so that the kernel no
/// longer touches a frame; the frames that they held are the pool's again by
/// `pool.reclaim(queue.holder())` after that. A pool may have one queue a port.
#[derive(Debug)]
pub struct Queue {
    lanes: Vec<Lane>,
    /// The lane that the next receive starts with.
    turn: usize,
    arena: Arc<Arena>,
    layout: Layout,
    outstanding: Outstanding,
    holder: Holder,
    /// Complete partial checksums of received frames: the netdev has no wire before it.
    completes_checksums: bool,
}

/// The sockets of a hardware queue and what they hold, on cache lines of its own: control makes those of
/// all workers.
#[derive(Debug)]
#[repr(align(128))]
struct Lane {
    sockets: Sockets,
    /// Frames in the fill ring and the receive rings.
    receiving: u32,
    /// Descriptors in the transmit and completion rings, or in the kernel in between.
    sending: u32,
}

impl Queue {
    /// A queue over the `sockets` of its hardware queues (at least one), all of `arena`.
    pub(super) fn new(
        sockets: Vec<Sockets>,
        arena: Arc<Arena>,
        layout: Layout,
        holder: Holder,
        completes_checksums: bool,
    ) -> Queue {
        let lane = |sockets| Lane {
            sockets,
            receiving: 0,
            sending: 0,
        };
        Queue {
            lanes: sockets.into_iter().map(lane).collect(),
            turn: 0,
            outstanding: Outstanding::new(layout, arena.frames()),
            arena,
            layout,
            holder,
            completes_checksums,
        }
    }

    /// Who the pool says has this queue's frames.
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// True when every socket shares its frames with the device.
    pub fn zero_copy(&self) -> bool {
        self.lanes.iter().all(|lane| lane.sockets.zero_copy)
    }

    /// Descriptors from the kernel that the pool's records contradicted; none on a sane kernel.
    pub fn bad_descriptors(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.sockets.bad.get()).sum()
    }

    /// Appends received frames to `burst`, kind by kind, every lane in its turn, and refills the fill
    /// rings.
    pub(in crate::dataplane::port) fn receive(&mut self, pool: &mut Pool, burst: &mut Burst) {
        pool.assert_in(&self.arena);
        let (lanes, before) = (self.lanes.len(), burst.len());
        for (kind, share) in SHARES {
            let end = burst.len() + share.min(burst.remaining_capacity());
            for i in 0..lanes {
                let lane = &mut self.lanes[(self.turn + i) % lanes];
                let receiver = &mut lane.sockets.receivers[kind as usize];
                let received = receiver.receive(pool, self.holder, burst, end - burst.len());
                lane.receiving = lane.receiving.saturating_sub(received.descriptors);
                if received.bad > 0 {
                    lane.sockets.bad.add(received.bad.into());
                }
            }
        }
        if self.completes_checksums {
            // Else the pipeline is the first to look at headers, and has them come over.
            pool.ahead(&burst[before..]).fetch_rest();
        }
        for lane in &mut self.lanes {
            let idle = burst.len() == before;
            lane.refill(pool, self.holder, if idle { 1 } else { REFILL });
        }
        self.turn = (self.turn + 1) % lanes;
        if self.completes_checksums {
            for frame in &mut burst[before..] {
                partial::complete(pool.bytes_mut(frame));
            }
        }
    }

    /// Sends from the front of `list` by the first lane; what stays found no room.
    pub(in crate::dataplane::port) fn transmit(&mut self, pool: &mut Pool, list: &mut Burst) {
        pool.assert_in(&self.arena);
        if list.is_empty() {
            return;
        }
        self.reap(pool);
        for _ in 0..2 {
            let lane = &mut self.lanes[0];
            lane.send(pool, self.holder, self.layout, &mut self.outstanding, list);
            lane.sockets.kick();
            self.reap(pool);
            if list.is_empty() {
                return;
            }
        }
    }

    /// Reaps completions and kicks what the kernel has not taken yet; true while frames are on
    /// their way out and the netdev is up to take them.
    pub(in crate::dataplane::port) fn tend(&mut self, pool: &mut Pool) -> bool {
        pool.assert_in(&self.arena);
        self.reap(pool);
        let lane = &self.lanes[0];
        if lane.sending == 0 || lane.sockets.kick() == Kick::Down {
            return false;
        }
        self.reap(pool);
        self.lanes[0].sending > 0
    }

    /// The sockets: readable when a frame waits.
    pub(in crate::dataplane::port) fn wait_fds(&self) -> Vec<BorrowedFd<'_>> {
        self.lanes
            .iter()
            .flat_map(|lane| lane.sockets.fds())
            .collect()
    }

    /// Gives back the beginnings of packets whose ends will not be received.
    pub(in crate::dataplane::port) fn retire(&mut self, pool: &mut Pool) {
        for lane in &mut self.lanes {
            let receivers = lane.sockets.receivers.iter_mut();
            receivers.for_each(|receiver| receiver.give_up(pool));
        }
    }

    /// The sockets, for whoever reads what the kernel counted at them.
    pub(super) fn counted(&self) -> impl Iterator<Item = Counted> {
        self.lanes.iter().map(|lane| lane.sockets.counted())
    }

    fn reap(&mut self, pool: &mut Pool) {
        let lane = &mut self.lanes[0];
        let done = lane.sockets.completion.ready(TX_ENTRIES);
        for _ in 0..done {
            let addr = lane.sockets.completion.take();
            if !self.outstanding.remove(addr) {
                continue;
            }
            match pool.redeem(addr, 0, self.holder) {
                Some(frame) => pool.give(frame),
                None => lane.sockets.bad.add(1),
            }
        }
        if done > 0 {
            lane.sockets.completion.release();
            lane.sending = lane.sending.saturating_sub(done);
        }
    }
}

impl Lane {
    /// Lends frames to the fill ring, as far as the pool can spare them, when at least `least` are
    /// missing; wakes the kernel when it waits for them.
    fn refill(&mut self, pool: &mut Pool, holder: Holder, least: u32) {
        let missing = RECEIVE_FRAMES.saturating_sub(self.receiving);
        if missing >= least {
            let spare = pool.available().saturating_sub(RESERVE);
            let wanted = missing.min(u32::try_from(spare).unwrap_or(u32::MAX));
            let room = self.sockets.fill.room(wanted);
            let mut lent = 0;
            while lent < room
                && let Some(frame) = pool.take()
            {
                self.sockets.fill.push(pool.lend(frame, holder));
                lent += 1;
            }
            if lent > 0 {
                self.sockets.fill.submit();
                self.receiving += lent;
            }
        }
        self.sockets.wake_fill();
    }

    /// Moves frames from the front of `list` to the transmit ring, as many as find room.
    fn send(
        &mut self,
        pool: &mut Pool,
        holder: Holder,
        layout: Layout,
        outstanding: &mut Outstanding,
        list: &mut Burst,
    ) {
        // The completion ring has an entry for every descriptor on its way out.
        let free = TX_ENTRIES.saturating_sub(self.sending);
        if layout.is_multi_buffer() {
            self.push_in_pieces(free, pool, holder, (layout, outstanding), list);
        } else {
            self.push_whole(free, pool, holder, list);
        }
        self.sockets.tx.submit();
    }

    /// A descriptor a frame.
    fn push_whole(&mut self, free: u32, pool: &mut Pool, holder: Holder, list: &mut Burst) {
        let wanted = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let count = self.sockets.tx.room(wanted.min(free));
        for frame in list.drain(..count as usize) {
            self.sockets.tx.push(libc::xdp_desc {
                len: u32::try_from(frame.len()).unwrap_or(0),
                addr: pool.lend(frame, holder),
                options: 0,
            });
        }
        self.sending += count;
    }

    /// Each frame with all its descriptors.
    fn push_in_pieces(
        &mut self,
        free: u32,
        pool: &mut Pool,
        holder: Holder,
        (layout, outstanding): (Layout, &mut Outstanding),
        list: &mut Burst,
    ) {
        let most = |frame: &Frame| layout.most_descriptors(frame.len());
        let wanted: u32 = list.iter().map(most).sum();
        let mut room = self.sockets.tx.room(wanted.min(free));
        let fits = |frame: &&Frame| {
            let left = room.checked_sub(most(frame));
            room = left.unwrap_or(0);
            left.is_some()
        };
        let count = list.iter().take_while(fits).count();
        for frame in list.drain(..count) {
            let len = u32::try_from(frame.len()).unwrap_or(0);
            for descriptor in layout.descriptors(pool.lend(frame, holder), len) {
                outstanding.add(descriptor.addr);
                self.sockets.tx.push(descriptor);
                self.sending += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_moves_to_its_worker() {
        fn is_send<T: Send>() {}
        is_send::<Queue>();
    }
}
