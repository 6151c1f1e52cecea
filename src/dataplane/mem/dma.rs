//! Where a region lies for a device.

use super::region::HUGE_PAGE;

/// The device's addresses of a region, by pieces of 2 MiB, each contiguous for it.
#[derive(Clone, Debug)]
pub struct DmaMap {
    /// By piece: its address for the device.
    pieces: Box<[u64]>,
}

impl DmaMap {
    /// From contiguous segments (address for the device, bytes) in the region's order; `None` when a
    /// piece of 2 MiB would lie in more than one, or the segments are not `len` bytes together.
    pub fn new(segments: impl IntoIterator<Item = (u64, u64)>, len: usize) -> Option<DmaMap> {
        let piece = HUGE_PAGE as u64;
        let mut pieces = Vec::with_capacity(len / HUGE_PAGE);
        // The run of adjacent segments that is being cut into pieces: where it goes on, bytes left.
        let (mut next, mut left) = (0u64, 0u64);
        for (address, bytes) in segments {
            if left == 0 {
                (next, left) = (address, bytes);
            } else if next.checked_add(left)? == address {
                left = left.checked_add(bytes)?;
            } else {
                return None;
            }
            while left >= piece {
                pieces.push(next);
                next = next.checked_add(piece)?;
                left -= piece;
            }
        }
        let whole = left == 0 && pieces.len().checked_mul(HUGE_PAGE)? == len;
        whole.then(|| DmaMap {
            pieces: pieces.into_boxed_slice(),
        })
    }

    /// The device's address of byte `offset` of the region, which must lie within it.
    pub fn address(&self, offset: u64) -> u64 {
        self.addresses()(offset)
    }

    /// As [`Self::address`], for many: the table is looked up once.
    #[inline(always)]
    pub fn addresses(&self) -> impl Fn(u64) -> u64 + use<'_> {
        let pieces = &*self.pieces;
        move |offset| {
            let piece = HUGE_PAGE as u64;
            // A region of 2^64 bytes does not exist: the piece's number fits.
            let index = usize::try_from(offset / piece).unwrap_or(usize::MAX);
            pieces[index] + offset % piece
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = HUGE_PAGE as u64;

    #[test]
    fn pieces_are_found_in_segments_of_any_cut() {
        let segments = [
            (0x1000, PIECE / 2),
            (0x1000 + PIECE / 2, PIECE / 2),
            (PIECE * 9, PIECE * 2),
        ];
        let map = DmaMap::new(segments, 3 * HUGE_PAGE).unwrap();
        assert_eq!(map.address(0), 0x1000);
        assert_eq!(map.address(PIECE - 1), 0x1000 + PIECE - 1);
        assert_eq!(map.address(PIECE), PIECE * 9);
        assert_eq!(map.address(2 * PIECE + 5), PIECE * 10 + 5);
    }

    #[test]
    fn segments_that_no_piece_fits_in_are_refused() {
        let split = [(0, PIECE / 2), (PIECE * 4, PIECE / 2)];
        assert!(DmaMap::new(split, HUGE_PAGE).is_none());
        assert!(DmaMap::new([(0, PIECE)], 2 * HUGE_PAGE).is_none(), "short");
        assert!(DmaMap::new([(0, PIECE * 2)], HUGE_PAGE).is_none(), "long");
        assert!(DmaMap::new([(u64::MAX - 1, PIECE)], HUGE_PAGE).is_none());
    }
}
