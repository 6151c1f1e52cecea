//! Packets between a worker and control: a bounded ring of bytes, one writer and one reader, each
//! packet preceded by its length. Nothing is allocated after the ring is made.

use rtrb::{Consumer, Producer, RingBuffer};

/// The longest packet that a ring carries.
pub const MAX_PACKET: usize = 65_535;

/// Bytes of the length in front of a packet.
const LENGTH: usize = 2;

/// The writing end.
#[derive(Debug)]
pub struct PacketSender {
    bytes: Producer<u8>,
    capacity: usize,
}

/// The reading end.
#[derive(Debug)]
pub struct PacketReceiver(Consumer<u8>);

/// A ring of `capacity` bytes.
pub fn packet_ring(capacity: usize) -> (PacketSender, PacketReceiver) {
    let (bytes, consumer) = RingBuffer::new(capacity);
    (PacketSender { bytes, capacity }, PacketReceiver(consumer))
}

impl PacketSender {
    /// Appends a packet; false when there is no room or it is longer than [`MAX_PACKET`].
    pub fn push(&mut self, packet: &[u8]) -> bool {
        let Ok(len) = u16::try_from(packet.len()) else {
            return false;
        };
        let Ok(mut chunk) = self.bytes.write_chunk(LENGTH + packet.len()) else {
            return false;
        };
        let (first, second) = chunk.as_mut_slices();
        let header = len.to_ne_bytes();
        for (at, byte) in header.iter().chain(packet).enumerate().take(LENGTH) {
            match first.get_mut(at) {
                Some(slot) => *slot = *byte,
                None => second[at - first.len()] = *byte,
            }
        }
        let (head, tail) = (
            first.len().saturating_sub(LENGTH),
            LENGTH.saturating_sub(first.len()),
        );
        let split = head.min(packet.len());
        if let Some(room) = first.get_mut(LENGTH..) {
            room.copy_from_slice(&packet[..split]);
        }
        second[tail..].copy_from_slice(&packet[split..]);
        chunk.commit_all();
        true
    }

    /// Whether a packet of `len` bytes finds room now.
    pub fn has_room(&self, len: usize) -> bool {
        self.bytes.slots() >= LENGTH + len
    }

    /// True when more than three quarters are taken: what is left is for those who matter most.
    pub fn is_crowded(&self) -> bool {
        self.bytes.slots() < self.capacity / 4
    }
}

impl PacketReceiver {
    /// Moves the oldest packet into `buffer` and returns its length; `None` when the ring is empty.
    /// A packet longer than `buffer` is cut to fit.
    pub fn pop(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let mut header = [0; LENGTH];
        self.0.pop_entire_slice(&mut header).ok()?;
        let len = usize::from(u16::from_ne_bytes(header));
        // The writer commits a length and its packet together.
        let chunk = self.0.read_chunk(len).ok()?;
        let (first, second) = chunk.as_slices();
        let cut = len.min(buffer.len());
        let split = first.len().min(cut);
        buffer[..split].copy_from_slice(&first[..split]);
        buffer[split..cut].copy_from_slice(&second[..cut - split]);
        chunk.commit_all();
        Some(cut)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn packets_come_out_whole_and_in_order(
            capacity in 8usize..200,
            steps in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)), 1..200),
        ) {
            let (mut sender, mut receiver) = packet_ring(capacity);
            let mut model: VecDeque<Vec<u8>> = VecDeque::new();
            let mut buffer = [0; 64];
            for step in steps {
                match step {
                    Some(packet) => {
                        let used: usize = model.iter().map(|p| p.len() + LENGTH).sum();
                        let fits = used + packet.len() + LENGTH <= capacity;
                        prop_assert_eq!(sender.push(&packet), fits);
                        if fits {
                            model.push_back(packet);
                        }
                    }
                    None => {
                        let got = receiver.pop(&mut buffer).map(|len| buffer[..len].to_vec());
                        prop_assert_eq!(got, model.pop_front());
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_packet_is_cut_to_the_readers_buffer() {
        let (mut sender, mut receiver) = packet_ring(100);
        assert!(sender.push(&[7; 50]));
        assert!(sender.push(&[8; 3]));
        let mut buffer = [0; 10];
        assert_eq!(receiver.pop(&mut buffer), Some(10));
        assert_eq!(receiver.pop(&mut buffer), Some(3));
        assert_eq!(buffer[..3], [8; 3]);
        assert!(receiver.is_empty());
    }
}
