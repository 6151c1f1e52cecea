//! The stream of messages when it is not as it should be, and clients that come and go.

use super::*;
use crate::SocketFileError;
use crate::vfio::Told;
use crate::vfio::server::{Order, SLICE};

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
    assert!(!bench.client.is_ready());
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

/// A command that nobody answers: writes a number to RAL0.
fn numbered_write(number: usize) -> Vec<u8> {
    let number = u32::try_from(number).unwrap().to_ne_bytes();
    let head = Payload::default()
        .u16(7)
        .u16(REGION_WRITE)
        .u32(36)
        .u32(NO_REPLY)
        .u32(0)
        .0;
    [head, write_payload(REGISTERS, RAL0, &number).0].concat()
}

fn read_of_ral0() -> Vec<u8> {
    let head = Payload::default()
        .u16(7)
        .u16(REGION_READ)
        .u32(32)
        .u32(0)
        .u32(0)
        .0;
    [head, Payload::default().u64(RAL0).u32(REGISTERS).u32(4).0].concat()
}

#[test]
fn slices_lose_and_reorder_no_commands_and_say_that_some_are_left() {
    const PAIRS: usize = 10 * SLICE;
    let mut bench = Bench::negotiated(false);
    let pairs = (1..=PAIRS).map(|n| [numbered_write(n), read_of_ral0()].concat());
    let bytes = pairs.collect::<Vec<_>>().concat();
    bench.peer.write_all(&bytes).unwrap();
    let mut seen = Vec::new();
    for slice in 1..=2 * PAIRS / SLICE {
        assert_eq!(bench.serve(), Served::Commands);
        while let Some(reply) = bench.reply(REGION_READ) {
            let value = reply.unwrap().0[16..].try_into().unwrap();
            seen.push(u32::from_ne_bytes(value));
        }
        assert_eq!(seen.len(), slice * SLICE / 2);
        assert_eq!(bench.client.is_ready(), seen.len() < PAIRS);
    }
    assert!(seen.into_iter().eq(1..=u32::try_from(PAIRS).unwrap()));
    assert_eq!(bench.serve(), Served::Nothing);
}

#[test]
fn commands_are_ready_again_when_the_replies_before_them_have_left() {
    let mut bench = Bench::negotiated(false);
    let head = Payload::default()
        .u16(7)
        .u16(REGION_READ)
        .u32(32)
        .u32(0)
        .u32(0)
        .0;
    let range = Payload::default().u64(0).u32(REGISTERS).u32(0x8000).0;
    let reads = [head, range].concat().repeat(60);
    bench.peer.write_all(&reads).unwrap();
    while bench.serve() == Served::Commands {}
    assert!(!bench.client.is_ready(), "no room for replies");
    while !bench.reply_is_missing() {
        bench.reply(REGION_READ).unwrap().unwrap();
        assert!(bench.client.flush());
    }
    assert!(bench.client.is_ready());
}

#[test]
fn an_order_is_heard_though_commands_never_end() {
    const TURNS: usize = 5;
    const WRITES: usize = 2 * TURNS * SLICE;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nic.sock");
    let mut server = Server::new(&path, Bench::fresh(false).function).unwrap();
    let mut peer = UnixStream::connect(&path).unwrap();
    let version = Payload::default().u16(1).u16(VERSION).u32(20).u32(NO_REPLY);
    let mut bytes = version.u32(0).u16(0).u16(0).0;
    bytes.extend((1..=WRITES).flat_map(numbered_write));
    peer.write_all(&bytes).unwrap();

    let orders = eventfd(1, EventfdFlags::NONBLOCK).unwrap();
    let mut turns = 0;
    let order = || {
        turns += 1;
        (turns == TURNS).then_some(Order::Stop)
    };
    server.run(orders.as_fd(), order, |_| {}).unwrap();
    // The first turn accepted the client, and its first command was not a write.
    let written = u32::try_from((TURNS - 1) * SLICE - 1).unwrap();
    assert_eq!(register(&mut server, RAL0), written);
    while server.step() {}
    let all = u32::try_from(WRITES).unwrap();
    assert_eq!(register(&mut server, RAL0), all);
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
    assert!(matches!(
        other,
        Err(ServerError::Socket(SocketFileError::InUse(_)))
    ));

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
    let region = crate::vfio::function::Region::Registers;
    server
        .function_mut()
        .read(region, offset, &mut bytes)
        .unwrap();
    u32::from_ne_bytes(bytes)
}

#[test]
fn each_client_begins_with_an_empty_record_and_one_line_says_that_it_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nic.sock");
    let mut server = Server::new(&path, Bench::fresh(false).function).unwrap();
    for client in 1..=2 {
        let peer = UnixStream::connect(&path).unwrap();
        while server.step() {}
        assert!(server.function().nic().violations().is_empty());

        let (mut violations, mut full) = (0, 0);
        for _ in 0..300 {
            register(&mut server, 0x4);
            server.tell(&mut |told| match told {
                Told::Violation(_) => violations += 1,
                Told::RecordFull => full += 1,
            });
        }
        assert_eq!((violations, full), (256, 1));
        assert_eq!(server.function().nic().violation_count(), client * 300);
        drop(peer);
        while server.step() {}
    }
}

#[test]
fn a_socket_left_behind_is_served_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nic.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(Server::new(&path, Bench::fresh(false).function).is_ok());
}
