//! Packets between a worker and control: a bounded ring of bytes, one writer and one reader, each
//! packet preceded by its length. Nothing is allocated after the ring is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rtrb::chunks::ReadChunk;
use rtrb::{Consumer, Producer, RingBuffer};

use super::mem::OwnLines;

/// The longest packet that a ring carries.
pub const MAX_PACKET: usize = 65_535;

/// Bytes of the length in front of a packet.
const LENGTH: usize = 2;

/// The writing end.
#[derive(Debug)]
pub struct PacketSender {
    bytes: Producer<u8>,
    capacity: usize,
    joined: Arc<OwnLines<AtomicU32>>,
}

/// The reading end.
#[derive(Debug)]
pub struct PacketReceiver {
    bytes: Consumer<u8>,
    joined: Arc<OwnLines<AtomicU32>>,
}

/// A packet that is still in its ring.
#[derive(Debug)]
pub struct Packet<'a> {
    chunk: ReadChunk<'a, u8>,
    /// A copy of what lies around the ring's end.
    copy: Option<&'a [u8]>,
}

/// A ring of `capacity` bytes.
pub fn packet_ring(capacity: usize) -> (PacketSender, PacketReceiver) {
    let (producer, consumer) = RingBuffer::new(capacity);
    let joined = Arc::<OwnLines<AtomicU32>>::default();
    let sender = PacketSender {
        bytes: producer,
        capacity,
        joined: Arc::clone(&joined),
    };
    let receiver = PacketReceiver {
        bytes: consumer,
        joined,
    };
    (sender, receiver)
}

impl PacketSender {
    /// Appends a packet; false when there is no room or it is longer than [`MAX_PACKET`].
    pub fn push(&mut self, packet: &[u8]) -> bool {
        let Ok(len) = u16::try_from(packet.len()) else {
            return false;
        };
        // In two steps, as a chunk for both would be filled with zeros first. The reader waits for
        // the second one.
        self.has_room(packet.len())
            && self.bytes.push_entire_slice(&len.to_ne_bytes()).is_ok()
            && self.bytes.push_entire_slice(packet).is_ok()
    }

    /// Whether a packet of `len` bytes finds room now.
    pub fn has_room(&self, len: usize) -> bool {
        self.bytes.slots() >= LENGTH + len
    }

    /// True when more than three quarters are taken: what is left is for those who matter most.
    pub fn is_crowded(&self) -> bool {
        self.bytes.slots() < self.capacity / 4
    }

    /// Where both ends count.
    #[cfg(test)]
    pub(super) fn joined(&self) -> std::ops::Range<usize> {
        let start = std::ptr::from_ref(&*self.joined).addr();
        start..start + size_of_val(&*self.joined)
    }

    /// How many packets the reader has joined with others since this was last asked.
    pub fn take_joined(&mut self) -> u32 {
        // A look first: no cache line is taken from the reader for nothing.
        match self.joined.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.joined.swap(0, Ordering::Relaxed),
        }
    }
}

impl PacketReceiver {
    /// The oldest packet, which stays until it is [`Packet::done`]; `None` when the ring is empty.
    /// Should it lie around the ring's end, it is copied to `scratch` and cut to fit.
    pub fn peek<'a>(&'a mut self, scratch: &'a mut [u8]) -> Option<Packet<'a>> {
        let chunk = self.oldest()?;
        let copy = match parts(&chunk) {
            (_, []) => None,
            _ => {
                let len = copy(&chunk, scratch);
                Some(&scratch[..len])
            }
        };
        Some(Packet { chunk, copy })
    }

    /// Moves the oldest packet into `buffer` and returns its length; `None` when the ring is empty.
    /// A packet longer than `buffer` is cut to fit.
    pub fn pop(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let chunk = self.oldest()?;
        let len = copy(&chunk, buffer);
        chunk.commit_all();
        Some(len)
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Tells the writer that so many packets were joined with others before they went on.
    pub fn note_joined(&self, packets: u32) {
        if packets > 0 {
            self.joined.fetch_add(packets, Ordering::Relaxed);
        }
    }

    /// The oldest packet with its length in front, once all of it is there.
    fn oldest(&mut self) -> Option<ReadChunk<'_, u8>> {
        let mut header = [0; LENGTH];
        let ahead = self.bytes.read_chunk(LENGTH).ok()?;
        let (first, second) = ahead.as_slices();
        for (to, from) in header.iter_mut().zip(first.iter().chain(second)) {
            *to = *from;
        }
        let len = usize::from(u16::from_ne_bytes(header));
        self.bytes.read_chunk(LENGTH + len).ok()
    }
}

impl Packet<'_> {
    pub fn bytes(&self) -> &[u8] {
        self.copy.unwrap_or_else(|| parts(&self.chunk).0)
    }

    /// Makes room in the ring for another.
    pub fn done(self) {
        self.chunk.commit_all();
    }
}

/// A packet without the length in front of it: its bytes up to the ring's end, and the rest.
fn parts<'a>(chunk: &'a ReadChunk<'_, u8>) -> (&'a [u8], &'a [u8]) {
    let (first, second) = chunk.as_slices();
    match first.get(LENGTH..) {
        Some(head) => (head, second),
        None => (&second[LENGTH - first.len()..], &[]),
    }
}

/// Copies a packet, or what of it fits.
fn copy(chunk: &ReadChunk<'_, u8>, buffer: &mut [u8]) -> usize {
    let (head, tail) = parts(chunk);
    let cut = (head.len() + tail.len()).min(buffer.len());
    let split = head.len().min(cut);
    buffer[..split].copy_from_slice(&head[..split]);
    buffer[split..cut].copy_from_slice(&tail[..cut - split]);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn packets_come_out_whole_and_in_order(
            capacity in 8usize..200, peeks in any::<bool>(),
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
                    None if peeks => {
                        let seen = receiver.peek(&mut buffer).map(|packet| packet.bytes().to_vec());
                        let packet = receiver.peek(&mut buffer);
                        let got = packet.map(|packet| {
                            let bytes = packet.bytes().to_vec();
                            packet.done();
                            bytes
                        });
                        prop_assert_eq!(&seen, &got, "it stays until it is done");
                        prop_assert_eq!(got, model.pop_front());
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
    fn what_was_joined_is_told_once() {
        let (mut sender, receiver) = packet_ring(100);
        receiver.note_joined(3);
        receiver.note_joined(4);
        assert_eq!(sender.take_joined(), 7);
        assert_eq!(sender.take_joined(), 0);
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
