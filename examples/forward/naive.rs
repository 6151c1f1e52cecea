//! What a packet looks like that was forwarded as RFC 1812 has it, worked out the long way.

use ixmap_tables::{Address, Reference, Route};

use crate::packet::{LENGTH, Packet};
use crate::world::{FAR, neighbour};

const IPV4: [u8; 2] = [0x08, 0x00];

pub(crate) struct Naive(Reference);

impl Naive {
    pub(crate) fn new<A: Address>(routes: &[Route<A>]) -> Naive {
        Naive(Reference::new(routes))
    }

    /// The packet to `destination` as it leaves; `None` when no route does.
    pub(crate) fn forward<A: Address>(&self, destination: A, packet: &Packet) -> Option<Vec<u8>> {
        let id = self.0.lookup(destination)?;
        let mut bytes = packet[..LENGTH].to_vec();
        bytes[..6].copy_from_slice(&neighbour(id));
        bytes[6..12].copy_from_slice(&FAR);
        if bytes[12..14] == IPV4 {
            bytes[22] -= 1;
            bytes[24..26].fill(0);
            let sum: u32 = bytes[14..34]
                .chunks(2)
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
                .sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            let [.., high, low] = (!folded).to_be_bytes();
            bytes[24..26].copy_from_slice(&[high, low]);
        } else {
            bytes[21] -= 1;
        }
        Some(bytes)
    }
}
