//! Every path beside plain code and beside the long way.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::dataplane::forward::classify::{self, Class};
use crate::dataplane::testing::pool;
use crate::shared::fib::Vectored;
use crate::shared::wire::checksum::checksum;
use crate::shared::wire::ipv4::{Ipv4, decrement_ttl};

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// Bytes that decide something, more often than others.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        select(vec![
            0u8, 1, 2, 6, 17, 20, 60, 64, 127, 128, 132, 223, 224, 239, 240, 253, 254, 255
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

/// Plain IPv4, of a fragment or not, with ports or without, and with something behind the packet.
fn flow() -> impl Strategy<Value = Vec<u8>> {
    let addresses = (0x0100_0000u32..0x7f00_0000, 0x8000_0000u32..0xe000_0000);
    let fragment = select(vec![0u16, 0x4000, 0x2000, 0x0010]);
    let protocol = select(vec![6u8, 17, 33, 132, 1, 50]);
    let bytes = || proptest::collection::vec(any::<u8>(), 0..9);
    (addresses, fragment, protocol, bytes(), bytes()).prop_map(
        |((source, destination), fragment, protocol, payload, padding)| {
            let mut frame = OWN.0.to_vec();
            frame.extend([2, 0, 0, 0, 9, 9, 8, 0, 0x45, 0, 0, 0, 0, 1]);
            frame.extend(fragment.to_be_bytes());
            frame.extend([64, protocol, 0, 0]);
            frame.extend(source.to_be_bytes());
            frame.extend(destination.to_be_bytes());
            frame.extend(payload);
            let mut frame = finish(frame, 4, true, true);
            frame.extend(padding);
            frame
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

/// What a path says of a frame.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Found {
    is_ipv4: bool,
    is_ipv6: bool,
    is_padded: bool,
    destination: u32,
    source: u32,
    len: u32,
    aged: [u8; 4],
    /// The hashes of its flow by both policies, if it is IPv4.
    flows: [u32; 2],
    /// Where it goes, if it is IPv6 and that is plain, too.
    ipv6_destination: Option<u128>,
}

impl Found {
    fn is_plain(self) -> bool {
        self.is_ipv4 || self.is_ipv6
    }
}

/// The reading of a burst.
struct Read<'a, 'b>(&'a mut Heads, Path, &'a Packets<'b, BURST>, Ahead<'a>);

impl Vectored for Read<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        self.0.read(self.1, self.2, OWN, &mut self.3);
    }
}

/// The hashing of a burst's flows, as by sixteen packets.
struct Flows<'a>(&'a Heads, HashPolicy);

impl Vectored for Flows<'_> {
    type Output = Lanes;

    #[inline(always)]
    fn run(self) -> Lanes {
        let flows = |first| self.0.ipv4_flows(first, self.1);
        let flows: [_; BURST / LANES] = std::array::from_fn(|chunk| flows(chunk * LANES));
        std::array::from_fn(|slot| flows[slot / LANES][slot % LANES])
    }
}

/// The reading of a burst's IPv6 destinations.
struct Destinations<'a, 'b>(&'a mut Heads, Path, &'a Packets<'b, BURST>);

impl Vectored for Destinations<'_, '_> {
    type Output = Mask;

    #[inline(always)]
    fn run(self) -> Mask {
        self.0.read_ipv6_destinations(self.1, self.2)
    }
}

fn policies() -> [HashPolicy; 2] {
    [HashFields::Addresses, HashFields::FiveTuple].map(|ipv4| HashPolicy {
        ipv4,
        seed: 0xdead_beef,
        ..HashPolicy::default()
    })
}

/// What each frame is by a path. Behind short frames lies what was in their memory before.
fn read(path: Path, frames: &[Vec<u8>]) -> Vec<Found> {
    let mut pool = pool(64);
    let mut before = OWN.0.to_vec();
    before.extend([
        2, 0, 0, 0, 9, 9, 8, 0, 0x45, 0, 0, 0, 0, 0, 0, 0, 9, 17, 0, 0,
    ]);
    before.extend([10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4]);
    let before = finish(before, 4, true, true);
    let filled = |frame: &Vec<u8>| {
        let mut token = pool.take().unwrap();
        assert!(pool.fill(&mut token, &before) && pool.fill(&mut token, frame));
        token
    };
    let mut tokens: Vec<_> = frames.iter().map(filled).collect();
    let mut heads = Heads::default();
    let packets = pool.packets(&mut tokens).unwrap();
    path.run(Read(&mut heads, path, &packets, pool.ahead(&[])));
    let flows = policies().map(|policy| path.run(Flows(&heads, policy)));
    let plain = path.run(Destinations(&mut heads, path, &packets));
    tokens.into_iter().for_each(|frame| pool.give(frame));
    let found = (0..frames.len()).map(|slot| Found {
        is_ipv4: heads.ipv4 >> slot & 1 != 0,
        is_ipv6: heads.ipv6 >> slot & 1 != 0,
        is_padded: heads.padded >> slot & 1 != 0,
        destination: heads.destination[slot],
        source: heads.source[slot],
        len: heads.len[slot],
        aged: heads.aged[slot].to_le_bytes(),
        flows: flows.map(|flows| flows[slot]),
        ipv6_destination: (plain >> slot & 1 != 0).then_some(heads.ipv6_destination[slot]),
    });
    found.collect()
}

proptest! {
    #[test]
    fn what_is_plain_is_what_the_long_way_would_look_up(
        frames in proptest::collection::vec(frame(), 1..=BURST),
    ) {
        for path in Path::all() {
            for (frame, found) in frames.iter().zip(read(path, &frames)) {
                if found.is_ipv4 {
                    prop_assert_eq!(classify::classify(frame, OWN), Class::Ipv4(found.destination));
                    let mut header = frame[14..34].to_vec();
                    prop_assert_eq!(&found.source.to_be_bytes(), &header[12..16]);
                    decrement_ttl(&mut header);
                    prop_assert_eq!(&header[8..12], &found.aged, "{}", path);
                    prop_assert!(header[8] > 0);
                    let packet = Ipv4::check(&frame[14..]).unwrap();
                    let flows = policies().map(|policy| flow::ipv4(&packet, policy));
                    prop_assert_eq!(flows, found.flows, "{}", path);
                }
                if found.is_ipv6 {
                    let first = u32::from_le_bytes(frame[38..42].try_into().unwrap());
                    let destination = u128::from_be_bytes(frame[38..54].try_into().unwrap());
                    let plain = is_global(first).then_some(destination);
                    prop_assert_eq!(found.ipv6_destination, plain, "{}", path);
                    if is_global(first) {
                        prop_assert_eq!(classify::classify(frame, OWN), Class::Ipv6(destination));
                    }
                    prop_assert_eq!(&found.aged[..3], &frame[18..21]);
                    prop_assert_eq!(found.aged[3], frame[21] - 1);
                }
                if found.is_plain() {
                    prop_assert!(!(found.is_ipv4 && found.is_ipv6));
                    let end = usize::try_from(found.len).unwrap() + 14;
                    prop_assert!(end <= frame.len());
                    prop_assert_eq!(found.is_padded, end < frame.len());
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
                prop_assert_eq!(found.is_plain(), scalar.is_plain(), "{} {}", path, at);
                if found.is_ipv4 {
                    prop_assert_eq!(found.flows, scalar.flows, "{} {}", path, at);
                }
                if found.is_plain() {
                    let scalar = Found { flows: found.flows, ..*scalar };
                    prop_assert_eq!(*found, scalar, "{} {}", path, at);
                }
            }
        }
    }

    #[test]
    fn flows_are_hashed_side_by_side_as_one_by_one(
        frames in proptest::collection::vec(flow(), BURST),
    ) {
        for path in Path::all() {
            for (frame, found) in frames.iter().zip(read(path, &frames)) {
                prop_assert!(found.is_ipv4, "{}", path);
                let packet = Ipv4::check(&frame[14..]).unwrap();
                let flows = policies().map(|policy| flow::ipv4(&packet, policy));
                prop_assert_eq!(flows, found.flows, "{}", path);
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
            prop_assert!(found[0].is_ipv4 && found[1].is_ipv6, "{}: {:?}", path, found);
            prop_assert_eq!(found[0].destination, destination);
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
