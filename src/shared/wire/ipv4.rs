//! IPv4 headers (RFC 791), checked as RFC 1812 section 5.2.2 asks of a router.

use super::{be16, be32, checksum};
use crate::shared::reason::DropReason;

/// Bytes of a header without options.
pub const MIN_HEADER_LEN: usize = 20;

const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// A header that passed [`Ipv4::check`], with the packet's payload behind it.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4<'a>(&'a [u8]);

impl<'a> Ipv4<'a> {
    /// Checks version, header length, total length and header checksum. `bytes` starts at the IP
    /// header and may be longer than the packet (Ethernet padding).
    #[inline]
    pub fn check(bytes: &'a [u8]) -> Result<Ipv4<'a>, DropReason> {
        if bytes.len() < MIN_HEADER_LEN || bytes[0] >> 4 != 4 {
            return Err(DropReason::Ipv4BadHeader);
        }
        let header_len = usize::from(bytes[0] & 0xf) * 4;
        if header_len < MIN_HEADER_LEN || header_len > bytes.len() {
            return Err(DropReason::Ipv4BadHeader);
        }
        let total_len = usize::from(be16(bytes, 2));
        if total_len < header_len || total_len > bytes.len() {
            return Err(DropReason::Ipv4BadLength);
        }
        if checksum::checksum(&bytes[..header_len]) != 0 {
            return Err(DropReason::Ipv4BadChecksum);
        }
        Ok(Ipv4(&bytes[..total_len]))
    }

    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.0[0] & 0xf) * 4
    }

    /// Header and payload, without padding.
    #[inline]
    pub fn total_len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub fn has_options(&self) -> bool {
        self.header_len() > MIN_HEADER_LEN
    }

    /// A fragment of a larger packet, the first one included.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        be16(self.0, 6) & (MORE_FRAGMENTS | FRAGMENT_OFFSET) != 0
    }

    #[inline]
    pub fn ttl(&self) -> u8 {
        self.0[8]
    }

    #[inline]
    pub fn protocol(&self) -> u8 {
        self.0[9]
    }

    #[inline]
    pub fn source(&self) -> u32 {
        be32(self.0, 12)
    }

    #[inline]
    pub fn destination(&self) -> u32 {
        be32(self.0, 16)
    }

    /// What follows the header, up to the total length.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.0[self.header_len()..]
    }
}

/// Takes one off the TTL and mends the checksum (RFC 1141, RFC 1624). `bytes` starts at a checked
/// IPv4 header whose TTL is at least 1; shorter slices are left alone.
#[inline]
pub fn decrement_ttl(bytes: &mut [u8]) {
    let Some(header) = bytes.first_chunk_mut::<MIN_HEADER_LEN>() else {
        return;
    };
    let old = u16::from_be_bytes([header[8], header[9]]);
    let new = old.wrapping_sub(0x100);
    let sum = checksum::update(u16::from_be_bytes([header[10], header[11]]), old, new);
    header[8..10].copy_from_slice(&new.to_be_bytes());
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Source addresses that RFC 1812 section 5.3.7 and the kernel refuse: loopback, 0.0.0.0, multicast,
/// limited broadcast. 0.1.2.3, 240/4 and link-local are forwarded, as the kernel does.
#[inline]
pub fn is_martian_source(address: u32) -> bool {
    address == 0 || address >> 24 == 127 || is_multicast(address) || address == u32::MAX
}

/// Destinations that never leave a host: loopback and 0.0.0.0.
#[inline]
pub fn is_martian_destination(address: u32) -> bool {
    address == 0 || address >> 24 == 127
}

/// 224.0.0.0/4.
#[inline]
pub fn is_multicast(address: u32) -> bool {
    address >> 28 == 0xe
}

/// 224.0.0.0/24: local network control (RFC 5771 section 4).
#[inline]
pub fn is_link_multicast(address: u32) -> bool {
    address >> 8 == 0x00e0_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(ttl: u8) -> [u8; 20] {
        let mut h = [
            0x45, 0, 0, 20, 0, 1, 0, 0, ttl, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        let sum = checksum::checksum(&h);
        h[10..12].copy_from_slice(&sum.to_be_bytes());
        h
    }

    #[test]
    fn a_good_header_reads_back() {
        let bytes = header(64);
        let ip = Ipv4::check(&bytes).unwrap();
        assert_eq!((ip.ttl(), ip.protocol(), ip.total_len()), (64, 17, 20));
        assert_eq!((ip.source(), ip.destination()), (0x0a00_0001, 0x0a00_0002));
        assert!(!ip.is_fragment() && !ip.has_options());
    }

    #[test]
    fn each_fault_has_its_reason() {
        let cases: [(usize, u8, DropReason); 5] = [
            (0, 0x55, DropReason::Ipv4BadHeader),
            (0, 0x44, DropReason::Ipv4BadHeader),
            (0, 0x46, DropReason::Ipv4BadHeader),
            (3, 21, DropReason::Ipv4BadLength),
            (10, 0, DropReason::Ipv4BadChecksum),
        ];
        for (at, value, reason) in cases {
            let mut bytes = header(64);
            bytes[at] = value;
            assert_eq!(
                Ipv4::check(&bytes).unwrap_err(),
                reason,
                "byte {at} = {value:#x}"
            );
        }
        assert_eq!(
            Ipv4::check(&header(1)[..19]).unwrap_err(),
            DropReason::Ipv4BadHeader
        );
    }

    #[test]
    fn padding_is_not_part_of_the_packet() {
        let mut frame = header(9).to_vec();
        frame.extend([0xaa; 26]);
        assert_eq!(Ipv4::check(&frame).unwrap().total_len(), 20);
    }

    #[test]
    fn martians_are_the_kernels_martians() {
        for martian in [0, 0x7f00_0001, 0xe000_0001, 0xffff_ffff] {
            assert!(is_martian_source(martian), "{martian:#x}");
        }
        for fine in [0x0001_0203, 0xf000_0001, 0xa9fe_0001, 0x0a00_0001] {
            assert!(!is_martian_source(fine), "{fine:#x}");
        }
    }

    proptest! {
        #[test]
        fn checking_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(ip) = Ipv4::check(&bytes) {
                prop_assert!(ip.total_len() <= bytes.len());
                prop_assert!(ip.payload().len() < bytes.len());
            }
        }

        #[test]
        fn a_decremented_header_still_checks(ttl in 1u8.., id in any::<u16>(), tos in any::<u8>()) {
            let mut h = header(ttl);
            h[1] = tos;
            h[4..6].copy_from_slice(&id.to_be_bytes());
            h[10..12].fill(0);
            let sum = checksum::checksum(&h);
            h[10..12].copy_from_slice(&sum.to_be_bytes());
            decrement_ttl(&mut h);
            prop_assert_eq!(Ipv4::check(&h).unwrap().ttl(), ttl - 1);
        }
    }
}
