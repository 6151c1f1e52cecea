use super::super::testing::Tcp;
use super::super::vnet::HEADER_LEN as VNET_LEN;
use super::*;
use proptest::prelude::*;

fn collect(header: VnetHeader, frame: &mut [u8]) -> Option<Vec<Vec<u8>>> {
    let mut segments = Segments::new(header, frame)?;
    let mut all = Vec::new();
    while let Some(segment) = segments.next_segment() {
        all.push(segment.to_vec());
    }
    Some(all)
}

fn large(tcp: &Tcp, size: u16) -> VnetHeader {
    VnetHeader {
        flags: NEEDS_CSUM,
        gso_type: if tcp.is_ipv4 { GSO_TCPV4 } else { GSO_TCPV6 },
        hdr_len: 0,
        gso_size: size,
        csum_start: u16::try_from(tcp.tcp_start()).unwrap(),
        csum_offset: 16,
    }
}

fn tcp() -> impl Strategy<Value = Tcp> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..5000),
        (1usize..60_000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ];
    let numbers = (any::<u16>(), any::<u32>(), any::<u8>());
    (any::<bool>(), 0..=MAX_TAGS, numbers, 0usize..=10, payload).prop_map(
        |(is_ipv4, tags, (id, sequence, flags), options, payload)| Tcp {
            is_ipv4,
            tags,
            id,
            sequence,
            flags,
            options: vec![1; options * 4],
            payload,
        },
    )
}

proptest! {
    #[test]
    fn a_large_frame_is_cut_as_the_naive_reference_cuts_it(tcp in tcp(), size in 8u16..9000) {
        let mut frame = tcp.partial();
        let segments = collect(large(&tcp, size), &mut frame).unwrap();
        prop_assert_eq!(segments, tcp.cut(usize::from(size)));
    }

    #[test]
    fn a_partial_checksum_is_completed(tcp in tcp()) {
        let header = VnetHeader { gso_type: GSO_NONE, gso_size: 0, ..large(&tcp, 0) };
        let mut frame = tcp.partial();
        let mut whole = tcp.frame();
        let at = tcp.tcp_start() + CHECKSUM;
        // Both zeros of one's complement are right, and the kernel sends the other one too.
        if whole[at..at + 2] == [0, 0] {
            whole[at..at + 2].fill(0xff);
        }
        prop_assert_eq!(collect(header, &mut frame).unwrap(), vec![whole]);
    }

    #[test]
    fn garbage_makes_no_more_bytes_than_headers_allow(
        mut bytes in proptest::collection::vec(any::<u8>(), VNET_LEN..400),
        kind in prop_oneof![Just(GSO_NONE), Just(GSO_TCPV4), Just(GSO_TCPV6), any::<u8>()],
        ethertype in prop_oneof![Just([8u8, 0]), Just([0x86, 0xdd]), Just([0x81, 0])],
        start in 0u16..120,
    ) {
        let (header, frame) = bytes.split_first_chunk_mut::<VNET_LEN>().unwrap();
        let header = VnetHeader {
            gso_type: kind,
            csum_start: start,
            csum_offset: 16,
            ..VnetHeader::from_bytes(header)
        };
        frame.iter_mut().skip(12).zip(ethertype).for_each(|(slot, byte)| *slot = byte);
        let len = frame.len();
        for segment in collect(header, frame).unwrap_or_default() {
            prop_assert!(segment.len() <= len);
        }
    }

    /// A good frame whose header or headers are hostile in one place.
    #[test]
    fn one_hostile_field_is_survived(
        tcp in tcp(),
        size in any::<u16>(),
        start in prop_oneof![0u16..200, any::<u16>()],
        at in 0usize..140,
        byte in any::<u8>(),
        cut in 0usize..200,
    ) {
        let good = large(&tcp, 1448);
        let headers = [
            VnetHeader { gso_size: size, ..good },
            VnetHeader { csum_start: start, ..good },
            VnetHeader { csum_offset: start, gso_type: GSO_NONE, ..good },
            VnetHeader { gso_type: byte, ..good },
            good,
        ];
        for header in headers {
            let mut frame = tcp.partial();
            if let Some(slot) = frame.get_mut(at) {
                *slot = byte;
            }
            frame.truncate(frame.len().saturating_sub(cut));
            let len = frame.len();
            let segments = collect(header, &mut frame).unwrap_or_default();
            prop_assert!(segments.len() <= len.max(1));
            prop_assert!(segments.iter().all(|segment| segment.len() <= len));
        }
    }
}

#[test]
fn a_frame_without_offloads_goes_as_it_is() {
    let frame = vec![7; 60];
    let segments = collect(VnetHeader::default(), &mut frame.clone()).unwrap();
    assert_eq!(segments, [frame]);
}

#[test]
fn a_udp_checksum_never_becomes_zero() {
    let header = VnetHeader {
        flags: NEEDS_CSUM,
        csum_start: 0,
        csum_offset: 6,
        ..VnetHeader::default()
    };
    let mut frame = [0xff, 0xff, 0, 0, 0, 0, 0, 0];
    assert!(Segments::new(header, &mut frame).is_some());
    assert_eq!(frame[6..], [0xff, 0xff]);
}
