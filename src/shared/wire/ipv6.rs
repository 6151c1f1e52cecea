//! IPv6 headers (RFC 8200).

use super::{be16, be32, protocol};
use crate::shared::reason::DropReason;

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 40;

/// A header that passed [`Ipv6::check`], with the packet's payload behind it.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a>(&'a [u8]);

impl<'a> Ipv6<'a> {
    /// Checks version and payload length. `bytes` starts at the IP header and may be longer than
    /// the packet (Ethernet padding).
    #[inline]
    pub fn check(bytes: &'a [u8]) -> Result<Ipv6<'a>, DropReason> {
        if bytes.len() < HEADER_LEN || bytes[0] >> 4 != 6 {
            return Err(DropReason::Ipv6BadHeader);
        }
        let total = HEADER_LEN + usize::from(be16(bytes, 4));
        bytes
            .get(..total)
            .map(Ipv6)
            .ok_or(DropReason::Ipv6BadLength)
    }

    /// A header that was checked before, and its packet; nothing of a packet that is not whole.
    #[inline]
    pub fn of_checked(bytes: &'a [u8]) -> Ipv6<'a> {
        Ipv6(
            bytes
                .get(..HEADER_LEN + usize::from(be16(bytes, 4)))
                .unwrap_or_default(),
        )
    }

    /// Header and payload, without padding.
    #[inline]
    pub fn total_len(&self) -> usize {
        self.0.len()
    }

    /// The 20-bit flow label (RFC 6437).
    #[inline]
    pub fn flow_label(&self) -> u32 {
        be32(self.0, 0) & 0xf_ffff
    }

    #[inline]
    pub fn next_header(&self) -> u8 {
        self.0[6]
    }

    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.0[7]
    }

    #[inline]
    pub fn source(&self) -> u128 {
        address(self.0, 8)
    }

    #[inline]
    pub fn destination(&self) -> u128 {
        address(self.0, 24)
    }

    /// What follows the fixed header: extension headers included.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        &self.0[HEADER_LEN..]
    }

    /// The upper-layer protocol and its bytes, destination options and routing headers stepped
    /// over; stops at the first header of another kind (a fragment header too). A truncated chain
    /// ends with what could be read.
    #[inline]
    pub fn upper_layer(&self) -> (u8, &'a [u8]) {
        let (mut next, mut rest) = (self.next_header(), self.payload());
        while matches!(next, protocol::DESTINATION_OPTIONS | protocol::ROUTING) {
            let Some((len, behind)) = rest
                .get(1)
                .map(|units| (usize::from(*units) + 1) * 8)
                .and_then(|len| rest.get(len..).map(|behind| (len, behind)))
            else {
                return (next, &[]);
            };
            debug_assert!(len >= 8);
            next = rest[0];
            rest = behind;
        }
        (next, rest)
    }
}

fn address(bytes: &[u8], at: usize) -> u128 {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[at..at + 16]);
    u128::from_be_bytes(octets)
}

/// Takes one off the hop limit of a checked header whose hop limit is at least 1.
#[inline]
pub fn decrement_hop_limit(bytes: &mut [u8]) {
    if let Some(limit) = bytes.get_mut(7) {
        *limit = limit.wrapping_sub(1);
    }
}

/// `::1`.
pub const LOOPBACK: u128 = 1;

/// ff00::/8.
#[inline]
pub fn is_multicast(address: u128) -> bool {
    address >> 120 == 0xff
}

/// fe80::/10.
#[inline]
pub fn is_link_local(address: u128) -> bool {
    address >> 118 == 0x3fa
}

/// Sources that must not appear on a wire: `::`, `::1`, multicast (RFC 4291 sections 2.5.2, 2.5.3,
/// 2.7). v4-mapped, site-local and the router's own are forwarded, as the kernel does.
#[inline]
pub fn is_martian_source(address: u128) -> bool {
    address <= LOOPBACK || is_multicast(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x60, 0x0a, 0xbc, 0xde];
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend([next, 64]);
        bytes.extend(0xfd00_u128.to_be_bytes());
        bytes.extend(0xfd01_u128.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn a_good_header_reads_back() {
        let bytes = packet(17, &[1, 2, 3, 4]);
        let ip = Ipv6::check(&bytes).unwrap();
        assert_eq!(
            (ip.next_header(), ip.hop_limit(), ip.total_len()),
            (17, 64, 44)
        );
        assert_eq!(ip.flow_label(), 0xa_bcde);
        assert_eq!((ip.source(), ip.destination()), (0xfd00, 0xfd01));
        assert_eq!(ip.upper_layer(), (17, &[1, 2, 3, 4][..]));
    }

    #[test]
    fn a_payload_beyond_the_frame_is_refused_and_padding_is_not() {
        let mut bytes = packet(17, &[0; 8]);
        assert_eq!(
            Ipv6::check(&bytes[..47]).unwrap_err(),
            DropReason::Ipv6BadLength
        );
        bytes.extend([0; 6]);
        assert_eq!(Ipv6::check(&bytes).unwrap().total_len(), 48);
        bytes[0] = 0x45;
        assert_eq!(Ipv6::check(&bytes).unwrap_err(), DropReason::Ipv6BadHeader);
    }

    #[test]
    fn the_upper_layer_lies_behind_destination_options() {
        let mut payload = vec![17, 0, 1, 4, 0, 0, 0, 0];
        payload.extend([9, 9]);
        let bytes = packet(protocol::DESTINATION_OPTIONS, &payload);
        assert_eq!(
            Ipv6::check(&bytes).unwrap().upper_layer(),
            (17, &[9, 9][..])
        );
    }

    #[test]
    fn scopes() {
        assert!(is_link_local(0xfe80 << 112 | 1) && is_link_local(0xfebf << 112));
        assert!(!is_link_local(0xfec0 << 112));
        assert!(is_multicast(0xff02 << 112 | 5) && !is_multicast(0xfe02 << 112 | 5));
        assert!(is_martian_source(0) && is_martian_source(1) && is_martian_source(0xff02 << 112));
        assert!(!is_martian_source(0xffff_0a00_0001));
    }

    proptest! {
        #[test]
        fn reading_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), next in 40u8..64) {
            if bytes.len() > 6 {
                bytes[0] = 0x60;
                bytes[4] = 0;
                bytes[6] = next;
            }
            if let Ok(ip) = Ipv6::check(&bytes) {
                let (_, upper) = ip.upper_layer();
                prop_assert!(upper.len() <= ip.payload().len());
            }
        }
    }
}
