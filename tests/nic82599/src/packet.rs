//! What the engines need to know of a frame: where its headers lie, and its checksums.
//!
//! [`Headers::parse`] goes as far as a frame is well formed: what lies beyond is `Other`. All
//! offsets it returns lie inside the frame.

/// Ethernet addresses, without the EtherType.
pub(crate) const ADDRESSES: usize = 12;
/// A VLAN tag: its EtherType and the tag control information.
pub(crate) const VLAN_TAG: usize = 4;

pub(crate) const PROTOCOL_TCP: u8 = 6;
pub(crate) const PROTOCOL_UDP: u8 = 17;
pub(crate) const PROTOCOL_SCTP: u8 = 132;

const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86DD;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;
/// Extension headers that are followed.
const EXTENSIONS: usize = 8;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Network {
    #[default]
    Other,
    Ipv4,
    Ipv6,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Another protocol, a fragment, or cut short.
    #[default]
    Other,
    Tcp,
    Udp,
    Sctp,
}

/// Where the headers of a frame lie, and which they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    /// The control information of the VLAN tag, when there is one.
    pub(crate) vlan: Option<u16>,
    pub(crate) network: Network,
    pub(crate) network_at: usize,
    /// The IPv4 header has options, or extension headers follow the IPv6 header.
    pub(crate) extended: bool,
    pub(crate) fragment: bool,
    /// The protocol after the IP headers.
    pub(crate) protocol: u8,
    pub(crate) transport: Transport,
    /// The end of the IP headers.
    pub(crate) transport_at: usize,
    /// Where the IP packet ends by its own account: padding may follow.
    pub(crate) end: usize,
}

impl Headers {
    /// Finds the headers of a frame; `vlan_type` is the EtherType of VLAN tags.
    pub(crate) fn parse(frame: &[u8], vlan_type: u16) -> Headers {
        let mut headers = Headers::default();
        let mut at = ADDRESSES;
        let mut ether_type = word(frame, at);
        if ether_type == Some(vlan_type) {
            headers.vlan = word(frame, at + 2);
            at += VLAN_TAG;
            ether_type = word(frame, at);
        }
        headers.network_at = at + 2;
        match ether_type {
            Some(TYPE_IPV4) => headers.ipv4(frame),
            Some(TYPE_IPV6) => headers.ipv6(frame),
            _ => None,
        };
        headers
    }

    fn ipv4(&mut self, frame: &[u8]) -> Option<()> {
        let packet = frame.get(self.network_at..)?;
        let header = packet.first_chunk::<20>()?;
        let header_length = usize::from(header[0] & 0xF) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let sound = header[0] >> 4 == 4 && header_length >= 20 && total >= header_length;
        if !sound || total > packet.len() {
            return None;
        }
        self.network = Network::Ipv4;
        self.extended = header_length > 20;
        self.fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3FFF != 0;
        self.end = self.network_at + total;
        self.transport(frame, header[9], self.network_at + header_length)
    }

    fn ipv6(&mut self, frame: &[u8]) -> Option<()> {
        let packet = frame.get(self.network_at..)?;
        let header = packet.first_chunk::<40>()?;
        let total = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || total > packet.len() {
            return None;
        }
        self.network = Network::Ipv6;
        self.end = self.network_at + total;
        let mut next = header[6];
        let mut at = self.network_at + 40;
        for _ in 0..EXTENSIONS {
            let Some(&[following, length, ..]) = frame
                .get(at..self.end)
                .and_then(|rest| rest.first_chunk::<8>())
            else {
                break;
            };
            let length = match next {
                HOP_BY_HOP | ROUTING | DESTINATION => 8 + 8 * usize::from(length),
                FRAGMENT => 8,
                _ => break,
            };
            if at + length > self.end {
                break;
            }
            self.extended = true;
            self.fragment |= next == FRAGMENT;
            at += length;
            next = following;
            if self.fragment {
                break;
            }
        }
        self.transport(frame, next, at)
    }

    fn transport(&mut self, frame: &[u8], protocol: u8, at: usize) -> Option<()> {
        self.protocol = protocol;
        self.transport_at = at;
        let (transport, least) = match protocol {
            PROTOCOL_TCP => (Transport::Tcp, 20),
            PROTOCOL_UDP => (Transport::Udp, 8),
            PROTOCOL_SCTP => (Transport::Sctp, 12),
            _ => return None,
        };
        let payload = frame.get(at..self.end)?;
        if !self.fragment && payload.len() >= least {
            self.transport = transport;
        }
        Some(())
    }

    /// Source and destination address of the IP packet: empty when it is none.
    pub(crate) fn addresses<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let (at, length) = match self.network {
            Network::Other => return &[],
            Network::Ipv4 => (self.network_at + 12, 8),
            Network::Ipv6 => (self.network_at + 8, 32),
        };
        frame.get(at..at + length).unwrap_or_default()
    }

    /// The sum of the pseudo header of TCP and UDP, for `length` bytes of these.
    pub(crate) fn pseudo_header(&self, frame: &[u8], length: usize) -> u64 {
        sum(self.addresses(frame)) + u64::from(self.protocol) + length as u64
    }
}

/// A big-endian word of a frame.
pub(crate) fn word(frame: &[u8], at: usize) -> Option<u16> {
    let bytes = frame.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

/// The ones' complement sum of big-endian words: sums of pieces that begin at even offsets add up.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    // Summed as little-endian words, whose sum is the same but for the order of its bytes.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    let total = words.iter().fold(0, |total, word| {
        total + u64::from(u32::from_le_bytes(*word))
    });
    u64::from(fold(total + u64::from(u32::from_le_bytes(last))).swap_bytes())
}

/// The ones' complement sum in 16 bits: 0xFFFF over what has a right Internet checksum; its
/// complement is the checksum of what has zeros there (RFC 1071).
pub(crate) fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum >> 16) + (sum & 0xFFFF),
        }
    }
}

/// A CRC of 32 bits, least bit first.
pub(crate) struct Crc32([u32; 256]);

/// The frame check sequence of Ethernet, stored least byte first.
pub(crate) static FCS: Crc32 = Crc32::new(0xEDB8_8320);
/// CRC-32C, SCTP's checksum, stored least byte first.
pub(crate) static CRC32C: Crc32 = Crc32::new(0x82F6_3B78);

impl Crc32 {
    #[allow(clippy::cast_possible_truncation, reason = "less than 256")]
    const fn new(polynomial: u32) -> Crc32 {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut crc = n as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = crc >> 1 ^ if crc & 1 != 0 { polynomial } else { 0 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        Crc32(table)
    }

    /// The CRC of pieces, one after the other.
    pub(crate) fn of(&self, pieces: &[&[u8]]) -> u32 {
        let bytes = pieces.iter().copied().flatten();
        !bytes.fold(!0, |crc: u32, byte| {
            let [low, ..] = crc.to_le_bytes();
            crc >> 8 ^ self.0[usize::from(low ^ byte)]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(header_words: u8, protocol: u8, fragment: u16, payload: usize) -> Vec<u8> {
        let length = usize::from(header_words) * 4 + payload;
        let mut frame = vec![0; 14 + length];
        frame[12] = 0x08;
        frame[14] = 0x40 | header_words;
        frame[16..18].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        frame[20..22].copy_from_slice(&fragment.to_be_bytes());
        frame[23] = protocol;
        frame
    }

    /// An IPv6 packet: each header is (its protocol number, its bytes).
    fn ipv6(headers: &[(u8, &[u8])]) -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[12..15].copy_from_slice(&[0x86, 0xDD, 0x60]);
        frame[20] = headers[0].0;
        for (n, (_, bytes)) in headers.iter().enumerate() {
            let at = frame.len();
            frame.extend_from_slice(bytes);
            if let Some((next, _)) = headers.get(n + 1) {
                frame[at] = *next;
            }
        }
        let payload = u16::try_from(frame.len() - 54).unwrap();
        frame[18..20].copy_from_slice(&payload.to_be_bytes());
        frame
    }

    #[test]
    fn transport_is_found_after_ipv4_options_and_a_vlan_tag() {
        let mut frame = ipv4(7, PROTOCOL_UDP, 0x4000, 30);
        frame.splice(12..12, [0x81, 0x00, 0x20, 0x05]);
        frame.extend_from_slice(&[0; 9]);
        let expected = Headers {
            vlan: Some(0x2005),
            network: Network::Ipv4,
            network_at: 18,
            extended: true,
            fragment: false,
            protocol: PROTOCOL_UDP,
            transport: Transport::Udp,
            transport_at: 46,
            end: 76,
        };
        assert_eq!(Headers::parse(&frame, 0x8100), expected);
        assert_eq!(Headers::parse(&frame, 0x88A8).network, Network::Other);
    }

    #[test]
    fn fragments_have_no_transport() {
        for fragment in [0x2000, 0x0001] {
            let headers = Headers::parse(&ipv4(5, PROTOCOL_TCP, fragment, 40), 0x8100);
            assert_eq!(headers.transport, Transport::Other);
            assert!(headers.fragment);
        }
        let headers = Headers::parse(&ipv6(&[(FRAGMENT, &[0; 8]), (17, &[0; 20])]), 0x8100);
        assert_eq!(headers.transport, Transport::Other);
        assert!(headers.fragment && headers.extended);
    }

    #[test]
    fn extension_headers_are_followed_to_the_transport() {
        let long = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let frame = ipv6(&[(0, &[0; 8]), (43, &long), (60, &[0; 8]), (6, &[0; 20])]);
        let headers = Headers::parse(&frame, 0x8100);
        assert_eq!(headers.transport, Transport::Tcp);
        assert_eq!(headers.transport_at, 54 + 32);
        assert!(headers.extended && !headers.fragment);
        let plain = Headers::parse(&ipv6(&[(132, &[0; 12])]), 0x8100);
        assert_eq!(plain.transport, Transport::Sctp);
        assert!(!plain.extended);
    }

    #[test]
    fn headers_that_do_not_fit_are_not_found() {
        let mut too_long = ipv4(5, PROTOCOL_TCP, 0, 40);
        too_long.pop();
        assert_eq!(Headers::parse(&too_long, 0x8100).network, Network::Other);
        let short = Headers::parse(&ipv4(5, PROTOCOL_TCP, 0, 19), 0x8100);
        assert_eq!(short.transport, Transport::Other);
        let endless = ipv6(&[(0, &[0, 200, 0, 0, 0, 0, 0, 0]), (6, &[0; 20])]);
        assert_eq!(Headers::parse(&endless, 0x8100).transport, Transport::Other);
    }

    #[test]
    fn no_frame_makes_the_parser_panic() {
        let long = ipv6(&[(0, &[0; 8]), (43, &[0; 8]), (6, &[0; 20])]);
        for frame in [ipv4(15, PROTOCOL_UDP, 0, 8), long] {
            for length in 0..=frame.len() {
                for byte in 12..length {
                    for value in [0, 1, 0x45, 0x60, 0xFF] {
                        let mut frame = frame[..length].to_vec();
                        frame[byte] = value;
                        let headers = Headers::parse(&frame, 0x8100);
                        assert!(headers.end <= length && headers.transport_at <= length);
                    }
                }
            }
        }
    }

    #[test]
    fn the_sum_is_that_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7];
        assert_eq!(fold(sum(&bytes)), 0xDDF2);
        assert_eq!(fold(sum(&bytes[..7])), 0xDDF2 - 0xF7, "padded with a zero");
        let long: Vec<u8> = (0..=255u8).cycle().take(60_001).collect();
        let naive = long.chunks(2).fold(0u32, |sum, pair| {
            let sum =
                sum + (u32::from(pair[0]) << 8) + pair.get(1).map_or(0, |low| u32::from(*low));
            (sum & 0xFFFF) + (sum >> 16)
        });
        assert_eq!(u32::from(fold(sum(&long))), naive);
    }

    #[test]
    fn the_crcs_have_their_check_values() {
        assert_eq!(FCS.of(&[b"123456789"]), 0xCBF4_3926);
        assert_eq!(CRC32C.of(&[b"1234", b"", b"56789"]), 0xE306_9283);
    }
}
