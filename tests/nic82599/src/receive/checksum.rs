//! Receive checksum offload (datasheet 7.1.11): the IPv4 header, TCP, UDP and SCTP checksums of a
//! frame, as the status of its descriptor.
//!
//! A UDP checksum of zero, that is none, is checked like any other, and found wrong: so does the
//! 82599 (specification update, "Integrity Error Reported for IPv4/UDP Packets with Zero
//! Checksum"), and drivers must not believe it.

use super::descriptor::{IP_CHECKED, IP_ERROR, L4_CHECKED, L4_ERROR, UDP_CHECKED, UDP_VALID};
use crate::packet::{CRC32C, Headers, Network, PROTOCOL_UDP, Transport, fold, sum, word};

/// What was checked, and what was wrong: bits of the descriptor's status and errors.
pub(super) fn status(frame: &[u8], headers: &Headers) -> u32 {
    network(frame, headers) | transport(frame, headers)
}

fn network(frame: &[u8], headers: &Headers) -> u32 {
    if headers.network != Network::Ipv4 {
        return 0;
    }
    let header = &frame[headers.network_at..headers.transport_at];
    IP_CHECKED | error(fold(sum(header)) == 0xFFFF, IP_ERROR)
}

fn transport(frame: &[u8], headers: &Headers) -> u32 {
    let payload = &frame[headers.transport_at..headers.end];
    match headers.transport {
        Transport::Other => 0,
        Transport::Tcp => {
            let total = headers.pseudo_header(frame, payload.len()) + sum(payload);
            L4_CHECKED | error(fold(total) == 0xFFFF, L4_ERROR)
        }
        Transport::Udp => {
            L4_CHECKED | UDP_CHECKED | error(udp_is_right(frame, headers, payload), L4_ERROR)
        }
        Transport::Sctp => L4_CHECKED | error(sctp_is_right(payload), L4_ERROR),
    }
}

fn error(right: bool, bit: u32) -> u32 {
    if right { 0 } else { bit }
}

fn udp_is_right(frame: &[u8], headers: &Headers, payload: &[u8]) -> bool {
    let length = usize::from(word(payload, 4).unwrap_or_default());
    let datagram = payload.get(..length).filter(|bytes| bytes.len() >= 8);
    datagram.is_some_and(|datagram| {
        fold(headers.pseudo_header(frame, length) + sum(datagram)) == 0xFFFF
    })
}

fn sctp_is_right(packet: &[u8]) -> bool {
    let Some((ports, rest)) = packet.split_at_checked(8) else {
        return false;
    };
    let Some((checksum, chunks)) = rest.split_first_chunk() else {
        return false;
    };
    CRC32C.of(&[ports, &[0; 4], chunks]) == u32::from_le_bytes(*checksum)
}

/// The fragment checksum of an IPv4 fragment with its identification, as RXCSUM.IPPCSE has them in
/// the descriptor in place of the hash, and the status that goes with it (datasheet 7.1.13).
pub(super) fn fragment(frame: &[u8], headers: &Headers) -> (u32, u32) {
    if headers.network != Network::Ipv4 || !headers.fragment {
        return (0, 0);
    }
    let header_word = |at| word(frame, headers.network_at + at).unwrap_or_default();
    let payload = &frame[headers.transport_at..headers.end];
    let checksum = u32::from(fold(sum(payload)));
    let is_first = header_word(6) & 0x1FFF == 0;
    let is_udp = is_first && headers.protocol == PROTOCOL_UDP;
    let has_checksum = word(payload, 6).is_some_and(|checksum| checksum != 0);
    let status = if is_udp && has_checksum { UDP_VALID } else { 0 };
    (checksum << 16 | u32::from(header_word(4)), status)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Frame;
    use super::*;
    use std::net::IpAddr;

    fn status_of(bytes: &[u8]) -> u32 {
        status(bytes, &Headers::parse(bytes, 0x8100))
    }

    fn hosts() -> [(IpAddr, IpAddr); 2] {
        [
            ("10.0.0.1", "192.168.255.254"),
            ("fd00::1", "2001:db8:ffff::2"),
        ]
        .map(|(source, target)| (source.parse().unwrap(), target.parse().unwrap()))
    }

    #[test]
    fn right_checksums_are_found_right() {
        for payload in [0, 1, 2, 3, 46, 1000, 1461] {
            for (source, target) in hosts() {
                let ip = if source.is_ipv4() { IP_CHECKED } else { 0 };
                let frame = Frame::tcp(source, target).payload(payload);
                assert_eq!(status_of(&frame.bytes()), ip | L4_CHECKED);
                let frame = Frame::udp(source, target).payload(payload);
                assert_eq!(status_of(&frame.bytes()), ip | L4_CHECKED | UDP_CHECKED);
                let frame = Frame::sctp(source, target).payload(payload);
                assert_eq!(status_of(&frame.bytes()), ip | L4_CHECKED);
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_the_payload_is_found() {
        for (source, target) in hosts() {
            for frame in [
                Frame::tcp(source, target).payload(9),
                Frame::udp(source, target).payload(9),
                Frame::sctp(source, target).payload(9),
            ] {
                let bytes = frame.bytes();
                let headers = Headers::parse(&bytes, 0x8100);
                for at in headers.transport_at..headers.end {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= 0x10;
                    let status = status_of(&bytes);
                    assert_eq!(status & (L4_ERROR | IP_ERROR), L4_ERROR, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn a_wrong_ipv4_header_is_an_error_of_its_own() {
        let [(source, target), _] = hosts();
        let mut bytes = Frame::tcp(source, target).bytes();
        bytes[22] ^= 1;
        assert_eq!(status_of(&bytes), IP_CHECKED | IP_ERROR | L4_CHECKED);
    }

    #[test]
    fn a_udp_checksum_of_zero_is_an_error_as_on_the_82599() {
        let [(source, target), _] = hosts();
        let mut bytes = Frame::udp(source, target).bytes();
        bytes[40..42].fill(0);
        assert_eq!(status_of(&bytes) & L4_ERROR, L4_ERROR);
    }

    #[test]
    fn a_udp_length_that_does_not_fit_is_an_error() {
        let [(source, target), _] = hosts();
        for length in [0, 7, 0xFFFF] {
            let mut bytes = Frame::udp(source, target).bytes();
            bytes[38..40].copy_from_slice(&u16::to_be_bytes(length));
            assert_eq!(status_of(&bytes) & L4_ERROR, L4_ERROR);
        }
        let sums_to_nothing = Frame::udp([0xFF, 0xEE, 0, 0].into(), [0; 4].into());
        let mut bytes = sums_to_nothing.bytes();
        bytes[38..40].fill(0);
        assert_eq!(status_of(&bytes) & L4_ERROR, L4_ERROR);
    }

    #[test]
    fn other_protocols_and_fragments_have_no_transport_checked() {
        let [(source, target), _] = hosts();
        let bytes = Frame::udp(source, target).fragment(0x2000).bytes();
        assert_eq!(status_of(&bytes), IP_CHECKED);
        assert_eq!(status_of(&Frame::arp().bytes()), 0);
    }

    #[test]
    fn a_fragment_has_its_identification_and_the_sum_of_its_payload() {
        let [(source, target), _] = hosts();
        let bytes = Frame::udp(source, target)
            .fragment(0x2000)
            .payload(8)
            .bytes();
        let headers = Headers::parse(&bytes, 0x8100);
        let naive = bytes[34..].chunks(2).fold(0u32, |sum, pair| {
            let sum = sum + u32::from(pair[0]) * 256 + u32::from(pair[1]);
            (sum & 0xFFFF) + (sum >> 16)
        });
        assert_eq!(
            fragment(&bytes, &headers),
            (naive << 16 | u32::from(Frame::IDENTIFICATION), UDP_VALID)
        );
        let later = Frame::udp(source, target).fragment(0x2001).bytes();
        let (_, status) = fragment(&later, &Headers::parse(&later, 0x8100));
        assert_eq!(status, 0, "only the first has a UDP checksum");
        let whole = Frame::udp(source, target).bytes();
        assert_eq!(fragment(&whole, &Headers::parse(&whole, 0x8100)), (0, 0));
    }
}
