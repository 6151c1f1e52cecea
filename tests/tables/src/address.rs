//! The two families, behind one trait: addresses as numbers in host order.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        })
    }
}

impl Family {
    pub(crate) fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }
}

/// An address as a number: `u32` for IPv4, `u128` for IPv6.
pub trait Address: Copy + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    const FAMILY: Family;
    /// Bits of an address.
    const BITS: u8;
    /// `None` for an address of the other family.
    fn from_ip(address: IpAddr) -> Option<Self>;
    fn to_ip(self) -> IpAddr;
    /// From the high end of 128 bits; the rest is left out.
    fn from_high(bits: u128) -> Self;
    /// At the high end of 128 bits.
    fn to_high(self) -> u128;

    /// The first address of this one's prefix of `len` bits.
    fn first(self, len: u8) -> Self {
        Self::from_high(self.to_high() & !host_bits(len))
    }

    /// The last address of this one's prefix of `len` bits.
    fn last(self, len: u8) -> Self {
        Self::from_high(self.to_high() | host_bits(len))
    }
}

/// 128 bits of which all but the first `len` are ones.
pub(crate) fn host_bits(len: u8) -> u128 {
    u128::MAX.checked_shr(len.into()).unwrap_or(0)
}

impl Address for u32 {
    const FAMILY: Family = Family::Ipv4;
    const BITS: u8 = 32;

    fn from_ip(address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(_) => None,
        }
    }

    fn to_ip(self) -> IpAddr {
        Ipv4Addr::from_bits(self).into()
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "96 of the 128 bits are shifted out"
    )]
    fn from_high(bits: u128) -> u32 {
        (bits >> 96) as u32
    }

    fn to_high(self) -> u128 {
        u128::from(self) << 96
    }
}

impl Address for u128 {
    const FAMILY: Family = Family::Ipv6;
    const BITS: u8 = 128;

    fn from_ip(address: IpAddr) -> Option<u128> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address.to_bits()),
        }
    }

    fn to_ip(self) -> IpAddr {
        Ipv6Addr::from_bits(self).into()
    }

    fn from_high(bits: u128) -> u128 {
        bits
    }

    fn to_high(self) -> u128 {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_spans_its_first_to_its_last_address() {
        let address = u32::from(Ipv4Addr::new(192, 0, 2, 77));
        let span = |len| (address.first(len).to_ip(), address.last(len).to_ip());
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert_eq!(span(0), (ip("0.0.0.0"), ip("255.255.255.255")));
        assert_eq!(span(24), (ip("192.0.2.0"), ip("192.0.2.255")));
        assert_eq!(span(32), (ip("192.0.2.77"), ip("192.0.2.77")));

        let address = u128::from_ip(ip("2001:db8::77")).unwrap();
        let span = |len| (address.first(len).to_ip(), address.last(len).to_ip());
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(span(0), (ip("::"), ip(all)));
        let last = ip("2001:db8::ffff:ffff:ffff:ffff");
        assert_eq!(span(64), (ip("2001:db8::"), last));
        assert_eq!(span(128), (ip("2001:db8::77"), ip("2001:db8::77")));
    }
}
