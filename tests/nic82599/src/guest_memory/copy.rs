//! Copies from and to memory that the guest works on at the same time: by atomic words, upward, so
//! that a descriptor's last word, which says that it is done, is seen after the rest.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// # Safety
/// `source` must be valid for reads of `bytes.len()` bytes.
pub(super) unsafe fn copy_from_guest(source: *const u8, bytes: &mut [u8]) {
    let mut rest = bytes;
    let mut here = source;
    while !rest.is_empty() {
        let words = (here.cast::<AtomicU64>(), here.cast::<AtomicU32>());
        // SAFETY: as many bytes as are left may be read from here on, and words are aligned.
        let len = unsafe {
            if let (Some(word), true) = (rest.first_chunk_mut(), words.0.is_aligned()) {
                *word = (*words.0).load(Ordering::Acquire).to_ne_bytes();
                size_of::<u64>()
            } else if let (Some(word), true) = (rest.first_chunk_mut(), words.1.is_aligned()) {
                *word = (*words.1).load(Ordering::Acquire).to_ne_bytes();
                size_of::<u32>()
            } else {
                rest[0] = (*here.cast::<AtomicU8>()).load(Ordering::Acquire);
                1
            }
        };
        rest = &mut rest[len..];
        here = here.wrapping_add(len);
    }
}

/// # Safety
/// `target` must be valid for writes of `bytes.len()` bytes.
pub(super) unsafe fn copy_to_guest(bytes: &[u8], target: *mut u8) {
    let mut rest = bytes;
    let mut here = target;
    while let Some(byte) = rest.first() {
        let words = (here.cast::<AtomicU64>(), here.cast::<AtomicU32>());
        // SAFETY: as many bytes as are left may be written from here on, and words are aligned.
        let len = unsafe {
            if let (Some(word), true) = (rest.first_chunk(), words.0.is_aligned()) {
                (*words.0).store(u64::from_ne_bytes(*word), Ordering::Release);
                size_of::<u64>()
            } else if let (Some(word), true) = (rest.first_chunk(), words.1.is_aligned()) {
                (*words.1).store(u32::from_ne_bytes(*word), Ordering::Release);
                size_of::<u32>()
            } else {
                (*here.cast::<AtomicU8>()).store(*byte, Ordering::Release);
                1
            }
        };
        rest = &rest[len..];
        here = here.wrapping_add(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_at_every_alignment_is_copied_whole_and_nothing_beside_it() {
        let data: Vec<u8> = (1..=40).collect();
        for start in 0..16 {
            for len in 0..=data.len() - start {
                let mut memory = [0u64; 8];
                let base = memory.as_mut_ptr().cast::<u8>();
                let mut back = vec![0; len];
                // SAFETY: 56 of the 64 bytes at most.
                let all = unsafe {
                    copy_to_guest(&data[..len], base.add(start));
                    copy_from_guest(base.add(start), &mut back);
                    std::slice::from_raw_parts(base, 64)
                };
                assert_eq!(back, data[..len]);
                let (before, rest) = all.split_at(start);
                assert!(before.iter().chain(&rest[len..]).all(|byte| *byte == 0));
            }
        }
    }
}
