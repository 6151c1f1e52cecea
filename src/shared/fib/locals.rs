//! The router's own IPv4 addresses as a set that answers in one probe.

/// An open-addressing hash set of addresses; built once, read by workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// A power of two of slots, of which one in sixteen is taken at most, so that nearly all others'
    /// addresses find a free one at once; empty for no addresses. 0 marks a free slot: 0.0.0.0 is
    /// nobody's address.
    slots: Box<[u32]>,
    filter: Filter,
}

/// A bit for each of 8,192 hashes: clear where no member has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter(Box<[u32; 256]>);

impl Default for Filter {
    fn default() -> Filter {
        Filter(Box::new([0; 256]))
    }
}

impl Filter {
    #[inline(always)]
    fn word(address: u32) -> usize {
        (address.wrapping_mul(SPREAD) >> 24) as usize
    }

    #[inline(always)]
    fn bit(address: u32) -> u32 {
        (address.wrapping_mul(SPREAD) >> 19) & 31
    }

    /// 1 for all members and few others, else 0.
    #[inline(always)]
    fn test(&self, address: u32) -> u32 {
        (self.0[Filter::word(address)] >> Filter::bit(address)) & 1
    }
}

impl AddressSet {
    /// Whether one of so many addresses may be in the set: no is certain. No branches, for vectors.
    #[inline(always)]
    pub fn may_have_any_of(&self, addresses: &[u32]) -> bool {
        let tests = addresses.iter().map(|address| self.filter.test(*address));
        tests.fold(0, |any, test| any | test) != 0
    }

    #[inline]
    pub fn contains(&self, address: u32) -> bool {
        if self.slots.is_empty() || address == 0 {
            return false;
        }
        let mask = self.slots.len() - 1;
        let mut at = spread(address) & mask;
        loop {
            match self.slots[at] {
                0 => return false,
                found if found == address => return true,
                _ => at = (at + 1) & mask,
            }
        }
    }
}

impl FromIterator<u32> for AddressSet {
    fn from_iter<I: IntoIterator<Item = u32>>(addresses: I) -> Self {
        let mut all: Vec<u32> = addresses
            .into_iter()
            .filter(|address| *address != 0)
            .collect();
        all.sort_unstable();
        all.dedup();
        if all.is_empty() {
            return AddressSet::default();
        }
        let mut filter = Filter::default();
        for address in &all {
            filter.0[Filter::word(*address)] |= 1 << Filter::bit(*address);
        }
        let mut slots = vec![0; (all.len() * 16).next_power_of_two()].into_boxed_slice();
        let mask = slots.len() - 1;
        for address in all {
            let mut at = spread(address) & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = address;
        }
        AddressSet { slots, filter }
    }
}

/// Fibonacci hashing: neighbouring addresses land far apart.
const SPREAD: u32 = 0x9e37_79b9;

#[inline]
fn spread(address: u32) -> usize {
    (address.wrapping_mul(SPREAD) >> 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn holds_what_was_put_in_and_nothing_else(
            members in proptest::collection::btree_set(1u32..500, 0..100),
            probes in proptest::collection::vec(0u32..600, 50),
        ) {
            let set: AddressSet = members.iter().copied().collect();
            prop_assert!(!AddressSet::default().may_have_any_of(&probes));
            for probe in probes {
                prop_assert_eq!(set.contains(probe), members.contains(&probe));
                prop_assert!(set.may_have_any_of(&[0, probe]) || !members.contains(&probe));
            }
        }
    }
}
