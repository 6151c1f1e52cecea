//! What the tests of the fast path share: ports and MACs of the lab, packet memory, and builders of
//! frames. The builders lay out headers by themselves, so that a fault in `wire` cannot hide.

use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use super::mem::{Arena, Frame, Pool};
use crate::shared::port::PortId;

/// The port in slot `slot`.
pub(crate) fn port(slot: usize) -> PortId {
    PortId::new(slot).unwrap()
}

/// The MAC of the router's port `slot`.
pub(crate) fn own_mac(slot: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, slot]
}

/// The MAC of the neighbour behind port `slot`.
pub(crate) fn neighbour_mac(slot: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, slot]
}

/// A pool of `frames` frames of 2 KiB.
pub(crate) fn pool(frames: u32) -> Pool {
    pool_of(frames, 2048)
}

/// A pool of `frames` frames of `size` bytes.
pub(crate) fn pool_of(frames: u32, size: u32) -> Pool {
    let (arena, _) = Arena::new(frames, size).unwrap();
    Pool::new(Arc::new(arena)).unwrap()
}

/// The longest frame of a jumbo link: 9000 bytes of packet.
pub(crate) const JUMBO: usize = 9014;

/// Every length of a frame from none to jumbo, by the smallest frames of a pool that it fits.
pub(crate) fn every_length() -> Vec<(u32, RangeInclusive<usize>)> {
    let mut next = 0;
    let sizes = [2048, 4096, 16_384];
    let lengths = sizes.map(|size| {
        let longest = pool_of(1, size).capacity().min(JUMBO);
        let lengths = next..=longest;
        next = longest + 1;
        (size, lengths)
    });
    lengths.to_vec()
}

/// Frames of exactly `length` bytes for the router's port 0: packets of both families that fill the
/// frame, that claim a byte more than there is, and that leave padding; headers that are garbage;
/// nothing but garbage.
pub(crate) fn of_length(length: usize) -> Vec<Vec<u8>> {
    static NOISE: LazyLock<Vec<u8>> =
        LazyLock::new(|| (0u8..=250).cycle().step_by(167).take(JUMBO + 100).collect());
    let payload = |headers: usize| ports(4000, 5000, length.saturating_sub(headers));
    let ipv4 = |payload| {
        let destination = [20, 0, 0, 1];
        V4 {
            payload,
            ..v4(destination)
        }
        .frame()
    };
    let ipv6 = |payload| {
        let destination = address(0x2001_0d14, 1);
        V6 {
            payload,
            ..v6(destination)
        }
        .frame()
    };
    let noise = &NOISE[length % 100..];
    let mut frames = vec![
        ipv4(payload(34)),
        ipv4(payload(33)),
        ipv4(payload(64)),
        ipv6(payload(54)),
        ipv6(payload(53)),
        ipv6(payload(84)),
        ethernet(own_mac(0), 0x0800, noise),
        ethernet(own_mac(0), 0x86dd, noise),
        noise.to_vec(),
    ];
    frames
        .iter_mut()
        .for_each(|frame| frame.resize(length, 0xee));
    frames
}

/// A frame of `pool` with these bytes.
pub(crate) fn filled(pool: &mut Pool, bytes: &[u8]) -> Frame {
    let mut frame = pool.take().unwrap();
    assert!(pool.fill(&mut frame, bytes), "{} bytes", bytes.len());
    frame
}

/// An Ethernet frame from a stranger.
pub(crate) fn ethernet(to: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend([2, 0, 0, 0, 9, 9]);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The complement of the one's complement sum of big-endian words (RFC 1071), word by word.
pub(crate) fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// `length` bytes of payload that begin with two ports.
pub(crate) fn ports(source: u16, destination: u16, length: usize) -> Vec<u8> {
    let mut payload = source.to_be_bytes().to_vec();
    payload.extend(destination.to_be_bytes());
    payload.resize(length.max(4), 0x5a);
    payload
}

/// An IPv4 packet to be; the defaults make a plain UDP packet.
#[derive(Clone, Debug)]
pub(crate) struct V4 {
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    /// Flags and fragment offset.
    pub(crate) fragment: u16,
    /// A multiple of four bytes, at most 40.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// From a host on the lab's first link to `destination`.
pub(crate) fn v4(destination: [u8; 4]) -> V4 {
    V4 {
        source: [11, 0, 0, 2],
        destination,
        ttl: 64,
        protocol: 17,
        fragment: 0,
        options: Vec::new(),
        payload: ports(4000, 5000, 40),
    }
}

impl V4 {
    pub(crate) fn packet(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let total = u16::try_from(header + self.payload.len()).unwrap();
        let mut bytes = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0x12, 0x34]);
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source);
        bytes.extend(self.destination);
        bytes.extend(&self.options);
        let sum = internet_checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// In a frame to the router's port 0.
    pub(crate) fn frame(&self) -> Vec<u8> {
        self.frame_to(own_mac(0))
    }

    pub(crate) fn frame_to(&self, mac: [u8; 6]) -> Vec<u8> {
        ethernet(mac, 0x0800, &self.packet())
    }
}

/// An IPv6 packet to be; the defaults make a plain UDP packet.
#[derive(Clone, Debug)]
pub(crate) struct V6 {
    pub(crate) source: u128,
    pub(crate) destination: u128,
    pub(crate) hop_limit: u8,
    pub(crate) flow_label: u32,
    pub(crate) next_header: u8,
    /// Extension headers included.
    pub(crate) payload: Vec<u8>,
}

/// An address by its first 32 bits and its last 16.
pub(crate) fn address(high: u32, low: u16) -> u128 {
    u128::from(high) << 96 | u128::from(low)
}

/// From a host on the lab's first link to `destination`.
pub(crate) fn v6(destination: u128) -> V6 {
    V6 {
        source: address(0x2001_0db8, 2),
        destination,
        hop_limit: 64,
        flow_label: 0x12345,
        next_header: 17,
        payload: ports(4000, 5000, 40),
    }
}

impl V6 {
    pub(crate) fn packet(&self) -> Vec<u8> {
        let first = 6 << 28 | self.flow_label & 0xf_ffff;
        let mut bytes = first.to_be_bytes().to_vec();
        bytes.extend(u16::try_from(self.payload.len()).unwrap().to_be_bytes());
        bytes.extend([self.next_header, self.hop_limit]);
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// In a frame to the router's port 0.
    pub(crate) fn frame(&self) -> Vec<u8> {
        self.frame_to(own_mac(0))
    }

    pub(crate) fn frame_to(&self, mac: [u8; 6]) -> Vec<u8> {
        ethernet(mac, 0x86dd, &self.packet())
    }

    /// Puts an extension header of eight bytes, all padding, in front of the payload.
    pub(crate) fn behind(mut self, extension: u8) -> V6 {
        let mut payload = vec![self.next_header, 0, 1, 4, 0, 0, 0, 0];
        payload.append(&mut self.payload);
        self.next_header = extension;
        self.payload = payload;
        self
    }
}
