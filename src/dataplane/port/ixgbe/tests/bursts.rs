//! Bursts of good and bad frames, and what the device gets back of the pool meanwhile.

use proptest::prelude::*;

use super::*;

const DESCRIPTOR: u64 = 16;
/// Frames that refilling leaves in the pool, and how many must be missing for it.
const RESERVE: usize = 4 * BURST;
const REFILL: usize = 32;

/// What the device says of a frame.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Good,
    Damaged,
    Empty,
    TooLong,
    WrongChecksum,
    Continued,
}

impl Kind {
    /// Bits of the status word that differ from a good frame's of this length.
    fn flips(self, length: usize) -> u64 {
        match self {
            Kind::Good => 0,
            Kind::Damaged => 1 << 29,
            Kind::Empty => (length as u64) << 32,
            Kind::TooLong => (length as u64 ^ 3073) << 32,
            Kind::WrongChecksum => 1 << 31,
            Kind::Continued => 2,
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        8 => Just(Kind::Good), 1 => Just(Kind::Damaged), 1 => Just(Kind::Empty),
        1 => Just(Kind::TooLong), 1 => Just(Kind::WrongChecksum), 1 => Just(Kind::Continued),
    ]
}

impl Bench {
    /// Has the `number`th frame since the start arrive like this.
    fn deliver_as(&mut self, kind: Kind, number: usize, frame: &[u8]) {
        let at = self.rings[0] + number as u64 % 64 * DESCRIPTOR + 8;
        let flips = kind.flips(frame.len()).to_le_bytes();
        self.model.corrupt_next_write(at..at + 8, &flips);
        self.model.deliver(frame);
    }

    /// Takes frames until the pool has so many left.
    fn hoard(&mut self, left: usize) -> Vec<Frame> {
        let many = self.pool.available() - left;
        std::iter::from_fn(|| self.pool.take()).take(many).collect()
    }
}

proptest! {
    #[test]
    fn of_a_mixed_burst_good_frames_come_in_order_and_bad_ones_are_counted(
        bursts in prop::collection::vec(prop::collection::vec(kind(), 0..64), 1..8),
    ) {
        let mut bench = Bench::new(PLAIN);
        let (mut number, mut skipping) = (0, false);
        let (mut errors, mut split, mut checksums) = (0, 0, 0);
        for burst in bursts {
            let mut expected = Vec::new();
            for kind in burst {
                let frame = packet(number, 60 + number % 1400);
                bench.deliver_as(kind, number, &frame);
                number += 1;
                if std::mem::replace(&mut skipping, kind == Kind::Continued) {
                    continue;
                }
                match kind {
                    Kind::Good => expected.push(frame),
                    Kind::WrongChecksum => {
                        checksums += 1;
                        expected.push(frame);
                    }
                    Kind::Continued => split += 1,
                    _ => errors += 1,
                }
            }
            let received: Vec<_> = (0..3).flat_map(|_| bench.receive()).collect();
            prop_assert!(received == expected, "{} of {}", received.len(), expected.len());
            prop_assert_eq!(bench.counters.rx_errors.get(), errors);
            prop_assert_eq!(bench.counters.rx_split.get(), split);
            prop_assert_eq!(bench.counters.rx_ip_checksum.get(), checksums);
        }
        bench.close();
    }
}

#[test]
fn bad_frames_cost_the_device_no_buffers_when_the_pool_is_short() {
    let mut bench = Bench::new(PLAIN);
    let hoard = bench.hoard(0);
    for number in 0..126 {
        bench.deliver_as(Kind::Damaged, number, &packet(0, 60));
        assert!(bench.receive().is_empty());
    }
    assert_eq!(bench.counters.rx_starved.get(), 0);
    bench.model.deliver(&packet(9, 60));
    assert_eq!(bench.receive_all(), [packet(9, 60)]);
    bench.pool.give_all(hoard);
    bench.close();
}

#[test]
fn refilling_leaves_the_worker_its_share_of_the_pool() {
    let mut bench = Bench::new(PLAIN);
    let hoard = bench.hoard(RESERVE + 4);
    packets(0..40)
        .iter()
        .for_each(|frame| bench.model.deliver(frame));
    assert_eq!(bench.receive().len(), 40);
    assert_eq!(bench.pool.available(), RESERVE + 40);
    bench.pool.give_all(hoard);
    bench.close();
}

#[test]
fn few_missing_buffers_wait_for_more_while_packets_flow() {
    let mut bench = Bench::new(PLAIN);
    let before = bench.pool.available();
    packets(1..REFILL)
        .iter()
        .for_each(|frame| bench.model.deliver(frame));
    bench.receive();
    assert_eq!(bench.pool.available(), before + REFILL - 1, "not yet");
    bench.model.deliver(&packet(0, 60));
    bench.receive();
    assert_eq!(bench.pool.available(), before, "all of them");
    bench.close();
}
