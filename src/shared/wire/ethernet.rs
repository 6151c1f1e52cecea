//! Ethernet II headers (IEEE 802.3).

use super::be16;
use crate::shared::mac::MacAddr;

/// Bytes of an untagged header.
pub const HEADER_LEN: usize = 14;

/// EtherTypes (IANA ieee-802-numbers).
pub mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// Below this the field is a length: IEEE 802.3 with LLC (IS-IS, STP).
    pub const MIN: u16 = 0x0600;
}

/// A frame's first [`HEADER_LEN`] bytes.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<'a>(&'a [u8; HEADER_LEN]);

impl<'a> Ethernet<'a> {
    /// The header and what follows it; `None` when the frame is shorter than a header.
    #[inline]
    pub fn check(frame: &'a [u8]) -> Option<(Ethernet<'a>, &'a [u8])> {
        let (header, payload) = frame.split_first_chunk()?;
        Some((Ethernet(header), payload))
    }

    #[inline]
    pub fn destination(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = *self.0;
        MacAddr([a, b, c, d, e, f])
    }

    /// The EtherType, or a length below [`ethertype::MIN`].
    #[inline]
    pub fn ethertype(&self) -> u16 {
        be16(self.0, 12)
    }
}
