//! The packets of a burst, opened together: where each begins is worked out once.

#![allow(unsafe_code, reason = "turns unique tokens into references")]

use std::marker::PhantomData;

use super::pool::{at, prefetch, sort};
use super::{Frame, Pool};

/// Bytes at a packet's start that a frame always has, whatever the packet's length: a cache line, in
/// which lie the headers of all but packets with extension headers.
pub const HEAD: usize = 64;

/// The first bytes of a packet; behind its end, whatever lies in its frame.
pub type Head = [u8; HEAD];

/// Up to `N` packets, at least one, for reading and rewriting; `N` is a power of two. Aligned, as it is
/// written by vectors: a store that straddles two pages costs as much as ten packets' rewriting.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Packets<'a, const N: usize> {
    /// Where packets begin. Behind the last one, again the first: any slot has a head.
    heads: [*mut u8; N],
    frames: &'a mut [Frame],
    pool: PhantomData<&'a Pool>,
}

impl Pool {
    /// Packets that will be opened soon.
    #[inline]
    pub fn ahead<'a>(&self, frames: &'a [Frame]) -> Ahead<'a> {
        Ahead {
            left: frames,
            base: self.arena().base(),
        }
    }

    /// Opens the first `N` frames; `None` when there are none.
    #[inline(always)]
    pub fn packets<'a, const N: usize>(
        &'a self,
        frames: &'a mut [Frame],
    ) -> Option<Packets<'a, N>> {
        const { assert!(N.is_power_of_two()) };
        let count = frames.len().min(N);
        let frames = &mut frames[..count];
        self.check_all(frames);
        let base = self.arena().base();
        let mut heads = [at(base, frames.first()?.address()); N];
        begin(&mut heads, base, frames);
        Some(Packets {
            heads,
            frames,
            pool: PhantomData,
        })
    }
}

/// Notes where the packets of an arena's frames begin.
#[inline(always)]
fn begin(heads: &mut [*mut u8], base: *mut u8, frames: &[Frame]) {
    for (head, frame) in heads.iter_mut().zip(frames) {
        *head = at(base, frame.address());
    }
}

/// Packets that will be opened next. Their heads are had come nearer a few at a time, while something
/// else is computed: a core waits once some sixteen lines are on their way.
#[derive(Debug)]
pub struct Ahead<'a> {
    left: &'a [Frame],
    base: *mut u8,
}

impl Ahead<'_> {
    /// How many come nearer at a time.
    const FEW: usize = 8;

    /// Has a few more heads come nearer.
    #[inline(always)]
    pub fn fetch(&mut self) {
        if let Some((few, left)) = self.left.split_first_chunk::<{ Ahead::FEW }>() {
            few.iter()
                .for_each(|frame| prefetch(at(self.base, frame.address())));
            self.left = left;
        }
    }

    /// None is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Has all others come nearer.
    #[inline(never)]
    pub fn fetch_rest(&mut self) {
        for frame in std::mem::take(&mut self.left) {
            prefetch(at(self.base, frame.address()));
        }
    }
}

impl<const N: usize> Packets<'_, N> {
    #[inline]
    pub fn count(&self) -> usize {
        self.frames.len()
    }

    #[inline]
    fn start(&self, slot: usize) -> *mut u8 {
        self.heads[slot % N]
    }

    /// Those of `M` slots from `first` on, which is a multiple of `M`.
    #[inline(always)]
    fn starts<const M: usize>(&self, first: usize) -> &[*mut u8; M] {
        const { assert!(N.is_multiple_of(M)) };
        let (chunks, _) = self.heads.as_chunks::<M>();
        &chunks[first % N / M]
    }

    /// The tokens, in the order of slots.
    #[inline]
    pub fn frames(&self) -> &[Frame] {
        self.frames
    }

    /// The head of a packet; beyond the last slot, of some other.
    #[inline]
    pub fn head(&self, slot: usize) -> &Head {
        // SAFETY: a frame has HEAD bytes from its packet's start on (an invariant of its token), its
        // token is borrowed mutably here, and whoever writes to it borrows `self` mutably.
        unsafe { &*self.start(slot).cast() }
    }

    /// The heads of `M` slots from `first` on, which is a multiple of `M`.
    #[inline]
    pub fn heads<const M: usize>(&self, first: usize) -> [&Head; M] {
        let starts = self.starts::<M>(first);
        // SAFETY: as in `head`.
        std::array::from_fn(|slot| unsafe { &*starts[slot].cast() })
    }

    /// As [`Self::head`], for rewriting.
    #[inline]
    pub fn head_mut(&mut self, slot: usize) -> &mut Head {
        // SAFETY: as in `head`; two slots may have the same head, but `self` is borrowed.
        unsafe { &mut *self.start(slot).cast() }
    }

    /// Rewrites the heads of `M` slots from `first` on, which is a multiple of `M`, one after the other. All
    /// of them have packets: one beyond the last would rewrite some other's head.
    #[inline(always)]
    pub fn each_head_mut<const M: usize>(
        &mut self,
        first: usize,
        mut rewrite: impl FnMut(usize, &mut Head),
    ) {
        debug_assert!(first + M <= self.count());
        for (lane, &start) in self.starts::<M>(first).iter().enumerate() {
            // SAFETY: as in `head_mut`, one at a time.
            rewrite(lane, unsafe { &mut *start.cast() });
        }
    }

    /// All bytes of a packet.
    #[inline]
    pub fn bytes(&self, slot: usize) -> &[u8] {
        let len = self.frames[slot].len();
        // SAFETY: as in `head`: a packet lies in its frame.
        unsafe { std::slice::from_raw_parts(self.start(slot), len) }
    }

    /// As [`Self::bytes`], for rewriting.
    #[inline]
    pub fn bytes_mut(&mut self, slot: usize) -> &mut [u8] {
        let len = self.frames[slot].len();
        // SAFETY: as in `head_mut` and `bytes`.
        unsafe { std::slice::from_raw_parts_mut(self.start(slot), len) }
    }

    /// Puts the packets of the first mask before those of the second, and both before all others; each
    /// kind keeps its order.
    #[inline]
    pub fn sort(&mut self, first: u64, second: u64) {
        const { assert!(N <= u64::BITS as usize) };
        sort(self.frames, first, second);
        let base = self.heads[0];
        begin(&mut self.heads, base, self.frames);
        // Slots behind the last have some head or other, as before.
    }

    /// Cuts a packet to its first `len` bytes.
    #[inline]
    pub fn cut(&mut self, slot: usize, len: usize) {
        self.frames[slot].truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dataplane::mem::{Arena, Holder};
    use crate::shared::port::PortId;

    fn pool() -> Pool {
        Pool::new(Arc::new(Arena::new(8, 2048).unwrap().0)).unwrap()
    }

    #[test]
    fn packets_are_what_their_frames_hold_and_heads_are_their_first_bytes() {
        let mut pool = pool();
        let mut frames: Vec<Frame> = Vec::new();
        for len in [0usize, 1, 64, 1500] {
            let mut frame = pool.take().unwrap();
            assert!(pool.fill(&mut frame, &vec![u8::try_from(len % 251).unwrap(); len]));
            frames.push(frame);
        }
        let mut packets = pool.packets::<4>(&mut frames).unwrap();
        assert_eq!(packets.count(), 4);
        assert_eq!(packets.bytes(3), vec![245; 1500]);
        assert_eq!(packets.head(3), &[245; 64]);
        assert_eq!((packets.bytes(0).len(), packets.head(1)[0]), (0, 1));
        packets.head_mut(2)[0] = 9;
        packets.bytes_mut(2)[63] = 8;
        packets.cut(2, 60);
        packets.cut(0, 60);
        assert_eq!((packets.bytes(2).len(), packets.bytes(2)[0]), (60, 9));
        assert_eq!((packets.head(2)[63], packets.bytes(0).len()), (8, 0));
        for frame in frames {
            pool.give(frame);
        }
    }

    #[test]
    fn sorted_packets_of_a_kind_keep_their_order_and_none_is_lost() {
        let mut pool = pool();
        let mut frames: Vec<Frame> = Vec::new();
        for number in 0..7 {
            let mut frame = pool.take().unwrap();
            assert!(pool.fill(&mut frame, &[number; 70]));
            frames.push(frame);
        }
        let mut packets = pool.packets::<8>(&mut frames).unwrap();
        // Slots that are not there, and one of both kinds.
        packets.sort(0b1111_1000_0101_0010, 0b0010_1000_0110);
        let numbers: Vec<u8> = (0..7).map(|slot| packets.bytes(slot)[69]).collect();
        assert_eq!(numbers, [1, 4, 6, 2, 0, 3, 5]);
        let heads: Vec<u8> = (0..7).map(|slot| packets.head(slot)[0]).collect();
        assert_eq!(heads, numbers);
        packets.each_head_mut::<2>(4, |lane, head| head[0] = 90 + u8::try_from(lane).unwrap());
        let heads: Vec<u8> = (0..7).map(|slot| packets.bytes(slot)[0]).collect();
        assert_eq!(heads, [1, 4, 6, 2, 90, 91, 5]);
        frames.into_iter().for_each(|frame| pool.give(frame));
    }

    #[test]
    fn no_frames_are_no_packets_and_more_than_fit_stay_closed() {
        let mut pool = pool();
        assert!(pool.packets::<4>(&mut []).is_none());
        let mut frames: Vec<Frame> = (0..5).map(|_| pool.take().unwrap()).collect();
        assert_eq!(pool.packets::<4>(&mut frames).unwrap().count(), 4);
        frames.into_iter().for_each(|frame| pool.give(frame));
    }

    #[test]
    fn a_ring_cannot_return_a_packet_without_room_for_a_head() {
        let mut pool = pool();
        let holder = Holder::port(PortId::new(0).unwrap());
        let frame = pool.take().unwrap();
        let addr = pool.lend(frame, holder);
        let last = (addr / 2048 + 1) * 2048;
        assert!(pool.redeem(last - 63, 1, holder).is_none());
        let frame = pool.redeem(last - 64, 1, holder).unwrap();
        pool.give(frame);
    }

    #[test]
    #[should_panic(expected = "another arena")]
    fn frames_of_another_pool_are_not_opened() {
        let (one, mut other) = (pool(), pool());
        let mut frames = [other.take().unwrap()];
        let _ = one.packets::<4>(&mut frames);
    }
}
