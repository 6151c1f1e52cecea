//! One queue's turn: a batch of descriptors is read, its packets are sent, and what is done is
//! written back (datasheet 7.2.3.4, 7.2.3.5).
//!
//! A packet whose last descriptor the driver has not given yet stays in the ring. One that cannot be
//! sent as its descriptors ask is dropped, and its descriptors are completed. When memory cannot be
//! read, the queue stays where it is.

use super::context::Context;
use super::descriptor::{DONE, Descriptor, Kind, Raw};
use super::{Buffers, OVERHEAD};
use crate::host::Host;
use crate::registers::{TDBAL, TDH, TDWBAH, TDWBAL};
use crate::rings::Ring;
use crate::state::State;
use crate::violation::Why;

/// Descriptors that are read at once.
const BATCH: usize = 64;
/// Descriptors of one packet, at most (datasheet 7.2.1.1: 40, less two).
const PACKET: usize = 38;
/// TDWBAL.Head_WB_En.
const HEAD_WRITE_BACK: u32 = 1;

/// What became of the descriptors at the front of a batch.
enum Step {
    Done(usize),
    /// The rest of the packet is not there yet.
    Unfinished,
    /// Memory could not be read.
    Stuck,
}

pub(super) struct Turn<'a> {
    pub(super) state: &'a mut State,
    pub(super) host: &'a mut dyn Host,
    pub(super) buffers: &'a mut Buffers,
    pub(super) queue: usize,
    /// What was done, in bytes: see [`super::BUDGET`].
    pub(super) work: usize,
    /// Whether the driver is to hear of a descriptor that is done.
    reports: bool,
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        state: &'a mut State,
        host: &'a mut dyn Host,
        buffers: &'a mut Buffers,
        queue: usize,
    ) -> Turn<'a> {
        Turn {
            state,
            host,
            buffers,
            queue,
            work: OVERHEAD,
            reports: false,
        }
    }

    /// Takes a batch of descriptors, as far as the budget goes. How much work it was, and whether
    /// the queue has more.
    pub(super) fn run(mut self, budget: usize) -> (usize, bool) {
        let Some(ring) = self.state.transmit_ring(self.queue) else {
            return (self.work, false);
        };
        let given = ring.available() as usize;
        let mut descriptors = [Raw::default(); BATCH];
        let batch = &mut descriptors[..given.min(BATCH)];
        if batch.is_empty() || !self.fetch(&ring, batch) {
            return (self.work, false);
        }
        let mut done = 0;
        let mut more = true;
        while done < batch.len() && self.work < budget {
            match self.step(&ring, &batch[done..], position(&ring, done)) {
                Step::Done(n) => {
                    done += n;
                    self.work += n * OVERHEAD;
                }
                Step::Unfinished => {
                    more = batch.len() < given;
                    break;
                }
                Step::Stuck => {
                    more = false;
                    break;
                }
            }
        }
        self.finish(position(&ring, done));
        (self.work, more && done < given)
    }

    /// Reads descriptors from the head on.
    fn fetch(&mut self, ring: &Ring, batch: &mut [Raw]) -> bool {
        let before_end = (ring.size - ring.head) as usize;
        let (first, wrapped) = batch.split_at_mut(before_end.min(batch.len()));
        let name = TDBAL.at(self.queue);
        self.state.dma_read(
            self.host,
            name,
            ring.address(ring.head),
            first.as_flattened_mut(),
        ) && (wrapped.is_empty()
            || self
                .state
                .dma_read(self.host, name, ring.base, wrapped.as_flattened_mut()))
    }

    /// Takes a context, or a packet.
    fn step(&mut self, ring: &Ring, batch: &[Raw], index: u32) -> Step {
        let kept = &mut self.state.transmit.queues[self.queue];
        let first = Descriptor::from(&batch[0]);
        match first.kind() {
            _ if kept.skipping => {}
            Kind::Context => {
                kept.contexts[Context::slot(&first)] = Some(first.into());
                if let Some(why) = Context::fault(&first) {
                    self.judge(index, why);
                }
                return Step::Done(1);
            }
            Kind::Unknown => {
                self.judge(index, "neither a data nor a context descriptor");
                return Step::Done(1);
            }
            Kind::Data | Kind::Legacy => {}
        }
        let skipping = kept.skipping;
        let end = batch
            .iter()
            .position(|raw| Descriptor::from(raw).ends_packet());
        let packet = match end {
            Some(last) => &batch[..=last],
            None if skipping || batch.len() > PACKET => batch,
            None => return Step::Unfinished,
        };
        kept.skipping = end.is_none();
        if !skipping {
            if packet.len() > PACKET {
                self.judge(index, "a packet of more than 38 descriptors");
            } else if !self.send(packet, index) {
                return Step::Stuck;
            }
        }
        self.complete(ring, packet, index);
        Step::Done(packet.len())
    }

    /// Writes back the descriptors that the driver asked to hear of.
    fn complete(&mut self, ring: &Ring, packet: &[Raw], index: u32) {
        let mut index = index;
        for raw in packet {
            if Descriptor::from(raw).reports() {
                self.reports = true;
                if self.state.regs[TDWBAL.at(self.queue)] & HEAD_WRITE_BACK == 0 {
                    let head = TDH.at(self.queue);
                    self.state
                        .dma_write(self.host, head, ring.address(index), &DONE);
                }
            }
            index = ring.after(index);
        }
    }

    /// Moves the head, and tells the driver what it asked to hear of.
    fn finish(&mut self, head: u32) {
        let queue = self.queue;
        self.state.regs[TDH.at(queue)] = head;
        if !self.reports {
            return;
        }
        let low = TDWBAL.at(queue);
        let written_to = self.state.regs[low];
        if written_to & HEAD_WRITE_BACK != 0 {
            let address =
                u64::from(self.state.regs[TDWBAH.at(queue)]) << 32 | u64::from(written_to & !3);
            self.state
                .dma_write(self.host, low, address, &head.to_le_bytes());
        }
        self.state.transmit_cause(self.host, queue);
    }

    /// Writes down what is wrong with the descriptor at an index of the ring.
    pub(super) fn judge(&mut self, index: u32, why: &'static str) {
        self.state
            .violate(TDH.at(self.queue), index, Why::Descriptor(why));
    }
}

/// The index of the descriptor so many after the head.
fn position(ring: &Ring, done: usize) -> u32 {
    let index = (ring.head as usize + done) % ring.size as usize;
    u32::try_from(index).unwrap_or_default()
}
