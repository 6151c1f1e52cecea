//! Receive descriptors: where the driver's buffer is, and what the device writes back
//! (datasheet 7.1.5, 7.1.6).

use crate::packet::{Headers, Network, Transport};

pub(super) const DESCRIPTOR: usize = 16;

/// Status of the last descriptor of a frame, and errors from bit 20 on.
const DONE: u32 = 1 << 0;
const END_OF_PACKET: u32 = 1 << 1;
/// VP: the frame has a VLAN tag.
pub(super) const VLAN: u32 = 1 << 3;
/// UDPCS: it is the UDP checksum that was checked.
pub(super) const UDP_CHECKED: u32 = 1 << 4;
/// L4I.
pub(super) const L4_CHECKED: u32 = 1 << 5;
/// IPCS.
pub(super) const IP_CHECKED: u32 = 1 << 6;
/// UDPV: the first fragment of a UDP datagram that has a checksum.
pub(super) const UDP_VALID: u32 = 1 << 10;
/// TCPE.
pub(super) const L4_ERROR: u32 = 1 << 30;
/// IPE.
pub(super) const IP_ERROR: u32 = 1 << 31;

/// How descriptors are laid out: SRRCTL.DESCTYPE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Legacy,
    Advanced,
}

/// What the last descriptor of a frame says, beyond its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Completion {
    /// RSS type and packet type.
    pub(super) kind: u32,
    /// The RSS hash, or the fragment checksum and the IP identification.
    pub(super) hash: u32,
    pub(super) status: u32,
    /// The tag that was stripped.
    pub(super) vlan: u16,
}

/// The packet type, at its place in the first word.
pub(super) fn packet_type(headers: &Headers) -> u32 {
    let network = match (headers.network, headers.extended) {
        (Network::Other, _) => 0,
        (Network::Ipv4, false) => 0x010,
        (Network::Ipv4, true) => 0x030,
        (Network::Ipv6, false) => 0x040,
        (Network::Ipv6, true) => 0x0C0,
    };
    let transport = match headers.transport {
        Transport::Other => 0,
        Transport::Tcp => 0x100,
        Transport::Udp => 0x200,
        Transport::Sctp => 0x400,
    };
    network | transport
}

/// The address of the packet buffer.
pub(super) fn buffer(descriptor: &[u8; DESCRIPTOR]) -> u64 {
    let [low, ..] = descriptor.as_chunks().0 else {
        return 0;
    };
    u64::from_le_bytes(*low)
}

/// Writes a descriptor back: with `completion` when it is the last of its frame.
pub(super) fn write_back(
    descriptor: &mut [u8; DESCRIPTOR],
    layout: Layout,
    length: u16,
    completion: Option<&Completion>,
) {
    let last = completion.map_or(0, |_| END_OF_PACKET);
    let completion = completion.copied().unwrap_or_default();
    let status = completion.status | DONE | last;
    match layout {
        Layout::Legacy => {
            let [low, _, _, errors] = status.to_le_bytes();
            descriptor[8..10].copy_from_slice(&length.to_le_bytes());
            descriptor[10..12].fill(0);
            descriptor[12..14].copy_from_slice(&[low, errors]);
        }
        Layout::Advanced => {
            descriptor[..4].copy_from_slice(&completion.kind.to_le_bytes());
            descriptor[4..8].copy_from_slice(&completion.hash.to_le_bytes());
            descriptor[8..12].copy_from_slice(&status.to_le_bytes());
            descriptor[12..14].copy_from_slice(&length.to_le_bytes());
        }
    }
    descriptor[14..].copy_from_slice(&completion.vlan.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETION: Completion = Completion {
        kind: 0x111,
        hash: 0x5566_7788,
        status: VLAN | IP_CHECKED | L4_CHECKED | IP_ERROR | L4_ERROR,
        vlan: 0x2005,
    };

    #[test]
    fn an_advanced_descriptor_is_all_written_over() {
        let mut bytes = [0xEE; 16];
        write_back(&mut bytes, Layout::Advanced, 0x1234, Some(&COMPLETION));
        let expected = 0x2005_1234_C000_006B_5566_7788_0000_0111_u128;
        assert_eq!(u128::from_le_bytes(bytes), expected);
    }

    #[test]
    fn a_descriptor_before_the_last_is_only_done() {
        let mut bytes = [0xEE; 16];
        write_back(&mut bytes, Layout::Advanced, 2048, None);
        assert_eq!(u128::from_le_bytes(bytes), 2048 << 96 | 1 << 64);
    }

    #[test]
    fn a_legacy_descriptor_keeps_the_address() {
        let mut bytes = [0xEE; 16];
        write_back(&mut bytes, Layout::Legacy, 0x1234, Some(&COMPLETION));
        let expected = 0x2005_C06B_0000_1234_EEEE_EEEE_EEEE_EEEE_u128;
        assert_eq!(u128::from_le_bytes(bytes), expected);
    }

    #[test]
    fn packet_types_say_the_headers() {
        let mut headers = Headers {
            network: Network::Ipv4,
            transport: Transport::Tcp,
            ..Headers::default()
        };
        assert_eq!(packet_type(&headers), 0x110);
        headers.extended = true;
        assert_eq!(packet_type(&headers), 0x130);
        headers.network = Network::Ipv6;
        headers.transport = Transport::Udp;
        assert_eq!(packet_type(&headers), 0x2C0);
        assert_eq!(packet_type(&Headers::default()), 0);
    }
}
