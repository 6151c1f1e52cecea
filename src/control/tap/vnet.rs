//! `struct virtio_net_hdr` (linux/virtio_net.h): what the kernel and a TAP's user tell each other
//! about a frame whose checksum or segmentation is left to the other side.

/// Bytes before every frame, in host order (the kernel's default for a TAP).
pub(super) const HEADER_LEN: usize = 10;

/// `flags`: the checksum at `csum_start + csum_offset` holds the pseudo-header's sum only.
pub(super) const NEEDS_CSUM: u8 = 1;

/// `gso_type`.
pub(super) const GSO_NONE: u8 = 0;
pub(super) const GSO_TCPV4: u8 = 1;
pub(super) const GSO_TCPV6: u8 = 4;
/// Beside a type: the first segment only keeps CWR.
pub(super) const GSO_ECN: u8 = 0x80;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VnetHeader {
    pub flags: u8,
    pub gso_type: u8,
    /// Bytes of all headers; a hint.
    pub hdr_len: u16,
    /// Payload bytes of each segment but the last.
    pub gso_size: u16,
    /// Where summing begins, from the start of the frame.
    pub csum_start: u16,
    /// Where the checksum is, from `csum_start`.
    pub csum_offset: u16,
}

impl VnetHeader {
    pub fn from_bytes(bytes: &[u8; HEADER_LEN]) -> VnetHeader {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        VnetHeader {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        }
    }

    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [self.flags, self.gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        let words = [
            self.hdr_len,
            self.gso_size,
            self.csum_start,
            self.csum_offset,
        ];
        for (slot, word) in bytes[2..].chunks_exact_mut(2).zip(words) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back() {
        let header = VnetHeader {
            flags: NEEDS_CSUM,
            gso_type: GSO_TCPV6 | GSO_ECN,
            hdr_len: 74,
            gso_size: 1440,
            csum_start: 54,
            csum_offset: 16,
        };
        assert_eq!(VnetHeader::from_bytes(&header.to_bytes()), header);
        assert_eq!(header.to_bytes()[2..4], 74u16.to_ne_bytes());
    }
}
