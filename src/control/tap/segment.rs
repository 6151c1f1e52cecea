//! Does for the kernel what it left to a NIC: cuts a large TCP frame from a TAP into segments and
//! completes checksums. In place: a segment's headers are written over the end of the one before it,
//! which has gone by then, so that no payload is copied.

use super::vnet::{GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, NEEDS_CSUM, VnetHeader};
use crate::shared::wire::checksum::{checksum, fold, sum};
use crate::shared::wire::ethernet::{HEADER_LEN, ethertype};
use crate::shared::wire::{be16, be32, ipv4, ipv6, protocol};

/// VLAN tags that may stand before the IP header.
const MAX_TAGS: usize = 2;
/// Ethernet, two tags, IPv6 with some extension headers, TCP with all options.
const MAX_HEADERS: usize = 256;

/// Fields of a TCP header (RFC 9293 section 3.1).
const TCP_HEADER_LEN: usize = 20;
const SEQUENCE: usize = 4;
const DATA_OFFSET: usize = 12;
const FLAGS: usize = 13;
const CHECKSUM: usize = 16;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// A frame from the kernel as the frames that may leave by a device, one after the other.
#[derive(Debug)]
pub struct Segments<'a> {
    frame: &'a mut [u8],
    /// `None`: the frame goes as it is, once.
    plan: Option<Plan>,
    /// Payload bytes that have gone.
    done: usize,
    ended: bool,
}

/// How a large frame is cut.
#[derive(Debug)]
struct Plan {
    headers: [u8; MAX_HEADERS],
    headers_len: usize,
    ip: usize,
    tcp: usize,
    is_ipv4: bool,
    /// Payload bytes of a segment.
    size: usize,
    /// The pseudo-header's sum without its length.
    pseudo: u64,
}

impl<'a> Segments<'a> {
    /// `None` when header and frame do not fit together: such a frame cannot be sent.
    pub fn new(header: VnetHeader, frame: &'a mut [u8]) -> Option<Segments<'a>> {
        let plan = match header.gso_type & !GSO_ECN {
            GSO_NONE => {
                if header.flags & NEEDS_CSUM != 0 {
                    complete(header, frame)?;
                }
                None
            }
            GSO_TCPV4 => Some(Plan::new(header, frame, true)?),
            GSO_TCPV6 => Some(Plan::new(header, frame, false)?),
            _ => return None,
        };
        Some(Segments {
            frame,
            plan,
            done: 0,
            ended: false,
        })
    }

    /// The next frame to send.
    pub fn next_segment(&mut self) -> Option<&[u8]> {
        if self.ended {
            return None;
        }
        let Some(plan) = &self.plan else {
            self.ended = true;
            return Some(self.frame);
        };
        let left = self.frame.len() - plan.headers_len - self.done;
        let size = left.min(plan.size);
        self.ended = size == left;
        let segment = &mut self.frame[self.done..self.done + plan.headers_len + size];
        plan.write(segment, self.done, self.ended)?;
        self.done += size;
        Some(segment)
    }
}

impl Plan {
    fn new(header: VnetHeader, frame: &[u8], is_ipv4: bool) -> Option<Plan> {
        let ip = ip_start(frame, is_ipv4)?;
        let tcp = usize::from(header.csum_start);
        let segment = frame.get(tcp..)?;
        if segment.len() < TCP_HEADER_LEN || usize::from(header.csum_offset) != CHECKSUM {
            return None;
        }
        let fits = match is_ipv4 {
            true => {
                let first = *frame.get(ip)?;
                let header_len = usize::from(first & 0xf) * 4;
                first >> 4 == 4
                    && header_len >= ipv4::MIN_HEADER_LEN
                    && tcp == ip + header_len
                    && frame.get(ip + 9) == Some(&protocol::TCP)
            }
            false => frame.get(ip)? >> 4 == 6 && tcp >= ip + ipv6::HEADER_LEN,
        };
        let tcp_header_len = usize::from(segment[DATA_OFFSET] >> 4) * 4;
        let headers_len = tcp + tcp_header_len;
        let room = headers_len <= frame.len().min(MAX_HEADERS);
        if !fits || tcp_header_len < TCP_HEADER_LEN || !room || header.gso_size == 0 {
            return None;
        }
        let whole = u16::try_from(segment.len()).ok()?;
        let mut headers = [0; MAX_HEADERS];
        headers[..headers_len].copy_from_slice(&frame[..headers_len]);
        Some(Plan {
            headers,
            headers_len,
            ip,
            tcp,
            is_ipv4,
            size: usize::from(header.gso_size),
            pseudo: u64::from(be16(segment, CHECKSUM)) + u64::from(!whole),
        })
    }

    /// Writes the headers of the segment whose payload begins `done` bytes into the whole.
    fn write(&self, segment: &mut [u8], done: usize, last: bool) -> Option<()> {
        let number = u16::try_from(done / self.size).ok()?;
        segment[..self.headers_len].copy_from_slice(&self.headers[..self.headers_len]);
        let (before, tcp) = segment.split_at_mut(self.tcp);
        self.write_ip(&mut before[self.ip..], tcp.len(), number)?;
        let sequence = be32(tcp, SEQUENCE).wrapping_add(u32::try_from(done).ok()?);
        tcp[SEQUENCE..SEQUENCE + 4].copy_from_slice(&sequence.to_be_bytes());
        if !last {
            tcp[FLAGS] &= !(FIN | PSH);
        }
        if number > 0 {
            tcp[FLAGS] &= !CWR;
        }
        tcp[CHECKSUM..CHECKSUM + 2].fill(0);
        let len = u64::from(u16::try_from(tcp.len()).ok()?);
        let folded = !fold(self.pseudo + len + sum(tcp));
        tcp[CHECKSUM..CHECKSUM + 2].copy_from_slice(&folded.to_be_bytes());
        Some(())
    }

    fn write_ip(&self, ip: &mut [u8], tcp_len: usize, number: u16) -> Option<()> {
        if !self.is_ipv4 {
            let len = u16::try_from(ip.len() - ipv6::HEADER_LEN + tcp_len).ok()?;
            ip[4..6].copy_from_slice(&len.to_be_bytes());
            return Some(());
        }
        let len = u16::try_from(ip.len() + tcp_len).ok()?;
        let id = be16(ip, 4).wrapping_add(number);
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        ip[4..6].copy_from_slice(&id.to_be_bytes());
        ip[10..12].fill(0);
        let folded = checksum(ip);
        ip[10..12].copy_from_slice(&folded.to_be_bytes());
        Some(())
    }
}

/// Completes a checksum whose field holds the pseudo-header's sum.
fn complete(header: VnetHeader, frame: &mut [u8]) -> Option<()> {
    let summed = frame.get_mut(usize::from(header.csum_start)..)?;
    let at = usize::from(header.csum_offset);
    summed.get(at..at + 2)?;
    // A UDP checksum of zero would say that there is none; elsewhere both mean the same.
    let folded = match !fold(sum(summed)) {
        0 => 0xffff,
        folded => folded,
    };
    summed[at..at + 2].copy_from_slice(&folded.to_be_bytes());
    Some(())
}

/// Where the IP header begins, behind VLAN tags.
fn ip_start(frame: &[u8], is_ipv4: bool) -> Option<usize> {
    let wanted = match is_ipv4 {
        true => ethertype::IPV4,
        false => ethertype::IPV6,
    };
    let mut start = HEADER_LEN;
    for _ in 0..=MAX_TAGS {
        let kind = be16(frame.get(start - 2..start)?, 0);
        match kind {
            ethertype::VLAN | ethertype::SERVICE_VLAN => start += 4,
            kind => return (kind == wanted).then_some(start),
        }
    }
    None
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
