//! How packets lie in frames of packet memory, and frames in the chunks that AF_XDP counts in.
//!
//! A chunk is a frame, or the part of one that fits a page: AF_XDP takes no larger ones. Where frames
//! are larger, each frame's first chunk is what the kernel receives into. A packet that needs more comes
//! in the first chunks of several frames (multi-buffer), and is put together in the first frame. So
//! everyone else sees a packet in one piece; on its way out it is described to the kernel chunk by chunk.

use crate::dataplane::mem::{Apart, HEADROOM};

/// Bytes of a frame that are not the MTU's: Ethernet header and two VLAN tags.
const LINK_HEADER: u32 = 14 + 2 * 4;
#[allow(clippy::cast_possible_truncation, reason = "256 fits")]
const HEADROOM_U32: u32 = HEADROOM as u32;

/// The largest MTU: what cards have.
pub const MAX_MTU: u32 = 9710;

/// The largest chunks that AF_XDP takes: a page.
const MAX_CHUNK: u32 = 4096;

/// The largest MTU that frames of `frame_size` bytes carry: 1770 for 2048, 3818 for 4096.
pub fn max_mtu(frame_size: u32) -> u32 {
    frame_size
        .saturating_sub(HEADROOM_U32 + LINK_HEADER)
        .min(MAX_MTU)
}

/// The frame size of a worker that has ports of up to `mtu`; `None` above [`MAX_MTU`].
pub fn frame_size_for(mtu: u32) -> Option<u32> {
    [2048, MAX_CHUNK, 8192, 16384]
        .into_iter()
        .find(|&size| mtu <= max_mtu(size))
}

/// Frames as AF_XDP sees them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    frame_shift: u32,
    pub(super) chunk_size: u32,
}

impl Layout {
    /// Of frames of `frame_size` bytes, a power of two.
    pub(super) fn new(frame_size: u32) -> Layout {
        Layout {
            frame_shift: frame_size.trailing_zeros(),
            chunk_size: frame_size.min(MAX_CHUNK),
        }
    }

    /// True when a packet may take several descriptors.
    pub(super) fn is_multi_buffer(self) -> bool {
        1 << self.frame_shift > self.chunk_size
    }

    /// The most descriptors that a packet of `len` bytes takes, wherever it begins in its frame.
    pub(super) fn most_descriptors(self, len: usize) -> u32 {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        len.div_ceil(self.chunk_size) + 1
    }

    /// The descriptors of a packet: none crosses the end of a chunk, all but the last say that there
    /// are more.
    pub(super) fn descriptors(self, addr: u64, len: u32) -> impl Iterator<Item = libc::xdp_desc> {
        let (mut addr, mut left, mut is_over) = (addr, len, false);
        std::iter::from_fn(move || {
            if is_over {
                return None;
            }
            let offset = addr & u64::from(self.chunk_size - 1);
            let room = self.chunk_size - u32::try_from(offset).unwrap_or(0);
            let piece = left.min(room);
            let descriptor = libc::xdp_desc {
                addr,
                len: piece,
                options: if left > room { libc::XDP_PKT_CONTD } else { 0 },
            };
            addr += u64::from(piece);
            left -= piece;
            is_over = left == 0;
            Some(descriptor)
        })
    }
}

/// How many of each frame's descriptors the kernel still has, where a packet may take several: a
/// frame is ours again with the last.
#[derive(Debug)]
pub(super) struct Outstanding {
    layout: Layout,
    /// By frame; empty where each takes one.
    counts: Apart<u8>,
}

impl Outstanding {
    /// Of an arena of so many frames.
    pub(super) fn new(layout: Layout, frames: u32) -> Outstanding {
        let frames = if layout.is_multi_buffer() { frames } else { 0 };
        Outstanding {
            layout,
            counts: Apart::new(0, frames as usize),
        }
    }

    fn count(&mut self, addr: u64) -> Option<&mut u8> {
        let frame = usize::try_from(addr >> self.layout.frame_shift).ok()?;
        self.counts.get_mut(frame)
    }

    /// Notes a descriptor that goes to the kernel.
    pub(super) fn add(&mut self, addr: u64) {
        if let Some(count) = self.count(addr) {
            *count = count.saturating_add(1);
        }
    }

    /// Notes that the kernel is done with a descriptor; true when it has no other of the same frame.
    pub(super) fn remove(&mut self, addr: u64) -> bool {
        self.count(addr).is_none_or(|count| {
            *count = count.saturating_sub(1);
            *count == 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_large_as_the_mtu_needs_and_no_larger() {
        for (mtu, size) in [
            (1500, Some(2048)),
            (1770, Some(2048)),
            (1771, Some(4096)),
            (3818, Some(4096)),
            (3819, Some(8192)),
            (7914, Some(8192)),
            (9000, Some(16384)),
            (9710, Some(16384)),
            (9711, None),
        ] {
            assert_eq!(frame_size_for(mtu), size, "{mtu}");
        }
    }

    fn pieces(layout: Layout, addr: u64, len: u32) -> Vec<(u64, u32, bool)> {
        let tell = |one: libc::xdp_desc| (one.addr, one.len, one.options == libc::XDP_PKT_CONTD);
        layout.descriptors(addr, len).map(tell).collect()
    }

    #[test]
    fn a_packet_is_described_chunk_by_chunk() {
        let large = Layout::new(16384);
        assert!(large.is_multi_buffer());
        assert_eq!(pieces(large, 16384 + 256, 60), [(16640, 60, false)]);
        assert_eq!(pieces(large, 256, 3840), [(256, 3840, false)]);
        assert_eq!(
            pieces(large, 256, 3841),
            [(256, 3840, true), (4096, 1, false)]
        );
        assert_eq!(
            pieces(large, 256, 9014),
            [(256, 3840, true), (4096, 4096, true), (8192, 1078, false)]
        );
        assert_eq!(large.most_descriptors(9014), 4);
        let small = Layout::new(2048);
        assert!(!small.is_multi_buffer());
        assert_eq!(pieces(small, 2048 + 256, 1514), [(2304, 1514, false)]);
    }

    #[test]
    fn no_packet_takes_more_descriptors_than_was_said() {
        let layout = Layout::new(16384);
        for offset in [0, 256, 704, 4095] {
            for len in [1, 60, 4095, 4096, 4097, 9732, 12288] {
                let count = u32::try_from(layout.descriptors(offset, len).count()).unwrap();
                assert!(
                    count <= layout.most_descriptors(len as usize),
                    "{offset} {len}"
                );
            }
        }
    }

    #[test]
    fn a_frame_comes_back_with_the_last_of_its_descriptors() {
        let mut outstanding = Outstanding::new(Layout::new(16384), 2);
        for addr in [16640, 20480, 24576, 256] {
            outstanding.add(addr);
        }
        assert!(!outstanding.remove(20480));
        assert!(outstanding.remove(256));
        assert!(!outstanding.remove(16640));
        assert!(outstanding.remove(24576));
        assert!(outstanding.remove(1 << 40), "nobody's: the pool will say");
        let mut single = Outstanding::new(Layout::new(2048), 2);
        single.add(2304);
        assert!(single.remove(2304));
    }
}
