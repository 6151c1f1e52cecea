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

/// `out[i]` becomes the word at `index[i]`, for the first `N` lanes.
///
/// # Safety
///
/// Each of these indices counts a word that may be read from `words` on.
#[inline(never)]
pub(super) unsafe fn words<const N: usize>(
    words: *const u32,
    index: &Lanes<u32>,
    out: &mut Lanes<u32>,
) {
    for i in 0..N {
        // SAFETY: the caller's promise.
        out.0[i] = unsafe { words.add(index.0[i] as usize).read() };
    }
}

/// `out[i]` becomes the 16-bit half at `index[i]`, for the first `N` lanes.
///
/// # Safety
///
/// Each of these indices counts a half that may be read from `halves` on.
#[inline(never)]
pub(super) unsafe fn halves<const N: usize>(
    halves: *const u16,
    index: &Lanes<u32>,
    out: &mut Lanes<u32>,
) {
    for i in 0..N {
        // SAFETY: the caller's promise.
        out.0[i] = u32::from(unsafe { halves.add(index.0[i] as usize).read() });
    }
}
