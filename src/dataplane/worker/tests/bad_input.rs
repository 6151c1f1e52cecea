//! What no frame and no port may do to a worker.

use super::*;
use crate::dataplane::testing::{every_length, of_length, pool_of};

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
