//! The loads of a burst, all of a stage together: sixty-four of them are under way at once, where a
//! gather instruction would wait for its own sixteen, and on many machines takes longer for each.
//!
//! Kept out of line and compiled for the baseline, so that the compiler does not turn them into
//! gathers after all.

#![allow(
    unsafe_code,
    reason = "reads the arena without bounds checks: its blocks refer to nothing beyond it"
)]

/// Lanes of a burst.
pub(super) const LANES: usize = 64;

/// One number a lane.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Lanes<T>(pub(super) [T; LANES]);

impl Lanes<u32> {
    pub(super) const ZERO: Lanes<u32> = Lanes([0; LANES]);
}

/// `out[i]` becomes the word at `index[i]`, for the first `count` lanes.
///
/// # Safety
///
/// Each of these indices counts a word that may be read from `words` on.
#[inline(never)]
pub(super) unsafe fn words(
    words: *const u32,
    index: &Lanes<u32>,
    out: &mut Lanes<u32>,
    count: usize,
) {
    for (index, out) in index.0.iter().zip(&mut out.0).take(count) {
        // SAFETY: the caller's promise.
        *out = unsafe { words.add(*index as usize).read() };
    }
}

/// `out[i]` becomes the 16-bit half at `index[i]`, for the first `count` lanes.
///
/// # Safety
///
/// Each of these indices counts a half that may be read from `halves` on.
#[inline(never)]
pub(super) unsafe fn halves(
    halves: *const u16,
    index: &Lanes<u32>,
    out: &mut Lanes<u32>,
    count: usize,
) {
    for (index, out) in index.0.iter().zip(&mut out.0).take(count) {
        // SAFETY: the caller's promise.
        *out = u32::from(unsafe { halves.add(*index as usize).read() });
    }
}
