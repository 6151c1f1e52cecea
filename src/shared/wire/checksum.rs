//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// Folds a sum of 16-bit words to 16 bits with end-around carry. As often as any sum needs it: whether this
/// one does, a processor could only guess.
#[inline]
pub fn fold(sum: u64) -> u16 {
    let mut sum = (sum & 0xffff_ffff) + (sum >> 32);
    for _ in 0..3 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The one's complement sum of `bytes` as big-endian words, not inverted; an odd last byte counts as
/// the high half of a word. Summed in the machine's own order, which RFC 1071 section 2 allows and
/// which leaves nothing to be swapped but the result.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(4);
    let mut sum: u64 = 0;
    for word in &mut chunks {
        sum += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    }
    let mut tail = [0; 4];
    let rest = chunks.remainder();
    tail[..rest.len()].copy_from_slice(rest);
    sum += u64::from(u32::from_ne_bytes(tail));
    u64::from(u16::from_be(fold(sum)))
}

/// The checksum of `bytes`: zero over data that carries its own correct checksum.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The checksum after one 16-bit word of the data changed from `old` to `new`: RFC 1624,
/// equation 3.
#[inline]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 section 4.1, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&data), !0xddf2);
    }

    /// As often as it takes.
    fn naive_fold(mut sum: u64) -> u16 {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn sums_whose_carries_carry_fold_to_the_end() {
        let ends = [0, 1, 2, 0xfffe, 0xffff, 0x1_0000, 0x1_0001, 0xffff_ffff];
        for high in ends {
            for low in ends {
                let sum = high << 32 | low;
                assert_eq!(fold(sum), naive_fold(sum), "{sum:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn folds_as_often_as_it_takes(sum in any::<u64>()) {
            prop_assert_eq!(fold(sum), naive_fold(sum));
        }

        #[test]
        fn equals_the_word_by_word_sum(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(checksum(&data), naive(&data));
        }

        #[test]
        fn an_incremental_update_equals_a_recount(
            mut data in proptest::collection::vec(any::<u8>(), 20..60),
            word in 1usize..10,
            new in any::<u16>(),
        ) {
            data[0] = 0x45; // a real header is never all zeros, where 0 and 0xffff would differ
            data.truncate(data.len() & !1);
            let before = checksum(&data);
            let old = super::super::be16(&data, word * 2);
            data[word * 2..word * 2 + 2].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(update(before, old, new), checksum(&data));
        }
    }
}
