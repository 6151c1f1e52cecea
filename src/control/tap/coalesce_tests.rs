use std::slice;

use super::super::segment::Segments;
use super::super::testing::Tcp;
use super::*;
use proptest::prelude::*;

/// What the kernel is given for `frames`, as `deliver` does it.
fn join(frames: &[Vec<u8>]) -> Vec<(VnetHeader, Vec<u8>)> {
    let mut row = Coalescer::new();
    let mut given = Vec::new();
    for frame in frames {
        if !row.take(frame) {
            given.extend(released(&mut row));
            if !row.take(frame) {
                given.push((VnetHeader::default(), frame.clone()));
            }
        }
    }
    given.extend(released(&mut row));
    given
}

fn released(row: &mut Coalescer) -> Option<(VnetHeader, Vec<u8>)> {
    row.release()
        .map(|(header, frame, _)| (header, frame.to_vec()))
}

/// What was joined, cut again.
fn cut(given: Vec<(VnetHeader, Vec<u8>)>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for (header, mut frame) in given {
        let mut segments = Segments::new(header, &mut frame).unwrap();
        while let Some(segment) = segments.next_segment() {
            frames.push(segment.to_vec());
        }
    }
    frames
}

fn data(is_ipv4: bool, len: usize) -> Tcp {
    Tcp {
        is_ipv4,
        tags: 0,
        id: 65_530,
        sequence: u32::MAX - 3000,
        flags: ACK,
        options: vec![1; 12],
        payload: (0u8..=250).cycle().take(len).collect(),
    }
}

#[test]
fn a_row_of_segments_becomes_one_frame_and_a_push_ends_it() {
    for is_ipv4 in [true, false] {
        let mut tcp = data(is_ipv4, 20 * 1448 + 100);
        tcp.flags = ACK | PSH;
        let frames = tcp.cut(1448);
        let given = join(&frames);
        assert_eq!(given.len(), 1);
        let (header, frame) = &given[0];
        assert_eq!((header.gso_size, header.flags), (1448, NEEDS_CSUM));
        assert_eq!(*frame, tcp.partial());
    }
}

#[test]
fn a_single_segment_keeps_its_own_checksum() {
    let frame = data(true, 700).frame();
    assert_eq!(
        join(slice::from_ref(&frame)),
        [(VnetHeader::default(), frame.clone())]
    );
}

#[test]
fn no_joined_frame_is_longer_than_an_ip_packet() {
    let mut frames = Vec::new();
    let mut tcp = data(false, 1448);
    for _ in 0..100 {
        frames.push(tcp.frame());
        tcp.sequence = tcp.sequence.wrapping_add(1448);
    }
    let given = join(&frames);
    assert_eq!(given.len(), 3);
    assert!(given.iter().all(|(_, frame)| frame.len() <= MAX_FRAME));
    assert_eq!(cut(given), frames);
}

type Change = fn(&mut Tcp);

/// Each of these is a reason not to join the second segment with the first.
#[test]
fn what_could_not_be_cut_into_the_same_segments_is_not_joined() {
    let first = data(true, 1000);
    let next = Tcp {
        id: first.id.wrapping_add(1),
        sequence: first.sequence.wrapping_add(1000),
        ..first.clone()
    };
    assert_eq!(join(&[first.frame(), next.frame()]).len(), 1);
    let changed: [(&str, Change); 8] = [
        ("a gap", |tcp| tcp.sequence += 1),
        ("another id", |tcp| tcp.id += 1),
        ("longer", |tcp| tcp.payload.push(1)),
        ("other options", |tcp| tcp.options[3] = 0),
        ("fewer options", |tcp| tcp.options.truncate(4)),
        ("FIN", |tcp| tcp.flags |= 1),
        ("ECE", |tcp| tcp.flags |= 0x40),
        ("no payload", |tcp| tcp.payload.clear()),
    ];
    for (what, change) in changed {
        let mut other = next.clone();
        change(&mut other);
        assert_eq!(join(&[first.frame(), other.frame()]).len(), 2, "{what}");
    }
    // Each byte of the headers but the sequence number and what depends on it.
    for at in 0..first.tcp_start() + 32 {
        let mut other = next.frame();
        other[at] ^= 0x10;
        assert_eq!(join(&[first.frame(), other]).len(), 2, "byte {at}");
    }
}

proptest! {
    /// Rows of two flows, interleaved, with faults: what the kernel is given can be cut into the
    /// very frames that came, in their order.
    #[test]
    fn joined_and_cut_again_nothing_has_changed(
        steps in proptest::collection::vec(
            (any::<bool>(), 1usize..1500, 0u8..12, proptest::option::weighted(0.1, (0usize..1500, any::<u8>()))),
            1..120,
        ),
    ) {
        let mut flows = [data(true, 0), data(false, 0)];
        let mut frames = Vec::new();
        for (which, len, choice, damage) in steps {
            let flow = &mut flows[usize::from(which)];
            flow.payload = vec![choice; if choice < 9 { 1448 } else { len }];
            flow.flags = if choice == 11 { ACK | PSH } else { ACK };
            let mut frame = flow.frame();
            if let Some((at, byte)) = damage
                && let Some(slot) = frame.get_mut(at)
            {
                *slot = byte;
            }
            frames.push(frame);
            flow.sequence = flow.sequence.wrapping_add(u32::try_from(flow.payload.len()).unwrap());
            flow.id = flow.id.wrapping_add(1);
        }
        prop_assert_eq!(cut(join(&frames)), frames);
    }

    #[test]
    fn garbage_passes_as_it_came(frames in proptest::collection::vec(
        proptest::collection::vec(any::<u8>(), 0..120), 1..10,
    )) {
        prop_assert_eq!(cut(join(&frames)), frames);
    }
}
