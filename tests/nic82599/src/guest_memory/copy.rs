//! Copies from and to memory that the guest works on at the same time. Descriptors are whole
//! words that are read and written in order, so that a descriptor's last word, which says that it
//! is done, is its last write.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Copies up to this size go word by word.
const ORDERED: usize = 64;

/// # Safety
/// `source` must be valid for reads of `bytes.len()` bytes.
pub(super) unsafe fn copy_from_guest(source: *const u8, bytes: &mut [u8]) {
    let words = source.cast::<AtomicU64>();
    if bytes.len() <= ORDERED && bytes.len().is_multiple_of(8) && words.is_aligned() {
        for (index, word) in bytes.chunks_exact_mut(8).enumerate() {
            // SAFETY: inside `bytes.len()` bytes of `source`, and aligned.
            let value = unsafe { (*words.add(index)).load(Ordering::Acquire) };
            word.copy_from_slice(&value.to_ne_bytes());
        }
        return;
    }
    // SAFETY: the caller's; the guest's memory is none of ours, so the two do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), bytes.len()) };
    fence(Ordering::Acquire);
}

/// # Safety
/// `target` must be valid for writes of `bytes.len()` bytes.
pub(super) unsafe fn copy_to_guest(bytes: &[u8], target: *mut u8) {
    let words = target.cast::<AtomicU64>();
    if bytes.len() <= ORDERED && bytes.len().is_multiple_of(8) && words.is_aligned() {
        for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            // SAFETY: inside `bytes.len()` bytes of `target`, and aligned.
            unsafe { (*words.add(index)).store(u64::from_ne_bytes(*word), Ordering::Release) };
        }
        return;
    }
    let half = target.cast::<AtomicU32>();
    if let (Ok(word), true) = (<[u8; 4]>::try_from(bytes), half.is_aligned()) {
        // SAFETY: four bytes at `target`, aligned.
        unsafe { (*half).store(u32::from_ne_bytes(word), Ordering::Release) };
        return;
    }
    // SAFETY: the caller's; the guest's memory is none of ours, so the two do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
    fence(Ordering::Release);
}
