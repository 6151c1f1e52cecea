//! What no frame and no port may do to a worker.

use super::*;
use crate::dataplane::forward::tests::jumbo_world;
use crate::dataplane::testing::{
    JUMBO, V4, V6, address, every_length, neighbour_mac, of_length, own_mac, pool_of, v6,
};

/// What the kernel got since the last look.
fn punts(ends: &mut Ends) -> Vec<Vec<u8>> {
    let mut buffer = [0; 1 << 14];
    let pop = || {
        ends.punts
            .pop(&mut buffer)
            .map(|len| buffer[..len].to_vec())
    };
    std::iter::from_fn(pop).collect()
}

#[test]
fn frames_of_every_length_are_counted_out_once_and_reach_the_kernel_unchanged() {
    for (size, lengths) in every_length() {
        let mut bench = Bench::of(pool_of(FRAMES, size));
        let mut ends = [0, 1, 2].map(|slot| bench.attach(slot, 256, 1 << 18));
        let mut received = 0;
        for length in lengths {
            let frames = of_length(length);
            frames.iter().for_each(|frame| bench.deliver(0, frame));
            bench.drain();
            received += frames.len() as u64;
            for punt in punts(&mut ends[0]) {
                assert!(frames.contains(&punt), "{length} bytes became {punt:02x?}");
            }
            for slot in [1, 2] {
                let packets = bench.collect(slot);
                assert!(packets.iter().all(|packet| packet.len() <= length));
            }
            let totals = ends[0].counters.read();
            assert_eq!(totals.rx_packets, received);
            assert_eq!(
                received,
                totals.forwarded() + totals.punted_total() + totals.dropped_total(),
                "{length} bytes"
            );
        }
        let totals = ends[0].counters.read();
        match size {
            2048 => assert!(totals.forwarded_ipv4 > 1000 && totals.forwarded_ipv6 > 1000),
            _ => assert!(totals.punted[PuntReason::Mtu.index()] > 1000),
        }
        assert_eq!(bench.worker.pool.available(), FRAMES as usize);
    }
}

/// Packets of both families that fill frames of this length.
fn through(length: usize, ttl: u8, to: [u8; 6], from: [u8; 6]) -> [Vec<u8>; 2] {
    let payload = |headers| (0..=250).cycle().take(length - headers).collect();
    let ipv4 = V4 {
        ttl,
        payload: payload(34),
        ..v4([20, 0, 0, 1])
    };
    let ipv6 = V6 {
        hop_limit: ttl,
        payload: payload(54),
        ..v6(address(0x2001_0d14, 1))
    };
    [ipv4.frame_to(to), ipv6.frame_to(to)].map(|mut frame| {
        frame[6..12].copy_from_slice(&from);
        frame
    })
}

#[test]
fn jumbo_frames_are_forwarded_whole_and_longer_ones_are_the_kernels() {
    let stranger = [2, 0, 0, 0, 9, 9];
    let mut bench = Bench::of(pool_of(FRAMES, 16_384));
    bench.worlds = Cache::new(Arc::new(ArcSwap::from_pointee(jumbo_world())));
    let mut ends = [0, 1].map(|slot| bench.attach(slot, 256, 1 << 18));
    for length in 1400..=JUMBO + 600 {
        let came = through(length, 64, own_mac(0), stranger);
        came.iter().for_each(|frame| bench.deliver(0, frame));
        bench.drain();
        let (sent, kernel) = (bench.collect(1), punts(&mut ends[0]));
        if length <= JUMBO {
            let right = through(length, 63, neighbour_mac(1), own_mac(1));
            assert!(sent == right, "{length} bytes were not sent as they should");
            assert!(kernel.is_empty(), "{length} bytes went to the kernel");
        } else {
            assert!(sent.is_empty(), "{length} bytes were sent");
            assert!(
                kernel == came,
                "{length} bytes came otherwise to the kernel"
            );
        }
    }
    assert_eq!(bench.worker.pool.available(), FRAMES as usize);
}

/// Port 1 takes ten frames and then no more, port 2 all of them; what comes by either goes on coming.
#[test]
fn a_full_transmit_ring_costs_what_leaves_by_it_and_nothing_else() {
    const EACH: usize = 100;
    let mut bench = Bench::new();
    let ends = [(0, 256), (1, 10), (2, 256)].map(|(slot, room)| bench.attach(slot, room, 1 << 12));
    for n in 0..EACH {
        let n = u8::try_from(n).unwrap();
        bench.deliver(0, &v4([20, 0, n, 1]).frame());
        bench.deliver(0, &v4([20, 1, n, 1]).frame());
        if n.is_multiple_of(2) {
            bench.deliver(1, &v4([20, 1, n, 1]).frame());
        }
        // A turn for every few frames: the ring is full in most of them.
        if n.is_multiple_of(7) {
            bench.worker.turn(&mut bench.worlds);
        }
    }
    bench.drain();
    let totals = ends[0].counters.read();
    assert_eq!(totals.rx_packets, 2 * EACH as u64);
    assert_eq!(totals.dropped[DropReason::TxFull.index()], EACH as u64 - 10);
    assert_eq!(totals.dropped_total(), EACH as u64 - 10);
    assert_eq!(totals.forwarded(), EACH as u64 + 10);
    assert_eq!((bench.collect(1).len(), bench.collect(2).len()), (10, EACH));
    let slow = ends[1].counters.read();
    assert_eq!(
        slow.rx_packets,
        EACH as u64 / 2,
        "received by the slow port"
    );
    assert_eq!(bench.worker.pool.available(), FRAMES as usize);
}
