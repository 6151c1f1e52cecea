//! What the right answers are: longest-prefix match in the plainest way, a map for each length.

use std::collections::HashMap;

use crate::address::{Address, host_bits};
use crate::read::{Change, Route, Update};

/// A table of one family that is slow and evidently right.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Ids by first address, at the high end of 128 bits, for each prefix length from 0 up.
    lengths: Vec<HashMap<u128, u32>>,
}

impl Reference {
    pub fn new<A: Address>(routes: &[Route<A>]) -> Reference {
        let mut reference = Reference {
            lengths: vec![HashMap::new(); usize::from(A::BITS) + 1],
        };
        for route in routes {
            reference.announce(route.prefix.to_high(), route.len, route.id);
        }
        reference
    }

    pub fn apply<A: Address>(&mut self, update: &Update<A>) {
        let prefix = update.prefix.to_high();
        match update.change {
            Change::Announce(id) => self.announce(prefix, update.len, id),
            Change::Withdraw => self.withdraw(prefix, update.len),
        }
    }

    /// The id of the longest prefix that holds the address.
    pub fn lookup<A: Address>(&self, address: A) -> Option<u32> {
        self.find(address.to_high())
    }

    /// Prefixes in the table.
    pub fn routes(&self) -> usize {
        self.lengths.iter().map(HashMap::len).sum()
    }

    fn announce(&mut self, prefix: u128, len: u8, id: u32) {
        self.lengths[usize::from(len)].insert(prefix, id);
    }

    fn withdraw(&mut self, prefix: u128, len: u8) {
        self.lengths[usize::from(len)].remove(&prefix);
    }

    fn find(&self, address: u128) -> Option<u32> {
        let lengths = (0..=128).zip(&self.lengths).rev();
        lengths
            .filter(|(_, routes)| !routes.is_empty())
            .find_map(|(len, routes)| routes.get(&(address & !host_bits(len))).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn route<A: Address>(prefix: &str, len: u8, id: u32) -> Route<A> {
        let prefix = A::from_ip(prefix.parse().unwrap()).unwrap();
        Route { prefix, len, id }
    }

    #[test]
    fn the_longest_prefix_wins_until_it_is_withdrawn() {
        let address = |text: &str| u32::from_ip(text.parse().unwrap()).unwrap();
        let mut table = Reference::new(&[
            route::<u32>("10.0.0.0", 8, 1),
            route("10.0.0.0", 24, 2),
            route("10.0.0.7", 32, 3),
            route("10.0.0.0", 8, 4),
        ]);
        let answers = |table: &Reference| {
            ["10.0.0.7", "10.0.0.8", "10.9.9.9", "11.0.0.0"].map(|ip| table.lookup(address(ip)))
        };
        assert_eq!(answers(&table), [Some(3), Some(2), Some(4), None]);
        assert_eq!(table.routes(), 3);
        let change = |prefix, len, change| Update {
            seconds: 0.0,
            prefix: address(prefix),
            len,
            change,
        };
        table.apply(&change("10.0.0.0", 24, Change::Withdraw));
        table.apply(&change("12.0.0.0", 24, Change::Withdraw));
        table.apply(&change("0.0.0.0", 0, Change::Announce(9)));
        assert_eq!(answers(&table), [Some(3), Some(4), Some(4), Some(9)]);
        assert_eq!(table.routes(), 3);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_search_through_all_routes(
            routes in proptest::collection::vec((any::<u128>(), 0u8..=128, any::<u32>()), 0..50),
            picks in proptest::collection::vec((any::<prop::sample::Index>(), 0u32..=128, any::<bool>()), 20),
        ) {
            let routes: Vec<Route<u128>> = routes
                .into_iter()
                .map(|(bits, len, id)| Route { prefix: bits.first(len), len, id })
                .collect();
            let table = Reference::new(&routes);
            for (pick, flip, keep) in picks {
                // Near a route: with one bit of it turned, or none.
                let near = if routes.is_empty() { 0 } else { pick.get(&routes).prefix };
                let address = if keep { near } else { near ^ 1u128.checked_shl(flip).unwrap_or(0) };
                let mut best: Option<&Route<u128>> = None;
                for route in &routes {
                    if address.first(route.len) == route.prefix && best.is_none_or(|b| b.len <= route.len) {
                        best = Some(route);
                    }
                }
                prop_assert_eq!(table.lookup(address), best.map(|route| route.id));
            }
        }
    }
}
