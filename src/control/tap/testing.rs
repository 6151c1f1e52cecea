//! TCP frames for the tests of cutting and joining, written field by field.

use crate::shared::wire::protocol;

/// A TCP segment with everything that tests vary.
#[derive(Clone, Debug)]
pub(super) struct Tcp {
    pub(super) is_ipv4: bool,
    pub(super) tags: usize,
    pub(super) id: u16,
    pub(super) sequence: u32,
    pub(super) flags: u8,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Tcp {
    pub(super) fn tcp_start(&self) -> usize {
        14 + self.tags * 4 + if self.is_ipv4 { 20 } else { 40 }
    }

    /// The frame, its checksums computed word by word (RFC 1071).
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut frame = self.partial();
        let (tcp, pseudo) = (self.tcp_start(), self.pseudo());
        frame[tcp + 16..tcp + 18].fill(0);
        let sum = !ones_sum(&[&pseudo, &frame[tcp..]]);
        frame[tcp + 16..tcp + 18].copy_from_slice(&sum.to_be_bytes());
        frame
    }

    /// The frame as a sender leaves it to a NIC: the checksum field has the pseudo-header's sum.
    pub(super) fn partial(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in 0..self.tags {
            frame.extend([0x81, 0, 0, u8::try_from(tag).unwrap() + 5]);
        }
        let length = u16::try_from(self.tcp_len()).unwrap();
        if self.is_ipv4 {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((length + 20).to_be_bytes());
            frame.extend(self.id.to_be_bytes());
            frame.extend([0x40, 0, 64, protocol::TCP, 0, 0]);
            frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
            let ip = frame.len() - 20;
            let sum = !ones_sum(&[&frame[ip..]]);
            frame[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
        } else {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 7]);
            frame.extend(length.to_be_bytes());
            frame.extend([protocol::TCP, 64]);
            frame.extend([0xfd; 16]);
            frame.extend([0xfc; 16]);
        }
        frame.extend([0x12, 0x34, 0, 179]);
        frame.extend(self.sequence.to_be_bytes());
        frame.extend([9, 8, 7, 6]);
        frame.push(u8::try_from(5 + self.options.len() / 4).unwrap() << 4);
        frame.extend([self.flags, 0x20, 0]);
        frame.extend(ones_sum(&[&self.pseudo()]).to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(&self.options);
        frame.extend(&self.payload);
        frame
    }

    /// As the naive reference cuts it: every segment built anew.
    pub(super) fn cut(&self, size: usize) -> Vec<Vec<u8>> {
        let chunks: Vec<_> = self.payload.chunks(size).collect();
        let last = chunks.len() - 1;
        let segment = |(at, chunk): (usize, &&[u8])| {
            let mut flags = self.flags;
            if at != last {
                flags &= !0x09;
            }
            if at != 0 {
                flags &= !0x80;
            }
            Tcp {
                id: self.id.wrapping_add(u16::try_from(at).unwrap()),
                sequence: self
                    .sequence
                    .wrapping_add(u32::try_from(at * size).unwrap()),
                flags,
                payload: chunk.to_vec(),
                ..self.clone()
            }
            .frame()
        };
        chunks.iter().enumerate().map(segment).collect()
    }

    fn tcp_len(&self) -> usize {
        20 + self.options.len() + self.payload.len()
    }

    fn pseudo(&self) -> Vec<u8> {
        let length = u16::try_from(self.tcp_len()).unwrap().to_be_bytes();
        let addresses = match self.is_ipv4 {
            true => vec![10, 0, 0, 1, 10, 0, 0, 2],
            false => [[0xfd; 16], [0xfc; 16]].concat(),
        };
        [&addresses[..], &[0, protocol::TCP], &length].concat()
    }
}

/// The one's complement sum of parts, of which only the last may be odd.
fn ones_sum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    u16::try_from(sum).unwrap()
}
