//! The headers of a burst, word by word, and which of them are plain: IPv4 without options, or IPv6,
//! with nothing about it that the long way would have to look at.
//!
//! A word of all frames lies together, so that sixteen frames are checked by one instruction; no test
//! is a branch. A test may say no to what is fine after all: `classify` then finds out.

#![allow(
    unsafe_code,
    reason = "vector instructions, where the machine has them"
)]

use super::slots::Slots;
use crate::dataplane::port::BURST;
use crate::shared::fib::Path;
use crate::shared::mac::MacAddr;
use crate::shared::wire::ethernet::HEADER_LEN;
use crate::shared::wire::{ipv4, ipv6};

/// Bytes of an Ethernet and an IPv4 header without options.
pub(super) const IPV4_END: usize = HEADER_LEN + ipv4::MIN_HEADER_LEN;
/// Bytes of an Ethernet and an IPv6 header.
pub(super) const IPV6_END: usize = HEADER_LEN + ipv6::HEADER_LEN;

/// Frames that are checked together.
const LANES: usize = 16;

/// A number of each frame. Words of a header are in the order of memory: the first byte is the lowest.
type Lanes = [u32; BURST];

/// What the plain frames of a burst have in their headers.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Heads {
    /// Bytes 0 to 7, with the destination MAC.
    ethernet: [Lanes; 2],
    /// Bytes 12 to 15: EtherType, version, IPv4's header length.
    kind: Lanes,
    /// Bytes 14 to 33: an IPv4 header, or the first half of IPv6's.
    ip: [Lanes; 5],
    /// Bytes of the frame.
    frame_len: Lanes,
    /// 1 for plain packets of the family, otherwise 0.
    is_ipv4: Lanes,
    is_ipv6: Lanes,
    /// IPv4 destination as a number.
    destination: Lanes,
    /// Bytes of the IP packet.
    len: Lanes,
    /// The word with the TTL (bytes 22 to 25) or hop limit (18 to 21) as it is to leave.
    aged: Lanes,
}

impl Default for Heads {
    fn default() -> Self {
        let lanes = [0; BURST];
        Heads {
            ethernet: [lanes; 2],
            kind: lanes,
            ip: [lanes; 5],
            frame_len: lanes,
            is_ipv4: lanes,
            is_ipv6: lanes,
            destination: lanes,
            len: lanes,
            aged: lanes,
        }
    }
}

/// What a plain packet is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) len: u32,
    pub(super) aged: [u8; 4],
    /// Bytes 26 to 29: the source, if it is IPv4.
    pub(super) source: u32,
}

impl Heads {
    /// Reads the frames' headers and tells the plain ones, sent to `own`, from the rest.
    #[inline]
    pub(super) fn read(&mut self, frames: &[&mut [u8]], own: MacAddr) {
        self.read_by(Path::best(), frames, own);
    }

    /// As [`Heads::read`], by a path of the caller's choice.
    #[inline]
    fn read_by(&mut self, path: Path, frames: &[&mut [u8]], own: MacAddr) {
        for (slot, frame) in frames.iter().enumerate().take(BURST) {
            self.gather(slot, frame);
        }
        let count = frames.len().min(BURST);
        match path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this path is only there where its instructions are.
            Path::Avx512(_) => unsafe { self.check_avx512(count, own) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this path is only there where its instructions are.
            Path::Avx2(_) => unsafe { self.check_avx2(count, own) },
            _ => self.check(count, own),
        }
    }

    #[inline]
    fn gather(&mut self, slot: usize, frame: &[u8]) {
        // What is shorter is nothing plain: there is no such EtherType.
        let head: &[u8; IPV4_END] = frame.first_chunk().unwrap_or(&[0; IPV4_END]);
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        self.ethernet[0][slot] = word(0);
        self.ethernet[1][slot] = word(4);
        self.kind[slot] = word(12);
        for (lanes, at) in self.ip.iter_mut().zip([14, 18, 22, 26, 30]) {
            lanes[slot] = word(at);
        }
        self.frame_len[slot] = u32::try_from(frame.len()).unwrap_or(0);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn check_avx512(&mut self, count: usize, own: MacAddr) {
        self.check(count, own);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn check_avx2(&mut self, count: usize, own: MacAddr) {
        self.check(count, own);
    }

    /// Always inlined, to be compiled for each of its callers' instructions.
    #[inline(always)]
    fn check(&mut self, count: usize, MacAddr([a, b, c, d, e, f]): MacAddr) {
        let own = [[a, b, c, d], [e, f, 0, 0]].map(u32::from_le_bytes);
        for first in (0..count).step_by(LANES) {
            for slot in first..first + LANES {
                self.check_one(slot % BURST, own);
            }
        }
    }

    #[inline(always)]
    fn check_one(&mut self, slot: usize, own: [u32; 2]) {
        let [a, b, c, d, e] = self.ip.each_ref().map(|lanes| lanes[slot]);
        let (kind, frame_len) = (self.kind[slot], self.frame_len[slot]);
        let other = (self.ethernet[0][slot] ^ own[0]) | (self.ethernet[1][slot] ^ own[1]) & 0xffff;
        let is_own = other == 0;

        let ipv4_len = a.swap_bytes() & 0xffff;
        let is_ipv4 = is_own
            & (kind & 0xff_ffff == 0x45_0008)
            & (ipv4_len >= 20)
            & (ipv4_len + 14 <= frame_len)
            & (c & 0xff > 1)
            & is_sound([a, b, c, d, e])
            & is_host(d)
            & is_host(e);

        let ipv6_len = 40 + (b.swap_bytes() >> 16);
        let is_ipv6 = is_own
            & (kind & 0xf0_ffff == 0x60_dd86)
            & (ipv6_len + 14 <= frame_len)
            & (b & 0xff_0000 != 0)
            & (b >> 24 > 1)
            & is_global(c);

        self.is_ipv4[slot] = u32::from(is_ipv4);
        self.is_ipv6[slot] = u32::from(is_ipv6);
        self.destination[slot] = e.swap_bytes();
        self.len[slot] = if is_ipv6 { ipv6_len } else { ipv4_len };
        self.aged[slot] = if is_ipv6 {
            b.wrapping_sub(1 << 24)
        } else {
            ipv4_aged(c)
        };
    }

    /// Hands out every slot once: of a plain packet of IPv4 with its destination, of one of IPv6, or
    /// of any other frame.
    #[inline]
    pub(super) fn sort(
        &self,
        count: usize,
        mut ipv4: impl FnMut(bool, u8, u32),
        ipv6: &mut Slots,
        rest: &mut Slots,
    ) {
        let lanes = self
            .is_ipv4
            .iter()
            .zip(&self.is_ipv6)
            .zip(&self.destination);
        for (slot, ((is_ipv4, is_ipv6), destination)) in (0u8..).zip(lanes).take(count) {
            let (is_ipv4, is_ipv6) = (*is_ipv4 != 0, *is_ipv6 != 0);
            ipv4(is_ipv4, slot, *destination);
            ipv6.push_if(is_ipv6, slot);
            rest.push_if(!is_ipv4 & !is_ipv6, slot);
        }
    }

    #[inline]
    pub(super) fn get(&self, slot: u8) -> Head {
        let slot = usize::from(slot) % BURST;
        Head {
            len: self.len[slot],
            aged: self.aged[slot].to_le_bytes(),
            source: self.ip[3][slot].swap_bytes(),
        }
    }
}

/// Whether the one's complement sum of a header is zero, so that its checksum is right: in whatever
/// order its bytes are added (RFC 1071 section 2). The header is not all zeros.
#[inline(always)]
fn is_sound(words: [u32; 5]) -> bool {
    let sum: u32 = words
        .iter()
        .map(|word| (word & 0xffff) + (word >> 16))
        .sum();
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// Neither martian nor multicast, as a source and as a destination.
#[inline(always)]
fn is_host(address: u32) -> bool {
    (address != 0) & (address & 0xff != 127) & (address & 0xf0 != 0xe0) & (address != u32::MAX)
}

/// By its first word, neither multicast nor link-local, nor close to `::`.
#[inline(always)]
fn is_global(first: u32) -> bool {
    (first != 0) & (first & 0xff != 0xff) & (first & 0xc0ff != 0x80fe)
}

/// TTL, protocol and checksum of an IPv4 header with one off the TTL, which is at least 1. In one's
/// complement and this order of bytes the checksum makes up for it by one (RFC 1624), as zero where
/// that would be its other form.
#[inline(always)]
fn ipv4_aged(word: u32) -> u32 {
    let sum = (word >> 16) + 1;
    let sum = sum + u32::from(sum >= 0xffff);
    (word & 0xffff).wrapping_sub(1) | sum << 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::dataplane::forward::classify::{self, Class};
    use crate::shared::wire::checksum::checksum;
    use crate::shared::wire::ipv4::decrement_ttl;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    /// Bytes that decide something, more often than others.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            select(vec![
                0u8, 1, 2, 20, 60, 64, 127, 128, 223, 224, 239, 240, 253, 254, 255
            ]),
            any::<u8>(),
        ]
    }

    /// IPv4, IPv6 or neither, with what is behind the EtherType at random; IPv4's checksum mostly right.
    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let lead = select(vec![
            ([0x08, 0x00], 0x45),
            ([0x08, 0x00], 0x46),
            ([0x86, 0xdd], 0x60),
            ([0x86, 0xdd], 0x6f),
            ([0x08, 0x06], 0x00),
            ([0x86, 0xdd], 0x45),
            ([0x08, 0x00], 0x60),
        ]);
        let bytes = proptest::collection::vec(byte(), 0..80);
        let fits = prop::bool::weighted(0.9);
        (lead, bytes, fits, fits, prop::bool::weighted(0.95)).prop_map(
            |((kind, version), payload, fits, sound, to_us)| {
                let mut frame = OWN.0.to_vec();
                frame[5] ^= u8::from(!to_us);
                frame.extend([2, 0, 0, 0, 9, 9]);
                frame.extend(kind);
                frame.extend(&payload);
                if let Some(first) = frame.get_mut(14) {
                    *first = version;
                }
                finish(frame, version >> 4, fits, sound)
            },
        )
    }

    /// Mends length and checksum.
    fn finish(mut frame: Vec<u8>, version: u8, fits: bool, sound: bool) -> Vec<u8> {
        let len = frame.len() - 14;
        match version {
            4 if len >= 20 => {
                if fits {
                    frame[16..18].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
                }
                if sound {
                    frame[24..26].fill(0);
                    let sum = checksum(&frame[14..34]);
                    frame[24..26].copy_from_slice(&sum.to_be_bytes());
                }
            }
            6 if len >= 40 && fits => {
                frame[18..20].copy_from_slice(&u16::try_from(len - 40).unwrap().to_be_bytes());
            }
            _ => {}
        }
        frame
    }

    /// What each frame is by a path: IPv4 and its destination, IPv6, or neither; and its head.
    fn read(path: Path, frames: &[Vec<u8>]) -> Vec<(bool, u32, bool, u32, [u8; 4])> {
        let mut copies = frames.to_vec();
        let slices: Vec<&mut [u8]> = copies.iter_mut().map(Vec::as_mut_slice).collect();
        let mut heads = Heads::default();
        heads.read_by(path, &slices, OWN);
        let slots = 0..u8::try_from(frames.len()).unwrap();
        let found = slots.map(|slot| {
            let (at, head) = (usize::from(slot), heads.get(slot));
            let (is_ipv4, is_ipv6) = (heads.is_ipv4[at] != 0, heads.is_ipv6[at] != 0);
            (is_ipv4, heads.destination[at], is_ipv6, head.len, head.aged)
        });
        found.collect()
    }

    proptest! {
        #[test]
        fn what_is_plain_is_what_the_long_way_would_look_up(
            frames in proptest::collection::vec(frame(), 1..=BURST),
        ) {
            for path in Path::all() {
                for (frame, (is_ipv4, destination, is_ipv6, len, aged)) in frames.iter().zip(read(path, &frames)) {
                    if is_ipv4 {
                        prop_assert_eq!(classify::classify(frame, OWN), Class::Ipv4(destination));
                        let mut header = frame[14..34].to_vec();
                        decrement_ttl(&mut header);
                        prop_assert_eq!(&header[8..12], &aged, "{}", path);
                        prop_assert!(header[8] > 0);
                    }
                    if is_ipv6 && let Some(destination) = classify::plain_ipv6(frame) {
                        prop_assert_eq!(classify::classify(frame, OWN), Class::Ipv6(destination));
                        prop_assert_eq!(&aged[..3], &frame[18..21]);
                        prop_assert_eq!(aged[3], frame[21] - 1);
                    }
                    if is_ipv4 || is_ipv6 {
                        prop_assert!(!(is_ipv4 && is_ipv6));
                        prop_assert!(usize::try_from(len).unwrap() + 14 <= frame.len());
                    }
                }
            }
        }

        #[test]
        fn every_path_finds_the_same(frames in proptest::collection::vec(frame(), 1..=BURST)) {
            let scalar = read(Path::Scalar, &frames);
            for path in Path::all() {
                let found = read(path, &frames);
                for (at, (found, scalar)) in found.iter().zip(&scalar).enumerate() {
                    prop_assert_eq!(found.0, scalar.0, "{} {}", path, at);
                    prop_assert_eq!(found.2, scalar.2, "{} {}", path, at);
                    if found.0 || found.2 {
                        prop_assert_eq!(found, scalar, "{} {}", path, at);
                    }
                }
            }
        }

        #[test]
        fn ordinary_packets_are_plain(
            source in 0x0100_0000u32..0x7f00_0000, destination in 0x8000_0000u32..0xe000_0000,
            ttl in 2u8.., id in any::<u16>(), ipv6 in 0x2000u16..0x4000, payload in 0usize..30,
        ) {
            let mut ipv4 = OWN.0.to_vec();
            ipv4.extend([2, 0, 0, 0, 9, 9, 8, 0, 0x45, 0, 0, 0]);
            ipv4.extend(id.to_be_bytes());
            ipv4.extend([0, 0, ttl, 17, 0, 0]);
            ipv4.extend(source.to_be_bytes());
            ipv4.extend(destination.to_be_bytes());
            ipv4.extend(vec![7; payload]);
            let mut other = OWN.0.to_vec();
            other.extend([2, 0, 0, 0, 9, 9, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 17, ttl]);
            for _ in 0..2 {
                other.extend(ipv6.to_be_bytes());
                other.extend([7; 14]);
            }
            other.extend(vec![7; payload]);
            let frames = [finish(ipv4, 4, true, true), finish(other, 6, true, true)];
            for path in Path::all() {
                let found = read(path, &frames);
                prop_assert!(found[0].0 && found[1].2, "{}: {:?}", path, found);
                prop_assert_eq!(found[0].1, destination);
            }
        }
    }

    #[test]
    fn every_checksum_is_made_up_for_as_rfc_1624_has_it() {
        for sum in 0..=u16::MAX {
            let mut header = [0; 20];
            header[0] = 0x45;
            header[8] = 64;
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            let word = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
            decrement_ttl(&mut header);
            assert_eq!(ipv4_aged(word).to_le_bytes(), header[8..12], "{sum:#06x}");
        }
    }
}
