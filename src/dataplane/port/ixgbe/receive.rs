//! One hardware receive queue: buffers go to the device, frames come back.
//!
//! Indices run freely: descriptors from `head` up to `tail` are the device's, at most one less than
//! the ring has, for a tail that reaches the head means an empty ring. A descriptor whose frame is
//! not fit to be forwarded keeps its buffer, which goes back to the device when the tail comes to it.

use super::descriptor::{self, Received};
use super::queue::{Buffers, Counters, Vector};
use super::registers::Registers;
use super::ring::{self, Ring};
use super::switch::{self, Switch};
use crate::dataplane::mem::{COLOURS, DmaMap, HEADROOM, LINE, Pool};
use crate::dataplane::port::{BURST, Burst};

/// Descriptors of a receive ring.
pub const RECEIVE_ENTRIES: u32 = 512;

/// Fewer buffers than this are not worth a write of the tail, while packets flow.
const REFILL: u32 = 32;
/// Frames that refilling leaves in the pool, for what else the worker does.
const RESERVE: usize = 4 * BURST;
/// A slot without a frame.
const EMPTY: u64 = u64::MAX;

/// SRRCTL.BSIZEPACKET, in KiB.
const LARGEST_BUFFER: u32 = 16;

/// Bytes that the device may write into a frame of an arena with frames of this size: whole KiB,
/// behind headroom and colour. Zero when not even one fits.
pub fn buffer_size(frame_size: u32) -> u32 {
    let behind = HEADROOM + (COLOURS - 1) * LINE;
    let room = (frame_size as usize).saturating_sub(behind);
    u32::try_from(room / 1024).map_or(LARGEST_BUFFER, |kib| kib.min(LARGEST_BUFFER)) * 1024
}

/// What [`super::Queue::start`] needs for a receive queue.
#[derive(Debug)]
pub struct ReceiveSetup {
    /// Which of the device's 128.
    pub queue: u16,
    pub ring: Ring,
    /// Interrupts when a frame arrives; none for a queue that is always polled.
    pub vector: Option<Vector>,
    /// Frames that find no descriptor are dropped rather than keep those for other queues waiting:
    /// SRRCTL.DROP_EN.
    pub drops_when_empty: bool,
}

#[derive(Debug)]
pub(super) struct ReceiveQueue {
    pub(super) switch: Switch,
    ring: Ring,
    pub(super) vector: Option<Vector>,
    /// By place in the ring: where the frame that its descriptor has begins in the arena.
    slots: Box<[u64]>,
    /// The next descriptor that the device will be done with.
    head: u32,
    /// The next descriptor to give to the device.
    tail: u32,
    /// In the middle of a frame that is longer than a buffer.
    skipping: bool,
    /// The ring ran out of buffers and the pool has none.
    starving: bool,
}

impl ReceiveQueue {
    /// Programs the ring and enables the hardware queue, which must be stopped.
    pub(super) fn start<R: Registers>(
        setup: ReceiveSetup,
        registers: &R,
        rings: &DmaMap,
        buffer: u32,
    ) -> ReceiveQueue {
        let ReceiveSetup {
            queue,
            mut ring,
            vector,
            drops_when_empty,
        } = setup;
        ring.clear();
        let slots = vec![EMPTY; ring.size() as usize].into_boxed_slice();
        let switch = Switch::receive(queue);
        switch::format(registers, queue, buffer / 1024, drops_when_empty);
        // VLAN tags stay where they are: no RXDCTL.VME.
        switch.start(registers, &ring, rings, 0);
        ReceiveQueue {
            switch,
            ring,
            vector,
            slots,
            head: 0,
            tail: 0,
            skipping: false,
            starving: false,
        }
    }

    /// True when the device is done with a descriptor that has not been looked at.
    pub(super) fn has_frame(&self) -> bool {
        self.head != self.tail && Received(self.ring.status(self.head)).is_done()
    }

    /// Appends received frames to `burst`, up to its capacity, and gives the device new buffers.
    pub(super) fn receive<R: Registers>(
        &mut self,
        registers: &R,
        buffers: &Buffers,
        pool: &mut Pool,
        burst: &mut Burst,
        counters: &Counters,
    ) {
        let given = self.tail.wrapping_sub(self.head) as usize;
        let most = burst.remaining_capacity().min(given);
        let before = self.head;
        for _ in 0..most {
            let word = Received(self.ring.status(self.head));
            if !word.is_done() {
                break;
            }
            let slot = self.ring.slot(self.head) as usize;
            self.head = self.head.wrapping_add(1);
            if self.is_fit(word, buffers, counters) {
                let offset = std::mem::replace(&mut self.slots[slot], EMPTY);
                // Never refused: the slot is the pool's own record of what it lent.
                if let Some(frame) = pool.redeem(offset, word.length(), buffers.holder) {
                    burst.push(frame);
                }
            }
        }
        let any = self.head != before;
        if any {
            // No frame is looked at before.
            ring::observe();
        }
        let least = if any { REFILL } else { 1 };
        self.refill(registers, buffers, pool, least);
        self.notice_starvation(counters);
    }

    /// Whether a descriptor brings a whole frame to be forwarded; counts it if not.
    #[inline]
    fn is_fit(&mut self, word: Received, buffers: &Buffers, counters: &Counters) -> bool {
        let is_plain = !self.skipping && word.is_whole_and_sound();
        is_plain && (1..=buffers.size).contains(&word.length())
            || self.is_fit_after_all(word, buffers, counters)
    }

    /// As [`Self::is_fit`], for what is not as it is nearly always.
    #[cold]
    fn is_fit_after_all(&mut self, word: Received, buffers: &Buffers, counters: &Counters) -> bool {
        let continues = std::mem::replace(&mut self.skipping, !word.ends_packet());
        if continues || self.skipping {
            if !continues {
                counters.rx_split.add(1);
            }
            return false;
        }
        if word.is_damaged() || word.length() == 0 || word.length() > buffers.size {
            counters.rx_errors.add(1);
            return false;
        }
        if word.has_wrong_ip_checksum() {
            counters.rx_ip_checksum.add(1);
        }
        true
    }

    /// Gives the device buffers for all descriptors that it may have, when at least `least` of them
    /// have none and the pool can spare frames.
    fn refill<R: Registers>(
        &mut self,
        registers: &R,
        buffers: &Buffers,
        pool: &mut Pool,
        least: u32,
    ) {
        let missing = self.ring.size() - 1 - self.tail.wrapping_sub(self.head);
        if missing < least {
            return;
        }
        let mut spare = pool.available().saturating_sub(RESERVE);
        let before = self.tail;
        for _ in 0..missing {
            let slot = self.ring.slot(self.tail) as usize;
            if self.slots[slot] == EMPTY {
                let fresh = (spare > 0).then(|| pool.lend_fresh(buffers.holder));
                let Some(offset) = fresh.flatten() else {
                    break;
                };
                spare -= 1;
                self.slots[slot] = offset;
            }
            let address = buffers.map.address(self.slots[slot]);
            self.ring.write(self.tail, descriptor::receive(address));
            self.tail = self.tail.wrapping_add(1);
        }
        if self.tail != before {
            ring::publish();
            registers.write(self.switch.tail(), self.ring.slot(self.tail));
        }
    }

    /// Counts each time that the ring runs out, not how long it lasts.
    fn notice_starvation(&mut self, counters: &Counters) {
        let starves = self.head == self.tail;
        if starves && !self.starving {
            counters.rx_starved.add(1);
        }
        self.starving = starves;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dataplane::mem::{Arena, Holder};
    use crate::shared::port::PortId;

    #[test]
    fn buffers_stay_within_their_frames() {
        for (frame, buffer) in [
            (2048, 1024),
            (4096, 3072),
            (8192, 7168),
            (16384, 15360),
            (65536, 16384),
        ] {
            assert_eq!(buffer_size(frame), buffer);
            let arena = Arc::new(Arena::new(16, frame).unwrap().0);
            let mut pool = Pool::new(arena).unwrap();
            let holder = Holder::port(PortId::new(0).unwrap());
            while let Some(fresh) = pool.take() {
                let at = pool.lend(fresh, holder) % u64::from(frame);
                assert!(at + u64::from(buffer) <= u64::from(frame));
            }
        }
        assert_eq!(buffer_size(512), 0);
    }
}
