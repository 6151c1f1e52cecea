//! Frames and routers at random, weighted so that every verdict occurs.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::lab::router;
use crate::dataplane::forward::reference::{Router, RpFilter};
use crate::dataplane::testing::{V4, V6, address, ethernet, own_mac};
use crate::shared::fib::KernelOnly;

/// The longest frame that is generated: for small frames of a pool, and beyond what jumbo links carry.
const LONGEST: usize = 1700;
const LONGEST_JUMBO: usize = 9732;

/// The lab's router with any setting of its ingress, with and without default routes.
pub(super) fn routers() -> impl Strategy<Value = Router> {
    let filters = select(vec![RpFilter::Off, RpFilter::Strict, RpFilter::Loose]);
    let mostly = || prop::bool::weighted(0.9);
    let rarely = || prop::bool::weighted(0.1);
    let kernel_only = (rarely(), rarely()).prop_map(|(ipv4, ipv6)| KernelOnly { ipv4, ipv6 });
    (
        mostly(),
        mostly(),
        mostly(),
        filters,
        kernel_only,
        any::<bool>(),
    )
        .prop_map(
            |(up, forward_ipv4, forward_ipv6, rp_filter, kernel_only, default)| {
                let router = Router {
                    up,
                    forward_ipv4,
                    forward_ipv6,
                    rp_filter,
                    kernel_only,
                    ..router()
                };
                if default {
                    router.with_default()
                } else {
                    router
                }
            },
        )
}

/// Any frame: mostly good ones, some of them damaged afterwards.
pub(in crate::dataplane) fn frames() -> impl Strategy<Value = Vec<u8>> {
    frames_up_to(LONGEST)
}

/// As [`frames`], most of them longer than those.
pub(super) fn jumbo_frames() -> impl Strategy<Value = Vec<u8>> {
    frames_up_to(LONGEST_JUMBO)
}

fn frames_up_to(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let good = prop_oneof![
        10 => (l2_destination(), ipv4(longest)).prop_map(|(mac, packet)| packet.frame_to(mac)),
        10 => (l2_destination(), ipv6(longest)).prop_map(|(mac, packet)| packet.frame_to(mac)),
        2 => (l2_destination(), ethertype(), 0usize..100, any::<u64>())
            .prop_map(|(mac, ethertype, len, seed)| ethernet(mac, ethertype, &noise(len, seed))),
        1 => (0..=longest, any::<u64>()).prop_map(|(len, seed)| noise(len, seed)),
    ];
    (good, damage(longest)).prop_map(move |(frame, damage)| {
        let mut frame = damage.apply(frame);
        frame.truncate(longest);
        frame
    })
}

/// `len` arbitrary bytes: far cheaper to make than a strategy for each.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

#[derive(Clone, Debug)]
enum Damage {
    None,
    Padding(usize),
    Cut(Index),
    /// Noise from anywhere on.
    Garbage(Index, usize, u64),
    /// Up to four bytes of the first 80.
    Bytes(Vec<(Index, u8)>),
}

impl Damage {
    fn apply(self, mut frame: Vec<u8>) -> Vec<u8> {
        match self {
            Damage::None => {}
            Damage::Padding(bytes) => frame.extend(std::iter::repeat_n(0xee, bytes)),
            Damage::Cut(at) => frame.truncate(at.index(frame.len() + 1)),
            Damage::Garbage(at, len, seed) => {
                let at = at.index(frame.len() + 1);
                for (slot, byte) in frame[at..].iter_mut().zip(noise(len, seed)) {
                    *slot = byte;
                }
            }
            Damage::Bytes(changes) => {
                let reach = frame.len().min(80);
                for (at, byte) in changes {
                    if reach > 0 {
                        frame[at.index(reach)] = byte;
                    }
                }
            }
        }
        frame
    }
}

fn damage(longest: usize) -> impl Strategy<Value = Damage> {
    prop_oneof![
        12 => Just(Damage::None),
        3 => (1usize..50).prop_map(Damage::Padding),
        1 => any::<Index>().prop_map(Damage::Cut),
        2 => (any::<Index>(), 1..=longest, any::<u64>())
            .prop_map(|(at, len, seed)| Damage::Garbage(at, len, seed)),
        2 => vec((any::<Index>(), any::<u8>()), 1..=4).prop_map(Damage::Bytes),
    ]
}

fn l2_destination() -> impl Strategy<Value = [u8; 6]> {
    prop_oneof![
        16 => Just(own_mac(0)),
        1 => Just([0xff; 6]),
        1 => Just([0x01, 0, 0x5e, 0, 0, 5]),
        1 => Just([0x33, 0x33, 0, 0, 0, 1]),
        1 => any::<[u8; 6]>(),
    ]
}

fn ethertype() -> impl Strategy<Value = u16> {
    prop_oneof![
        4 => select(vec![0x0806, 0x8100, 0x88a8, 0x0800, 0x86dd, 0x88cc, 0x05ff, 0x0600]),
        1 => 0u16..1500,
        1 => any::<u16>(),
    ]
}

/// What is behind an IP header: often something with ports, short or near an MTU, or of any length, the
/// more often the more lengths there are.
fn upper(longest: usize) -> impl Strategy<Value = (u8, Vec<u8>)> {
    let protocol = prop_oneof![
        4 => select(vec![6, 17]),
        2 => select(vec![1, 2, 8, 46, 58, 88, 89, 103, 112, 132]),
        1 => any::<u8>(),
    ];
    let known = select(vec![
        179, 646, 639, 520, 521, 1985, 3784, 3785, 4784, 6696, 53,
    ]);
    let port = prop_oneof![1 => known, 1 => any::<u16>()];
    let any_length = u32::try_from(longest / 1000).unwrap();
    let length = prop_oneof![
        1 => 0usize..8,
        4 => 8usize..200,
        2 => 560usize..600,
        2 => 1220usize..1290,
        2 => 1440usize..1500,
        any_length => 0usize..longest - 60,
    ];
    (protocol, port.clone(), port, length).prop_map(|(protocol, source, destination, length)| {
        let mut payload = crate::dataplane::testing::ports(source, destination, length);
        payload.truncate(length);
        (protocol, payload)
    })
}

fn ttl() -> impl Strategy<Value = u8> {
    prop_oneof![6 => 2u8..=255, 1 => 0u8..=2, 1 => Just(255)]
}

fn ipv4(longest: usize) -> impl Strategy<Value = V4> {
    let source = prop_oneof![
        8 => any::<[u8; 3]>().prop_map(|[b, c, d]| [11, b, c, d]),
        2 => (10u8..30, any::<[u8; 3]>()).prop_map(|(a, [b, c, d])| [a, b, c, d]),
        2 => select(vec![
            [10, 0, 0, 1], [10, 1, 0, 1], [10, 0, 0, 9], [0; 4], [255; 4], [127, 0, 0, 1],
            [224, 0, 0, 1], [0, 1, 2, 3], [240, 0, 0, 1], [169, 254, 0, 1],
        ]),
        1 => any::<[u8; 4]>(),
    ];
    let destination = prop_oneof![
        8 => (19u8..31, 0u8..4, any::<[u8; 2]>()).prop_map(|(a, b, [c, d])| [a, b, c, d]),
        2 => select(vec![
            [10, 0, 0, 0], [10, 0, 0, 1], [10, 0, 0, 255], [10, 0, 0, 9], [10, 1, 0, 1],
            [10, 1, 0, 2], [10, 1, 0, 3], [0; 4], [255; 4], [127, 0, 0, 1], [224, 0, 0, 5],
            [239, 1, 2, 3], [0, 1, 2, 3], [240, 0, 0, 1], [11, 0, 0, 2],
        ]),
        1 => any::<[u8; 4]>(),
    ];
    let fragment = prop_oneof![6 => select(vec![0, 0x4000]), 1 => any::<u16>()];
    let options = prop_oneof![9 => Just(0usize), 1 => 1usize..=10];
    (
        source,
        destination,
        ttl(),
        fragment,
        options,
        upper(longest),
    )
        .prop_map(
            |(source, destination, ttl, fragment, options, (protocol, payload))| V4 {
                source,
                destination,
                ttl,
                protocol,
                fragment,
                options: vec![1; options * 4],
                payload,
            },
        )
}

fn ipv6(longest: usize) -> impl Strategy<Value = V6> {
    const HERE: u32 = 0x2001_0db8;
    let special = || {
        select(vec![
            0,
            1,
            address(HERE, 1),
            address(HERE, 0),
            address(0xfe80_0000, 7),
            address(0xfec0_0000, 7),
            address(0xff02_0000, 5),
            address(0xff0e_0000, 5),
            0xffff_0a00_0001,
            address(0xfd00_0000, 1),
        ])
    };
    let source = prop_oneof![
        8 => (2u16..).prop_map(|low| address(HERE, low)),
        2 => special(),
        1 => any::<u128>(),
    ];
    let destination = prop_oneof![
        8 => (19u32..31, 0u128..3, any::<u16>())
            .prop_map(|(net, site, low)| address(0x2001_0d00 + net, low) | site << 80),
        1 => (2u16..5).prop_map(|low| address(HERE, low)),
        3 => special(),
        1 => any::<u128>(),
    ];
    // Discovery is rare among random bytes.
    let discovery = (130u8..140).prop_map(|kind| (58, vec![kind, 0, 0, 0, 0, 0, 0, 0]));
    let upper = prop_oneof![4 => upper(longest), 1 => discovery];
    let extensions = prop_oneof![
        4 => Just(Vec::new()),
        1 => vec(select(vec![60, 43, 44]), 1..4),
        1 => Just(vec![0]),
    ];
    (source, destination, ttl(), any::<u32>(), upper, extensions).prop_map(
        |(source, destination, hop_limit, flow_label, (next_header, payload), extensions)| {
            let packet = V6 {
                source,
                destination,
                hop_limit,
                flow_label,
                next_header,
                payload,
            };
            extensions.into_iter().fold(packet, V6::behind)
        },
    )
}
