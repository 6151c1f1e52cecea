//! What a packet looks like that was forwarded as RFC 1812 has it, worked out the long way.

use std::net::IpAddr;

use ixmap_tables::{Address, Reference, Route};

use crate::packet::{LENGTH, Packet};
use crate::world::{FAR, neighbour};

const IPV4: [u8; 2] = [0x08, 0x00];

pub(crate) struct Naive(Reference);

impl Naive {
    pub(crate) fn new<A: Address>(routes: &[Route<A>]) -> Naive {
        Naive(Reference::new(routes))
    }

    /// The packet to `destination` as it leaves; `None` when no route leads there, or no router forwards to
    /// such addresses (RFC 1812 section 5.3.7, RFC 4291 section 2.5).
    pub(crate) fn forward<A: Address>(&self, destination: A, packet: &Packet) -> Option<Vec<u8>> {
        let id = self.0.lookup(destination)?;
        if !is_forwarded(destination.to_ip()) {
            return None;
        }
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
            // The carry of the first time.
            let folded = (folded & 0xffff) + (folded >> 16);
            let [.., high, low] = (!folded).to_be_bytes();
            bytes[24..26].copy_from_slice(&[high, low]);
        } else {
            bytes[21] -= 1;
        }
        Some(bytes)
    }
}

fn is_forwarded(destination: IpAddr) -> bool {
    let is_kept = match destination {
        IpAddr::V4(address) => address.is_broadcast() || address.is_unspecified(),
        // To `::` the kernel forwards, if there is a route.
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_kept || destination.is_loopback() || destination.is_multicast())
}
