//! The protocol over a socket pair, step by step in one thread.

use super::function::Function;
use super::message::*;
use super::server::{Client, Served, Server, ServerError};
use crate::wire::Wire;
use crate::{Settings, Variant};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

const REGISTERS: u32 = 0;
const CONFIG: u32 = 7;
/// RAL(0), which keeps what is written.
const RAL0: u64 = 0xA200;

type Reply = Result<(Vec<u8>, Vec<OwnedFd>), i32>;

/// A served function and a client's end of the socket.
struct Bench {
    function: Function,
    client: Client,
    peer: UnixStream,
}

impl Bench {
    fn fresh(map_rings: bool) -> Bench {
        let settings = Settings {
            mac: [2, 0, 0, 0, 0, 1],
            variant: Variant::default(),
        };
        let wire = Wire::open(&"loop".parse().unwrap()).unwrap();
        let function = Function::new(settings, wire, map_rings).unwrap();
        let (peer, ours) = UnixStream::pair().unwrap();
        Bench {
            function,
            client: Client::new(ours.into()),
            peer,
        }
    }

    fn negotiated(map_rings: bool) -> Bench {
        let mut bench = Bench::fresh(map_rings);
        bench
            .call(VERSION, Payload::default().u16(0).u16(0), &[])
            .unwrap();
        bench
    }

    fn serve(&mut self) -> Served {
        self.client.serve(&mut self.function)
    }

    fn send(&mut self, command: u16, flags: u32, payload: &[u8], fds: &[BorrowedFd<'_>]) {
        let size = u32::try_from(HEADER_SIZE + payload.len()).unwrap();
        let head = Payload::default()
            .u16(7)
            .u16(command)
            .u32(size)
            .u32(flags)
            .u32(0)
            .0;
        let bytes = [head, payload.to_vec()].concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let bytes = [IoSlice::new(&bytes)];
        sendmsg(&self.peer, &bytes, &mut control, SendFlags::empty()).unwrap();
    }

    /// The reply that is there, if one is.
    fn reply(&mut self, command: u16) -> Option<Reply> {
        let mut head = [0; HEADER_SIZE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let room = &mut [IoSliceMut::new(&mut head)];
        let got = recvmsg(&self.peer, room, &mut control, RecvFlags::DONTWAIT).ok()?;
        assert_eq!(got.bytes, HEADER_SIZE);
        let fds = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        });
        let fds = fds.collect();
        let header = Header::parse(&head);
        assert_eq!((header.id, header.command), (7, command));
        let mut payload = vec![0; header.size as usize - HEADER_SIZE];
        std::io::Read::read_exact(&mut &self.peer, &mut payload).unwrap();
        if header.flags & ERROR == 0 {
            return Some(Ok((payload, fds)));
        }
        assert!(payload.is_empty(), "an error has no payload");
        Some(Err(i32::from_ne_bytes(head[12..].try_into().unwrap())))
    }

    fn call(&mut self, command: u16, payload: Payload, fds: &[BorrowedFd<'_>]) -> Reply {
        self.send(command, 0, &payload.0, fds);
        assert!(self.serve() == Served::Commands);
        self.reply(command).expect("every command is answered")
    }

    fn fails(&mut self, command: u16, payload: Payload, fds: &[BorrowedFd<'_>]) -> Errno {
        Errno::from_raw_os_error(self.call(command, payload, fds).unwrap_err())
    }

    fn read(&mut self, region: u32, offset: u64, count: u32) -> Result<Vec<u8>, i32> {
        let payload = Payload::default().u64(offset).u32(region).u32(count);
        self.call(REGION_READ, payload, &[]).map(|(reply, _)| {
            assert_eq!(reply.len(), 16 + count as usize);
            reply[16..].to_vec()
        })
    }

    fn read_long(&mut self, region: u32, offset: u64) -> u32 {
        u32::from_ne_bytes(self.read(region, offset, 4).unwrap().try_into().unwrap())
    }

    fn write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Reply {
        self.call(REGION_WRITE, write_payload(region, offset, bytes), &[])
    }

    fn set_irqs(&mut self, flags: u32, range: (u32, u32), fds: &[BorrowedFd<'_>]) -> Reply {
        let (start, count) = range;
        let payload = Payload::default()
            .u32(20)
            .u32(flags)
            .u32(2)
            .u32(start)
            .u32(count);
        self.call(DEVICE_SET_IRQS, payload, fds)
    }
}

fn write_payload(region: u32, offset: u64, bytes: &[u8]) -> Payload {
    let count = u32::try_from(bytes.len()).unwrap();
    let mut payload = Payload::default().u64(offset).u32(region).u32(count);
    payload.0.extend(bytes);
    payload
}

fn map_payload(address: u64, size: u64) -> Payload {
    Payload::default()
        .u32(32)
        .u32(3)
        .u64(0)
        .u64(address)
        .u64(size)
}

fn unmap_payload(flags: u32, address: u64, size: u64) -> Payload {
    Payload::default().u32(24).u32(flags).u64(address).u64(size)
}

fn guest(size: u64) -> OwnedFd {
    let fd = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, size).unwrap();
    fd
}

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK).unwrap()
}

fn fired(event: &OwnedFd) -> u64 {
    let mut count = [0; 8];
    rustix::io::read(event, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
}

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
    bench.read(REGISTERS, RAL0, 2).unwrap();
    assert_eq!(bench.function.nic().violation_count(), 1);
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
    assert!(bench.serve() == Served::Commands);
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

#[test]
fn commands_that_are_unknown_or_too_short_fail_and_the_next_is_served() {
    let mut bench = Bench::negotiated(false);
    for command in [0, 6, 11, 12, 14, 16, 17, 18, u16::MAX] {
        assert_eq!(
            bench.fails(command, Payload::default().u64(0), &[]),
            Errno::OPNOTSUPP
        );
    }
    for command in (VERSION..=REGION_WRITE)
        .chain([REGION_WRITE_MULTI])
        .filter(|&c| c != 6)
    {
        assert_eq!(
            bench.fails(command, Payload::default().u16(0), &[]),
            Errno::INVAL
        );
    }
    assert_eq!(bench.read_long(CONFIG, 0), 0x10FB_8086);
}

#[test]
fn what_comes_with_a_rejected_command_is_closed() {
    let mut bench = Bench::negotiated(false);
    let (mut reader, writer) = std::io::pipe().unwrap();
    assert_eq!(
        bench.fails(99, Payload::default(), &[writer.as_fd()]),
        Errno::OPNOTSUPP
    );
    drop(writer);
    assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0);
}

#[test]
fn the_payload_of_a_command_that_is_too_large_is_passed_over() {
    let mut bench = Bench::negotiated(false);
    let size = 5_000_000;
    let head = Payload::default()
        .u16(7)
        .u16(REGION_WRITE)
        .u32(16 + size)
        .u32(0)
        .u32(0)
        .0;
    bench.peer.write_all(&head).unwrap();
    bench.serve();
    for _ in 0..size / 1000 {
        bench.peer.write_all(&[0xEE; 1000]).unwrap();
        assert!(bench.serve() != Served::Gone);
    }
    let error = bench.reply(REGION_WRITE).unwrap().unwrap_err();
    assert_eq!(Errno::from_raw_os_error(error), Errno::MSGSIZE);
    assert_eq!(bench.read_long(CONFIG, 0), 0x10FB_8086);
}

#[test]
fn a_message_may_come_byte_by_byte() {
    let mut bench = Bench::negotiated(false);
    let read = Payload::default().u64(0).u32(CONFIG).u32(4).0;
    let head = Payload::default()
        .u16(7)
        .u16(REGION_READ)
        .u32(32)
        .u32(0)
        .u32(0)
        .0;
    for byte in [head, read].concat() {
        assert!(bench.reply(REGION_READ).is_none());
        bench.peer.write_all(&[byte]).unwrap();
        assert!(bench.serve() != Served::Gone);
    }
    assert!(bench.reply(REGION_READ).unwrap().is_ok());
}

#[test]
fn a_stream_without_framing_is_closed() {
    for size in [0, 15, u32::MAX, 16 << 20 | 17] {
        let mut bench = Bench::negotiated(false);
        let head = Payload::default()
            .u16(7)
            .u16(VERSION)
            .u32(size)
            .u32(0)
            .u32(0)
            .0;
        bench.peer.write_all(&head).unwrap();
        assert!(bench.serve() == Served::Gone, "{size}");
    }
}

#[test]
fn a_client_that_reads_no_replies_has_its_commands_wait() {
    let mut bench = Bench::negotiated(false);
    bench.peer.set_nonblocking(true).unwrap();
    let read = Payload::default().u64(0).u32(REGISTERS).u32(0x8000).0;
    let head = Payload::default()
        .u16(7)
        .u16(REGION_READ)
        .u32(32)
        .u32(0)
        .u32(0)
        .0;
    let message = [head, read].concat();
    let mut sent = 0;
    loop {
        match bench.peer.write(&message) {
            Ok(len) => {
                assert_eq!(len, message.len());
                sent += 1;
            }
            Err(_) => match bench.serve() {
                Served::Commands => {}
                served => break assert!(served == Served::Nothing),
            },
        }
    }
    assert!(bench.client.interest() == rustix::event::PollFlags::OUT);
    bench.peer.set_nonblocking(false).unwrap();
    for _ in 0..sent {
        while bench.reply_is_missing() {
            assert!(bench.serve() != Served::Gone);
        }
        assert_eq!(
            bench.reply(REGION_READ).unwrap().unwrap().0.len(),
            16 + 0x8000
        );
    }
}

impl Bench {
    fn reply_is_missing(&self) -> bool {
        let mut byte = [0];
        rustix::net::recv(&self.peer, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT).is_err()
    }
}

#[test]
fn the_next_client_is_served_with_a_device_as_after_power_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nic.sock");
    let mut server = Server::new(&path, Bench::fresh(false).function).unwrap();
    let other = Server::new(&path, Bench::fresh(false).function);
    assert!(matches!(other, Err(ServerError::InUse(_))));

    for _ in 0..2 {
        let mut peer = UnixStream::connect(&path).unwrap();
        let version = Payload::default().u16(1).u16(VERSION).u32(20).u32(0).u32(0);
        peer.write_all(&version.u16(0).u16(0).0).unwrap();
        let ral = write_payload(REGISTERS, RAL0, &[9; 4]).0;
        let head = Payload::default()
            .u16(1)
            .u16(REGION_WRITE)
            .u32(36)
            .u32(NO_REPLY)
            .u32(0)
            .0;
        peer.write_all(&[head, ral].concat()).unwrap();
        while server.step() {}
        let slot = &mut server.function_mut().slot;
        slot.memory
            .map(0, 4096, Some(guest(4096)), 0, true)
            .unwrap();
        assert_eq!(register(&mut server, RAL0), 0x0909_0909);
        drop(peer);
        while server.step() {}
        assert_ne!(register(&mut server, RAL0), 0x0909_0909);
        assert!(server.function().slot.memory.is_empty());
    }
    drop(server);
    assert!(!path.exists());
}

fn register(server: &mut Server, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    let region = super::function::Region::Registers;
    server
        .function_mut()
        .read(region, offset, &mut bytes)
        .unwrap();
    u32::from_ne_bytes(bytes)
}

#[test]
fn a_socket_left_behind_is_served_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nic.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(Server::new(&path, Bench::fresh(false).function).is_ok());
}
