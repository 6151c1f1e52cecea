//! One hardware transmit queue: frames go to the device, and back to the pool when they are sent.
//!
//! Descriptors of frames that are lent are the device's. Only the last descriptor of each group is
//! asked to report (RS), and only its DD is ever looked at: groups are of up to 32, and what one call
//! sends ends one, so that every frame's completion is reported without another frame having to follow.

use std::sync::Arc;

use super::descriptor;
use super::queue::{Counters, Shared};
use super::registers::Registers;
use super::ring::{self, Ring};
use super::switch::Switch;
use crate::dataplane::mem::{Apart, Arena, DmaMap, Frame, Loan, Pool};
use crate::dataplane::port::Burst;
use crate::shared::fib::Vectored;

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
    pub(super) lent: Loan,
    /// By place of the first descriptor of a group: the index of its last. The oldest frame lent is
    /// always the first of its group, for whole groups are given back.
    group_ends: Apart<u32>,
}

/// One call of a hardware queue.
pub(super) struct Transmit<'a, R> {
    pub(super) queue: &'a mut TransmitQueue,
    pub(super) shared: &'a Shared<R>,
    pub(super) pool: &'a mut Pool,
    pub(super) list: &'a mut Burst,
}

/// One look for frames that are sent.
pub(super) struct Reap<'a> {
    pub(super) queue: &'a mut TransmitQueue,
    pub(super) pool: &'a mut Pool,
}

impl<R: Registers> Vectored for Transmit<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.queue.send(self.shared, self.pool, self.list);
    }
}

impl Vectored for Reap<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        self.queue.reap(self.pool)
    }
}

impl TransmitQueue {
    /// Programs the ring and enables the hardware queue, which must be stopped.
    pub(super) fn start<R: Registers>(
        setup: TransmitSetup,
        registers: &R,
        rings: &DmaMap,
        arena: &Arc<Arena>,
    ) -> TransmitQueue {
        let TransmitSetup { queue, mut ring } = setup;
        ring.clear();
        let size = ring.size();
        let switch = Switch::transmit(queue);
        switch.start(registers, &ring, rings, THRESHOLDS);
        TransmitQueue {
            switch,
            ring,
            lent: Loan::new(Arc::clone(arena), size),
            group_ends: Apart::new(0, size as usize),
        }
    }

    /// Frames that the device has.
    pub(super) fn sending(&self) -> u32 {
        self.lent.len()
    }

    /// Sends frames from the front of `list` as far as there is room. What no device can send is
    /// counted and given back.
    #[inline(always)]
    fn send<R: Registers>(&mut self, shared: &Shared<R>, pool: &mut Pool, list: &mut Burst) {
        make_sendable(pool, list, &shared.counters);
        let mut index = self.lent.tail();
        if self.lent.lend(pool, list) == 0 {
            return;
        }
        let end = self.lent.tail();
        while index != end {
            let group = end.wrapping_sub(index).min(GROUP);
            self.write(&shared.map, index, group);
            index = index.wrapping_add(group);
        }
        ring::publish();
        let tail = self.ring.slot(end);
        shared.registers.write(self.switch.tail(), tail);
    }

    /// Writes the descriptors of `group` frames, the last of which reports.
    #[inline(always)]
    fn write(&mut self, map: &DmaMap, first: u32, group: u32) {
        let last = first.wrapping_add(group - 1);
        self.group_ends[self.ring.slot(first) as usize] = last;
        let address = map.addresses();
        for (index, packets) in self.lent.packets(first, group) {
            let until_last = last.wrapping_sub(index);
            let descriptors = (0..).zip(packets).map(|(n, (offset, length))| {
                descriptor::transmit(address(offset), length, n == until_last)
            });
            self.ring.write(index, descriptors);
        }
    }

    /// Gives frames that are sent back to the pool; true when there were any.
    #[inline(always)]
    fn reap(&mut self, pool: &mut Pool) -> bool {
        let before = self.lent.head();
        while !self.lent.is_empty() {
            let first = self.lent.head();
            let last = self.group_ends[self.ring.slot(first) as usize];
            if !descriptor::is_sent(self.ring.status(last)) {
                break;
            }
            ring::observe();
            self.lent
                .give(pool, last.wrapping_sub(first).wrapping_add(1));
        }
        self.lent.head() != before
    }
}

/// Pads what the device cannot, and weeds out what is no frame of a length that it sends.
#[inline(always)]
fn make_sendable(pool: &mut Pool, list: &mut Burst, counters: &Counters) {
    let lengths = SHORTEST..=LONGEST;
    let is_odd = |frame: &Frame| !lengths.contains(&frame.len());
    // Without a branch each: there is hardly ever one.
    if !list.iter().fold(false, |any, frame| any | is_odd(frame)) {
        return;
    }
    while let Some(at) = list.iter().position(is_odd) {
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
