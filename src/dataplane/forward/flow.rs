//! The flow hash that picks a leg of a multipath group (RFC 2992, RFC 6437), over the fields that
//! the kernel's fib_multipath_hash_policy names. Routers with different seeds choose independently, so
//! that one behind the other spreads what that sent its way.

use crate::shared::fib::{HashFields, HashPolicy};
use crate::shared::wire::ipv4::Ipv4;
use crate::shared::wire::ipv6::Ipv6;
use crate::shared::wire::{be32, protocol};

/// Protocols whose first four bytes are two ports.
const SCTP: u8 = 132;
const DCCP: u8 = 33;

/// The hash of an IPv4 packet's flow.
pub(super) fn ipv4(packet: &Ipv4<'_>, policy: HashPolicy) -> u32 {
    let (protocol, ports) = match policy.ipv4 {
        HashFields::Addresses => (0, 0),
        // Every fragment of a packet must go one way, and only the first has ports.
        HashFields::FiveTuple if packet.is_fragment() => (packet.protocol(), 0),
        HashFields::FiveTuple => {
            let protocol = packet.protocol();
            (protocol, ports(protocol, packet.payload()))
        }
    };
    let flow = [
        packet.source(),
        packet.destination(),
        protocol.into(),
        ports,
    ];
    of_words(flow, policy.seed)
}

/// The hash of an IPv4 flow: source, destination, protocol and ports, numbers that are zero where they
/// do not count. Of steps that vectors have, for packets side by side.
#[inline(always)]
pub(super) fn of_words([source, destination, protocol, ports]: [u32; 4], seed: u32) -> u32 {
    // Odd factors lose nothing, and rotations bring the bits that they leave alone elsewhere.
    let sum = source
        .wrapping_mul(0x9e37_79b1)
        .wrapping_add(destination.wrapping_mul(0x85eb_ca77).rotate_left(11))
        .wrapping_add(ports.wrapping_mul(0xc2b2_ae3d).rotate_left(22))
        .wrapping_add(protocol.wrapping_mul(0x27d4_eb2f))
        ^ seed;
    // Murmur3's end, but for its last step, which only the lower half gains from: every bit of the sum
    // reaches the upper ones, which choose the bucket.
    let mixed = (sum ^ sum >> 16).wrapping_mul(0x85eb_ca6b);
    (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35)
}

/// The hash of an IPv6 packet's flow.
pub(super) fn ipv6(packet: &Ipv6<'_>, policy: HashPolicy) -> u32 {
    let half = |address: u128, shift: u32| u64::try_from(address >> shift & u128::from(u64::MAX));
    let fold = |address: u128| {
        mix(
            half(address, 64).unwrap_or_default(),
            half(address, 0).unwrap_or_default(),
        )
    };
    let addresses = mix(
        fold(packet.source()),
        fold(packet.destination()).rotate_left(1),
    );
    let key = match policy.ipv6 {
        HashFields::Addresses => u64::from(packet.flow_label()),
        HashFields::FiveTuple => {
            let (protocol, upper) = packet.upper_layer();
            match protocol {
                // RFC 8200 lets the header that follows differ from fragment to fragment.
                protocol::FRAGMENT => u64::from(protocol::FRAGMENT) << 32,
                _ => u64::from(protocol) << 32 | u64::from(ports(protocol, upper)),
            }
        }
    };
    finish(mix(addresses, key), policy.seed)
}

fn ports(protocol: u8, upper: &[u8]) -> u32 {
    if has_ports(protocol.into()) && upper.len() >= 4 {
        be32(upper, 0)
    } else {
        0
    }
}

/// Whether the first four bytes of a protocol are two ports.
#[inline(always)]
pub(super) fn has_ports(protocol: u32) -> bool {
    let is = |known: u8| protocol == u32::from(known);
    is(protocol::TCP) | is(protocol::UDP) | is(SCTP) | is(DCCP)
}

/// A 64x64 -> 128 bit multiply, folded: every input bit reaches every output bit.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd6e8_feb8_6659_fd93);
    let bytes = product.to_le_bytes();
    let [low, high] = [0, 8].map(|at| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(half)
    });
    low ^ high
}

/// The upper bits choose the bucket, so they come from a last mix, with a factor of the seed's: added
/// to the state, seeds close to each other would choose much alike, or much apart.
#[inline]
fn finish(state: u64, seed: u32) -> u32 {
    let bytes = mix(state, 0xa076_1d64_78bd_642f ^ u64::from(seed)).to_be_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::wire::checksum::checksum;

    fn v4(source: u32, destination: u32, fragment: u16, ports: u32) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0];
        bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
        bytes.extend(source.to_be_bytes());
        bytes.extend(destination.to_be_bytes());
        let sum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(ports.to_be_bytes());
        bytes.extend([0, 8, 0, 0]);
        bytes
    }

    fn policy(fields: HashFields) -> HashPolicy {
        HashPolicy {
            ipv4: fields,
            ipv6: fields,
            seed: 0,
        }
    }

    fn hash4(bytes: &[u8], fields: HashFields) -> u32 {
        ipv4(&Ipv4::check(bytes).unwrap(), policy(fields))
    }

    #[test]
    fn policy_0_ignores_ports_and_policy_1_does_not() {
        let (a, b) = (v4(1, 2, 0, 0x0001_0002), v4(1, 2, 0, 0x0003_0002));
        assert_eq!(
            hash4(&a, HashFields::Addresses),
            hash4(&b, HashFields::Addresses)
        );
        assert_ne!(
            hash4(&a, HashFields::FiveTuple),
            hash4(&b, HashFields::FiveTuple)
        );
    }

    #[test]
    fn all_fragments_of_a_packet_hash_alike() {
        let first = v4(1, 2, 0x2000, 0x0001_0002);
        let later = v4(1, 2, 0x0010, 0xdead_beef);
        assert_eq!(
            hash4(&first, HashFields::FiveTuple),
            hash4(&later, HashFields::FiveTuple)
        );
    }

    #[test]
    fn flows_spread_evenly_over_the_upper_bits() {
        let mut buckets = [0u32; 8];
        for host in 0..8000 {
            let bytes = v4(0x0a00_0000 + host, 0x0a01_0001, 0, 0);
            buckets[(hash4(&bytes, HashFields::Addresses) >> 29) as usize] += 1;
        }
        assert!(
            buckets.iter().all(|n| (850..1150).contains(n)),
            "{buckets:?}"
        );
    }

    #[test]
    fn ipv6_policy_1_ignores_the_flow_label_and_walks_destination_options() {
        let packet = |label: u8, options: bool| {
            let mut payload = if options {
                vec![17, 0, 1, 4, 0, 0, 0, 0]
            } else {
                Vec::new()
            };
            payload.extend([0, 1, 0, 2, 0, 8, 0, 0]);
            let len = u8::try_from(payload.len()).unwrap();
            let next = if options {
                protocol::DESTINATION_OPTIONS
            } else {
                protocol::UDP
            };
            let mut bytes = vec![0x60, 0, 0, label, 0, len, next, 64];
            bytes.extend(5u128.to_be_bytes());
            bytes.extend(6u128.to_be_bytes());
            bytes.extend(payload);
            bytes
        };
        let hash = |bytes: &[u8], fields| ipv6(&Ipv6::check(bytes).unwrap(), policy(fields));
        let (plain, labelled, options) = (packet(0, false), packet(7, false), packet(0, true));
        assert_eq!(
            hash(&plain, HashFields::FiveTuple),
            hash(&labelled, HashFields::FiveTuple)
        );
        assert_eq!(
            hash(&plain, HashFields::FiveTuple),
            hash(&options, HashFields::FiveTuple)
        );
        assert_ne!(
            hash(&plain, HashFields::Addresses),
            hash(&labelled, HashFields::Addresses)
        );
    }
}
