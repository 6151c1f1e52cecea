//! The headers of a burst, word by word, and which of them are plain: IPv4 without options, or IPv6,
//! with nothing about it that the long way would have to look at.
//!
//! A word of all frames lies together, so that sixteen frames are checked by one instruction; no test
//! is a branch. A test may say no to what is fine after all: `classify` then finds out.

#![allow(
    unsafe_code,
    reason = "vector instructions, where the machine has them"
)]

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::{load, store};
#[cfg(test)]
mod tests;

use super::flow;
use super::slots::by_sixteen;
use crate::dataplane::mem::{Ahead, Head, Packets};
use crate::dataplane::port::BURST;
use crate::shared::fib::{HashFields, HashPolicy, Path};
use crate::shared::mac::MacAddr;
use crate::shared::wire::ethernet::HEADER_LEN;

/// Bytes of an Ethernet header, as lengths are counted here.
const ETHERNET: u32 = 14;
const _: () = assert!(ETHERNET as usize == HEADER_LEN);

/// Frames that are checked together.
pub(super) const LANES: usize = 16;

/// A number of each frame.
pub(super) type Lanes = [u32; BURST];

/// A bit of each frame, the first frame's the lowest.
pub(super) type Mask = u64;
const _: () = assert!(Mask::BITS as usize == BURST);

/// The words at these bytes of a frame; of each, the first byte is the lowest.
const WORDS: [usize; 7] = [10, 14, 18, 22, 26, 30, 34];

/// Where a frame's IPv6 destination begins.
const IPV6_DESTINATION: usize = 38;

/// Bits of [`Heads::kind`].
const IPV4: u32 = 1;
const IPV6: u32 = 2;
const PADDED: u32 = 4;

/// What the frames of a burst have in their headers.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Heads {
    words: [Lanes; WORDS.len()],
    /// Bytes of the frame.
    frame_len: Lanes,
    /// What the frame is.
    kind: Lanes,
    /// IPv4 destination as a number.
    pub(super) destination: Lanes,
    /// IPv6 destination as a number, once it is read.
    pub(super) ipv6_destination: [u128; BURST],
    /// IPv4 source as a number.
    pub(super) source: Lanes,
    /// Bytes of the IP packet.
    pub(super) len: Lanes,
    /// The word with the TTL (bytes 22 to 25) or hop limit (18 to 21) as it is to leave.
    pub(super) aged: Lanes,
    /// Plain packets of each family.
    pub(super) ipv4: Mask,
    pub(super) ipv6: Mask,
    /// Those of them with something behind the IP packet.
    pub(super) padded: Mask,
}

impl Default for Heads {
    fn default() -> Self {
        let lanes = [0; BURST];
        Heads {
            words: [lanes; WORDS.len()],
            frame_len: lanes,
            kind: lanes,
            destination: lanes,
            ipv6_destination: [0; BURST],
            source: lanes,
            len: lanes,
            aged: lanes,
            ipv4: 0,
            ipv6: 0,
            padded: 0,
        }
    }
}

impl Heads {
    /// Reads the packets' headers and tells the plain ones, sent to `own`, from the rest. Half of those
    /// ahead come nearer meanwhile. Part of the work of `path`.
    #[inline(always)]
    pub(super) fn read(
        &mut self,
        path: Path,
        packets: &Packets<'_, BURST>,
        own: MacAddr,
        ahead: &mut Ahead<'_>,
    ) {
        for (len, frame) in self.frame_len.iter_mut().zip(packets.frames()) {
            *len = u32::try_from(frame.len()).unwrap_or(0);
        }
        let others = match path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this path is only there where its instructions are.
            Path::Avx512(_) => unsafe { avx512::read(self, packets, own, ahead) },
            _ => self.read_plainly(packets, own, ahead),
        };
        let mut mine = Mask::MAX >> (BURST - packets.count());
        if others {
            mine &= !sent_to_others(packets, own);
        }
        self.ipv4 &= mine;
        self.ipv6 &= mine;
        self.padded &= self.ipv4 | self.ipv6;
    }

    /// Whether plain IPv4 packets come first, plain IPv6 packets next, and all others last: the rule.
    #[inline(always)]
    pub(super) fn are_sorted(&self) -> bool {
        let both = self.ipv4 | self.ipv6;
        are_first(self.ipv4) && are_first(both)
    }

    /// Reads where the plain IPv6 packets go; those whose destinations are plain, too.
    #[inline(always)]
    pub(super) fn read_ipv6_destinations(
        &mut self,
        path: Path,
        packets: &Packets<'_, BURST>,
    ) -> Mask {
        by_sixteen(self.ipv6, |first| match path {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: this path is only there where its instructions are.
            Path::Avx512(_) => unsafe { avx512::read_ipv6_destinations(self, packets, first) },
            _ => self.read_ipv6_destinations_plainly(packets, first),
        })
    }

    #[inline(always)]
    fn read_ipv6_destinations_plainly(
        &mut self,
        packets: &Packets<'_, BURST>,
        first: usize,
    ) -> u16 {
        let mut global = 0;
        for lane in 0..LANES {
            let head = packets.head(first + lane);
            let (_, behind) = head.split_at(IPV6_DESTINATION);
            if let Some(destination) = behind.first_chunk() {
                self.ipv6_destination[(first + lane) % BURST] = u128::from_be_bytes(*destination);
            }
            global |= u16::from(is_global(word(head, IPV6_DESTINATION))) << lane;
        }
        global
    }

    /// The hashes of the flows of sixteen packets, from `first` on; of those that are plain IPv4.
    #[inline(always)]
    pub(super) fn ipv4_flows(&self, first: usize, policy: HashPolicy) -> [u32; LANES] {
        let [_, _, fragments, protocols, _, _, payloads] = &self.words;
        let five_tuple = policy.ipv4 == HashFields::FiveTuple;
        let mut flows = [0; LANES];
        for (lane, flow) in flows.iter_mut().enumerate() {
            let slot = (first + lane) % BURST;
            let protocol = protocols[slot] >> 8 & 0xff;
            let has_ports = flow::has_ports(protocol)
                & (fragments[slot] & 0xff3f_0000 == 0)
                & (self.len[slot] >= 24)
                & five_tuple;
            let ports = payloads[slot].swap_bytes();
            let words = [
                self.source[slot],
                self.destination[slot],
                if five_tuple { protocol } else { 0 },
                if has_ports { ports } else { 0 },
            ];
            *flow = flow::of_words(words, policy.seed);
        }
        flows
    }

    #[inline(always)]
    fn read_plainly(
        &mut self,
        packets: &Packets<'_, BURST>,
        own: MacAddr,
        ahead: &mut Ahead<'_>,
    ) -> bool {
        for slot in 0..packets.count() {
            let head = packets.head(slot);
            let words = WORDS.map(|at| word(head, at));
            for (lanes, word) in self.words.iter_mut().zip(words) {
                lanes[slot % BURST] = word;
            }
        }
        for first in (0..packets.count()).step_by(LANES) {
            self.check(first);
            ahead.fetch();
        }
        let of = |kind: u32| mask(&self.kind, |found| found & kind != 0);
        (self.ipv4, self.ipv6, self.padded) = (of(IPV4), of(IPV6), of(PADDED));
        let differ = |slot| to_another(packets.head(slot), own);
        (0..packets.count()).fold(0, |all, slot| all | differ(slot)) != 0
    }

    /// Checks the sixteen frames from `first` on, whose words are read.
    #[inline(always)]
    fn check(&mut self, first: usize) {
        for slot in first..first + LANES {
            self.check_one(slot % BURST);
        }
    }

    #[inline(always)]
    fn check_one(&mut self, slot: usize) {
        let [ethertype, a, b, c, d, e, _] = self.words.each_ref().map(|lanes| lanes[slot]);
        let frame_len = self.frame_len[slot];

        let ipv4_len = a.swap_bytes() & 0xffff;
        let is_ipv4 = (ethertype >> 16 == 0x0008)
            & (a & 0xff == 0x45)
            & (ipv4_len >= 20)
            & (ipv4_len + ETHERNET <= frame_len)
            & (c & 0xff > 1)
            & is_sound([a, b, c, d, e])
            & is_host(d)
            & is_host(e);

        let ipv6_len = 40 + (b.swap_bytes() >> 16);
        let is_ipv6 = (ethertype >> 16 == 0xdd86)
            & (a & 0xf0 == 0x60)
            & (ipv6_len + ETHERNET <= frame_len)
            & (b & 0xff_0000 != 0)
            & (b >> 24 > 1)
            & is_global(c);

        let len = if is_ipv6 { ipv6_len } else { ipv4_len };
        let padded = len + ETHERNET != frame_len;
        self.kind[slot] = (u32::from(is_ipv4) * IPV4)
            | (u32::from(is_ipv6) * IPV6)
            | (u32::from(padded) * PADDED);
        self.destination[slot] = e.swap_bytes();
        self.source[slot] = d.swap_bytes();
        self.len[slot] = len;
        self.aged[slot] = if is_ipv6 {
            b.wrapping_sub(1 << 24)
        } else {
            ipv4_aged(c)
        };
    }
}

/// Whether these are the first frames, all of them.
#[inline(always)]
fn are_first(mask: Mask) -> bool {
    mask & mask.wrapping_add(1) == 0
}

/// The frames whose number passes a test, sixteen by sixteen for vectors.
#[inline(always)]
fn mask(lanes: &Lanes, test: impl Fn(u32) -> bool) -> Mask {
    let (chunks, _) = lanes.as_chunks::<LANES>();
    let mut all = 0;
    // Loops, as an iterator's fold may become a function, which then has not the path's instructions.
    for (chunk, first) in chunks.iter().zip((0..BURST).step_by(LANES)) {
        let mut mask = 0;
        for (number, lane) in chunk.iter().zip(0u32..) {
            mask |= u32::from(test(*number)) << lane;
        }
        all |= Mask::from(mask) << first;
    }
    all
}

/// The word at a byte of a head.
#[inline(always)]
fn word(head: &Head, at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

/// An address as the lowest bytes of a word.
#[inline(always)]
fn in_word(MacAddr([a, b, c, d, e, f]): MacAddr) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// Not zero if a packet is sent to another address than `own`.
#[inline(always)]
fn to_another(head: &Head, own: MacAddr) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *head;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]) ^ in_word(own)) << 16
}

/// The frames that are sent to another address than `own`.
#[inline(never)]
fn sent_to_others(packets: &Packets<'_, BURST>, own: MacAddr) -> Mask {
    (0..packets.count()).fold(0, |mask, slot| {
        mask | Mask::from(to_another(packets.head(slot), own) != 0) << slot
    })
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

/// IPv6 addresses close to `::`, multicast and link-local ones: bits of the first word, and their value.
const NOT_GLOBAL: [(u32, u32); 3] = [(u32::MAX, 0), (0xff, 0xff), (0xc0ff, 0x80fe)];

/// By its first word, none of those.
#[inline(always)]
fn is_global(first: u32) -> bool {
    let [close, multicast, link_local] = NOT_GLOBAL.map(|(bits, value)| first & bits != value);
    close & multicast & link_local
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
