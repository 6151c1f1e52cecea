//! SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): a few
//! lines whose numbers no library's next version changes.

pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn next_u128(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// Below `end`; its bias is below `end` / 2^64.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let number = (u128::from(self.next()) * end as u128) >> 64;
        usize::try_from(number).unwrap_or(0)
    }

    /// An element of a slice that is not empty.
    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// At least 0, below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_algorithm() {
        // The test vector of the reference implementation (Vigna's splitmix64.c), seed 1234567.
        let mut rng = Rng::new(1234567);
        let first: Vec<u64> = std::iter::repeat_with(|| rng.next()).take(3).collect();
        let known = [
            6457827717110365317,
            3203168211198807973,
            9817491932198370423,
        ];
        assert_eq!(first, known);
    }

    #[test]
    fn picks_and_fractions_stay_in_range_and_reach_its_ends() {
        let mut rng = Rng::new(1);
        let mut seen = [false; 3];
        for _ in 0..1000 {
            seen[rng.pick(&[0, 1, 2])] = true;
            let fraction = rng.fraction();
            assert!((0.0..1.0).contains(&fraction));
        }
        assert_eq!(seen, [true; 3]);
    }
}
