//! Receive-side scaling (datasheet 7.1.2.8): which queue a frame goes to, by the Toeplitz hash of
//! its addresses and ports.

use crate::packet::{Headers, Network, Transport};
use crate::registers::{MRQC, RETA, RSSRK, Registers};

/// MRQC.MRQE: RSS and nothing else.
const MRQE: u32 = 0xF;
const MRQE_RSS: u32 = 1;
/// MRQC's fields that are hashed.
const TCP_IPV4: u32 = 1 << 16;
const IPV4: u32 = 1 << 17;
const IPV6: u32 = 1 << 20;
const TCP_IPV6: u32 = 1 << 21;
const UDP_IPV4: u32 = 1 << 22;
const UDP_IPV6: u32 = 1 << 23;

const KEY_WORDS: usize = 10;
/// The longest input: two IPv6 addresses and two ports.
const INPUT: usize = 36;
const PORTS: usize = 4;

/// What RSS found out about a frame: zeros when it hashed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) queue: usize,
    /// The RSS type in descriptors.
    pub(super) kind: u32,
    pub(super) hash: u32,
}

/// The queue of a frame. Modes of MRQC other than RSS put all frames into queue 0.
pub(super) fn spread(
    regs: &Registers,
    toeplitz: &mut Toeplitz,
    frame: &[u8],
    headers: &Headers,
) -> Spread {
    let enabled = regs[MRQC];
    if enabled & MRQE != MRQE_RSS {
        return Spread::default();
    }
    let Some((kind, has_ports)) = kind(enabled, headers) else {
        return Spread::default();
    };
    let ports = if has_ports { PORTS } else { 0 };
    let at = headers.transport_at;
    let ports = frame.get(at..at + ports).unwrap_or_default();
    let key = std::array::from_fn(|n| regs[RSSRK.at(n)]);
    let hash = toeplitz.hash(&key, headers.addresses(frame), ports);
    let index = (hash & 0x7F) as usize;
    let entry = regs[RETA.at(index / 4)].to_le_bytes()[index % 4];
    let queue = usize::from(entry & 0xF);
    Spread { queue, kind, hash }
}

/// The RSS type of a frame, and whether its ports are hashed.
fn kind(enabled: u32, headers: &Headers) -> Option<(u32, bool)> {
    let ports = match (headers.network, headers.transport) {
        (Network::Ipv4, Transport::Tcp) => (TCP_IPV4, 1),
        (Network::Ipv4, Transport::Udp) => (UDP_IPV4, 7),
        (Network::Ipv6, Transport::Tcp) => (TCP_IPV6, 3),
        (Network::Ipv6, Transport::Udp) => (UDP_IPV6, 8),
        _ => (0, 0),
    };
    let addresses = match headers.network {
        Network::Ipv4 => (IPV4, 2),
        Network::Ipv6 => (IPV6, 5),
        Network::Other => (0, 0),
    };
    [(ports, true), (addresses, false)]
        .into_iter()
        .find(|((field, _), _)| enabled & field != 0)
        .map(|((_, kind), has_ports)| (kind, has_ports))
}

/// The Toeplitz hash, by a table for each byte of the input, made anew when the key changes.
#[derive(Default)]
pub(super) struct Toeplitz {
    key: [u32; KEY_WORDS],
    tables: Vec<[u32; 256]>,
}

impl Toeplitz {
    /// The hash of two inputs, one after the other, with a key as RSSRK holds it.
    fn hash(&mut self, key: &[u32; KEY_WORDS], addresses: &[u8], ports: &[u8]) -> u32 {
        if self.tables.is_empty() || self.key != *key {
            self.learn(key);
        }
        let bytes = addresses.iter().chain(ports);
        bytes
            .zip(&self.tables)
            .fold(0, |hash, (byte, table)| hash ^ table[usize::from(*byte)])
    }

    #[cold]
    fn learn(&mut self, key: &[u32; KEY_WORDS]) {
        self.key = *key;
        let mut bits = [0; 4 * KEY_WORDS];
        for (bytes, word) in bits.as_chunks_mut().0.iter_mut().zip(key) {
            *bytes = word.to_le_bytes();
        }
        let table = |position: usize| {
            let [a, b, c, d, e] = std::array::from_fn(|n| bits[position + n]);
            let window = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
            std::array::from_fn(|byte| {
                (0..8)
                    .filter(|bit| byte & 0x80 >> bit != 0)
                    .fold(0, |hash, bit| hash ^ low(window >> (8 - bit)))
            })
        };
        self.tables = (0..INPUT).map(table).collect();
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a window of 32 bits on the key"
)]
fn low(window: u64) -> u32 {
    window as u32
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Frame, KEY, Receiver};
    use super::*;
    use std::net::IpAddr;

    /// The verification suite of Microsoft's RSS: source and destination, the hash of addresses
    /// and ports, the hash of addresses.
    const VECTORS: [(&str, u16, &str, u16, u32, u32); 8] = [
        (
            "66.9.149.187",
            2794,
            "161.142.100.80",
            1766,
            0x51CC_C178,
            0x323E_8FC2,
        ),
        (
            "199.92.111.2",
            14230,
            "65.69.140.83",
            4739,
            0xC626_B0EA,
            0xD718_262A,
        ),
        (
            "24.19.198.95",
            12898,
            "12.22.207.184",
            38024,
            0x5C2B_394A,
            0xD2D0_A5DE,
        ),
        (
            "38.27.205.30",
            48228,
            "209.142.163.6",
            2217,
            0xAFC7_327F,
            0x8298_9176,
        ),
        (
            "153.39.163.191",
            44251,
            "202.188.127.2",
            1303,
            0x10E8_28A2,
            0x5D18_09C5,
        ),
        (
            "3ffe:2501:200:1fff::7",
            2794,
            "3ffe:2501:200:3::1",
            1766,
            0x4020_7D3D,
            0x2CC1_8CD5,
        ),
        (
            "3ffe:501:8::260:97ff:fe40:efab",
            14230,
            "ff02::1",
            4739,
            0xDDE5_1BBF,
            0x0F0C_461C,
        ),
        (
            "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
            44251,
            "fe80::200:f8ff:fe21:67cf",
            38024,
            0x02D1_FEEF,
            0x4B61_E985,
        ),
    ];

    fn spread_of(fields: u32, frame: &Frame) -> Spread {
        let mut receiver = Receiver::new();
        receiver.rss(fields);
        let mut spread = Spread::default();
        receiver.bench.with(|state, _| {
            let bytes = frame.bytes();
            let headers = state.headers(&bytes);
            spread = super::spread(&state.regs, &mut state.receive.toeplitz, &bytes, &headers);
        });
        receiver.bench.assert_clean();
        spread
    }

    #[test]
    fn hashes_are_those_of_microsofts_verification_suite() {
        for (source, source_port, target, target_port, with_ports, addresses) in VECTORS {
            let address = |text: &str| text.parse::<IpAddr>().unwrap();
            let frame =
                Frame::tcp(address(source), address(target)).ports(source_port, target_port);
            let six = address(source).is_ipv6();
            let all = TCP_IPV4 | IPV4 | TCP_IPV6 | IPV6;
            let found = spread_of(all, &frame);
            assert_eq!(found.hash, with_ports, "{source}");
            assert_eq!(found.kind, if six { 3 } else { 1 });
            let found = spread_of(IPV4 | IPV6, &frame);
            assert_eq!(found.hash, addresses, "{source}");
            assert_eq!(found.kind, if six { 5 } else { 2 });
        }
    }

    #[test]
    fn the_hash_is_the_sum_of_windows_on_the_key() {
        let input: Vec<u8> = (0..36u8).map(|n| n.wrapping_mul(83) ^ 0x5A).collect();
        let mut naive = 0u32;
        for bit in (0..36 * 8).filter(|bit| input[bit / 8] & 0x80 >> (bit % 8) != 0) {
            for offset in 0..32 {
                let at = bit + offset;
                let one = KEY[at / 8] >> (7 - at % 8) & 1;
                naive ^= u32::from(one) << (31 - offset);
            }
        }
        let key: [u32; 10] =
            std::array::from_fn(|n| u32::from_le_bytes(KEY[4 * n..4 * n + 4].try_into().unwrap()));
        let mut toeplitz = Toeplitz::default();
        assert_eq!(toeplitz.hash(&key, &input[..32], &input[32..]), naive);
        assert_eq!(toeplitz.hash(&[0; 10], &input, &[]), 0, "with another key");
    }

    #[test]
    fn udp_is_hashed_with_its_ports_only_when_asked() {
        for (source, udp, addresses, kinds) in [
            ("10.0.0.1", UDP_IPV4, IPV4, [7, 2]),
            ("fd00::1", UDP_IPV6, IPV6, [8, 5]),
        ] {
            let source: IpAddr = source.parse().unwrap();
            let frame = Frame::udp(source, source).ports(1, 2);
            let other = Frame::udp(source, source).ports(3, 4);
            assert_eq!(spread_of(udp | addresses, &frame).kind, kinds[0]);
            assert_ne!(spread_of(udp, &frame).hash, spread_of(udp, &other).hash);
            assert_eq!(spread_of(addresses, &frame).kind, kinds[1]);
            assert_eq!(
                spread_of(addresses, &frame).hash,
                spread_of(addresses, &other).hash
            );
        }
    }

    #[test]
    fn fragments_are_hashed_by_their_addresses() {
        let source: IpAddr = "10.0.0.1".parse().unwrap();
        let frame = Frame::udp(source, source).fragment(0x2000);
        assert_eq!(spread_of(UDP_IPV4 | IPV4, &frame).kind, 2);
    }

    #[test]
    fn frames_without_hashed_fields_go_to_queue_0() {
        let source: IpAddr = "10.0.0.1".parse().unwrap();
        let frame = Frame::tcp(source, source);
        assert_eq!(spread_of(IPV6 | TCP_IPV6, &frame), Spread::default());
        assert_eq!(
            spread_of(!0 << 16 & 0x00F3_0000, &Frame::arp()),
            Spread::default()
        );
    }
}
