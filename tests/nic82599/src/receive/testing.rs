//! What the tests of the receive engine share: frames, and a driver with receive rings.

use crate::packet::{CRC32C, PROTOCOL_SCTP, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::registers::{
    MRQC, QUEUE_ENABLE, RDBAL, RDLEN, RDT, RETA, RSSRK, RXCSUM, RXCTRL, RXCTRL_RXEN, RXDCTL, SRRCTL,
};
use crate::testing::{Bench, MAC};
use crate::{Memory, Permission};
use std::net::IpAddr;

/// The key of Microsoft's verification suite.
pub(super) const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// A frame to the device, with right checksums.
pub(super) struct Frame {
    source: IpAddr,
    target: IpAddr,
    protocol: u8,
    ports: [u16; 2],
    payload: usize,
    fragment: u16,
    tag: Option<u16>,
}

impl Frame {
    pub(super) const IDENTIFICATION: u16 = 0x1D1D;

    fn new(source: IpAddr, target: IpAddr, protocol: u8) -> Frame {
        Frame {
            source,
            target,
            protocol,
            ports: [1000, 2000],
            payload: 10,
            fragment: 0,
            tag: None,
        }
    }

    pub(super) fn tcp(source: IpAddr, target: IpAddr) -> Frame {
        Frame::new(source, target, PROTOCOL_TCP)
    }

    pub(super) fn udp(source: IpAddr, target: IpAddr) -> Frame {
        Frame::new(source, target, PROTOCOL_UDP)
    }

    pub(super) fn sctp(source: IpAddr, target: IpAddr) -> Frame {
        Frame::new(source, target, PROTOCOL_SCTP)
    }

    /// Between two hosts; `flow` makes the difference.
    pub(super) fn flow(flow: u8) -> Frame {
        let source = [10, 0, 0, flow].into();
        Frame::udp(source, [192, 168, 0, 1].into())
    }

    /// Nothing that RSS or checksum offload know.
    pub(super) fn arp() -> Frame {
        Frame::new([0; 4].into(), [0; 4].into(), 0)
    }

    pub(super) fn ports(mut self, source: u16, target: u16) -> Frame {
        self.ports = [source, target];
        self
    }

    /// Bytes after the transport header.
    pub(super) fn payload(mut self, payload: usize) -> Frame {
        self.payload = payload;
        self
    }

    /// The flags and the offset of the IPv4 header.
    pub(super) fn fragment(mut self, fragment: u16) -> Frame {
        self.fragment = fragment;
        self
    }

    pub(super) fn tag(mut self, tag: u16) -> Frame {
        self.tag = Some(tag);
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut frame = [&MAC[..], &[2, 0, 0, 0, 0, 2]].concat();
        if let Some(tag) = self.tag {
            frame.extend([0x81, 0x00]);
            frame.extend(tag.to_be_bytes());
        }
        if self.protocol == 0 {
            frame.extend([0x08, 0x06]);
        } else {
            self.ip(&mut frame);
        }
        frame.resize(frame.len().max(60), 0);
        frame
    }

    fn ip(&self, frame: &mut Vec<u8>) {
        let (source, target) = (octets(self.source), octets(self.target));
        let transport = self.transport(&[&source[..], &target].concat());
        let length = u16::try_from(transport.len()).unwrap();
        if self.source.is_ipv4() {
            let mut header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, self.protocol, 0, 0].to_vec();
            header[2..4].copy_from_slice(&(20 + length).to_be_bytes());
            header[4..6].copy_from_slice(&Frame::IDENTIFICATION.to_be_bytes());
            header[6..8].copy_from_slice(&self.fragment.to_be_bytes());
            header.extend([source, target].concat());
            let checksum = checksum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            frame.extend([0x08, 0x00]);
            frame.extend(header);
        } else {
            frame.extend([0x86, 0xDD, 0x60, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([self.protocol, 64]);
            frame.extend([source, target].concat());
        }
        frame.extend(transport);
    }

    fn transport(&self, addresses: &[u8]) -> Vec<u8> {
        let (header, at) = match self.protocol {
            PROTOCOL_TCP => (20, 16),
            PROTOCOL_UDP => (8, 6),
            _ => (12, 8),
        };
        let mut bytes = self.ports.map(u16::to_be_bytes).concat();
        bytes.resize(header, 0);
        bytes.extend((0..self.payload).map(|n| n.to_le_bytes()[0]));
        let length = u16::try_from(bytes.len()).unwrap();
        match self.protocol {
            PROTOCOL_TCP => bytes[12] = 0x50,
            PROTOCOL_UDP => bytes[4..6].copy_from_slice(&length.to_be_bytes()),
            _ => {
                let checksum = CRC32C.of(&[&bytes]).to_le_bytes();
                bytes[8..12].copy_from_slice(&checksum);
                return bytes;
            }
        }
        let mut summed = [addresses, &[0, self.protocol], &length.to_be_bytes()].concat();
        summed.extend(&bytes);
        bytes[at..at + 2].copy_from_slice(&checksum(&summed).to_be_bytes());
        bytes
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The Internet checksum, word for word.
fn checksum(bytes: &[u8]) -> u16 {
    let sum = bytes.chunks(2).fold(0u32, |sum, pair| {
        let low = pair.get(1).copied().unwrap_or_default();
        let sum = sum + u32::from(u16::from_be_bytes([pair[0], low]));
        (sum & 0xFFFF) + (sum >> 16)
    });
    !u16::try_from(sum).unwrap()
}

/// SRRCTL: advanced descriptors with one buffer of so many KiB.
pub(super) const ADVANCED: u32 = 1 << 25;
pub(super) const DROP_EN: u32 = 1 << 28;

/// A driver with rings of [`Receiver::SIZE`] descriptors.
pub(super) struct Receiver {
    pub(super) bench: Bench,
}

impl Receiver {
    pub(super) const SIZE: u32 = 64;
    const QUEUES: u32 = 4;
    /// Room for the largest buffer.
    const BUFFER: u16 = 0x4000;

    /// A device that receives, with no descriptors in the rings of four queues.
    pub(super) fn new() -> Receiver {
        let mut bench = Bench::linked();
        bench.write(RXCSUM, 1 << 13);
        bench.write(RXCTRL, RXCTRL_RXEN);
        let mut receiver = Receiver { bench };
        for queue in 0..Receiver::QUEUES {
            receiver.program(queue);
            receiver.setting(queue, ADVANCED | 2);
        }
        receiver
    }

    fn ring(queue: u32) -> u32 {
        0x1000_0000 + queue * 0x100_0000
    }

    fn buffer_at(queue: u32, n: u32) -> u64 {
        u64::from(Receiver::ring(queue)) + 0x1_0000 + u64::from(n) * u64::from(Receiver::BUFFER)
    }

    fn program(&mut self, queue: u32) {
        let base = Receiver::ring(queue);
        let at = queue as usize;
        let memory: &mut Memory = &mut self.bench.host;
        memory.map(
            u64::from(base),
            16 * Receiver::SIZE as usize,
            Permission::ReadWrite,
        );
        let room = usize::from(Receiver::BUFFER) * Receiver::SIZE as usize;
        memory.map(Receiver::buffer_at(queue, 0), room, Permission::ReadWrite);
        for n in 0..Receiver::SIZE {
            self.refill(queue, n);
        }
        self.bench.write(RDBAL.at(at), base);
        self.bench.write(RDLEN.at(at), 16 * Receiver::SIZE);
        self.bench.write(RXDCTL.at(at), QUEUE_ENABLE);
    }

    /// Puts a fresh descriptor into the ring.
    pub(super) fn refill(&mut self, queue: u32, n: u32) {
        let buffer = u128::from(Receiver::buffer_at(queue, n));
        self.descriptor_mut(queue, n)
            .copy_from_slice(&buffer.to_le_bytes());
    }

    pub(super) fn setting(&mut self, queue: u32, srrctl: u32) {
        self.bench.write(SRRCTL.at(queue as usize), srrctl);
    }

    /// Moves the tail.
    pub(super) fn tail(&mut self, queue: u32, tail: u32) {
        self.bench.write(RDT.at(queue as usize), tail);
    }

    /// The device by key and fields of RSS, over four queues.
    pub(super) fn rss(&mut self, fields: u32) {
        for (n, word) in KEY.as_chunks().0.iter().enumerate() {
            self.bench.write(RSSRK.at(n), u32::from_le_bytes(*word));
        }
        for n in 0..32 {
            self.bench.write(RETA.at(n), 0x0302_0100);
        }
        self.bench.write(MRQC, fields | 1);
    }

    pub(super) fn wire(&mut self, frame: &[u8]) {
        self.bench.nic.receive(&mut self.bench.host, frame);
    }

    fn descriptor_mut(&mut self, queue: u32, n: u32) -> &mut [u8] {
        let address = u64::from(Receiver::ring(queue) + 16 * n);
        &mut self.bench.host.bytes_mut(address)[..16]
    }

    pub(super) fn descriptor(&self, queue: u32, n: u32) -> u128 {
        let address = u64::from(Receiver::ring(queue) + 16 * n);
        let bytes = &self.bench.host.bytes(address)[..16];
        u128::from_le_bytes(bytes.try_into().unwrap())
    }

    /// Status and errors of an advanced descriptor; zero when it was not written back.
    pub(super) fn status(&self, queue: u32, n: u32) -> u32 {
        u32::try_from(self.descriptor(queue, n) >> 64 & 0xFFFF_FFFF).unwrap()
    }

    /// What is in a buffer, by the length in its advanced descriptor.
    pub(super) fn stored(&self, queue: u32, n: u32) -> &[u8] {
        let length = usize::try_from(self.descriptor(queue, n) >> 96 & 0xFFFF).unwrap();
        &self.bench.host.bytes(Receiver::buffer_at(queue, n))[..length]
    }
}
