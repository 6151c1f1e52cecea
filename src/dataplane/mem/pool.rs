//! Frames of an arena as move-only tokens, and the record of those that rings hold which say themselves
//! what they give back.

#![allow(unsafe_code, reason = "turns a unique token into a slice of its frame")]

use std::sync::Arc;

use super::{Arena, COLOURS, HEAD, HEADROOM, LINE};
use crate::shared::port::PortId;

/// The right to touch one frame of packet memory. It cannot be copied. Dropping one leaks the buffer:
/// give it back instead.
///
/// Eight bytes, for lists of tokens are what is moved most: where the packet begins, with room for a
/// [`Head`](super::Head) from there on, and above these bits how long it is.
#[derive(Debug)]
#[must_use = "a frame that is not given back is lost to the pool"]
#[repr(transparent)]
pub struct Frame(pub(super) u64);

/// Bits of a token that are the packet's address.
pub(super) const ADDRESS_BITS: u32 = 48;

impl Frame {
    fn new(address: u64, len: u16) -> Frame {
        Frame(address | u64::from(len) << ADDRESS_BITS)
    }

    #[inline]
    pub(super) fn address(&self) -> u64 {
        self.0 & ((1 << ADDRESS_BITS) - 1)
    }

    /// Bytes of the packet.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.length())
    }

    #[inline]
    pub(super) fn length(&self) -> u16 {
        u16::try_from(self.0 >> ADDRESS_BITS).unwrap_or(0)
    }

    /// True for a packet of no bytes, as a fresh frame is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts the packet to its first `len` bytes; longer ones stay as they are.
    pub fn truncate(&mut self, len: usize) {
        if let Ok(len) = u16::try_from(len)
            && usize::from(len) < self.len()
        {
            *self = Frame::new(self.address(), len);
        }
    }
}

/// Puts up to 64 tokens into another order: those in the slots of the first mask, of the second, others.
#[inline]
pub(super) fn sort(tokens: &mut [Frame], first: u64, second: u64) {
    // Every slot is in one of these, so that each token is still there once.
    let masks = [first, second & !first, !(first | second)];
    let mut before = [0; 64];
    for (before, token) in before.iter_mut().zip(tokens.iter()) {
        *before = token.0;
    }
    let all = u64::MAX >> (64 - tokens.len().clamp(1, 64));
    let mut places = tokens.iter_mut();
    for mask in masks {
        let mut left = mask & all;
        while left != 0 {
            if let Some(place) = places.next() {
                place.0 = before[left.trailing_zeros() as usize];
            }
            left &= left - 1;
        }
    }
}

/// Who has a frame that is not in user space: a port's rings, which say themselves which one they give
/// back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder(u8);

impl Holder {
    /// No such ring: free, in somebody's hand, or in a [`Loan`](super::Loan).
    const USER: Holder = Holder(0);

    /// The rings of a port.
    pub fn port(port: PortId) -> Holder {
        // MAX_PORTS is 64, so the sum fits.
        Holder(u8::try_from(port.index() + 1).unwrap_or(u8::MAX))
    }
}

/// The frames of one arena. Belongs to one worker.
#[derive(Debug)]
pub struct Pool {
    arena: Arc<Arena>,
    free: Vec<u32>,
    /// By frame: which such ring holds it.
    holder: Box<[Holder]>,
    /// Bytes of a frame are a power of two, this one's.
    frame_shift: u32,
    /// Where the frames lie, and how many bytes they are.
    base: u64,
    size: u64,
}

impl Pool {
    /// A pool over all frames of `arena`, which must have no other pool: `None` otherwise.
    pub fn new(arena: Arc<Arena>) -> Option<Pool> {
        if !arena.claim() {
            return None;
        }
        let frames = arena.frames();
        let frame_shift = arena.frame_size().trailing_zeros();
        let holder = vec![Holder::USER; frames as usize].into_boxed_slice();
        Some(Pool {
            free: (0..frames).rev().collect(),
            base: arena.base().addr() as u64,
            size: arena.len() as u64,
            arena,
            holder,
            frame_shift,
        })
    }

    /// The memory behind the frames.
    pub fn arena(&self) -> &Arc<Arena> {
        &self.arena
    }

    /// Panics unless the frames are `arena`'s. A device's rings carry addresses within its queue's
    /// arena: of another pool's frames, it would write where somebody else reads.
    pub fn assert_in(&self, arena: &Arc<Arena>) {
        assert!(Arc::ptr_eq(&self.arena, arena), "another arena's pool");
    }

    /// Frames on the free list.
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// The most bytes that a packet in a fresh frame can have.
    pub fn capacity(&self) -> usize {
        self.arena.frame_size() as usize - HEADROOM
    }

    /// A free frame: empty, behind the headroom and its own colour.
    pub fn take(&mut self) -> Option<Frame> {
        let index = self.free.pop()?;
        Some(self.fresh(index))
    }

    /// Puts a frame back on the free list.
    pub fn give(&mut self, frame: Frame) {
        let (index, _) = self.place(&frame);
        self.free.push(index);
    }

    /// Puts frames back on the free list.
    pub fn give_all(&mut self, frames: impl IntoIterator<Item = Frame>) {
        frames.into_iter().for_each(|frame| self.give(frame));
    }

    /// As [`Self::take`], for as many places as there are free frames; how many these were.
    #[inline(always)]
    pub(super) fn take_tokens(&mut self, places: &mut [u64]) -> usize {
        let count = places.len().min(self.free.len());
        let left = self.free.len() - count;
        for (place, index) in places.iter_mut().zip(&self.free[left..]) {
            *place = self.fresh(*index).0;
        }
        self.free.truncate(left);
        count
    }

    /// As [`Self::give`], of each of these tokens, which must be this arena's.
    #[inline(always)]
    pub(super) fn give_tokens(&mut self, tokens: &[u64]) {
        let (base, shift) = (self.base, self.frame_shift);
        let index = |token: &u64| index(Frame(*token).address().wrapping_sub(base), shift);
        self.free.extend(tokens.iter().map(index));
    }

    /// Lends a frame to a port's rings. Returns the byte address of the packet within the arena:
    /// what an AF_XDP descriptor carries.
    #[inline]
    pub fn lend(&mut self, frame: Frame, to: Holder) -> u64 {
        let (index, _) = self.place(&frame);
        self.holder[index as usize] = to;
        frame.address() - self.base
    }

    /// Takes back a frame that `from`'s ring returned as `addr` with `len` packet bytes there.
    /// `None` when the address lies outside the arena, the packet or a [`Head`] there would leave its
    /// frame, or `from` does not hold the frame: then the ring's word counts for nothing.
    #[inline]
    pub fn redeem(&mut self, addr: u64, len: u16, from: Holder) -> Option<Frame> {
        let frame_size = 1 << self.frame_shift;
        let offset = addr & (frame_size - 1);
        // Any frame has room for a head.
        let is_within = offset + u64::from(len).max(HEAD as u64) <= frame_size;
        // No arena has frames that a usize does not count.
        let index = usize::try_from(addr >> self.frame_shift).ok()?;
        let holder = self.holder.get_mut(index)?;
        if *holder != from || !is_within {
            return None;
        }
        *holder = Holder::USER;
        Some(Frame::new(self.base + addr, len))
    }

    /// Takes back every frame that `from` still holds, for a port that is closed: its rings can no
    /// longer be read or written by anyone. Returns how many there were.
    pub fn reclaim(&mut self, from: Holder) -> usize {
        let before = self.free.len();
        for (index, holder) in (0u32..).zip(self.holder.iter_mut()) {
            if *holder == from {
                *holder = Holder::USER;
                self.free.push(index);
            }
        }
        self.free.len() - before
    }

    /// The packet's bytes.
    pub fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.check(frame);
        // SAFETY: a Frame is unique for its index (take, redeem and reclaim hand out an index only
        // when no token has it, and a Loan gives back each token once), the packet lies within the frame
        // (checked where its start and its length are set), `check` ties it to this arena, and the
        // borrow of `frame` keeps writers away.
        unsafe { std::slice::from_raw_parts(self.start(frame), frame.len()) }
    }

    /// The packet's bytes, for rewriting.
    pub fn bytes_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        self.check(frame);
        // SAFETY: as in `bytes`; `&mut Frame` is the only access to a frame that nobody else holds.
        unsafe { std::slice::from_raw_parts_mut(self.start(frame), frame.len()) }
    }

    /// Makes `frame` a copy of `packet`, behind the headroom and as many cache lines as the frame's
    /// index says and there is room for; false (and nothing done) when it is longer than
    /// [`Self::capacity`].
    pub fn fill(&self, frame: &mut Frame, packet: &[u8]) -> bool {
        let Some(len) = u16::try_from(packet.len())
            .ok()
            .filter(|_| packet.len() <= self.capacity())
        else {
            return false;
        };
        let spare = self.capacity() - packet.len().max(HEAD);
        let (index, _) = self.place(frame);
        let colours = (spare / LINE) | 1;
        *frame = self.token(index, coloured(index, colours), len);
        self.bytes_mut(frame).copy_from_slice(packet);
        true
    }

    /// Where the records of frames lie.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> [std::ops::Range<usize>; 2] {
        let place = |start: usize, bytes| start..start + bytes;
        [
            place(self.free.as_ptr().addr(), self.free.capacity() * 4),
            place(self.holder.as_ptr().addr(), self.holder.len()),
        ]
    }

    /// Appends the packet in `more` to the one in `frame`, as far as the frame has room for it.
    pub fn append(&self, frame: &mut Frame, more: &Frame) {
        let start = frame.len();
        let (index, offset) = self.place(frame);
        let room = self.arena.frame_size() as usize - usize::from(offset) - start;
        let count = more.len().min(room);
        let Ok(len) = u16::try_from(start + count) else {
            return;
        };
        *frame = self.token(index, offset, len);
        self.bytes_mut(frame)[start..].copy_from_slice(&self.bytes(more)[..count]);
    }

    /// A free frame's token: empty, behind the headroom and its own colour.
    #[inline(always)]
    fn fresh(&self, index: u32) -> Frame {
        self.token(index, coloured(index, COLOURS), 0)
    }

    #[inline(always)]
    fn token(&self, index: u32, offset: u16, len: u16) -> Frame {
        let start = (u64::from(index) << self.frame_shift) + u64::from(offset);
        Frame::new(self.base + start, len)
    }

    /// A frame's index, and where in it the packet begins.
    #[inline]
    fn place(&self, frame: &Frame) -> (u32, u16) {
        self.check(frame);
        let start = frame.address() - self.base;
        let offset = start & ((1 << self.frame_shift) - 1);
        // Fits: frames have at most 64 KiB.
        (
            index(start, self.frame_shift),
            u16::try_from(offset).unwrap_or(0),
        )
    }

    /// Where the packet of a frame of this arena begins.
    #[inline]
    fn start(&self, frame: &Frame) -> *mut u8 {
        at(self.arena.base(), frame.address())
    }

    /// A frame of another arena would reach another token's bytes. No arena is ever mapped where
    /// another was that tokens still point to.
    #[inline]
    fn check(&self, frame: &Frame) {
        self.check_all(std::slice::from_ref(frame));
    }

    /// As [`Self::check`].
    #[inline]
    pub(super) fn check_all(&self, frames: &[Frame]) {
        let outside = |frame: &Frame| frame.address().wrapping_sub(self.base) >= self.size;
        let any = frames.iter().fold(false, |any, frame| any | outside(frame));
        assert!(!any, "a frame of another arena");
    }
}

impl Drop for Pool {
    /// Tokens that are still about, or in a [`Loan`](super::Loan), point into the arena, which then stays mapped for good: another
    /// arena in its place could not tell them from its own.
    fn drop(&mut self) {
        let lent = self.holder.iter().filter(|held| **held != Holder::USER);
        if self.free.len() + lent.count() < self.holder.len() {
            std::mem::forget(Arc::clone(&self.arena));
        }
    }
}

/// Which frame, of so many bytes by their logarithm, has this byte of the arena.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    reason = "an arena has no more frames than a u32 counts"
)]
fn index(byte: u64, frame_shift: u32) -> u32 {
    (byte >> frame_shift) as u32
}

/// An address of the arena that begins at `base`.
#[inline(always)]
pub(super) fn at(base: *mut u8, address: u64) -> *mut u8 {
    base.with_addr(usize::try_from(address).unwrap_or(0))
}

/// Has the cache line at an address come nearer, for a look at it soon.
#[inline]
pub(super) fn prefetch(start: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of whatever address changes nothing that can be seen.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(start.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = start;
}

#[allow(clippy::cast_possible_truncation, reason = "256 fits")]
const HEADROOM_U16: u16 = HEADROOM as u16;

/// Where a packet begins in a frame that leaves it the choice of so many cache lines.
#[inline]
fn coloured(index: u32, colours: usize) -> u16 {
    let colour = (index as usize % colours.max(1)) * LINE;
    HEADROOM_U16 + u16::try_from(colour).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(frames: u32) -> Pool {
        Pool::new(Arc::new(Arena::new(frames, 2048).unwrap().0)).unwrap()
    }

    fn holder(slot: usize) -> Holder {
        Holder::port(PortId::new(slot).unwrap())
    }

    #[test]
    fn a_frame_goes_to_a_ring_and_comes_back_with_its_bytes() {
        let mut pool = pool(2);
        let mut frame = pool.take().unwrap();
        assert!(pool.fill(&mut frame, b"hello"));
        let addr = pool.lend(frame, holder(0));
        let frame = pool.redeem(addr, 5, holder(0)).unwrap();
        assert_eq!(pool.bytes(&frame), b"hello");
        pool.give(frame);
        assert_eq!(pool.available(), 2);
    }

    #[test]
    fn what_a_ring_was_not_given_it_cannot_return() {
        let mut pool = pool(2);
        let frame = pool.take().unwrap();
        let addr = pool.lend(frame, holder(0));
        assert!(
            pool.redeem(addr, 5, holder(1)).is_none(),
            "another port's frame"
        );
        assert!(
            pool.redeem(addr + 2048, 5, holder(0)).is_none(),
            "a free frame"
        );
        assert!(pool.redeem(4096, 5, holder(0)).is_none(), "past the arena");
        assert!(
            pool.redeem(u64::MAX, 5, holder(0)).is_none(),
            "far past the arena"
        );
        assert!(
            pool.redeem(addr, 2048, holder(0)).is_none(),
            "past the frame's end"
        );
        let frame = pool.redeem(addr, 1792, holder(0)).unwrap();
        assert!(pool.redeem(addr, 5, holder(0)).is_none(), "twice");
        pool.give(frame);
    }

    #[test]
    fn a_closed_port_gives_back_all_that_it_held_and_no_more() {
        let mut pool = pool(8);
        for slot in [0, 1, 0] {
            let frame = pool.take().unwrap();
            pool.lend(frame, holder(slot));
        }
        let kept = pool.take().unwrap();
        assert_eq!(pool.reclaim(holder(0)), 2);
        assert_eq!(pool.available(), 6);
        pool.give(kept);
    }

    #[test]
    fn one_arena_serves_one_pool() {
        let arena = Arc::new(Arena::new(2, 2048).unwrap().0);
        let first = Pool::new(Arc::clone(&arena));
        assert!(first.is_some());
        assert!(Pool::new(arena).is_none());
    }

    #[test]
    fn a_packet_longer_than_a_frame_is_refused() {
        let mut pool = pool(1);
        let mut frame = pool.take().unwrap();
        assert!(!pool.fill(&mut frame, &[0; 1793]));
        assert!(pool.fill(&mut frame, &[0; 1792]));
        frame.truncate(60);
        assert_eq!(frame.len(), 60);
        pool.give(frame);
    }

    #[test]
    fn a_packet_is_appended_as_far_as_the_frame_goes() {
        let mut pool = pool(2);
        let (mut frame, mut more) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.fill(&mut frame, b"hello "));
        assert!(pool.fill(&mut more, b"world"));
        pool.append(&mut frame, &more);
        assert_eq!(pool.bytes(&frame), b"hello world");
        assert!(pool.fill(&mut frame, &[1; 1000]));
        assert!(pool.fill(&mut more, &[2; 1000]));
        pool.append(&mut frame, &more);
        let room = 2048 - usize::from(pool.place(&frame).1);
        assert_eq!(frame.len(), room);
        assert_eq!(pool.bytes(&frame)[998..1002], [1, 1, 2, 2]);
        assert_eq!(pool.bytes(&more), [2; 1000]);
        pool.append(&mut frame, &more);
        assert_eq!(frame.len(), room, "full");
    }
}
