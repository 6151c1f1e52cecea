//! The crates under measurement behind one trait, each through its own fastest public calls: an
//! address goes in as the number it is, an id comes out.

use std::net::{Ipv4Addr, Ipv6Addr};

use ip_network_table_deps_treebitmap::IpLookupTable;
use poptrie::Poptrie;
use prefix_trie::PrefixMap;

/// A table of one crate for one family.
pub(crate) trait Peer<A>: Default {
    const NAME: &'static str;
    /// Adds the route or gives it another id; bits of `prefix` beyond `len` are zero.
    fn insert(&mut self, prefix: A, len: u8, id: u32);
    /// Takes the route away if it is there.
    fn remove(&mut self, prefix: A, len: u8);
    /// The id of the longest matching prefix.
    fn lookup(&self, address: A) -> Option<u32>;
}

/// IPv4 (`u32`) or IPv6 (`u128`), with each crate's table for it.
pub(crate) trait Family: ixmap_tables::Address {
    type Treebitmap: Peer<Self>;
    type PrefixTrie: Peer<Self>;
    type Poptrie: Peer<Self>;
}

impl Family for u32 {
    type Treebitmap = Treebitmap<Ipv4Addr>;
    type PrefixTrie = PrefixMap<(u32, u8), u32>;
    type Poptrie = Poptrie<(u32, u8), u32>;
}

impl Family for u128 {
    type Treebitmap = Treebitmap<Ipv6Addr>;
    type PrefixTrie = PrefixMap<(u128, u8), u32>;
    type Poptrie = Poptrie<(u128, u8), u32>;
}

/// The tree bitmap, whose type has no `Default`.
pub(crate) struct Treebitmap<I>(IpLookupTable<I, u32>);

impl<I: ip_network_table_deps_treebitmap::address::Address> Default for Treebitmap<I> {
    fn default() -> Self {
        Treebitmap(IpLookupTable::new())
    }
}

impl<A, I> Peer<A> for Treebitmap<I>
where
    I: ip_network_table_deps_treebitmap::address::Address + From<A>,
{
    const NAME: &'static str = "treebitmap";

    fn insert(&mut self, prefix: A, len: u8, id: u32) {
        self.0.insert(prefix.into(), len.into(), id);
    }

    fn remove(&mut self, prefix: A, len: u8) {
        self.0.remove(prefix.into(), len.into());
    }

    fn lookup(&self, address: A) -> Option<u32> {
        let (_, _, id) = self.0.longest_match(address.into())?;
        Some(*id)
    }
}

impl<A: ixmap_tables::Address> Peer<A> for PrefixMap<(A, u8), u32>
where
    (A, u8): prefix_trie::Prefix,
{
    const NAME: &'static str = "prefix-trie";

    fn insert(&mut self, prefix: A, len: u8, id: u32) {
        PrefixMap::insert(self, (prefix, len), id);
    }

    fn remove(&mut self, prefix: A, len: u8) {
        PrefixMap::remove(self, &(prefix, len));
    }

    fn lookup(&self, address: A) -> Option<u32> {
        let (_, id) = self.get_lpm(&(address, A::BITS))?;
        Some(*id)
    }
}

impl<A> Peer<A> for Poptrie<(A, u8), u32>
where
    (A, u8): poptrie::Prefix<ADDRESS = A>,
{
    const NAME: &'static str = "poptrie";

    fn insert(&mut self, prefix: A, len: u8, id: u32) {
        Poptrie::insert(self, (prefix, len), id);
    }

    fn remove(&mut self, prefix: A, len: u8) {
        Poptrie::remove(self, (prefix, len));
    }

    fn lookup(&self, address: A) -> Option<u32> {
        Poptrie::lookup(self, address).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ixmap_tables::{Change, Reference, Route, Stream, data};

    /// Right on real routes, and still after every tenth of them went and came back with another id.
    fn answers_rightly<A: Family, P: Peer<A>>(take: usize) {
        let mut routes: Vec<Route<A>> = data::table().unwrap();
        let step = routes.len() / take;
        routes = routes.into_iter().step_by(step).collect();
        let streams = [Stream::UniformPrefix, Stream::UniformAddress];
        let addresses: Vec<A> = streams
            .iter()
            .flat_map(|stream| stream.addresses(&routes, 7).into_iter().step_by(64))
            .collect();
        let (mut peer, mut reference) = (P::default(), Reference::new(&routes));
        for route in &routes {
            peer.insert(route.prefix, route.len, route.id);
        }
        compare(&peer, &reference, &addresses);
        for route in routes.iter().step_by(10) {
            peer.remove(route.prefix, route.len);
            reference.apply(&update(route, Change::Withdraw));
        }
        compare(&peer, &reference, &addresses);
        for route in routes.iter().step_by(10) {
            peer.insert(route.prefix, route.len, route.id + 1);
            reference.apply(&update(route, Change::Announce(route.id + 1)));
        }
        compare(&peer, &reference, &addresses);
    }

    fn update<A>(route: &Route<A>, change: Change) -> ixmap_tables::Update<A>
    where
        A: Copy,
    {
        let Route { prefix, len, .. } = *route;
        ixmap_tables::Update {
            seconds: 0.0,
            prefix,
            len,
            change,
        }
    }

    fn compare<A: Family>(peer: &impl Peer<A>, reference: &Reference, addresses: &[A]) {
        let mut hits = 0;
        for address in addresses {
            let expected = reference.lookup(*address);
            hits += usize::from(expected.is_some());
            assert_eq!(peer.lookup(*address), expected, "{address:?}");
        }
        assert!(hits > 10_000, "{hits} hits");
    }

    #[test]
    fn treebitmap_answers_rightly() {
        answers_rightly::<u32, <u32 as Family>::Treebitmap>(20_000);
        answers_rightly::<u128, <u128 as Family>::Treebitmap>(20_000);
    }

    #[test]
    fn prefix_trie_answers_rightly() {
        answers_rightly::<u32, <u32 as Family>::PrefixTrie>(20_000);
        answers_rightly::<u128, <u128 as Family>::PrefixTrie>(20_000);
    }

    #[test]
    fn poptrie_answers_rightly() {
        answers_rightly::<u32, <u32 as Family>::Poptrie>(5_000);
        answers_rightly::<u128, <u128 as Family>::Poptrie>(5_000);
    }
}
