//! The packet buffer (datasheet 7.1.7): frames that wait for descriptors, in the order they came.

use std::collections::VecDeque;

#[derive(Default)]
pub(super) struct PacketBuffer {
    /// The frames, one after the other, from `first` on.
    bytes: Vec<u8>,
    first: usize,
    lengths: VecDeque<usize>,
}

impl PacketBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Puts a frame behind the others; false when there is no room for it in `room` bytes.
    pub(super) fn push(&mut self, frame: &[u8], room: usize) -> bool {
        let used = self.bytes.len() - self.first;
        let fits = used + frame.len() <= room;
        if fits {
            self.bytes.extend_from_slice(frame);
            self.lengths.push_back(frame.len());
        }
        fits
    }

    pub(super) fn first(&self) -> Option<&[u8]> {
        let length = *self.lengths.front()?;
        self.bytes.get(self.first..self.first + length)
    }

    pub(super) fn drop_first(&mut self) {
        self.first += self.lengths.pop_front().unwrap_or_default();
        if self.first > self.bytes.len() / 2 {
            self.bytes.drain(..self.first);
            self.first = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_in_the_order_they_came() {
        let mut buffer = PacketBuffer::default();
        let mut next = 0u8;
        let mut came = 0u8;
        while next < 250 {
            while buffer.push(&vec![came; 60 + usize::from(came)], 1024) {
                came += 1;
            }
            for _ in 0..3 {
                assert_eq!(buffer.first().unwrap(), vec![next; 60 + usize::from(next)]);
                buffer.drop_first();
                next += 1;
                if next == came {
                    break;
                }
            }
            assert!(buffer.bytes.len() <= 2 * 1024);
            if came == 250 {
                break;
            }
        }
        assert!(came > 100);
    }

    #[test]
    fn a_frame_without_room_stays_out() {
        let mut buffer = PacketBuffer::default();
        assert!(buffer.push(&[1; 600], 1024));
        assert!(!buffer.push(&[2; 425], 1024));
        assert!(buffer.push(&[3; 424], 1024));
        buffer.drop_first();
        assert!(buffer.push(&[4; 600], 1024), "room is given back");
        assert_eq!(buffer.first().unwrap(), [3; 424]);
        buffer.drop_first();
        assert!(buffer.push(&[5; 424], 1024), "all of it");
    }
}
