//! The program on hand-made frames, by a machine that knows the instructions that it has. The kernel
//! runs it in `tests/afxdp/`.

use super::*;
use crate::dataplane::testing::{V4, V6, address, ethernet, own_mac, ports, v4, v6};

const KINDS: [Kind; Kind::COUNT as usize] = [Kind::Ordinary, Kind::Neighbours, Kind::Routing];

/// Where the machine has the frame.
const BASE: u64 = 1 << 20;

/// True when the program sends a frame to the socket for ARP and neighbour discovery.
pub(in crate::dataplane) fn is_of_neighbours(frame: &[u8]) -> bool {
    kind(frame) == Kind::Neighbours
}

/// True when the program sends a frame to the socket for routing protocols.
pub(in crate::dataplane) fn is_of_routing(frame: &[u8]) -> bool {
    kind(frame) == Kind::Routing
}

/// Which socket of its queue the program sends a frame to.
fn kind(frame: &[u8]) -> Kind {
    const QUEUE: u64 = 5;
    let program = assemble(7);
    let mut registers = [0u64; 11];
    let (mut at, end) = (0, BASE + frame.len() as u64);
    loop {
        let Instruction {
            code,
            registers: pair,
            offset,
            immediate,
        } = program[at];
        at += 1;
        let (dst, src) = (usize::from(pair & 15), registers[usize::from(pair >> 4)]);
        let (value, number) = (registers[dst], u64::from(immediate.cast_unsigned()));
        let bytes = |len: usize| {
            let from = usize::try_from(src - BASE).unwrap() + usize::try_from(offset).unwrap();
            let mut word = [0; 8];
            word[..len].copy_from_slice(&frame[from..from + len]);
            u64::from_le_bytes(word)
        };
        let jumps = match code {
            JA => true,
            JEQ_K => value == number,
            JNE_K => value != number,
            JGT_K => value > number,
            JLT_K => value < number,
            JSET_K => value & number != 0,
            JGT_X => value > src,
            _ => false,
        };
        match code {
            LDX_W => {
                assert_eq!(pair >> 4, R1, "only the context's words are read");
                registers[dst] = [(DATA, BASE), (DATA_END, end), (RX_QUEUE_INDEX, QUEUE)]
                    .into_iter()
                    .find_map(|(at, value)| (at == offset).then_some(value))
                    .unwrap();
            }
            LDX_H => registers[dst] = bytes(2),
            LDX_B => registers[dst] = bytes(1),
            ADD_K => registers[dst] += number,
            MUL_K => registers[dst] *= number,
            MOV_K => registers[dst] = number,
            MOV_X => registers[dst] = src,
            BE => registers[dst] = u64::from(u16::try_from(value).unwrap().swap_bytes()),
            LD_IMM_DW => {
                registers[dst] = number;
                at += 1;
            }
            CALL => {
                assert_eq!(immediate, BPF_FUNC_REDIRECT_MAP);
                assert_eq!(registers[1..4], [7, registers[2], 1], "map, key, XDP_DROP");
                assert_eq!(program[at].code, EXIT);
                let kind = usize::try_from(registers[2] - 3 * QUEUE).unwrap();
                return KINDS[kind];
            }
            _ if jumps => at += usize::try_from(offset).unwrap(),
            _ => assert_eq!(code & 7, 5, "unknown instruction {code:#x}"),
        }
    }
}

fn ipv4(protocol: u8, payload: Vec<u8>) -> V4 {
    V4 {
        protocol,
        payload,
        ..v4([224, 0, 0, 5])
    }
}

fn ipv6(next_header: u8, payload: Vec<u8>) -> Vec<u8> {
    V6 {
        next_header,
        payload,
        hop_limit: 255,
        ..v6(address(0xff02_0000, 5))
    }
    .frame()
}

fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat()
}

fn assert_kind(frame: &[u8], expected: Kind) {
    assert_eq!(kind(frame), expected, "{frame:02x?}");
    assert_eq!(kind(&tagged(frame)), expected, "tagged: {frame:02x?}");
}

#[test]
fn arp_and_neighbour_discovery_have_a_socket_of_their_own() {
    assert_kind(&ethernet(own_mac(0), 0x0806, &[0; 28]), Kind::Neighbours);
    for kind in 133..=137 {
        let frame = ipv6(58, [vec![kind], vec![0; 23]].concat());
        assert_kind(&frame, Kind::Neighbours);
    }
}

#[test]
fn what_keeps_routes_up_has_a_socket_of_its_own() {
    // IS-IS: 802.3 with LLC
    let isis = ethernet([1, 0x80, 0xc2, 0, 0, 0x14], 60, &[0xfe; 60]);
    assert_kind(&isis, Kind::Routing);
    for protocol in [2, 8, 46, 88, 89, 103, 112] {
        assert_kind(&ipv4(protocol, vec![0; 24]).frame(), Kind::Routing);
        assert_kind(&ipv6(protocol, vec![0; 24]), Kind::Routing);
    }
    let tcp = [179, 646, 639].map(|port| (6, port));
    let udp = [520, 521, 646, 1985, 3784, 3785, 4784, 6696].map(|port| (17, port));
    for (protocol, port) in tcp.into_iter().chain(udp) {
        for payload in [ports(port, 40_000, 20), ports(40_000, port, 20)] {
            assert_kind(&ipv4(protocol, payload.clone()).frame(), Kind::Routing);
            assert_kind(&ipv6(protocol, payload), Kind::Routing);
        }
    }
}

#[test]
fn other_frames_are_ordinary() {
    let mut frames = vec![
        ethernet(own_mac(0), 0x88cc, &[0; 60]),
        tagged(&ipv4(1, vec![0; 24]).frame()),
        ipv4(1, vec![8; 24]).frame(),
        ipv6(58, vec![128; 24]),
        ipv6(58, [vec![132], vec![0; 23]].concat()),
        ipv6(58, [vec![138], vec![0; 23]].concat()),
        // A router's hop limit ends discovery.
        V6 {
            next_header: 58,
            payload: vec![135; 24],
            ..v6(address(0xff02_0000, 5))
        }
        .frame(),
        ipv6(17, ports(179, 179, 20)),
        ipv6(6, ports(3784, 520, 20)),
    ];
    for port in [0, 178, 180, 443, 519, 522, 6697, 65535] {
        frames.push(ipv4(6, ports(port, port, 20)).frame());
        frames.push(ipv4(17, ports(port, port, 20)).frame());
    }
    for frame in frames {
        assert_kind(&frame, Kind::Ordinary);
    }
    let twice = tagged(&tagged(&ipv4(89, vec![0; 24]).frame()));
    assert_eq!(kind(&twice), Kind::Ordinary);
}

#[test]
fn ports_count_only_where_they_are_sure_to_be() {
    let bgp = ipv4(6, ports(179, 179, 40));
    let with_options = V4 {
        options: vec![1; 4],
        ..bgp.clone()
    };
    assert_kind(&with_options.frame(), Kind::Ordinary);
    let fragment = |fragment, of: &V4| {
        V4 {
            fragment,
            ..of.clone()
        }
        .frame()
    };
    for part in [0x2000, 1, 0x1fff] {
        assert_kind(&fragment(part, &bgp), Kind::Ordinary);
        let ospf = ipv4(89, vec![0; 40]);
        assert_kind(&fragment(part, &ospf), Kind::Routing);
    }
    // May not be fragmented.
    assert_kind(&fragment(0x4000, &bgp), Kind::Routing);
    let behind = |protocol, extension| {
        let packet = V6 {
            next_header: protocol,
            payload: ports(179, 179, 40),
            ..v6(address(0x2001_0db8, 1))
        };
        packet.behind(extension).frame()
    };
    assert_kind(&behind(6, 44), Kind::Ordinary);
    assert_kind(&behind(89, 44), Kind::Routing);
    for extension in [0, 43, 60] {
        assert_kind(&behind(89, extension), Kind::Ordinary);
    }
}

#[test]
fn a_truncated_frame_is_ordinary_and_nothing_is_read_behind_its_end() {
    for frame in [
        ethernet(own_mac(0), 0x0806, &[0; 46]),
        ipv4(6, ports(179, 179, 40)).frame(),
        ipv6(6, ports(179, 179, 40)),
        ipv6(44, vec![89; 40]),
        ipv6(58, vec![135; 40]),
    ] {
        for frame in [tagged(&frame), frame] {
            for len in 0..frame.len() {
                // Reads outside of the slice panic.
                let kind = kind(&frame[..len]);
                assert!(kind == Kind::Ordinary || len >= 38, "{len} of {frame:02x?}");
            }
        }
    }
}
