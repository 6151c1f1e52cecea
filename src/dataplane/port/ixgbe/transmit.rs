//! One hardware transmit queue: frames go to the device, and back to the pool when they are sent.
//!
//! Indices run freely: descriptors from `head` up to `tail` are the device's, at most one less than
//! the ring has. Only the last descriptor of each group is asked to report (RS), and only its DD is
//! ever looked at: groups are of up to 32, and what one call sends ends one, so that every frame's
//! completion is reported without another frame having to follow.

use super::descriptor;
use super::queue::{Buffers, Counters};
use super::registers::Registers;
use super::ring::{self, Ring};
use super::switch::Switch;
use crate::dataplane::mem::{DmaMap, Frame, Pool};
use crate::dataplane::port::Burst;

/// Descriptors of a transmit ring.
pub const TRANSMIT_ENTRIES: u32 = 512;

/// The most frames that one report is for.
const GROUP: u32 = 32;
/// What hardware pads to the least Ethernet frame must have this many bytes (HLREG0.TXPADEN).
const SHORTEST: usize = 17;
/// Addresses and EtherType: what has not even these is no frame.
const HEADER: usize = 14;
/// 15.5 KB with the FCS.
const LONGEST: usize = 15_872 - 4;

/// TXDCTL: descriptors are fetched when the device has fewer than PTHRESH and HTHRESH are there.
/// WTHRESH is 0, as RS requires where not every descriptor has it: reports are written back at once.
const THRESHOLDS: u32 = PTHRESH | HTHRESH << 8;
const PTHRESH: u32 = 32;
const HTHRESH: u32 = 1;

/// What [`super::Queue::start`] needs for a transmit queue.
#[derive(Debug)]
pub struct TransmitSetup {
    /// Which of the device's 128.
    pub queue: u16,
    pub ring: Ring,
}

#[derive(Debug)]
pub(super) struct TransmitQueue {
    pub(super) switch: Switch,
    ring: Ring,
    /// By place in the ring: where the frame begins in the arena.
    slots: Box<[u64]>,
    /// By place of the first descriptor of a group: the index of its last.
    group_ends: Box<[u32]>,
    /// The oldest descriptor that the device has: always the first of its group.
    head: u32,
    /// The next descriptor to write.
    tail: u32,
}

impl TransmitQueue {
    /// Programs the ring and enables the hardware queue, which must be stopped.
    pub(super) fn start<R: Registers>(
        setup: TransmitSetup,
        registers: &R,
        rings: &DmaMap,
    ) -> TransmitQueue {
        let TransmitSetup { queue, mut ring } = setup;
        ring.clear();
        let size = ring.size() as usize;
        let switch = Switch::transmit(queue);
        switch.start(registers, &ring, rings, THRESHOLDS);
        TransmitQueue {
            switch,
            ring,
            slots: vec![0; size].into_boxed_slice(),
            group_ends: vec![0; size].into_boxed_slice(),
            head: 0,
            tail: 0,
        }
    }

    /// Frames that the device has.
    pub(super) fn sending(&self) -> u32 {
        self.tail.wrapping_sub(self.head)
    }

    /// Sends frames from the front of `list` as far as there is room. What no device can send is
    /// counted and given back.
    pub(super) fn send<R: Registers>(
        &mut self,
        registers: &R,
        buffers: &Buffers,
        pool: &mut Pool,
        list: &mut Burst,
        counters: &Counters,
    ) {
        make_sendable(pool, list, counters);
        let room = (self.ring.size() - 1 - self.sending()) as usize;
        let count = list.len().min(room);
        if count == 0 {
            return;
        }
        let mut group = self.tail;
        for (n, frame) in list.drain(..count).enumerate() {
            let group_is_full = self.tail.wrapping_sub(group) == GROUP - 1;
            let report = group_is_full || n == count - 1;
            self.push(buffers, pool, frame, report);
            if report {
                self.group_ends[self.ring.slot(group) as usize] = self.tail.wrapping_sub(1);
                group = self.tail;
            }
        }
        ring::publish();
        registers.write(self.switch.tail(), self.ring.slot(self.tail));
    }

    fn push(&mut self, buffers: &Buffers, pool: &mut Pool, frame: Frame, report: bool) {
        let length = u16::try_from(frame.len()).unwrap_or(u16::MAX);
        let offset = pool.lend(frame, buffers.holder);
        let address = buffers.map.address(offset);
        self.slots[self.ring.slot(self.tail) as usize] = offset;
        let descriptor = descriptor::transmit(address, length, report);
        self.ring.write(self.tail, descriptor);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Gives frames that are sent back to the pool; true when there were any.
    pub(super) fn reap(&mut self, buffers: &Buffers, pool: &mut Pool) -> bool {
        let before = self.head;
        while self.head != self.tail {
            let end = self.group_ends[self.ring.slot(self.head) as usize];
            if !descriptor::is_sent(self.ring.status(end)) {
                break;
            }
            ring::observe();
            for _ in 0..=end.wrapping_sub(self.head) {
                let offset = self.slots[self.ring.slot(self.head) as usize];
                // Never refused: the slot is the pool's own record of what it lent.
                pool.give_lent(offset, buffers.holder);
                self.head = self.head.wrapping_add(1);
            }
        }
        self.head != before
    }
}

/// Pads what the device cannot, and weeds out what is no frame of a length that it sends.
fn make_sendable(pool: &mut Pool, list: &mut Burst, counters: &Counters) {
    let lengths = SHORTEST..=LONGEST;
    while let Some(at) = list
        .iter()
        .position(|frame| !lengths.contains(&frame.len()))
    {
        let frame = &mut list[at];
        let mut padded = [0; SHORTEST];
        if (HEADER..SHORTEST).contains(&frame.len()) {
            padded[..frame.len()].copy_from_slice(pool.bytes(frame));
            pool.fill(frame, &padded);
        } else {
            pool.give(list.remove(at));
            counters.tx_unsendable.add(1);
        }
    }
}
