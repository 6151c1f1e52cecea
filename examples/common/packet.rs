//! The packets that arrive: UDP in the smallest Ethernet frames.

use ixmap::shared::fib::Lpm;
use ixmap::shared::wire::checksum;

/// 64 bytes with the FCS, which a device keeps.
pub(crate) const LENGTH: usize = 60;
/// Copied as one cache line.
pub(crate) type Packet = [u8; 64];

/// The MAC of the port that packets arrive at.
pub(crate) const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// An address family of packets.
pub(crate) trait Family: Lpm {
    /// A packet to this destination.
    fn packet(self) -> Packet;
}

impl Family for u32 {
    fn packet(self) -> Packet {
        let mut packet = ethernet([0x08, 0x00]);
        let header = &mut packet[14..34];
        header[..4].copy_from_slice(&[0x45, 0, 0, 46]);
        header[8..10].copy_from_slice(&[64, 17]);
        header[12..16].copy_from_slice(&[198, 18, 0, 1]);
        header[16..].copy_from_slice(&self.to_be_bytes());
        let sum = checksum::checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    }
}

impl Family for u128 {
    fn packet(self) -> Packet {
        let mut packet = ethernet([0x86, 0xdd]);
        packet[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 6, 17, 64]);
        packet[22..26].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        packet[38..54].copy_from_slice(&self.to_be_bytes());
        packet
    }
}

fn ethernet(ethertype: [u8; 2]) -> Packet {
    let mut packet = [0; 64];
    packet[..6].copy_from_slice(&OWN);
    packet[6..12].copy_from_slice(&[2, 0, 0, 0, 9, 9]);
    packet[12..14].copy_from_slice(&ethertype);
    packet
}
