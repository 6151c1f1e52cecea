//! What the card lets in, as its controller set it up: by length and by address.
//!
//! Lengths are of frames as they are in memory, without the four bytes of the FCS.

use super::*;
use crate::dataplane::testing::{ethernet, neighbour_mac};
use crate::shared::mac::MacAddr;

/// Frames of 16 KiB for MTUs up to 9710.
const JUMBO: Shape = Shape {
    frames: 512,
    frame_size: 16_384,
    mtu: 9000,
    ..PLAIN
};
/// Ethernet header, and a tag of 802.1Q.
const HEADER: usize = 14;
const TAG: usize = 4;

/// A frame for the card of `length` bytes, of which `tags` tags are a part.
fn tagged(length: usize, tags: usize) -> Vec<u8> {
    let mut frame = packet(1, length - tags * TAG);
    (0..tags).for_each(|_| drop(frame.splice(12..12, [0x81, 0x00, 0x20, 0x05])));
    frame
}

fn takes(bench: &mut Bench, frame: &[u8]) -> bool {
    bench.model.deliver(frame);
    let received = bench.receive_all();
    assert!(received.is_empty() || received == [frame], "as it was");
    !received.is_empty()
}

#[test]
fn a_packet_of_the_mtu_comes_in_behind_none_one_and_two_tags() {
    for (shape, mtu) in [
        (PLAIN, 1500),
        (PLAIN, 1280),
        (PLAIN, max_mtu(PLAIN.frame_size)),
        (JUMBO, 9000),
        (JUMBO, MAX_MTU),
    ] {
        let mut bench = Bench::new(Shape { mtu, ..shape });
        for tags in 0..=2 {
            let frame = tagged(mtu as usize + HEADER + tags * TAG, tags);
            assert!(takes(&mut bench, &frame), "{mtu} behind {tags} tags");
            assert_eq!(bench.send(std::slice::from_ref(&frame)), 0);
            assert_eq!(bench.model.sent(), [frame], "and goes out");
        }
        assert_eq!(bench.lost("rx_oversize"), 0);
        bench.close_clean();
    }
}

#[test]
fn a_frame_longer_than_the_mtu_needs_is_dropped_by_the_card_and_counted() {
    for (shape, too_long) in [(PLAIN, [1600, 9014, 15_000]), (JUMBO, [9050, 9600, 15_000])] {
        let mut bench = Bench::new(shape);
        for (counted, length) in (1..).zip(too_long) {
            assert!(!takes(&mut bench, &tagged(length, 0)), "{length}");
            assert_eq!(bench.lost("rx_oversize"), 2 * counted - 1);
            assert!(!takes(&mut bench, &tagged(length, 1)), "{length}, tagged");
            assert_eq!(bench.lost("rx_oversize"), 2 * counted);
        }
        assert_eq!(bench.counters.rx_split.get(), 0, "no worker saw them");
        assert!(takes(&mut bench, &packet(2, 60)), "and on it goes");
        bench.close_clean();
    }
}

/// The card allows a tag over what it was told to be the longest.
#[test]
fn whatever_length_the_card_lets_in_no_part_of_a_frame_is_taken_for_one() {
    let mtu = max_mtu(PLAIN.frame_size);
    let mut bench = Bench::new(Shape { mtu, ..PLAIN });
    let buffer = buffer_size(PLAIN.frame_size) as usize;
    for length in buffer - 8..buffer + 16 {
        for tags in 0..=2 {
            let taken = takes(&mut bench, &tagged(length, tags));
            assert_eq!(taken, length <= buffer, "{length} with {tags} tags");
        }
    }
    let dropped = bench.lost("rx_oversize") + bench.counters.rx_split.get();
    assert_eq!(dropped, 3 * 15, "each counted once");
    bench.close_clean();
}

#[test]
fn another_stations_frames_come_in_only_when_promiscuous() {
    for promiscuous in [false, true] {
        let mut bench = Bench::new(Shape {
            promiscuous,
            ..PLAIN
        });
        for _ in 0..3 {
            let other = v4([20, 0, 0, 1]).frame_to(neighbour_mac(1));
            assert_eq!(takes(&mut bench, &other), promiscuous);
            assert!(takes(&mut bench, &packet(1, 60)), "the station's own");
        }
        bench.close_clean();
    }
}

#[test]
fn every_group_is_taken_without_having_been_joined() {
    let mut bench = Bench::new(PLAIN);
    for group in [
        [0xFF; 6],
        [0x01, 0x00, 0x5E, 0x00, 0x00, 0x05],
        [0x33, 0x33, 0xFF, 0x12, 0x34, 0x56],
        [0x01, 0x80, 0xC2, 0x00, 0x00, 0x0E],
    ] {
        let frame = ethernet(group, 0x0800, &[0; 46]);
        assert!(takes(&mut bench, &frame), "{group:02x?}");
    }
    bench.close_clean();
}

#[test]
fn a_new_address_replaces_the_cards_own() {
    let mut bench = Bench::new(PLAIN);
    for own in [neighbour_mac(1), neighbour_mac(2), MAC] {
        bench.controller.set_mac(MacAddr(own));
        for to in [neighbour_mac(1), neighbour_mac(2), MAC] {
            let frame = v4([20, 0, 0, 1]).frame_to(to);
            assert_eq!(takes(&mut bench, &frame), to == own, "{to:02x?}");
        }
        assert_eq!(bench.controller.mac(), MacAddr(MAC), "of the EEPROM");
    }
    bench.close_clean();
}
