//! The loads of a burst, all of a stage together: sixty-four of them are under way at once, where a
//! gather instruction would wait for its own sixteen, and on many machines takes longer for each.
//!
//! Kept out of line and compiled for the baseline, so that the compiler does not turn them into
//! gathers after all.

#![allow(
    unsafe_code,
    reason = "reads the arena without bounds checks: its blocks refer to nothing beyond it"
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "x86-64 only: an index fits"
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

/// `out[i]` becomes the word at `index[i]`, for the first `N` lanes; `N` is even.
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
    // SAFETY: the caller's promise.
    pairs::<N>(index, out, |index| unsafe { words.add(index).read() });
}

/// `out[i]` becomes the 16-bit half at `index[i]`, for the first `N` lanes; `N` is even.
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
    pairs::<N>(index, out, |index| {
        // SAFETY: the caller's promise.
        let half = unsafe { halves.add(index).read() };
        u32::from(half)
    });
}

/// Two lanes at a time: half the loads of indices, and half the stores, which are what a core can do
/// the fewest of.
#[inline(always)]
fn pairs<const N: usize>(index: &Lanes<u32>, out: &mut Lanes<u32>, load: impl Fn(usize) -> u32) {
    let index = index.0.as_ptr().cast::<u64>();
    let out = out.0.as_mut_ptr().cast::<u64>();
    for i in 0..N.min(LANES) / 2 {
        // SAFETY: there are LANES / 2 pairs, and lanes are aligned for them.
        unsafe {
            let pair = index.add(i).read();
            let low = load((pair & u64::from(u32::MAX)) as usize);
            let high = load((pair >> 32) as usize);
            out.add(i).write(u64::from(low) | u64::from(high) << 32);
        }
    }
}
