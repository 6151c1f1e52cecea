//! Test packets, written out by hand so that they can be wrong on purpose: UDP with a text as
//! payload, by which they are known again at the far end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ixmap_lab::{Family, Host, carries};

/// Where the IP header starts.
pub(crate) const ETHERNET: usize = 14;
pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;

/// A UDP datagram in an Ethernet frame, from one host to another by way of the router.
#[derive(Clone)]
pub(crate) struct Datagram {
    pub(crate) to_mac: [u8; 6],
    pub(crate) from_mac: [u8; 6],
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) ttl: u8,
    /// IPv4 options, a multiple of four bytes; for IPv6 a whole hop-by-hop header.
    pub(crate) options: Vec<u8>,
    /// The IPv4 flag.
    pub(crate) dont_fragment: bool,
    pub(crate) payload: Vec<u8>,
}

impl Datagram {
    /// What `from` would send to the address if it were behind `from`'s gateway.
    pub(crate) fn new(from: &Host, destination: IpAddr, payload: &str) -> Datagram {
        Datagram {
            to_mac: from.gateway_mac(),
            from_mac: from.mac(),
            source: from.address(family_of(destination)),
            destination,
            source_port: 40_000,
            destination_port: 9,
            ttl: 64,
            options: Vec::new(),
            dont_fragment: false,
            payload: payload.as_bytes().to_vec(),
        }
    }

    /// The frame as it goes on the wire.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend(self.to_mac);
        frame.extend(self.from_mac);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(ETHERTYPE_IPV4.to_be_bytes());
                self.push_ipv4(&mut frame, source, destination);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(ETHERTYPE_IPV6.to_be_bytes());
                self.push_ipv6(&mut frame, source, destination);
            }
            _ => panic!("source and destination are of different families"),
        }
        frame
    }

    fn push_ipv4(&self, frame: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr) {
        let header = 20 + self.options.len();
        let udp = self.udp(0);
        let start = frame.len();
        frame.push(0x40 | u8::try_from(header / 4).unwrap());
        frame.push(0);
        frame.extend(u16::try_from(header + udp.len()).unwrap().to_be_bytes());
        frame.extend([0, 1, if self.dont_fragment { 0x40 } else { 0 }, 0]);
        frame.extend([self.ttl, 17, 0, 0]);
        frame.extend(source.octets());
        frame.extend(destination.octets());
        frame.extend(&self.options);
        set_ipv4_checksum(&mut frame[start..]);
        frame.extend(udp);
    }

    fn push_ipv6(&self, frame: &mut Vec<u8>, source: Ipv6Addr, destination: Ipv6Addr) {
        let length = self.options.len() + 8 + self.payload.len();
        let mut pseudo = Vec::new();
        pseudo.extend(source.octets());
        pseudo.extend(destination.octets());
        pseudo.extend([0, 0]);
        pseudo.extend(
            u16::try_from(length - self.options.len())
                .unwrap()
                .to_be_bytes(),
        );
        pseudo.extend([0, 0, 0, 17]);
        pseudo.extend(self.udp(0));
        // IPv6 has no datagrams without a checksum (RFC 8200 section 8.1).
        let udp = self.udp(checksum(&pseudo));
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        frame.push(if self.options.is_empty() { 17 } else { 0 });
        frame.push(self.ttl);
        frame.extend(source.octets());
        frame.extend(destination.octets());
        frame.extend(&self.options);
        frame.extend(udp);
    }

    fn udp(&self, checksum: u16) -> Vec<u8> {
        let length = u16::try_from(8 + self.payload.len()).unwrap();
        let mut udp = Vec::new();
        for word in [self.source_port, self.destination_port, length, checksum] {
            udp.extend(word.to_be_bytes());
        }
        udp.extend(&self.payload);
        udp
    }
}

pub(crate) fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    }
}

/// Recomputes the checksum of the IPv4 header that `packet` starts with.
pub(crate) fn set_ipv4_checksum(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 0xf) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..header.min(packet.len())]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// The Internet checksum (RFC 1071).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// An ICMP or ICMPv6 error, as a host receives it.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct IcmpError {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) source: IpAddr,
    /// What a "too big" says about the next link's MTU.
    pub(crate) mtu: u32,
}

impl IcmpError {
    /// Reads the frame if it is an ICMP error about a packet that carries `text`.
    pub(crate) fn parse(frame: &[u8], text: &str) -> Option<IcmpError> {
        let ethertype = u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]);
        let packet = frame.get(ETHERNET..)?;
        let (source, protocol, icmp): (IpAddr, u8, &[u8]) = match ethertype {
            ETHERTYPE_IPV4 => {
                let source: [u8; 4] = packet.get(12..16)?.try_into().ok()?;
                let header = usize::from(packet.first()? & 0xf) * 4;
                (source.into(), *packet.get(9)?, packet.get(header..)?)
            }
            ETHERTYPE_IPV6 => {
                let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
                (source.into(), *packet.get(6)?, packet.get(40..)?)
            }
            _ => return None,
        };
        let (kind, code) = (*icmp.first()?, *icmp.get(1)?);
        let word = u32::from_be_bytes(icmp.get(4..8)?.try_into().ok()?);
        let is_error = match protocol {
            1 => matches!(kind, 3 | 5 | 11 | 12),
            58 => matches!(kind, 1..=4),
            _ => false,
        };
        // Only the first 8 bytes behind the quoted header are sure to be there (RFC 792), but Linux
        // quotes the text as well.
        (is_error && carries(icmp, text)).then_some(IcmpError {
            kind,
            code,
            source,
            mtu: if protocol == 1 { word & 0xffff } else { word },
        })
    }
}
