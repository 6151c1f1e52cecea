//! The protocol over a socket pair, step by step in one thread.

mod commands;
mod stream;

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
