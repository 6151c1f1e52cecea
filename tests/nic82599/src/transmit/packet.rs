//! One packet: its bytes are fetched, its offloads done, its frames put on the wire
//! (datasheet 7.2.1, 7.2.2).

use super::OVERHEAD;
use super::context::Context;
use super::descriptor::{Descriptor, Raw, Request};
use super::offload::{insert_vlan, legacy_sum, sum_network, sum_transport};
use super::segment::{FlagMasks, Segments, headers};
use super::turn::Turn;
use crate::host::Host;
use crate::packet::{ADDRESSES, FCS, VLAN_TAG};
use crate::receive;
use crate::registers::{
    DMATXCTL, DTXTCPFLGH, DTXTCPFLGL, HLREG0, HLREG0_LPBK, HLREG0_TXPADEN, TDBAL,
};
use crate::state::State;

/// 15.5 KB without the FCS.
pub(super) const LONGEST_FRAME: usize = 15_872 - FCS_LENGTH;
/// What is shorter is padded to 64 bytes with its FCS.
const PADDED: usize = 60;
/// What the device can pad at all.
const SHORTEST: usize = 17;
/// Addresses and EtherType: nothing shorter is put on the wire.
const ETHERNET_HEADER: usize = ADDRESSES + 2;
/// The largest PAYLEN, and so the most data of a packet to be segmented.
const MOST_PAYLOAD: usize = (1 << 18) - 1;
const FCS_LENGTH: usize = 4;

/// How each of a packet's frames is finished.
#[derive(Clone, Copy)]
struct Finish {
    vlan: Option<u16>,
    insert_fcs: bool,
}

impl Turn<'_> {
    /// Sends a packet, whose first descriptor is at `index`; or drops it and says why. False when
    /// its bytes could not be read.
    pub(super) fn send(&mut self, packet: &[Raw], index: u32) -> bool {
        let Some(length) = self.judge_descriptors(packet, index) else {
            return true;
        };
        let request = Descriptor::from(&packet[0]).request();
        let context = self.state.transmit.queues[self.queue].contexts[request.slot];
        if request.needs_context() && context.is_none() {
            self.judge(index, "no context was written to the slot that IDX names");
            return true;
        }
        let segmented = context.filter(|_| request.segment);
        let most = match &segmented {
            Some(context) => MOST_PAYLOAD + headers(context),
            None => LONGEST_FRAME,
        };
        if let Some(why) = length_fault(&request, length, segmented.as_ref()) {
            self.judge(index, why);
        }
        if length > most {
            self.judge(index, "a packet longer than the device can send");
        }
        let own_fcs = if request.insert_fcs { 0 } else { FCS_LENGTH };
        if length > most || length < ETHERNET_HEADER + own_fcs {
            return true;
        }
        self.work += length;
        if !self.fetch_packet(packet, length) {
            return false;
        }
        let finish = Finish {
            vlan: request
                .insert_vlan
                .then_some(request.legacy_tag.or(context.map(|context| context.vlan)))
                .flatten(),
            insert_fcs: request.insert_fcs,
        };
        let sent = match segmented {
            Some(context) => self.send_segments(context, length, finish),
            None => self.send_whole(&request, context.as_ref(), length, finish),
        };
        if let Err(why) = sent {
            self.judge(index, why);
        }
        true
    }

    /// The length of the packet, when its descriptors belong together.
    fn judge_descriptors(&mut self, packet: &[Raw], index: u32) -> Option<usize> {
        let first = Descriptor::from(&packet[0]);
        let mut length = 0;
        for raw in packet {
            let descriptor = Descriptor::from(raw);
            if descriptor.kind() != first.kind() {
                self.judge(index, "descriptors of several types in one packet");
                return None;
            }
            if let Some(why) = descriptor.fault() {
                self.judge(index, why);
            }
            length += descriptor.length();
        }
        let request = first.request();
        if first.reserved_options() {
            self.judge(index, "reserved bits set");
        }
        if request.changes_frame() && !request.insert_fcs {
            self.judge(index, "an offload for a frame that brings its own FCS");
        }
        Some(length)
    }

    /// Reads a packet's bytes, leaving room for a tag before them and for padding after.
    fn fetch_packet(&mut self, packet: &[Raw], length: usize) -> bool {
        let buffer = &mut self.buffers.packet;
        let room = VLAN_TAG + length.max(PADDED);
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        let mut rest = &mut buffer[VLAN_TAG..VLAN_TAG + length];
        packet.iter().map(Descriptor::from).all(|descriptor| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(descriptor.length());
            rest = after;
            let name = TDBAL.at(self.queue);
            self.state
                .dma_read(self.host, name, descriptor.address, part)
        })
    }

    /// One packet, one frame.
    fn send_whole(
        &mut self,
        request: &Request,
        context: Option<&Context>,
        length: usize,
        finish: Finish,
    ) -> Result<(), &'static str> {
        let frame = &mut self.buffers.packet[VLAN_TAG..VLAN_TAG + length];
        if let Some(context) = context {
            if request.sum_network {
                sum_network(frame, context)?;
            }
            if request.sum_transport {
                sum_transport(frame, context)?;
            }
        }
        if let Some((from, at)) = request.legacy_sum {
            legacy_sum(frame, from, at)?;
        }
        self.work += OVERHEAD + length;
        let buffer = &mut self.buffers.packet;
        finish.put_on_wire(self.state, self.host, self.queue, buffer, length)
    }

    /// One packet, cut into frames.
    fn send_segments(
        &mut self,
        context: Context,
        length: usize,
        finish: Finish,
    ) -> Result<(), &'static str> {
        let regs = &self.state.regs;
        let [first, middle] = [regs[DTXTCPFLGL] & 0xFFFF, regs[DTXTCPFLGL] >> 16];
        let [first, middle, last] = [first, middle, regs[DTXTCPFLGH]]
            .map(|mask| u16::try_from(mask & 0xFFF).unwrap_or_default());
        let masks = FlagMasks {
            first,
            middle,
            last,
        };
        let packet = &self.buffers.packet[VLAN_TAG..VLAN_TAG + length];
        let segments = Segments::new(packet, context, masks)?;
        let frame = &mut self.buffers.frame;
        frame.resize(VLAN_TAG + LONGEST_FRAME, 0);
        for n in 0..segments.count {
            let length = segments.build(n, &mut frame[VLAN_TAG..])?;
            self.work += OVERHEAD + length;
            finish.put_on_wire(self.state, self.host, self.queue, frame, length)?;
        }
        Ok(())
    }
}

impl Finish {
    /// Sends the frame of `length` that begins [`VLAN_TAG`] bytes into the buffer, or loops it back.
    fn put_on_wire(
        self,
        state: &mut State,
        host: &mut dyn Host,
        queue: usize,
        buffer: &mut [u8],
        length: usize,
    ) -> Result<(), &'static str> {
        let mut end = VLAN_TAG + length;
        let mut start = VLAN_TAG;
        if let Some(tag) = self.vlan {
            let [_, _, ether_type @ ..] = state.regs[DMATXCTL].to_le_bytes();
            insert_vlan(buffer, u16::from_le_bytes(ether_type), tag);
            start = 0;
        }
        if !self.insert_fcs {
            end -= FCS_LENGTH;
            let (frame, fcs) = buffer[start..].split_at(end - start);
            if fcs.first_chunk() != Some(&FCS.of(&[frame]).to_le_bytes()) {
                return Err("a frame whose own FCS is wrong");
            }
        } else if state.regs[HLREG0] & HLREG0_TXPADEN != 0 && end < start + PADDED {
            buffer[end..start + PADDED].fill(0);
            end = start + PADDED;
        }
        let frame = &buffer[start..end];
        if state.regs[HLREG0] & HLREG0_LPBK != 0 {
            state.count_transmitted(queue, frame);
            receive::receive(state, host, frame);
        } else if state.link.is_up() {
            state.count_transmitted(queue, frame);
            host.transmit(frame);
        }
        Ok(())
    }
}

/// What is wrong with a packet's length.
fn length_fault(
    request: &Request,
    length: usize,
    segmented: Option<&Context>,
) -> Option<&'static str> {
    let Some(context) = segmented else {
        let other = request.payload.is_some_and(|payload| payload != length);
        return if other {
            Some("PAYLEN other than the packet's length")
        } else if length < SHORTEST {
            Some("a packet of less than 17 bytes")
        } else {
            None
        };
    };
    if request.payload.map(|payload| payload + headers(context)) != Some(length) {
        Some("PAYLEN other than the length of the data to be segmented")
    } else if !request.sum_transport || request.sum_network != context.ipv4 {
        Some("segmentation asks for TXSM, and for IXSM when it is IPv4")
    } else {
        None
    }
}
