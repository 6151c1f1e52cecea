//! A driver that gives the device transmit descriptors, packets for it to send, and a check of what
//! was sent that shares nothing with the engine.

mod checksums;
mod frames;
mod rings;
mod segments;

use super::BUDGET;
use super::descriptor::Raw;
use crate::memory::Permission;
use crate::registers::{
    DMATXCTL, DMATXCTL_TE, QUEUE_ENABLE, TDBAH, TDBAL, TDH, TDLEN, TDT, TXDCTL,
};
use crate::testing::Bench;

const RING: u64 = 0x1_0000_0000;
const DATA: u64 = 0x2_0000_0000;
const DATA_LENGTH: usize = 1 << 20;
const DESCRIPTORS: u32 = 128;

const DATA_DESCRIPTOR: u32 = 1 << 29 | 3 << 20;
const CONTEXT_DESCRIPTOR: u32 = 1 << 29 | 2 << 20;
const EOP: u32 = 1 << 24;
const IFCS: u32 = 1 << 25;
const RS: u32 = 1 << 27;
const VLE: u32 = 1 << 30;
const TSE: u32 = 1 << 31;
/// The last descriptor of a packet that wants to be heard of.
const LAST: u32 = EOP | RS;
const CC: u32 = 1 << 7;
const IXSM: u32 = 1 << 8;
const TXSM: u32 = 1 << 9;
const IPV4: u32 = 1 << 10;
const UDP: u32 = 0;
const TCP: u32 = 1 << 11;
const SCTP: u32 = 2 << 11;

fn word(value: usize) -> u32 {
    u32::try_from(value).unwrap()
}

fn raw(address: u64, command: u32, options: u32) -> Raw {
    let mut raw = [0; 16];
    raw[..8].copy_from_slice(&address.to_le_bytes());
    raw[8..12].copy_from_slice(&command.to_le_bytes());
    raw[12..].copy_from_slice(&options.to_le_bytes());
    raw
}

/// A driver with a queue.
struct Driver {
    bench: Bench,
    queue: usize,
    tail: u32,
    /// Where the next packet's bytes go.
    free: u64,
}

impl Driver {
    fn new() -> Driver {
        Driver::on(Bench::linked(), 3)
    }

    fn on(mut bench: Bench, queue: usize) -> Driver {
        bench
            .host
            .map(RING, (DESCRIPTORS as usize) * 16, Permission::ReadWrite);
        bench.host.map(DATA, DATA_LENGTH, Permission::Read);
        bench.write(DMATXCTL, 0x8100_0000 | DMATXCTL_TE);
        let mut driver = Driver {
            bench,
            queue,
            tail: 0,
            free: DATA,
        };
        driver.start(queue);
        driver
    }

    /// Starts a queue on the ring.
    fn start(&mut self, queue: usize) {
        let bench = &mut self.bench;
        bench.write(TXDCTL.at(queue), 0);
        bench.write(TDBAL.at(queue), u32::try_from(RING & 0xFFFF_FFFF).unwrap());
        bench.write(TDBAH.at(queue), u32::try_from(RING >> 32).unwrap());
        bench.write(TDLEN.at(queue), DESCRIPTORS * 16);
        bench.write(TDH.at(queue), 0);
        bench.write(TDT.at(queue), 0);
        bench.write(TXDCTL.at(queue), QUEUE_ENABLE);
    }

    /// Puts a descriptor at the tail, without telling the device.
    fn put(&mut self, descriptor: Raw) {
        let at = RING + 16 * u64::from(self.tail);
        self.bench.host.bytes_mut(at)[..16].copy_from_slice(&descriptor);
        self.tail = (self.tail + 1) % DESCRIPTORS;
    }

    /// Moves the device's tail.
    fn kick(&mut self) {
        self.bench.write(TDT.at(self.queue), self.tail);
    }

    /// Puts bytes into memory.
    fn store(&mut self, bytes: &[u8]) -> u64 {
        if self.free + bytes.len() as u64 > DATA + DATA_LENGTH as u64 {
            self.free = DATA;
        }
        let at = self.free;
        self.bench.host.bytes_mut(at)[..bytes.len()].copy_from_slice(bytes);
        self.free += bytes.len() as u64;
        at
    }

    /// A packet of several buffers, as Linux gives it: the command in each descriptor, the options
    /// in the first.
    fn packet(&mut self, pieces: &[&[u8]], command: u32, options: u32) {
        for (n, piece) in pieces.iter().enumerate() {
            let at = self.store(piece);
            let last = if n + 1 == pieces.len() { LAST } else { 0 };
            let command = DATA_DESCRIPTOR | command | last | word(piece.len());
            self.put(raw(at, command, if n == 0 { options } else { 0 }));
        }
    }

    /// A packet of one buffer that asks for offloads, sent at once.
    fn send(&mut self, frame: &[u8], command: u32, options: u32) {
        let payload = word(frame.len()) << 14;
        self.packet(&[frame], IFCS | command, payload | options);
        self.kick();
    }

    /// A context for what is above; the L4LEN and MSS are those of segmentation.
    fn context(&mut self, lengths: [usize; 2], kind: u32, segmentation: [usize; 2]) {
        self.tagged_context(0, 0, lengths, kind, segmentation);
    }

    fn tagged_context(
        &mut self,
        slot: u32,
        vlan: u16,
        [mac_length, ip_length]: [usize; 2],
        kind: u32,
        [transport_length, segment_size]: [usize; 2],
    ) {
        let lengths = u64::from(vlan) << 16 | (mac_length << 9 | ip_length) as u64;
        let options = word(segment_size << 16 | transport_length << 8) | slot << 4;
        self.put(raw(lengths, CONTEXT_DESCRIPTOR | kind, options));
    }

    /// What was put on the wire since the last call.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.bench.host.sent)
    }

    /// Whether the device has completed a descriptor.
    fn is_done(&self, index: u32) -> bool {
        let at = RING + 16 * u64::from(index);
        self.bench.host.bytes(at)[12] & 1 != 0
    }

    fn head(&mut self) -> u32 {
        self.bench.read(TDH.at(self.queue))
    }

    /// Exactly these complaints about descriptors, at these indices of the ring.
    #[track_caller]
    fn assert_complaints(&self, expected: &[(u32, &str)]) {
        let seen: Vec<_> = self
            .bench
            .nic
            .violations()
            .iter()
            .map(|seen| (seen.value, seen.why.to_string()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(index, why)| (*index, format!("descriptor: {why}")))
            .collect();
        assert_eq!(seen, expected);
    }
}

/// A frame of `length` bytes with different bytes.
fn plain(length: usize) -> Vec<u8> {
    let pattern = (0..=250u8).cycle();
    let mut frame = vec![
        0x02, 0, 0, 0, 0, 9, 0x02, 0x82, 0x59, 0x90, 0, 1, 0x88, 0xB5,
    ];
    frame.extend(pattern.take(length.saturating_sub(14)));
    frame.truncate(length);
    frame
}

/// A packet of IP whose transport checksum holds the sum of the pseudo header, as a driver prepares
/// it: with the length, or without it for segmentation.
struct Packet {
    ipv4: bool,
    protocol: u8,
    transport: Vec<u8>,
    data: usize,
    with_length: bool,
}

impl Packet {
    fn new(ipv4: bool, protocol: u8, data: usize) -> Packet {
        let transport = match protocol {
            6 => {
                // Ports, sequence number near its end, ACK PSH FIN CWR, an option.
                let mut header = vec![0x10, 0, 0, 80, 0xFF, 0xFF, 0xF0, 0, 0, 0, 0, 7];
                header.extend([0x80, 0x99, 0x20, 0, 0, 0, 0, 0]);
                header.extend([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
                header
            }
            132 => vec![0x10, 0, 0x20, 0, 1, 2, 3, 4, 0, 0, 0, 0],
            _ => {
                let mut header = vec![0x10, 0, 0x20, 0, 0, 0, 0, 0];
                let length = u16::try_from(8 + data).unwrap_or_default();
                header[4..6].copy_from_slice(&length.to_be_bytes());
                header
            }
        };
        Packet {
            ipv4,
            protocol,
            transport,
            data,
            with_length: true,
        }
    }

    /// The lengths of the MAC and the IP header.
    fn lengths(&self) -> [usize; 2] {
        [14, if self.ipv4 { 20 } else { 40 }]
    }

    fn headers(&self) -> usize {
        self.lengths()[0] + self.lengths()[1] + self.transport.len()
    }

    fn build(&self) -> Vec<u8> {
        let length = self.transport.len() + self.data;
        let mut frame = vec![0x02, 0, 0, 0, 0, 9, 0x02, 0x82, 0x59, 0x90, 0, 1];
        let addresses = if self.ipv4 {
            frame.extend([
                0x08,
                0x00,
                0x45,
                0,
                0,
                0,
                0xFF,
                0xFE,
                0x40,
                0,
                64,
                self.protocol,
                0,
                0,
            ]);
            let total = u16::try_from(20 + length).unwrap_or_default();
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            vec![192, 0, 2, 1, 198, 51, 100, 250]
        } else {
            frame.extend([0x86, 0xDD, 0x60, 0, 0, 0, 0, 0, self.protocol, 64]);
            let payload = u16::try_from(length).unwrap_or_default();
            frame[18..20].copy_from_slice(&payload.to_be_bytes());
            (1..=32).map(|n: u8| n.wrapping_mul(37)).collect()
        };
        frame.extend(&addresses);
        let transport_at = frame.len();
        frame.extend(&self.transport);
        frame.extend((0..=250u8).cycle().take(self.data));
        let with = if self.with_length { length } else { 0 };
        let sum = checksums::add(&addresses, usize::from(self.protocol) + with);
        let field = match self.protocol {
            6 => transport_at + 16,
            17 => transport_at + 6,
            _ => return frame,
        };
        frame[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    }
}
