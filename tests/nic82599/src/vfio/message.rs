//! The messages' layout: headers, command numbers, fields. All in the host's byte order.

use rustix::io::Errno;

pub(super) const HEADER_SIZE: usize = 16;

/// The most data in one region access; what we tell the client at the start.
pub(super) const MAX_TRANSFER: u32 = 0x1_0000;

/// The largest payload of any command: a region write.
pub(super) const MAX_PAYLOAD: usize = 0x1_0000 + 16;

/// Descriptors that a message may carry; QEMU takes no larger number.
pub(super) const MAX_FDS: usize = 16;

pub(super) const VERSION: u16 = 1;
pub(super) const DMA_MAP: u16 = 2;
pub(super) const DMA_UNMAP: u16 = 3;
pub(super) const DEVICE_GET_INFO: u16 = 4;
pub(super) const DEVICE_GET_REGION_INFO: u16 = 5;
pub(super) const DEVICE_GET_IRQ_INFO: u16 = 7;
pub(super) const DEVICE_SET_IRQS: u16 = 8;
pub(super) const REGION_READ: u16 = 9;
pub(super) const REGION_WRITE: u16 = 10;
pub(super) const DEVICE_RESET: u16 = 13;
pub(super) const REGION_WRITE_MULTI: u16 = 15;

pub(super) const TYPE_MASK: u32 = 0xF;
pub(super) const TYPE_COMMAND: u32 = 0;
pub(super) const TYPE_REPLY: u32 = 1;
pub(super) const NO_REPLY: u32 = 1 << 4;
pub(super) const ERROR: u32 = 1 << 5;

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) command: u16,
    /// Of the whole message.
    pub(super) size: u32,
    pub(super) flags: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_SIZE]) -> Header {
        let [a, b, c, d, e, f, g, h, i, j, k, l, ..] = *bytes;
        Header {
            id: u16::from_ne_bytes([a, b]),
            command: u16::from_ne_bytes([c, d]),
            size: u32::from_ne_bytes([e, f, g, h]),
            flags: u32::from_ne_bytes([i, j, k, l]),
        }
    }

    pub(super) fn wants_reply(&self) -> bool {
        self.flags & (TYPE_MASK | NO_REPLY) == TYPE_COMMAND
    }

    /// The reply's bytes: the payload, or an error and nothing else.
    pub(super) fn reply(&self, result: Result<&[u8], Errno>) -> Vec<u8> {
        let (flags, errno, payload) = match result {
            Ok(payload) => (TYPE_REPLY, 0, payload),
            Err(errno) => (TYPE_REPLY | ERROR, errno.raw_os_error(), &[][..]),
        };
        let size = u32::try_from(HEADER_SIZE + payload.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEADER_SIZE + payload.len());
        bytes.extend(self.id.to_ne_bytes());
        bytes.extend(self.command.to_ne_bytes());
        bytes.extend(size.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(errno.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }
}

/// The fields of a payload, taken one after the other; one that is not there is EINVAL.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Errno> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Errno> {
        self.array().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_ne_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*taken)
    }
}

/// A payload under construction.
#[derive(Default)]
pub(super) struct Payload(pub(super) Vec<u8>);

impl Payload {
    pub(super) fn u16(mut self, value: u16) -> Payload {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Payload {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Payload {
        self.0.extend(value.to_ne_bytes());
        self
    }
}
