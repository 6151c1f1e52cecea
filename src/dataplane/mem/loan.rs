//! Frames lent to a device that gives them back in the order in which it got them.

use std::ops::Range;
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::list::append;
use super::pool::ADDRESS_BITS;
use super::{Apart, Arena, Frame, Pool};

/// The frames that the descriptors of a ring stand for. Indices run freely: those from `head` up to
/// `tail` have a frame each, at the place that the index has in a ring of as many descriptors.
///
/// A frame's token is either here or in somebody's hand. Dropping a loan loses the frames in it, and their
/// arena then stays mapped for good.
#[derive(Debug)]
pub struct Loan {
    /// By place. Places without a frame hold old tokens, which are never used.
    tokens: Apart<u64>,
    head: u32,
    tail: u32,
    arena: Arc<Arena>,
    base: u64,
}

impl Loan {
    /// Without frames yet, which are to be `arena`'s; with so many places, a power of two or it panics.
    pub fn new(arena: Arc<Arena>, places: u32) -> Loan {
        assert!(places.is_power_of_two(), "a ring of {places} places");
        Loan {
            tokens: Apart::new(0, places as usize),
            head: 0,
            tail: 0,
            base: arena.base().addr() as u64,
            arena,
        }
    }

    /// The oldest frame's index.
    #[inline]
    pub fn head(&self) -> u32 {
        self.head
    }

    /// The next frame's index.
    #[inline]
    pub fn tail(&self) -> u32 {
        self.tail
    }

    /// How many frames are lent.
    #[inline]
    pub fn len(&self) -> u32 {
        self.tail.wrapping_sub(self.head)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// How many more can be. One place stays free: a device takes a full ring for an empty one.
    #[inline]
    pub fn room(&self) -> u32 {
        self.mask() - self.len()
    }

    /// Lends up to `most` fresh frames of the pool; how many.
    #[inline(always)]
    pub fn lend_fresh(&mut self, pool: &mut Pool, most: u32) -> u32 {
        pool.assert_in(&self.arena);
        let before = self.tail;
        for places in self.places(before, most.min(self.room())) {
            let taken = pool.take_tokens(&mut self.tokens[places]);
            self.tail = self.tail.wrapping_add(count(taken));
        }
        self.tail.wrapping_sub(before)
    }

    /// Lends frames from the front of a list, as far as there is room; how many.
    #[inline(always)]
    pub fn lend<const N: usize>(&mut self, pool: &Pool, list: &mut ArrayVec<Frame, N>) -> u32 {
        pool.assert_in(&self.arena);
        let most = self.room().min(count(list.len()));
        pool.check_all(&list[..most as usize]);
        let mut frames = list.drain(..most as usize);
        for places in self.places(self.tail, most) {
            for (token, frame) in self.tokens[places].iter_mut().zip(&mut frames) {
                *token = frame.0;
            }
        }
        self.tail = self.tail.wrapping_add(most);
        most
    }

    /// Where in the arena the packets of `many` frames from an index on begin, and how long they are; in
    /// two pieces, each with its first index, between which the ring ends.
    #[inline(always)]
    pub fn packets(
        &self,
        from: u32,
        many: u32,
    ) -> [(u32, impl Iterator<Item = (u64, u16)> + use<'_>); 2] {
        let (base, mut next) = (self.base, from);
        self.places(from, many).map(|places| {
            let first = next;
            next = next.wrapping_add(count(places.len()));
            let frames = self.tokens[places].iter().map(|token| Frame(*token));
            let packet = move |frame: Frame| (frame.address().wrapping_sub(base), frame.length());
            (first, frames.map(packet))
        })
    }

    /// Takes back the oldest frames, with packets of these lengths, as many as there are and as `list`
    /// has room for; how many. What would lie behind a frame's end is cut off.
    #[inline(always)]
    pub fn redeem<const N: usize>(
        &mut self,
        lengths: &[u16],
        list: &mut ArrayVec<Frame, N>,
    ) -> u32 {
        let most = count(lengths.len().min(list.remaining_capacity()));
        let most = most.min(self.len());
        let last = u64::from(self.arena.frame_size()) - 1;
        let mut lengths = lengths;
        for places in self.places(self.head, most) {
            let (now, later) = lengths.split_at(places.len());
            lengths = later;
            let lent = self.tokens[places].iter().zip(now);
            append(
                list,
                lent.map(|(token, length)| {
                    let address = Frame(*token).address();
                    let room = last + 1 - (address.wrapping_sub(self.base) & last);
                    // At most as much as it was.
                    let length = u64::from(*length).min(room);
                    Frame(address | length << ADDRESS_BITS)
                }),
            );
        }
        self.head = self.head.wrapping_add(most);
        most
    }

    /// Gives the oldest frames, up to `most`, back to their pool.
    #[inline(always)]
    pub fn give(&mut self, pool: &mut Pool, most: u32) {
        pool.assert_in(&self.arena);
        let most = most.min(self.len());
        for places in self.places(self.head, most) {
            pool.give_tokens(&self.tokens[places]);
        }
        self.head = self.head.wrapping_add(most);
    }

    /// All frames that are lent. The device must no longer touch them.
    pub fn end(&mut self) -> Vec<Frame> {
        let pieces = self.places(self.head, self.len());
        self.head = self.tail;
        let frames = |places: Range<usize>| self.tokens[places].iter().map(|token| Frame(*token));
        pieces.into_iter().flat_map(frames).collect()
    }

    /// The places of so many indices, at most as many as there are: up to the last, and from the first on.
    #[inline(always)]
    fn places(&self, from: u32, many: u32) -> [Range<usize>; 2] {
        let start = (from & self.mask()) as usize;
        let end = start + many as usize;
        let size = self.tokens.len();
        [start..end.min(size), 0..end.max(size) - size]
    }

    #[inline(always)]
    fn mask(&self) -> u32 {
        count(self.tokens.len()) - 1
    }
}

/// No list here is longer than a ring.
#[inline(always)]
fn count(frames: usize) -> u32 {
    u32::try_from(frames).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::dataplane::mem::{COLOURS, HEAD, HEADROOM, LINE};

    const FRAMES: u32 = 24;
    const FRAME_SIZE: u32 = 2048;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        LendFresh(u32),
        Lend,
        Redeem(usize, u16),
        Give(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u32..12).prop_map(Step::LendFresh),
            Just(Step::Lend),
            (0usize..12, any::<u16>()).prop_map(|(many, len)| Step::Redeem(many, len)),
            (0u32..12).prop_map(Step::Give),
        ]
    }

    fn pool() -> (Pool, Loan) {
        let arena = Arc::new(Arena::new(FRAMES, FRAME_SIZE).unwrap().0);
        (Pool::new(Arc::clone(&arena)).unwrap(), Loan::new(arena, 16))
    }

    /// Where packets begin in the arena, by frames lent.
    fn starts(loan: &Loan) -> Vec<u64> {
        let pieces = loan.packets(loan.head(), loan.len());
        let packets = pieces.into_iter().flat_map(|(_, packets)| packets);
        packets.map(|(start, _)| start).collect()
    }

    proptest! {
        #[test]
        fn frames_come_back_in_the_order_in_which_they_were_lent_and_none_is_lost(
            first in prop_oneof![Just(0), Just(u32::MAX - 20)],
            steps in proptest::collection::vec(step(), 1..60),
        ) {
            let (mut pool, mut loan) = pool();
            (loan.head, loan.tail) = (first, first);
            let mut lent = VecDeque::new();
            let mut list = ArrayVec::<Frame, 8>::new();
            let base = loan.base;
            for step in steps {
                let (room, available) = (15 - lent.len(), pool.available());
                match step {
                    Step::LendFresh(most) => {
                        let many = loan.lend_fresh(&mut pool, most) as usize;
                        prop_assert_eq!(many, room.min(available).min(most as usize));
                        lent.extend(&starts(&loan)[lent.len()..]);
                    }
                    Step::Lend => {
                        let before = list.iter().map(|frame| frame.address() - base);
                        let before: Vec<_> = before.collect();
                        let many = loan.lend(&pool, &mut list) as usize;
                        prop_assert_eq!(many, room.min(before.len()));
                        prop_assert_eq!(list.len(), before.len() - many);
                        lent.extend(&before[..many]);
                    }
                    Step::Redeem(many, len) => {
                        let before = list.len();
                        let taken = loan.redeem(&vec![len; many], &mut list) as usize;
                        prop_assert_eq!(taken, lent.len().min(8 - before).min(many));
                        for frame in &list[before..] {
                            let start = frame.address() - base;
                            prop_assert_eq!(lent.pop_front(), Some(start));
                            let room = u64::from(FRAME_SIZE) - start % u64::from(FRAME_SIZE);
                            prop_assert_eq!(frame.len() as u64, room.min(u64::from(len)));
                        }
                    }
                    Step::Give(most) => {
                        loan.give(&mut pool, most);
                        lent.drain(..lent.len().min(most as usize));
                    }
                }
                prop_assert_eq!(starts(&loan), lent.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(loan.len() as usize, lent.len());
                let all = pool.available() + lent.len() + list.len();
                prop_assert_eq!(all, FRAMES as usize);
            }
            pool.give_all(loan.end());
            prop_assert!(loan.is_empty() && loan.end().is_empty());
            pool.give_all(list.drain(..));
            let frames: Vec<Frame> = std::iter::from_fn(|| pool.take()).collect();
            let mut places: Vec<_> = frames.iter().map(Frame::address).collect();
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), FRAMES as usize, "no frame twice");
            pool.give_all(frames);
        }
    }

    #[test]
    fn fresh_frames_begin_behind_headroom_and_colour_with_room_for_a_head() {
        let (mut pool, mut loan) = pool();
        assert_eq!(loan.lend_fresh(&mut pool, u32::MAX), 15);
        for start in starts(&loan) {
            let place = usize::try_from(start).unwrap() % FRAME_SIZE as usize;
            let colour = (place - HEADROOM) / LINE;
            assert!((place - HEADROOM).is_multiple_of(LINE) && colour < COLOURS);
            assert!(place + HEAD <= FRAME_SIZE as usize);
        }
        pool.give_all(loan.end());
    }

    #[test]
    #[should_panic(expected = "another arena")]
    fn frames_of_another_pool_are_not_lent() {
        let ((_, mut loan), (mut other, _)) = (pool(), pool());
        loan.lend_fresh(&mut other, 1);
    }

    #[test]
    #[should_panic(expected = "another arena")]
    fn frames_are_not_given_to_another_pool() {
        let ((mut pool, mut loan), (mut other, _)) = (pool(), pool());
        loan.lend_fresh(&mut pool, 1);
        loan.give(&mut other, 1);
    }

    #[test]
    #[should_panic(expected = "another arena")]
    fn frames_of_another_pool_in_a_list_are_not_lent() {
        let ((pool, mut loan), (mut other, _)) = (pool(), pool());
        let mut list: ArrayVec<Frame, 8> = other.take().into_iter().collect();
        loan.lend(&pool, &mut list);
    }
}
