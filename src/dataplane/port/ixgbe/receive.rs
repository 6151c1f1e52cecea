//! One hardware receive queue: buffers go to the device, frames come back.
//!
//! Descriptors of frames that are lent are the device's.

use std::sync::Arc;

use super::descriptor::{self, Received};
use super::queue::{Counters, Shared, Vector};
use super::registers::Registers;
use super::ring::{self, Ring};
use super::switch::{self, Switch};
use crate::dataplane::mem::{Arena, COLOURS, DmaMap, HEADROOM, LINE, Loan, Pool};
use crate::dataplane::port::{BURST, Burst};
use crate::shared::fib::Vectored;

/// Descriptors of a receive ring.
pub const RECEIVE_ENTRIES: u32 = 512;

/// Fewer buffers than this are not worth a write of the tail, while packets flow.
const REFILL: u32 = 32;
/// Frames that refilling leaves in the pool, for what else the worker does.
const RESERVE: usize = 4 * BURST;
/// Descriptors that are looked at together: two cache lines.
const FEW: usize = 8;

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
#[repr(align(128))]
pub(super) struct ReceiveQueue {
    pub(super) switch: Switch,
    ring: Ring,
    pub(super) vector: Option<Vector>,
    pub(super) lent: Loan,
    /// In the middle of a frame that is longer than a buffer.
    skipping: bool,
    /// Buffers of frames that were dropped: the device gets as many again, however short the pool is.
    owed: u32,
    /// The ring ran out of buffers and the pool has none.
    starving: bool,
}

/// One call of a hardware queue.
pub(super) struct Receive<'a, R> {
    pub(super) queue: &'a mut ReceiveQueue,
    pub(super) shared: &'a Shared<R>,
    pub(super) pool: &'a mut Pool,
    pub(super) burst: &'a mut Burst,
}

impl<R: Registers> Vectored for Receive<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.queue.receive(self.shared, self.pool, self.burst);
    }
}

impl ReceiveQueue {
    /// Programs the ring and enables the hardware queue, which must be stopped.
    pub(super) fn start<R: Registers>(
        setup: ReceiveSetup,
        registers: &R,
        rings: &DmaMap,
        arena: &Arc<Arena>,
        buffer: u32,
    ) -> ReceiveQueue {
        let ReceiveSetup {
            queue,
            mut ring,
            vector,
            drops_when_empty,
        } = setup;
        ring.clear();
        let lent = Loan::new(Arc::clone(arena), ring.size());
        let switch = Switch::receive(queue);
        switch::format(registers, queue, buffer / 1024, drops_when_empty);
        // VLAN tags stay where they are: no RXDCTL.VME.
        switch.start(registers, &ring, rings, 0);
        ReceiveQueue {
            switch,
            ring,
            vector,
            lent,
            skipping: false,
            owed: 0,
            starving: false,
        }
    }

    /// True when the device is done with a descriptor that has not been looked at.
    pub(super) fn has_frame(&self) -> bool {
        !self.lent.is_empty() && Received(self.ring.status(self.lent.head())).is_done()
    }

    /// Appends received frames to `burst`, up to its capacity, and gives the device new buffers.
    #[inline(always)]
    fn receive<R: Registers>(&mut self, shared: &Shared<R>, pool: &mut Pool, burst: &mut Burst) {
        let room = u32::try_from(burst.remaining_capacity()).unwrap_or(0);
        let before = self.lent.head();
        let mut most = room.min(self.lent.len());
        while most > 0 {
            most -= self.take_plain(shared.buffer, burst, most);
            if most > 0 {
                let word = Received(self.ring.status(self.lent.head()));
                if !word.is_done() {
                    break;
                }
                self.take_one(word, shared, pool, burst);
                most -= 1;
            }
        }
        let any = self.lent.head() != before;
        if any {
            // No frame is looked at before.
            ring::observe();
        }
        let least = if any { REFILL } else { 1 };
        self.refill(shared, pool, least);
        self.notice_starvation(&shared.counters);
    }

    /// Takes up to `most` frames, as long as they are whole and sound; how many.
    #[inline(always)]
    fn take_plain(&mut self, buffer: u32, burst: &mut Burst, most: u32) -> u32 {
        let mut lengths = [[0; FEW]; BURST / FEW];
        let mut plain = 0;
        for lengths in &mut lengths {
            if self.skipping || plain >= most {
                break;
            }
            // Together, as they are written back together, and lie in few cache lines.
            let words = self.ring.statuses(self.lent.head().wrapping_add(plain));
            let words = words.map(Received);
            *lengths = words.map(Received::length);
            let are_plain = words.iter().rev().fold(0, |bits: u32, word| {
                bits << 1 | u32::from(word.is_plain(buffer))
            });
            let few = are_plain.trailing_ones();
            plain += few;
            // Not even if the device has gone on meanwhile: lengths are by chunk.
            if few as usize != FEW {
                break;
            }
        }
        let lengths = &lengths.as_flattened()[..plain.min(most) as usize];
        self.lent.redeem(lengths, burst)
    }

    /// Takes the next frame, whatever it is.
    #[cold]
    fn take_one<R>(
        &mut self,
        word: Received,
        shared: &Shared<R>,
        pool: &mut Pool,
        burst: &mut Burst,
    ) {
        if self.is_fit(word, shared.buffer, &shared.counters) {
            self.lent.redeem(&[word.length()], burst);
        } else {
            self.lent.give(pool, 1);
            self.owed += 1;
        }
    }

    /// Whether a descriptor brings a whole frame to be forwarded; counts it if not.
    fn is_fit(&mut self, word: Received, buffer: u32, counters: &Counters) -> bool {
        let continues = std::mem::replace(&mut self.skipping, !word.ends_packet());
        if continues || self.skipping {
            if !continues {
                counters.rx_split.add(1);
            }
            return false;
        }
        let length = u32::from(word.length());
        if word.is_damaged() || length == 0 || length > buffer {
            counters.rx_errors.add(1);
            return false;
        }
        if word.has_wrong_ip_checksum() {
            counters.rx_ip_checksum.add(1);
        }
        true
    }

    /// Gives the device buffers for all descriptors that it may have and the pool can spare frames
    /// for, when at least `least` of them have none.
    #[inline(always)]
    fn refill<R: Registers>(&mut self, shared: &Shared<R>, pool: &mut Pool, least: u32) {
        let missing = self.lent.room();
        if missing < least {
            return;
        }
        let spare = pool.available().saturating_sub(RESERVE);
        let spare = u32::try_from(spare).unwrap_or(u32::MAX).max(self.owed);
        let most = spare.min(missing);
        self.owed = 0;
        let before = self.lent.tail();
        let given = self.lent.lend_fresh(pool, most);
        if given == 0 {
            return;
        }
        let address = shared.map.addresses();
        for (index, packets) in self.lent.packets(before, given) {
            let descriptors = packets.map(|(offset, _)| descriptor::receive(address(offset)));
            self.ring.write(index, descriptors);
        }
        ring::publish();
        let tail = self.ring.slot(self.lent.tail());
        shared.registers.write(self.switch.tail(), tail);
    }

    /// Counts each time that the ring runs out, not how long it lasts.
    fn notice_starvation(&mut self, counters: &Counters) {
        let starves = self.lent.is_empty();
        if starves && !self.starving {
            counters.rx_starved.add(1);
        }
        self.starving = starves;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut pool = Pool::new(Arc::clone(&arena)).unwrap();
            let mut lent = Loan::new(arena, 32);
            assert_eq!(lent.lend_fresh(&mut pool, 31), 16);
            let [(_, packets), _] = lent.packets(0, 16);
            for (at, _) in packets {
                assert!(at % u64::from(frame) + u64::from(buffer) <= u64::from(frame));
            }
        }
        assert_eq!(buffer_size(512), 0);
    }
}
