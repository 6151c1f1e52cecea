//! Values of netlink attributes: checked conversions that every message's decoder shares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NlasIterator};
use netlink_packet_route::AddressFamily;

/// Attributes that follow a fixed header of `header` bytes.
pub(super) fn attributes(payload: &[u8], header: usize) -> NlasIterator<&[u8]> {
    NlasIterator::new(payload.get(header..).unwrap_or(&[]))
}

/// An address by its length: 4 bytes IPv4, 16 bytes IPv6.
pub(super) fn address(bytes: &[u8]) -> Result<IpAddr, DecodeError> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        Ok(IpAddr::V4(Ipv4Addr::from(octets)))
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        Ok(IpAddr::V6(Ipv6Addr::from(octets)))
    } else {
        Err(DecodeError::from(format!(
            "an address of {} bytes",
            bytes.len()
        )))
    }
}

/// An address with a prefix length (host bits kept), both of `family`.
pub(super) fn net(
    family: AddressFamily,
    address: IpAddr,
    length: u8,
) -> Result<IpNet, DecodeError> {
    if address.is_ipv6() != (family == AddressFamily::Inet6) {
        return Err(DecodeError::from(format!(
            "{address} in a message of the other family"
        )));
    }
    IpNet::new(address, length)
        .map_err(|_| DecodeError::from(format!("{address} with prefix length {length}")))
}

/// The all-zero address of a family: what an absent RTA_DST stands for.
pub(super) fn unspecified(family: AddressFamily) -> IpAddr {
    match family {
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}
