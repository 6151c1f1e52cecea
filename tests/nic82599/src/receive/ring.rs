//! From a frame to the buffers of its queue's ring (datasheet 7.1.9, 7.1.10).

use super::checksum;
use super::descriptor::{Completion, DESCRIPTOR, Layout, VLAN, buffer, packet_type, write_back};
use super::rss;
use crate::host::Host;
use crate::packet::{ADDRESSES, FCS, Headers, VLAN_TAG};
use crate::registers::{HLREG0, HLREG0_RXCRCSTRP, RDBAL, RDH, RXCSUM, RXDCTL, SRRCTL};
use crate::rings::Ring;
use crate::state::State;
use crate::violation::Why;

/// Descriptors that are read, and written back, at a time.
const BATCH: usize = 16;

/// RXDCTL.VME: VLAN tags are stripped.
const RXDCTL_VME: u32 = 1 << 30;
/// RXCSUM.IPPCSE and PCSD: the fragment checksum instead of the hash, or the hash.
const RXCSUM_IPPCSE: u32 = 1 << 12;
const RXCSUM_PCSD: u32 = 1 << 13;
/// SRRCTL.BSIZEPACKET, in units of 1 KiB.
const SRRCTL_BSIZEPACKET: u32 = 0x1F;
const LARGEST_BUFFER: u32 = 16;
const SRRCTL_DROP_EN: u32 = 1 << 28;

/// A frame on its way into a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    queue: usize,
    completion: Completion,
    strips_vlan: bool,
    /// Bytes that are already in buffers.
    done: usize,
}

/// How a queue is set up.
struct Format {
    layout: Layout,
    /// The size of a packet buffer, not zero.
    size: usize,
    drops: bool,
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Stored,
    /// Not all of it: the ring has no descriptors.
    Waits,
    Lost,
}

impl State {
    /// Puts a frame into its queue's buffers, as far as there are descriptors; false when it has to
    /// wait for more. The first frame that waits goes on where it stopped. `headers` are parsed
    /// when the caller has not.
    pub(super) fn store(
        &mut self,
        host: &mut dyn Host,
        frame: &[u8],
        headers: Option<Headers>,
    ) -> bool {
        let mut transfer = match self.receive.transfer.take() {
            Some(transfer) => transfer,
            None => {
                let headers = headers.unwrap_or_else(|| self.headers(frame));
                self.begin(frame, &headers)
            }
        };
        let mut assembled = std::mem::take(&mut self.receive.assembled);
        let keeps_fcs = self.regs[HLREG0] & HLREG0_RXCRCSTRP == 0;
        let bytes = if transfer.strips_vlan || keeps_fcs {
            assemble(&mut assembled, frame, transfer.strips_vlan, keeps_fcs);
            &assembled
        } else {
            frame
        };
        let outcome = self.fill(host, bytes, &mut transfer);
        if outcome == Outcome::Stored {
            self.count_queue_received(transfer.queue, bytes.len());
            self.receive_cause(host, transfer.queue);
        }
        self.receive.assembled = assembled;
        if outcome == Outcome::Waits {
            self.receive.transfer = Some(transfer);
        }
        outcome != Outcome::Waits
    }

    /// Finds out the queue of a frame and what its descriptors say.
    fn begin(&mut self, frame: &[u8], headers: &Headers) -> Transfer {
        let spread = rss::spread(&self.regs, &mut self.receive.toeplitz, frame, headers);
        let mut completion = Completion {
            kind: packet_type(headers),
            status: checksum::status(frame, headers),
            ..Completion::default()
        };
        let control = self.regs[RXCSUM];
        if control & RXCSUM_PCSD != 0 {
            completion.kind |= spread.kind;
            completion.hash = spread.hash;
        } else if control & RXCSUM_IPPCSE != 0 {
            let (fragment, status) = checksum::fragment(frame, headers);
            completion.hash = fragment;
            completion.status |= status;
        }
        let strips = self.regs[RXDCTL.at(spread.queue)] & RXDCTL_VME != 0;
        if let Some(tag) = headers.vlan {
            completion.status |= VLAN;
            completion.vlan = if strips { tag } else { 0 };
        }
        Transfer {
            queue: spread.queue,
            completion,
            strips_vlan: strips && headers.vlan.is_some(),
            done: 0,
        }
    }

    fn fill(&mut self, host: &mut dyn Host, bytes: &[u8], transfer: &mut Transfer) -> Outcome {
        let queue = transfer.queue;
        let found = self.receive_ring(queue).zip(self.format(queue));
        let Some((mut ring, format)) = found else {
            self.count_queue_dropped(queue);
            return Outcome::Lost;
        };
        while transfer.done < bytes.len() {
            let needed = (bytes.len() - transfer.done).div_ceil(format.size);
            let available = ring.available() as usize;
            if available < needed && format.drops && transfer.done == 0 {
                self.count_queue_dropped(queue);
                return Outcome::Lost;
            }
            if available == 0 {
                return Outcome::Waits;
            }
            let contiguous = (ring.size - ring.head) as usize;
            let count = needed.min(available).min(contiguous).min(BATCH);
            if !self.fill_some(host, bytes, transfer, &ring, &format, count) {
                return Outcome::Lost;
            }
            (0..count).for_each(|_| ring.head = ring.after(ring.head));
            self.regs[RDH.at(queue)] = ring.head;
        }
        Outcome::Stored
    }

    /// Fills the buffers of the next `count` descriptors, which lie one after the other. False when
    /// they cannot be read. Writes are posted: the device does not hear that one was refused.
    fn fill_some(
        &mut self,
        host: &mut dyn Host,
        bytes: &[u8],
        transfer: &mut Transfer,
        ring: &Ring,
        format: &Format,
        count: usize,
    ) -> bool {
        let named = RDBAL.at(transfer.queue);
        let address = ring.address(ring.head);
        let mut descriptors = [0; BATCH * DESCRIPTOR];
        let descriptors = &mut descriptors[..count * DESCRIPTOR];
        if !self.dma_read(host, named, address, descriptors) {
            return false;
        }
        for descriptor in descriptors.as_chunks_mut().0 {
            let rest = &bytes[transfer.done..];
            let piece = &rest[..rest.len().min(format.size)];
            self.dma_write(host, named, buffer(descriptor), piece);
            transfer.done += piece.len();
            let completion = (piece.len() == rest.len()).then_some(&transfer.completion);
            let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
            write_back(descriptor, format.layout, length, completion);
        }
        self.dma_write(host, named, address, descriptors);
        true
    }

    /// SRRCTL. Without a buffer size nothing can be stored.
    fn format(&mut self, queue: usize) -> Option<Format> {
        let register = SRRCTL.at(queue);
        let control = self.regs[register];
        let layout = match control >> 25 & 0x7 {
            0 => Layout::Legacy,
            1 => Layout::Advanced,
            _ => {
                let why = "SRRCTL.DESCTYPE other than legacy or advanced with one buffer";
                self.violate(register, control, Why::Descriptor(why));
                Layout::Advanced
            }
        };
        let size = control & SRRCTL_BSIZEPACKET;
        if size == 0 || size > LARGEST_BUFFER {
            let why = "SRRCTL.BSIZEPACKET not from 1 to 16 KiB";
            self.violate(register, control, Why::Descriptor(why));
        }
        (size != 0).then_some(Format {
            layout,
            size: size as usize * 1024,
            drops: control & SRRCTL_DROP_EN != 0,
        })
    }
}

/// Puts together what is stored of a frame: without its VLAN tag, with its FCS.
fn assemble(assembled: &mut Vec<u8>, frame: &[u8], strips_vlan: bool, keeps_fcs: bool) {
    let tag = if strips_vlan { VLAN_TAG } else { 0 };
    assembled.clear();
    assembled.extend_from_slice(&frame[..ADDRESSES]);
    assembled.extend_from_slice(&frame[ADDRESSES + tag..]);
    if keeps_fcs {
        assembled.extend_from_slice(&FCS.of(&[frame]).to_le_bytes());
    }
}
