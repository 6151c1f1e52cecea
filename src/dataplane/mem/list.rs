//! Frames moved by the burst instead of one by one.

#![allow(
    unsafe_code,
    reason = "moves tokens that cannot be copied as the bytes that they are"
)]

use std::mem::MaybeUninit;
use std::slice;

use arrayvec::ArrayVec;

use super::Frame;

/// Moves frames from the front of one list to the end of another, as many as there are and as find
/// room, and `most` of them at most.
pub fn move_frames<const N: usize, const M: usize>(
    from: &mut ArrayVec<Frame, N>,
    to: &mut ArrayVec<Frame, M>,
    most: usize,
) {
    let count = most.min(from.len()).min(to.remaining_capacity());
    let (left, before) = (from.len() - count, to.len());
    // SAFETY: `to` has room for `count` more, and `from` has as many. From here on they belong to
    // `to`: the tokens behind them take their place in `from`, which no longer counts those that were
    // the last. Neither list is looked at in between, and nothing here can panic.
    unsafe {
        from.set_len(0);
        let (source, target) = (from.as_mut_ptr(), to.as_mut_ptr().add(before));
        target.copy_from_nonoverlapping(source, count);
        source.copy_from(source.add(count), left);
        from.set_len(left);
        to.set_len(before + count);
    }
}

/// Appends frames, as many as find room.
#[inline(always)]
pub(super) fn append<const N: usize>(
    list: &mut ArrayVec<Frame, N>,
    frames: impl Iterator<Item = Frame>,
) {
    let before = list.len();
    let room = list.remaining_capacity();
    // SAFETY: behind its elements the list has memory for `room` more, which hold no value yet.
    let places: &mut [MaybeUninit<Frame>] =
        unsafe { slice::from_raw_parts_mut(list.as_mut_ptr().add(before).cast(), room) };
    let mut count = 0;
    for (place, frame) in places.iter_mut().zip(frames) {
        place.write(frame);
        count += 1;
    }
    // SAFETY: the first `count` of these places have been written.
    unsafe { list.set_len(before + count) };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::dataplane::mem::{Arena, Pool};

    const ROOM: usize = 8;

    /// Frames whose lengths say which of them they are.
    fn list(pool: &mut Pool, lengths: std::ops::Range<usize>) -> ArrayVec<Frame, ROOM> {
        let mut frame = |length: usize| {
            let mut frame = pool.take().unwrap();
            assert!(pool.fill(&mut frame, &[0; 32][..length]));
            frame
        };
        lengths.map(&mut frame).collect()
    }

    fn lengths(frames: &ArrayVec<Frame, ROOM>) -> Vec<usize> {
        frames.iter().map(Frame::len).collect()
    }

    proptest! {
        #[test]
        fn frames_move_in_order_and_none_is_lost_or_there_twice(
            from in 0..=ROOM, to in 0..=ROOM, most in 0..=2 * ROOM,
        ) {
            let arena = Arc::new(Arena::new(16, 2048).unwrap().0);
            let mut pool = Pool::new(arena).unwrap();
            let (mut from, mut to) = (list(&mut pool, 0..from), list(&mut pool, 20..20 + to));
            let (mut naive_from, mut naive_to) = (lengths(&from), lengths(&to));
            let count = most.min(naive_from.len()).min(ROOM - naive_to.len());
            naive_to.extend(naive_from.drain(..count));
            move_frames(&mut from, &mut to, most);
            prop_assert_eq!((lengths(&from), lengths(&to)), (naive_from, naive_to));
        }
    }
}
