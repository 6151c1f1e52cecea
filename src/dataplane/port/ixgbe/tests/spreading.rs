//! Flows over queues, by the key and the table that the controller wrote: both directions of a flow
//! go to one worker, and all workers have some.

use super::*;
use crate::dataplane::testing::{V4, V6, address, ethernet, v6};

const UDP: u8 = 17;
const TCP: u8 = 6;
const ICMP: u8 = 1;

/// How far the device got in each receive ring: RDH.
fn heads(bench: &Bench) -> Vec<u32> {
    let queues = u32::from(bench.shape.receive_queues);
    let head = |queue| bench.model.read(Register(0x1010 + 0x40 * queue));
    (0..queues).map(head).collect()
}

/// The queue that a frame comes in by.
#[track_caller]
fn queue_of(bench: &mut Bench, frame: Vec<u8>) -> usize {
    let before = heads(bench);
    bench.model.deliver(&frame);
    let after = heads(bench);
    assert_eq!(bench.receive_all(), [frame]);
    let mut moved = (0..before.len()).filter(|&queue| before[queue] != after[queue]);
    let queue = moved.next().unwrap();
    assert_eq!(moved.next(), None, "one frame, one queue");
    queue
}

/// A host's flow `n` to a server, and the server's answer.
fn both_ways_v4(protocol: u8, n: u16) -> [Vec<u8>; 2] {
    let [high, low] = n.to_be_bytes();
    let (host, server) = ([11, 0, high, low], [20, 7, 0, 1]);
    let of = |source, destination, payload| V4 {
        source,
        protocol,
        payload,
        ..v4(destination)
    };
    let [out, back] = payloads(protocol, n);
    [of(host, server, out), of(server, host, back)].map(|packet| packet.frame_to(MAC))
}

fn both_ways_v6(protocol: u8, n: u16) -> [Vec<u8>; 2] {
    let (host, server) = (address(0x2001_0db8, n), address(0x2001_0dba, 1));
    let of = |source, destination, payload| V6 {
        source,
        next_header: protocol,
        payload,
        ..v6(destination)
    };
    let [out, back] = payloads(protocol, n);
    [of(host, server, out), of(server, host, back)].map(|packet| packet.frame_to(MAC))
}

/// From an ephemeral port to a server's, and back. What has no ports has other words there.
fn payloads(protocol: u8, n: u16) -> [Vec<u8>; 2] {
    let client = 49_152 + n.wrapping_mul(37) % 16_384;
    let mut both = [ports(client, 443, 64), ports(443, client, 64)];
    match protocol {
        TCP => both.iter_mut().for_each(|payload| payload[12] = 5 << 4),
        UDP => both
            .iter_mut()
            .for_each(|payload| payload[4..6].copy_from_slice(&[0, 64])),
        _ => both[1][..4].copy_from_slice(&[0xA5; 4]),
    }
    both
}

/// Both directions of a flow by its number.
type Flow = fn(u16) -> [Vec<u8>; 2];

const KINDS: [(&str, Flow); 5] = [
    ("TCP over IPv4", |n| both_ways_v4(TCP, n)),
    ("UDP over IPv4", |n| both_ways_v4(UDP, n)),
    ("TCP over IPv6", |n| both_ways_v6(TCP, n)),
    ("UDP over IPv6", |n| both_ways_v6(UDP, n)),
    ("ICMP over IPv4", |n| both_ways_v4(ICMP, n)),
];

#[test]
fn both_directions_of_a_flow_come_in_by_one_queue() {
    for receive_queues in [4, 7] {
        let mut bench = Bench::new(Shape {
            receive_queues,
            ..SPREAD
        });
        for (kind, flow) in KINDS {
            let mut queues = BTreeSet::new();
            for n in 0..64 {
                let [out, back] = flow(n).map(|frame| queue_of(&mut bench, frame));
                assert_eq!(out, back, "{kind}, flow {n}");
                queues.insert(out);
            }
            assert!(queues.len() > 2, "{kind}: {queues:?}");
        }
        bench.close_clean();
    }
}

#[test]
fn flows_fill_all_queues_about_alike() {
    const FLOWS: u16 = 512;
    for receive_queues in [1, 2, 4, 16] {
        let mut bench = Bench::new(Shape {
            receive_queues,
            frames: 2048,
            ..SPREAD
        });
        for (kind, flow) in KINDS {
            let mut flows = vec![0; usize::from(receive_queues)];
            (0..FLOWS).for_each(|n| {
                let [out, _] = flow(n);
                flows[queue_of(&mut bench, out)] += 1;
            });
            let share = FLOWS / receive_queues;
            let alike = share / 2..=share * 2;
            assert!(flows.iter().all(|n| alike.contains(n)), "{kind}: {flows:?}");
        }
        bench.close_clean();
    }
}

#[test]
fn fragments_of_a_packet_stay_together() {
    let mut bench = Bench::new(SPREAD);
    for n in 0..32 {
        let of = |fragment, payload: Vec<u8>| V4 {
            source: [11, 0, 1, n],
            fragment,
            payload,
            ..v4([20, 0, 0, 1])
        };
        let first = of(0x2000, ports(1000 + u16::from(n), 53, 64));
        let rest = of(8, vec![n; 64]);
        let [first, rest] = [first, rest].map(|packet| queue_of(&mut bench, packet.frame_to(MAC)));
        assert_eq!(first, rest, "packet {n}");
    }
    bench.close_clean();
}

#[test]
fn what_has_no_flow_comes_in_by_the_first_queue() {
    let mut bench = Bench::new(SPREAD);
    let arp = ethernet([0xFF; 6], 0x0806, &[1; 46]);
    assert_eq!(queue_of(&mut bench, arp), 0);
    bench.close_clean();
}
