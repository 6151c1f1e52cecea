//! The receive engine: a frame from the wire to the buffers of a queue (datasheet 7.1).
//!
//! [`filter`] decides whether a frame is taken in, [`rss`] to which queue it goes, [`checksum`]
//! what its descriptors say about its checksums; [`ring`] puts it into the buffers of the ring and
//! writes [`descriptor`]s back. A frame whose queue has no descriptors waits in the
//! [`packet_buffer`], and all that come after it wait behind, unless the queue drops such frames.

mod checksum;
mod descriptor;
mod filter;
mod packet_buffer;
mod ring;
mod rss;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use crate::host::Host;
use crate::interrupts::CAUSE_RECEIVE_MISS;
use crate::packet::Headers;
use crate::registers::{RXCTRL, RXCTRL_RXEN, RXPBSIZE, SECRXCTRL, SECRXCTRL_RX_DIS, VLNCTRL};
use crate::state::State;
pub(crate) use filter::filter_words;
use packet_buffer::PacketBuffer;
use ring::Transfer;
use rss::Toeplitz;

/// What the engine keeps between frames.
#[derive(Default)]
pub(crate) struct Engine {
    toeplitz: Toeplitz,
    waiting: PacketBuffer,
    /// How far the first frame that waits has come.
    transfer: Option<Transfer>,
    /// Where frames are put together that are not stored as they came.
    assembled: Vec<u8>,
}

/// Takes a frame, without its FCS, from the wire. The link is up.
pub(crate) fn receive(state: &mut State, host: &mut dyn Host, frame: &[u8]) {
    if !state.is_receiving() {
        return;
    }
    state.count_seen(frame);
    let headers = state.headers(frame);
    if !state.is_taken(frame, &headers) {
        return;
    }
    state.count_received(frame);
    if state.receive.waiting.is_empty() && state.store(host, frame, Some(headers)) {
        return;
    }
    let room = state.regs[RXPBSIZE.at(0)] as usize;
    if !state.receive.waiting.push(frame, room) {
        if state.receive.waiting.is_empty() {
            state.receive.transfer = None;
        }
        state.count_missed(0);
        state.other_cause(host, CAUSE_RECEIVE_MISS);
    }
}

/// Goes on with the frames that wait: called when a tail moved, when a queue was enabled or
/// disabled, and at every tick.
pub(crate) fn run(state: &mut State, host: &mut dyn Host) {
    if state.receive.waiting.is_empty() || !state.is_receiving() {
        return;
    }
    let mut waiting = std::mem::take(&mut state.receive.waiting);
    while let Some(frame) = waiting.first() {
        if !state.store(host, frame, None) {
            break;
        }
        waiting.drop_first();
    }
    state.receive.waiting = waiting;
}

impl State {
    fn is_receiving(&self) -> bool {
        let enabled = self.regs[RXCTRL] & RXCTRL_RXEN != 0;
        enabled && self.regs[SECRXCTRL] & SECRXCTRL_RX_DIS == 0 && self.is_bus_master()
    }

    fn headers(&self, frame: &[u8]) -> Headers {
        let [low, high, ..] = self.regs[VLNCTRL].to_le_bytes();
        Headers::parse(frame, u16::from_le_bytes([low, high]))
    }
}
