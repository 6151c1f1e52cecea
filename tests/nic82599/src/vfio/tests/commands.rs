//! What each command does.

use super::*;
use crate::Why;
use crate::vfio::server::Served;

#[test]
fn negotiation_agrees_on_what_the_client_proposes_and_no_more() {
    let mut bench = Bench::fresh(false);
    let mut proposal = Payload::default().u16(0).u16(9);
    proposal
        .0
        .extend(br#"{"capabilities":{"max_msg_fds":8,"migration":{}}}"#);
    proposal.0.push(0);
    let (reply, _) = bench.call(VERSION, proposal, &[]).unwrap();
    assert_eq!(reply[..4], [0, 0, 1, 0]);
    assert_eq!(&reply[4..], b"{\"capabilities\":{\"max_msg_fds\":16}}\0");
}

#[test]
fn nothing_is_served_before_negotiation_nor_after_a_wrong_one() {
    let mut bench = Bench::fresh(false);
    assert_eq!(
        bench.fails(DEVICE_RESET, Payload::default(), &[]),
        Errno::PROTO
    );
    let wrong_major = Payload::default().u16(1).u16(0);
    assert_eq!(
        bench.fails(VERSION, wrong_major, &[]),
        Errno::PROTONOSUPPORT
    );
    for text in [&b"{}"[..], b"{\0", b"{\"capabilities\":1}\0", &[b' '; 5000]] {
        let mut proposal = Payload::default().u16(0).u16(0);
        proposal.0.extend(text);
        assert_eq!(bench.fails(VERSION, proposal, &[]), Errno::INVAL);
    }
    assert_eq!(
        bench.fails(DEVICE_RESET, Payload::default(), &[]),
        Errno::PROTO
    );
}

#[test]
fn the_device_is_a_pci_function_that_interrupts_by_msix_alone() {
    let mut bench = Bench::negotiated(false);
    let request = || Payload::default().u32(16).u32(0).u32(0).u32(0);
    let (info, _) = bench.call(DEVICE_GET_INFO, request(), &[]).unwrap();
    assert_eq!(info, Payload::default().u32(16).u32(3).u32(9).u32(5).0);
    for index in 0..5 {
        let request = Payload::default().u32(16).u32(0).u32(index).u32(0);
        let (info, _) = bench.call(DEVICE_GET_IRQ_INFO, request, &[]).unwrap();
        assert_eq!(info[12], [0, 0, 64, 1, 0][index as usize]);
    }
    let request = Payload::default().u32(16).u32(0).u32(5).u32(0);
    assert_eq!(bench.fails(DEVICE_GET_IRQ_INFO, request, &[]), Errno::INVAL);
}

fn region_request(argsz: u32, index: u32) -> Payload {
    Payload::default()
        .u32(argsz)
        .u32(0)
        .u32(index)
        .u32(0)
        .u64(0)
        .u64(0)
}

#[test]
fn regions_are_those_of_the_82599() {
    let mut bench = Bench::negotiated(false);
    let sizes = [0x2_0000, 0, 0, 0, 0x4000, 0, 0, 4096, 0];
    for (index, size) in (0..).zip(sizes) {
        let request = region_request(32, index);
        let (info, fds) = bench.call(DEVICE_GET_REGION_INFO, request, &[]).unwrap();
        let flags = if size == 0 { 0 } else { 3 };
        let expected = Payload::default()
            .u32(32)
            .u32(flags)
            .u32(index)
            .u32(0)
            .u64(size)
            .u64(0);
        assert_eq!(info, expected.0);
        assert!(fds.is_empty());
    }
    assert_eq!(
        bench.fails(DEVICE_GET_REGION_INFO, region_request(32, 9), &[]),
        Errno::INVAL
    );
    assert_eq!(
        bench.fails(DEVICE_GET_REGION_INFO, region_request(31, 0), &[]),
        Errno::INVAL
    );
}

#[test]
fn mapped_ring_pages_are_offered_to_a_client_with_room_for_the_answer() {
    let mut bench = Bench::negotiated(true);
    let (short, fds) = bench
        .call(DEVICE_GET_REGION_INFO, region_request(32, 0), &[])
        .unwrap();
    assert_eq!((short.len(), fds.len()), (32, 0));
    let needed = u32::from_ne_bytes(short[..4].try_into().unwrap());
    let request = region_request(needed, 0);
    let (full, fds) = bench.call(DEVICE_GET_REGION_INFO, request, &[]).unwrap();
    assert_eq!((full.len(), fds.len()), (needed as usize, 1));
    let areas = Payload::default().u16(1).u16(1).u32(0).u32(3).u32(0);
    let areas = areas
        .u64(0x1000)
        .u64(0x1000)
        .u64(0x6000)
        .u64(0x2000)
        .u64(0xD000)
        .u64(0x1000);
    assert_eq!(full[32..], areas.0);

    // What is written to a page is in the register: RDBAL(0).
    rustix::io::pwrite(&fds[0], &0x8000_u32.to_ne_bytes(), 0x1000).unwrap();
    assert_eq!(bench.read_long(REGISTERS, 0x1000), 0x8000);
    assert!(
        ftruncate(&fds[0], 0).is_err(),
        "the client must not be able to take it away"
    );
}

#[test]
fn registers_and_configuration_are_read_and_written() {
    let mut bench = Bench::negotiated(false);
    assert_eq!(bench.read_long(CONFIG, 0), 0x10FB_8086);
    let (reply, _) = bench.write(REGISTERS, RAL0, &[1, 2, 3, 4]).unwrap();
    assert_eq!(reply, Payload::default().u64(RAL0).u32(0).u32(4).0);
    assert_eq!(bench.read_long(REGISTERS, RAL0), 0x0403_0201);
    bench.call(DEVICE_RESET, Payload::default(), &[]).unwrap();
    assert_ne!(bench.read_long(REGISTERS, RAL0), 0x0403_0201);
    assert_eq!(bench.function.nic().violation_count(), 0);
}

#[test]
fn an_access_of_less_than_a_register_does_nothing_and_is_told_where_it_was() {
    let mut bench = Bench::negotiated(false);
    bench.write(REGISTERS, RAL0, &[1, 2, 3, 4]).unwrap();
    let nothing = 0xDEAD_BEEF_u32.to_le_bytes();
    assert_eq!(bench.read(REGISTERS, RAL0, 2).unwrap(), nothing[..2]);
    bench.write(REGISTERS, RAL0, &[9]).unwrap();
    bench.write(REGISTERS, RAL0 + 2, &[9, 8]).unwrap();
    bench.write(REGISTERS, RAL0 + 1, &[7; 4]).unwrap();
    assert_eq!(bench.read_long(REGISTERS, RAL0), 0x0403_0201);

    let told = bench.function.nic().violations().iter();
    let told = told.map(|violation| (violation.why, violation.offset, violation.value));
    let at = |offset: u32, value: u32| (Why::Misaligned, 0xA200 + offset, value);
    let expected = [
        at(0, 0xDEAD_BEEF),
        at(0, 9),
        at(2, 0x0809),
        at(1, 0x0707_0707),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn a_card_that_was_pulled_reads_as_ones_everywhere() {
    let mut bench = Bench::negotiated(false);
    bench.function.pull_card();
    bench.write(REGISTERS, RAL0, &[0; 4]).unwrap();
    for (region, offset) in [(REGISTERS, RAL0), (CONFIG, 0)] {
        assert_eq!(bench.read_long(region, offset), u32::MAX);
    }
    assert_eq!(bench.function.nic().violation_count(), 0);
}

#[test]
fn accesses_outside_a_region_fail() {
    let mut bench = Bench::negotiated(false);
    let wrong = [
        (0, 0x2_0000),
        (0, 0x1_FFFE),
        (0, u64::MAX),
        (0, u64::MAX - 3),
        (1, 0),
        (9, 0),
    ];
    for (region, offset) in wrong {
        assert!(
            bench.read(region, offset, 4).is_err(),
            "{region} {offset:#x}"
        );
        assert!(
            bench.write(region, offset, &[0; 4]).is_err(),
            "{region} {offset:#x}"
        );
    }
    assert!(bench.read(CONFIG, 0, 4097).is_err());
    let huge = Payload::default().u64(0).u32(0).u32(u32::MAX);
    assert_eq!(bench.fails(REGION_READ, huge, &[]), Errno::INVAL);
    let more_than_there_is = Payload::default().u64(0).u32(0).u32(8).u32(0);
    assert_eq!(
        bench.fails(REGION_WRITE, more_than_there_is, &[]),
        Errno::INVAL
    );
    assert_eq!(bench.function.nic().violation_count(), 0);
}

#[test]
fn posted_writes_are_carried_out_in_order_and_not_answered() {
    let mut bench = Bench::negotiated(false);
    for value in 0..100_u32 {
        let payload = write_payload(REGISTERS, RAL0, &value.to_ne_bytes());
        bench.send(REGION_WRITE, NO_REPLY, &payload.0, &[]);
    }
    let multi = Payload::default().u64(2).u64(RAL0).u32(0).u32(4).u64(5);
    let multi = multi.u64(RAL0 + 8).u32(0).u32(4).u64(6);
    bench.send(REGION_WRITE_MULTI, NO_REPLY, &multi.0, &[]);
    while bench.serve() == Served::Commands {}
    assert!(bench.reply(REGION_WRITE).is_none());
    assert_eq!(bench.read_long(REGISTERS, RAL0), 5);
    assert_eq!(bench.read_long(REGISTERS, RAL0 + 8), 6);
}

#[test]
fn writes_of_a_bundle_are_checked_one_by_one() {
    let mut bench = Bench::negotiated(false);
    let nine_bytes = Payload::default()
        .u64(1)
        .u64(RAL0)
        .u32(0)
        .u32(9)
        .u64(0)
        .u64(0);
    let too_few = Payload::default().u64(2).u64(RAL0).u32(0).u32(4).u64(0);
    let too_many = Payload::default().u64(u64::MAX);
    for payload in [nine_bytes, too_few, too_many] {
        assert_eq!(bench.fails(REGION_WRITE_MULTI, payload, &[]), Errno::INVAL);
    }
}

const TRIGGER_ALL: u32 = 0x21;
const TRIGGER_BY_EVENTFD: u32 = 0x24;

#[test]
fn vectors_fire_the_eventfds_that_were_set() {
    let mut bench = Bench::negotiated(false);
    let (one, two) = (event(), event());
    bench
        .set_irqs(TRIGGER_BY_EVENTFD, (62, 2), &[one.as_fd(), two.as_fd()])
        .unwrap();
    bench.set_irqs(TRIGGER_ALL, (63, 1), &[]).unwrap();
    assert_eq!((fired(&one), fired(&two)), (0, 1));
    bench.set_irqs(TRIGGER_ALL, (62, 2), &[]).unwrap();
    assert_eq!((fired(&one), fired(&two)), (1, 1));

    bench.set_irqs(TRIGGER_BY_EVENTFD, (62, 1), &[]).unwrap();
    bench.set_irqs(TRIGGER_ALL, (62, 2), &[]).unwrap();
    assert_eq!((fired(&one), fired(&two)), (0, 1));
    bench.set_irqs(TRIGGER_ALL, (0, 0), &[]).unwrap();
    bench.set_irqs(TRIGGER_ALL, (62, 2), &[]).unwrap();
    assert_eq!((fired(&one), fired(&two)), (0, 0));
}

#[test]
fn an_interrupt_of_the_device_leaves_it_when_it_is_bus_master() {
    let mut bench = Bench::negotiated(false);
    let vector = event();
    bench
        .set_irqs(TRIGGER_BY_EVENTFD, (0, 1), &[vector.as_fd()])
        .unwrap();
    let cause = |bench: &mut Bench| {
        // EIMS and EICS: cause 0, which is vector 0 in MSI-X mode by GPIE.
        for (register, value) in [(0x898_u64, 0x10_u32), (0x880, 1), (0x808, 1)] {
            bench
                .write(REGISTERS, register, &value.to_ne_bytes())
                .unwrap();
        }
        fired(&vector)
    };
    assert_eq!(cause(&mut bench), 0);
    bench.call(DEVICE_RESET, Payload::default(), &[]).unwrap();
    bench.write(CONFIG, 4, &[6, 0]).unwrap();
    assert_eq!(cause(&mut bench), 1);
}

#[test]
fn an_eventfd_that_nobody_empties_stops_nothing() {
    let mut bench = Bench::negotiated(false);
    let (_reader, writer) = std::io::pipe().unwrap();
    bench
        .set_irqs(TRIGGER_BY_EVENTFD, (0, 1), &[writer.as_fd()])
        .unwrap();
    for _ in 0..10_000 {
        bench.set_irqs(TRIGGER_ALL, (0, 1), &[]).unwrap();
    }
}

#[test]
fn interrupts_that_are_not_there_cannot_be_set() {
    let mut bench = Bench::negotiated(false);
    let fd = event();
    for range in [
        (64, 1),
        (63, 2),
        (u32::MAX, 1),
        (0, u32::MAX),
        (1, u32::MAX),
    ] {
        assert!(
            bench.set_irqs(TRIGGER_BY_EVENTFD, range, &[]).is_err(),
            "{range:?}"
        );
        assert!(
            bench.set_irqs(TRIGGER_ALL, range, &[]).is_err(),
            "{range:?}"
        );
    }
    assert!(
        bench
            .set_irqs(TRIGGER_BY_EVENTFD, (0, 2), &[fd.as_fd()])
            .is_err()
    );
    assert!(
        bench.set_irqs(0x22, (0, 2), &[]).is_err(),
        "two booleans are missing"
    );
    assert!(
        bench.set_irqs(0x09, (0, 1), &[]).is_err(),
        "masking is not by message"
    );
}

#[test]
fn guest_memory_is_mapped_and_unmapped() {
    let mut bench = Bench::negotiated(false);
    let fd = guest(0x2000);
    bench
        .call(DMA_MAP, map_payload(0x1000, 0x2000), &[fd.as_fd()])
        .unwrap();
    bench
        .function
        .slot
        .memory
        .write(0x1FFC, b"12345678")
        .unwrap();
    let mut back = [0; 8];
    rustix::io::pread(&fd, &mut back, 0xFFC).unwrap();
    assert_eq!(&back, b"12345678");
    bench
        .call(DMA_MAP, map_payload(0x10_0000, 0x1000), &[])
        .unwrap();

    let overlap = map_payload(0x2000, 0x1000);
    assert_eq!(bench.fails(DMA_MAP, overlap, &[fd.as_fd()]), Errno::EXIST);
    let two = map_payload(0x8000, 0x1000);
    assert_eq!(
        bench.fails(DMA_MAP, two, &[fd.as_fd(), fd.as_fd()]),
        Errno::INVAL
    );
    let beyond = map_payload(0x8000, 0x3000);
    assert_eq!(bench.fails(DMA_MAP, beyond, &[fd.as_fd()]), Errno::INVAL);

    let part = unmap_payload(0, 0x1000, 0x1000);
    assert_eq!(bench.fails(DMA_UNMAP, part, &[]), Errno::INVAL);
    let whole = unmap_payload(0, 0x1000, 0x2000);
    let (reply, _) = bench.call(DMA_UNMAP, whole, &[]).unwrap();
    assert_eq!(reply, unmap_payload(0, 0x1000, 0x2000).0);
    assert!(bench.function.slot.memory.read(0x1FFC, &mut back).is_err());
    bench.call(DMA_UNMAP, unmap_payload(2, 0, 0), &[]).unwrap();
    assert!(bench.function.slot.memory.is_empty());
}
