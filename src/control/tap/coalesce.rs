//! Joins consecutive TCP segments of a flow on their way to the kernel, as GRO does on a NIC's
//! receive side, so that the kernel's stack pays once for up to 64 KiB of payload.
//!
//! Only what can be cut into the very same segments again is joined: equal headers, sequence numbers
//! and IPv4 identifications that follow on, checksums that are right. One flow at a time is held,
//! and none longer than there are frames at hand: nothing ever waits for a segment to come.

use super::vnet::{GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, VnetHeader};
use crate::shared::wire::checksum::{checksum, fold, sum};
use crate::shared::wire::ethernet::{HEADER_LEN, ethertype};
use crate::shared::wire::ipv4::Ipv4;
use crate::shared::wire::ipv6::Ipv6;
use crate::shared::wire::{be16, be32, ipv4, ipv6, protocol};

/// The longest IP packet, behind an Ethernet header.
const MAX_FRAME: usize = HEADER_LEN + 65_535;

const TCP_HEADER_LEN: usize = 20;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// A TCP segment with payload that may be joined with its neighbours.
#[derive(Clone, Copy, Debug)]
struct Segment {
    is_ipv4: bool,
    /// Where the TCP header begins, and the payload.
    tcp: usize,
    payload: usize,
    len: usize,
    sequence: u32,
    /// IPv4 only.
    id: u16,
    push: bool,
}

/// The segments joined so far.
#[derive(Debug, Default)]
pub struct Coalescer {
    bytes: Vec<u8>,
    first: Option<Segment>,
    count: u16,
    /// The last one pushes, or is short: nothing may follow.
    push: bool,
    short: bool,
}

impl Coalescer {
    pub fn new() -> Coalescer {
        Coalescer {
            bytes: Vec::with_capacity(MAX_FRAME),
            ..Coalescer::default()
        }
    }

    /// Takes a frame that follows on what is held, or that can be the first of a row. False: send
    /// what is held, if anything, and offer it once more; refused by an empty one it goes alone.
    pub fn take(&mut self, frame: &[u8]) -> bool {
        let Some(segment) = Segment::read(frame) else {
            return false;
        };
        match self.first {
            None => {
                self.bytes.clear();
                self.bytes.extend_from_slice(frame);
                self.first = Some(segment);
                self.count = 1;
                (self.push, self.short) = (segment.push, false);
                true
            }
            Some(first) if self.follows(&first, &segment, frame) => {
                self.bytes.extend_from_slice(&frame[segment.payload..]);
                self.count += 1;
                (self.push, self.short) = (segment.push, segment.size() < first.size());
                true
            }
            Some(_) => false,
        }
    }

    /// What is held, ready for the kernel, and of how many segments; valid until the next
    /// [`Self::take`].
    pub fn release(&mut self) -> Option<(VnetHeader, &[u8], u16)> {
        let first = self.first.take()?;
        if self.count == 1 {
            return Some((VnetHeader::default(), &self.bytes, 1));
        }
        let header = first.seal(&mut self.bytes, self.push)?;
        Some((header, &self.bytes, self.count))
    }

    fn follows(&self, first: &Segment, next: &Segment, frame: &[u8]) -> bool {
        let joined = self.bytes.len() - first.payload;
        let Ok(offset) = u32::try_from(joined) else {
            return false;
        };
        !self.push
            && !self.short
            && next.is_ipv4 == first.is_ipv4
            && next.payload == first.payload
            && next.size() <= first.size()
            && self.bytes.len() + next.size() <= MAX_FRAME
            && next.sequence == first.sequence.wrapping_add(offset)
            && (!first.is_ipv4 || next.id == first.id.wrapping_add(self.count))
            && first
                .unchanging()
                .all(|range| self.bytes[range.clone()] == frame[range])
    }
}

impl Segment {
    fn read(frame: &[u8]) -> Option<Segment> {
        let ip = frame.get(HEADER_LEN..)?;
        let (is_ipv4, ip_header, pseudo, id) = match be16(frame, HEADER_LEN - 2) {
            ethertype::IPV4 => {
                let header = Ipv4::check(ip).ok()?;
                let fits = header.total_len() == ip.len()
                    && !header.has_options()
                    && !header.is_fragment()
                    && header.protocol() == protocol::TCP;
                fits.then_some(())?;
                (true, ipv4::MIN_HEADER_LEN, sum(&ip[12..20]), be16(ip, 4))
            }
            ethertype::IPV6 => {
                let header = Ipv6::check(ip).ok()?;
                let fits = header.total_len() == ip.len() && header.next_header() == protocol::TCP;
                fits.then_some(())?;
                (false, ipv6::HEADER_LEN, sum(&ip[8..40]), 0)
            }
            _ => return None,
        };
        let tcp = ip.get(ip_header..)?;
        if tcp.len() <= TCP_HEADER_LEN || tcp[13] & !PSH != ACK || tcp[12] & 0xf != 0 {
            return None;
        }
        let header_len = usize::from(tcp[12] >> 4) * 4;
        if header_len < TCP_HEADER_LEN || header_len >= tcp.len() {
            return None;
        }
        let pseudo = pseudo + u64::from(protocol::TCP) + tcp.len() as u64;
        if fold(pseudo + sum(tcp)) != 0xffff {
            return None;
        }
        Some(Segment {
            is_ipv4,
            tcp: HEADER_LEN + ip_header,
            payload: HEADER_LEN + ip_header + header_len,
            len: frame.len(),
            sequence: be32(tcp, 4),
            id,
            push: tcp[13] & PSH != 0,
        })
    }

    /// Payload bytes.
    fn size(&self) -> usize {
        self.len - self.payload
    }

    /// The parts of the headers that are the same in all segments of a row: all but lengths,
    /// identification, checksums, sequence number and PSH.
    fn unchanging(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (ip, tcp) = (HEADER_LEN, self.tcp);
        let in_ip = match self.is_ipv4 {
            true => [0..ip + 2, ip + 6..ip + 10, ip + 12..tcp + 4],
            false => [0..ip + 4, ip + 6..tcp, tcp..tcp + 4],
        };
        // The flags of all are ACK, with or without PSH.
        let in_tcp = [
            tcp + 8..tcp + 13,
            tcp + 14..tcp + 16,
            tcp + 18..self.payload,
        ];
        in_ip.into_iter().chain(in_tcp)
    }

    /// Makes the headers those of the whole, with the checksum left to the receiver.
    fn seal(&self, bytes: &mut [u8], push: bool) -> Option<VnetHeader> {
        let whole = u16::try_from(bytes.len() - HEADER_LEN).ok()?;
        let tcp_len = u16::try_from(bytes.len() - self.tcp).ok()?;
        let ip = &mut bytes[HEADER_LEN..self.tcp];
        let addresses = match self.is_ipv4 {
            true => {
                ip[2..4].copy_from_slice(&whole.to_be_bytes());
                ip[10..12].fill(0);
                let folded = checksum(ip);
                ip[10..12].copy_from_slice(&folded.to_be_bytes());
                sum(&ip[12..20])
            }
            false => {
                ip[4..6].copy_from_slice(&tcp_len.to_be_bytes());
                sum(&ip[8..40])
            }
        };
        let pseudo = fold(addresses + u64::from(protocol::TCP) + u64::from(tcp_len));
        let tcp = &mut bytes[self.tcp..];
        tcp[16..18].copy_from_slice(&pseudo.to_be_bytes());
        if push {
            tcp[13] |= PSH;
        }
        Some(VnetHeader {
            flags: NEEDS_CSUM,
            gso_type: if self.is_ipv4 { GSO_TCPV4 } else { GSO_TCPV6 },
            hdr_len: u16::try_from(self.payload).ok()?,
            gso_size: u16::try_from(self.size()).ok()?,
            csum_start: u16::try_from(self.tcp).ok()?,
            csum_offset: 16,
        })
    }
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
