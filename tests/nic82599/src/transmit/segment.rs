//! Segmentation of TCP and UDP: one packet of headers and much data becomes many frames
//! (datasheet 7.2.4).

use super::context::{Context, Transport};
use super::offload::{self, sum_network};
use super::packet::LONGEST_FRAME;

/// What the device keeps of a packet's headers.
const MOST_HEADERS: usize = 512;
const TCP_SEQUENCE: usize = 4;
const TCP_FLAGS: usize = 12;
const UDP_LENGTH: usize = 4;
const IPV4_LENGTH: usize = 2;
const IPV4_IDENTIFICATION: usize = 4;
const IPV6_LENGTH: usize = 4;
const IPV6_HEADER: usize = 40;

/// Which TCP flags stay in the first, the middle and the last segment: DTXTCPFLGL, DTXTCPFLGH.
#[derive(Clone, Copy)]
pub(super) struct FlagMasks {
    pub(super) first: u16,
    pub(super) middle: u16,
    pub(super) last: u16,
}

/// A packet to be cut.
pub(super) struct Segments<'a> {
    packet: &'a [u8],
    context: Context,
    masks: FlagMasks,
    headers: usize,
    /// How many frames it becomes.
    pub(super) count: usize,
}

/// The length of all headers that a context describes.
pub(super) fn headers(context: &Context) -> usize {
    context.transport_at() + context.transport_length
}

impl<'a> Segments<'a> {
    pub(super) fn new(
        packet: &'a [u8],
        context: Context,
        masks: FlagMasks,
    ) -> Result<Segments<'a>, &'static str> {
        let least = match context.transport {
            Transport::Tcp => 20,
            Transport::Udp => 8,
            _ => return Err("segmentation of neither TCP nor UDP"),
        };
        context.fits(packet)?;
        let headers = headers(&context);
        if context.segment_size == 0 {
            return Err("segmentation with an MSS of 0");
        }
        if context.transport_length < least {
            return Err("segmentation with an L4LEN of less than a header");
        }
        if headers > MOST_HEADERS {
            return Err("segmentation with more than 512 bytes of headers");
        }
        if packet.len() <= headers {
            return Err("segmentation of headers without data");
        }
        if headers + context.segment_size > LONGEST_FRAME {
            return Err("segments longer than 15.5 KB");
        }
        Ok(Segments {
            packet,
            context,
            masks,
            headers,
            count: (packet.len() - headers).div_ceil(context.segment_size),
        })
    }

    /// Puts a segment together in a buffer that holds [`LONGEST_FRAME`]; how long it is.
    pub(super) fn build(&self, n: usize, frame: &mut [u8]) -> Result<usize, &'static str> {
        let context = &self.context;
        let from = self.headers + n * context.segment_size;
        let to = (from + context.segment_size).min(self.packet.len());
        let length = self.headers + to - from;
        let frame = &mut frame[..length];
        frame[..self.headers].copy_from_slice(&self.packet[..self.headers]);
        frame[self.headers..].copy_from_slice(&self.packet[from..to]);

        let (_, ip) = frame.split_at_mut(context.mac_length);
        if context.ipv4 {
            put(ip, IPV4_LENGTH, ip.len());
            add(ip, IPV4_IDENTIFICATION, n);
            sum_network(frame, context)?;
        } else {
            put(ip, IPV6_LENGTH, ip.len() - IPV6_HEADER);
        }
        let segment = &mut frame[context.transport_at()..];
        match context.transport {
            Transport::Tcp => self.tcp(n, segment),
            _ => put(segment, UDP_LENGTH, segment.len()),
        }
        offload::insert_transport(segment, context.transport, segment.len())?;
        Ok(length)
    }

    /// The sequence number and flags of a segment.
    fn tcp(&self, n: usize, segment: &mut [u8]) {
        let passed = u32::try_from(n * self.context.segment_size).unwrap_or_default();
        if let Some(sequence) = segment[TCP_SEQUENCE..].first_chunk_mut() {
            let first = u32::from_be_bytes(*sequence);
            *sequence = first.wrapping_add(passed).to_be_bytes();
        }
        let mask = if n + 1 == self.count {
            self.masks.last
        } else if n == 0 {
            self.masks.first
        } else {
            self.masks.middle
        };
        if let Some(flags) = segment[TCP_FLAGS..].first_chunk_mut() {
            *flags = (u16::from_be_bytes(*flags) & (mask | 0xF000)).to_be_bytes();
        }
    }
}

/// Puts a length into a field: lengths of frames fit.
fn put(bytes: &mut [u8], at: usize, length: usize) {
    let length = u16::try_from(length).unwrap_or_default();
    bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

/// Adds to a field, modulo 2^16.
fn add(bytes: &mut [u8], at: usize, n: usize) {
    if let Some(field) = bytes[at..].first_chunk_mut() {
        let more = u16::try_from(n & 0xFFFF).unwrap_or_default();
        *field = u16::from_be_bytes(*field).wrapping_add(more).to_be_bytes();
    }
}
