//! Which frames of packet memory suit the controller, which counts its buffers in KiB.

use super::receive::{RECEIVE_ENTRIES, buffer_size};
use super::transmit::TRANSMIT_ENTRIES;

/// The MTU unless configured otherwise.
pub const DEFAULT_MTU: u32 = 1500;
/// The largest MTU: as Linux's driver of the same controllers.
pub const MAX_MTU: u32 = 9710;
/// The largest frames that are of use.
pub const MAX_FRAME_SIZE: u32 = 16384;
/// The smallest: a buffer of 1 KiB is all that fits into less.
const MIN_FRAME_SIZE: u32 = 4096;

/// Bytes of a frame that are not the MTU's: Ethernet header and two VLAN tags. The FCS is not kept.
pub(super) const LINK_HEADER: u32 = 14 + 2 * 4;

/// The largest MTU that frames of `frame_size` bytes carry: 3050 for 4096, 7146 for 8192.
pub fn max_mtu(frame_size: u32) -> u32 {
    if frame_size < MIN_FRAME_SIZE {
        return 0;
    }
    buffer_size(frame_size)
        .saturating_sub(LINK_HEADER)
        .min(MAX_MTU)
}

/// The frame size of a worker that has ports of up to `mtu`; `None` above [`MAX_MTU`].
pub fn frame_size_for(mtu: u32) -> Option<u32> {
    [MIN_FRAME_SIZE, 8192, MAX_FRAME_SIZE]
        .into_iter()
        .find(|&size| mtu <= max_mtu(size))
}

/// Frames that the rings of a worker hold which serves so many hardware queues.
pub fn frames(queues: u32) -> u32 {
    queues
        .saturating_mul(RECEIVE_ENTRIES)
        .saturating_add(TRANSMIT_ENTRIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_as_large_as_the_mtu_needs_and_no_larger() {
        for (mtu, size) in [
            (1500, Some(4096)),
            (3050, Some(4096)),
            (3051, Some(8192)),
            (7146, Some(8192)),
            (7147, Some(16384)),
            (9710, Some(16384)),
            (9711, None),
        ] {
            assert_eq!(frame_size_for(mtu), size, "{mtu}");
        }
        assert_eq!(max_mtu(2048), 0);
    }
}
