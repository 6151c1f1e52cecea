//! Completes the TCP and UDP checksums that a virtual netdev's peer left to a NIC.
//!
//! A sender with transmit checksum offload puts only the folded sum of the pseudo-header into the
//! checksum field (CHECKSUM_PARTIAL: Documentation/networking/checksum-offloads.rst) and expects the
//! NIC to add the rest. On a veth or macvlan no NIC comes, and AF_XDP hands the frame over as it is:
//! forwarded to a wire, its receiver would drop it. A field that equals the pseudo-header's sum is
//! completed; should the packet be valid all the same, it stays as it is, to the byte.
//!
//! Only the outermost TCP or UDP header is looked at; tunnels in software complete their own inner
//! checksums before they send.

use crate::shared::wire::checksum::{fold, sum};
use crate::shared::wire::ethernet::{HEADER_LEN, ethertype};
use crate::shared::wire::protocol::{DESTINATION_OPTIONS, HOP_BY_HOP, TCP, UDP};

/// VLAN tags that may stand before the IP header.
const MAX_TAGS: usize = 2;
/// IPv6 extension headers that are walked.
const MAX_EXTENSIONS: usize = 4;

/// The upper-layer packet of an IP packet: its bytes' range, protocol and the pseudo-header's sum.
struct Upper {
    start: usize,
    end: usize,
    protocol: u8,
    pseudo: u16,
}

/// Completes the checksum of `frame` (from its Ethernet header on) if it is partial.
pub(super) fn complete(frame: &mut [u8]) {
    let _ = try_complete(frame);
}

/// As [`complete`]; `None` where the frame turned out not to be a case of it.
fn try_complete(frame: &mut [u8]) -> Option<()> {
    let upper = find(frame)?;
    let at = match upper.protocol {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    let segment = frame.get_mut(upper.start..upper.end)?;
    let field = segment.get(at..at + 2)?;
    if field != upper.pseudo.to_be_bytes() {
        return None;
    }
    // The field already holds the pseudo-header's share.
    let sum = fold(sum(segment));
    if fold(u64::from(sum) + u64::from(upper.pseudo)) == 0xffff {
        return None;
    }
    // A UDP checksum of zero would say that there is none.
    let checksum = match !sum {
        0 if upper.protocol == UDP => 0xffff,
        checksum => checksum,
    };
    segment
        .get_mut(at..at + 2)?
        .copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

fn find(frame: &[u8]) -> Option<Upper> {
    let mut start = HEADER_LEN;
    let kind = |start: usize| bytes(frame, start - 2).map(u16::from_be_bytes);
    let mut ethertype = kind(start)?;
    for _ in 0..MAX_TAGS {
        if !matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN) {
            break;
        }
        start += 4;
        ethertype = kind(start)?;
    }
    match ethertype {
        ethertype::IPV4 => find4(frame, start),
        ethertype::IPV6 => find6(frame, start),
        _ => None,
    }
}

fn find4(frame: &[u8], start: usize) -> Option<Upper> {
    let header = bytes::<20>(frame, start)?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let end = start + usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let upper = start + header_len;
    if header[0] >> 4 != 4 || header_len < 20 || fragment || upper > end || end > frame.len() {
        return None;
    }
    Some(Upper {
        start: upper,
        end,
        protocol: header[9],
        pseudo: pseudo(&header[12..20], header[9], end - upper),
    })
}

fn find6(frame: &[u8], start: usize) -> Option<Upper> {
    let header = bytes::<40>(frame, start)?;
    let end = start + 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || end > frame.len() {
        return None;
    }
    let mut protocol = header[6];
    let mut upper = start + 40;
    for _ in 0..MAX_EXTENSIONS {
        // Hop-by-hop and destination options; a routing header changes the pseudo-header.
        if !matches!(protocol, HOP_BY_HOP | DESTINATION_OPTIONS) {
            break;
        }
        let [next, len] = bytes::<2>(frame, upper)?;
        protocol = next;
        upper += (usize::from(len) + 1) * 8;
    }
    if upper > end {
        return None;
    }
    Some(Upper {
        start: upper,
        end,
        protocol,
        pseudo: pseudo(&header[8..40], protocol, end - upper),
    })
}

fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

/// The folded sum of a pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1), not inverted.
fn pseudo(addresses: &[u8], protocol: u8, len: usize) -> u16 {
    fold(sum(addresses) + u64::from(protocol) + len as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet as its parts, to be put together with any checksum.
    #[derive(Clone, Debug)]
    struct Packet {
        tags: usize,
        /// Words of options (IPv4) or destination options headers (IPv6).
        options: usize,
        addresses: Vec<u8>,
        tcp: bool,
        payload: Vec<u8>,
        padding: usize,
    }

    fn packet() -> impl Strategy<Value = Packet> {
        let addresses = prop_oneof![
            prop::collection::vec(any::<u8>(), 8),
            prop::collection::vec(any::<u8>(), 32)
        ];
        (
            0..=2usize,
            0..=3usize,
            addresses,
            any::<bool>(),
            prop::collection::vec(any::<u8>(), 0..200),
            0..20usize,
        )
            .prop_map(|(tags, options, addresses, tcp, payload, padding)| Packet {
                tags,
                options,
                addresses,
                tcp,
                payload,
                padding,
            })
    }

    impl Packet {
        fn protocol(&self) -> u8 {
            if self.tcp { TCP } else { UDP }
        }

        fn segment(&self, checksum: u16) -> Vec<u8> {
            let len = self.segment_len();
            let mut header = if self.tcp { vec![1; 20] } else { vec![2; 8] };
            if !self.tcp {
                header[4..6].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            }
            let at = if self.tcp { 16 } else { 6 };
            header[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
            [&header, self.payload.as_slice()].concat()
        }

        fn segment_len(&self) -> usize {
            self.payload.len() + if self.tcp { 20 } else { 8 }
        }

        /// The ones' complement sum, word by word, as RFC 1071 says it.
        fn naive_sum(data: &[u8]) -> u16 {
            let mut total = 0u32;
            for pair in data.chunks(2) {
                total += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
                total = (total & 0xffff) + (total >> 16);
            }
            u16::try_from(total).unwrap()
        }

        fn pseudo_header(&self) -> Vec<u8> {
            let len = u32::try_from(self.segment_len()).unwrap().to_be_bytes();
            let tail = [0, 0, 0, self.protocol()];
            [self.addresses.as_slice(), &len, &tail].concat()
        }

        fn partial_checksum(&self) -> u16 {
            Packet::naive_sum(&self.pseudo_header())
        }

        fn full_checksum(&self) -> u16 {
            let all = [self.pseudo_header(), self.segment(0)].concat();
            match !Packet::naive_sum(&all) {
                0 if !self.tcp => 0xffff,
                sum => sum,
            }
        }

        fn frame(&self, checksum: u16) -> Vec<u8> {
            let mut frame = vec![2; 12];
            for _ in 0..self.tags {
                frame.extend([0x81, 0x00, 0, 7]);
            }
            if self.addresses.len() == 8 {
                let words = 5 + self.options;
                let total = u16::try_from(words * 4 + self.segment_len()).unwrap();
                frame.extend(ethertype::IPV4.to_be_bytes());
                frame.extend([0x40 | u8::try_from(words).unwrap(), 0]);
                frame.extend(total.to_be_bytes());
                frame.extend([0, 0, 0x40, 0, 64, self.protocol(), 0, 0]);
                frame.extend(&self.addresses);
                frame.extend(vec![1; self.options * 4]);
            } else {
                let len = u16::try_from(self.options * 8 + self.segment_len()).unwrap();
                let next = if self.options > 0 {
                    60
                } else {
                    self.protocol()
                };
                frame.extend(ethertype::IPV6.to_be_bytes());
                frame.extend([0x60, 0, 0, 0]);
                frame.extend(len.to_be_bytes());
                frame.extend([next, 64]);
                frame.extend(&self.addresses);
                for i in 1..=self.options {
                    let next = if i < self.options {
                        60
                    } else {
                        self.protocol()
                    };
                    frame.extend([next, 0, 1, 4, 0, 0, 0, 0]);
                }
            }
            frame.extend(self.segment(checksum));
            frame.extend(vec![0xee; self.padding]);
            frame
        }
    }

    proptest! {
        #[test]
        fn a_partial_checksum_becomes_the_full_one(packet in packet()) {
            let mut frame = packet.frame(packet.partial_checksum());
            complete(&mut frame);
            prop_assert_eq!(frame, packet.frame(packet.full_checksum()));
        }

        #[test]
        fn a_valid_packet_stays_as_it_is(packet in packet()) {
            let frame = packet.frame(packet.full_checksum());
            let mut completed = frame.clone();
            complete(&mut completed);
            prop_assert_eq!(completed, frame);
        }

        #[test]
        fn nothing_panics_and_what_is_cut_short_stays_as_it_is(
            packet in packet(),
            cut in any::<prop::sample::Index>(),
            noise in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let frame = packet.frame(packet.partial_checksum());
            let end = frame.len() - packet.padding;
            let mut cut = frame[..cut.index(end)].to_vec();
            let before = cut.clone();
            complete(&mut cut);
            prop_assert_eq!(cut, before);
            complete(&mut noise.clone());
        }
    }

    fn plain(addresses: usize) -> Packet {
        Packet {
            tags: 0,
            options: 0,
            addresses: vec![9; addresses],
            tcp: true,
            payload: vec![5; 30],
            padding: 0,
        }
    }

    #[test]
    fn a_fragment_stays_as_it_is() {
        let packet = plain(8);
        for flags in [[0x20, 0], [0, 1]] {
            let mut frame = packet.frame(packet.partial_checksum());
            frame[20..22].copy_from_slice(&flags);
            let before = frame.clone();
            complete(&mut frame);
            assert_eq!(frame, before);
        }
    }

    #[test]
    fn a_udp_checksum_of_zero_is_sent_as_ones() {
        let mut packet = Packet {
            tcp: false,
            payload: vec![0, 0],
            ..plain(8)
        };
        packet.payload = packet.full_checksum().to_be_bytes().to_vec();
        let mut frame = packet.frame(packet.partial_checksum());
        complete(&mut frame);
        assert_eq!(frame[40..42], [0xff, 0xff]);
    }

    #[test]
    fn a_valid_packet_whose_checksum_looks_partial_stays_as_it_is() {
        // Choose the payload so that the valid checksum is the pseudo-header's sum.
        let mut packet = plain(32);
        packet.payload = vec![0, 0];
        let wanted = packet.partial_checksum();
        let others = Packet::naive_sum(&[packet.pseudo_header(), packet.segment(wanted)].concat());
        packet.payload = (!others).to_be_bytes().to_vec();
        assert_eq!(packet.full_checksum(), wanted);
        let frame = packet.frame(wanted);
        let mut completed = frame.clone();
        complete(&mut completed);
        assert_eq!(completed, frame);
    }
}
