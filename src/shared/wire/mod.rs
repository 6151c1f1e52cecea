//! Wire formats: checked views over bytes, and checksums.
//!
//! A view is made by `check`, which refuses what the RFCs refuse; its accessors cannot fail after
//! that. Numbers come out in host order.

pub mod checksum;
pub mod ethernet;
pub mod ipv4;
pub mod ipv6;

/// Reads a big-endian `u16` at `at`. The caller has checked the length.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Reads a big-endian `u32` at `at`. The caller has checked the length.
#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// IP protocol numbers that ixmap looks at (IANA protocol-numbers).
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const IGMP: u8 = 2;
    pub const TCP: u8 = 6;
    pub const EGP: u8 = 8;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const RSVP: u8 = 46;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const EIGRP: u8 = 88;
    pub const OSPF: u8 = 89;
    pub const PIM: u8 = 103;
    pub const VRRP: u8 = 112;
}

/// What keeps routes up: IGP, BGP, BFD, first-hop redundancy, label distribution (IANA protocol and
/// port numbers). Either port counts, as the router may have opened the connection.
pub mod routing {
    use super::protocol;

    /// Protocols of their own above IP.
    pub const PROTOCOLS: [u8; 7] = [
        protocol::OSPF,
        protocol::EIGRP,
        protocol::PIM,
        protocol::VRRP,
        protocol::IGMP,
        protocol::RSVP,
        protocol::EGP,
    ];
    /// BGP, LDP, MSDP
    pub const TCP_PORTS: [u16; 3] = [179, 646, 639];
    /// RIP, RIPng, LDP, HSRP, BFD, Babel
    pub const UDP_PORTS: [u16; 8] = [520, 521, 646, 1985, 3784, 3785, 4784, 6696];
}
