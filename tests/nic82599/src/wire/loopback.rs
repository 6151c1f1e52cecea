//! A loop: what is sent comes back.

use super::MAX_FRAME;
use std::collections::VecDeque;

/// Frames under way; beyond that they are lost.
const DEPTH: usize = 1024;

#[derive(Default)]
pub struct Loopback {
    frames: VecDeque<Vec<u8>>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl Loopback {
    pub(super) fn is_waiting(&self) -> bool {
        !self.frames.is_empty()
    }

    pub(super) fn receive(&mut self, frame: &mut [u8; MAX_FRAME]) -> Option<usize> {
        let sent = self.frames.pop_front()?;
        let len = sent.len();
        frame[..len].copy_from_slice(&sent);
        self.spare.push(sent);
        Some(len)
    }

    pub(super) fn transmit(&mut self, frame: &[u8]) {
        if self.frames.len() < DEPTH && frame.len() <= MAX_FRAME {
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(frame);
            self.frames.push_back(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_comes_back_in_order_and_no_deeper_than_the_wire() {
        let mut wire = Loopback::default();
        for number in 0..=DEPTH {
            wire.transmit(&number.to_le_bytes());
        }
        wire.transmit(&[0; MAX_FRAME + 1]);
        let mut frame = [0; MAX_FRAME];
        for number in 0..DEPTH {
            assert_eq!(wire.receive(&mut frame), Some(8));
            assert_eq!(frame[..8], number.to_le_bytes());
        }
        assert_eq!(wire.receive(&mut frame), None);
    }
}
