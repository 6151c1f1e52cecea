//! Addresses as numbers, taken apart the way the tables do: sixteen bits first, then bytes.

use std::fmt::Debug;
use std::hash::Hash;

/// An address as a number in host order: `u32` for IPv4, `u128` for IPv6.
pub trait Address: Copy + Eq + Ord + Hash + Debug + Send + Sync + 'static {
    /// Bits of an address.
    const BITS: u8;
    /// The address with all but the first `len` bits zero; all of it for a `len` beyond `BITS`.
    fn mask(self, len: u8) -> Self;
    /// The first sixteen bits.
    fn top(self) -> u16;
    /// The eight bits after the first `depth`; `depth` <= `BITS` - 8.
    fn byte(self, depth: u8) -> u8;
}

macro_rules! address {
    ($int:ty, $bits:literal) => {
        impl Address for $int {
            const BITS: u8 = $bits;

            #[inline]
            fn mask(self, len: u8) -> Self {
                match len {
                    0 => 0,
                    len => self & (<$int>::MAX << ($bits - u32::from(len.min($bits)))),
                }
            }

            #[inline]
            #[allow(
                clippy::cast_possible_truncation,
                reason = "sixteen bits are left after the shift"
            )]
            fn top(self) -> u16 {
                (self >> ($bits - 16)) as u16
            }

            #[inline]
            #[allow(
                clippy::cast_possible_truncation,
                reason = "the eight low bits are what is asked for"
            )]
            fn byte(self, depth: u8) -> u8 {
                (self >> ($bits - 8 - u32::from(depth))) as u8
            }
        }
    };
}

address!(u32, 32);
address!(u128, 128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_apart_from_the_left() {
        let address = 0x0a01_0203u32;
        assert_eq!(address.top(), 0x0a01);
        assert_eq!((address.byte(16), address.byte(24)), (2, 3));
        let address = 0x2001_0db8_0000_0000_0000_0000_0000_00ffu128;
        assert_eq!(address.top(), 0x2001);
        assert_eq!((address.byte(16), address.byte(120)), (0x0d, 0xff));
    }

    #[test]
    fn masks_reach_from_no_bit_to_all() {
        assert_eq!(u32::MAX.mask(0), 0);
        assert_eq!(u32::MAX.mask(1), 1 << 31);
        assert_eq!(u32::MAX.mask(32), u32::MAX);
        assert_eq!(u32::MAX.mask(200), u32::MAX);
        assert_eq!(u128::MAX.mask(64), u128::MAX << 64);
    }
}
