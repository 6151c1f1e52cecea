//! Longest-prefix match by a persistent, path-compressed binary trie.
//!
//! Nodes are shared between the table being edited and every committed [`Fib`]: an edit copies only
//! the path from the root to the changed node, and only where a snapshot still sees it
//! (`Arc::make_mut`), so a commit is one clone of the root.

use std::sync::Arc;

use super::GroupId;

/// An address as a number: `u32` for IPv4, `u128` for IPv6.
pub trait Address: Copy + Eq + std::fmt::Debug {
    /// Bits of an address.
    const BITS: u8;
    /// Bit `n` counted from the most significant one; `n` < `BITS`.
    fn bit(self, n: u8) -> usize;
    /// Leading bits in which two addresses agree, up to `BITS`.
    fn common(self, other: Self) -> u8;
    /// The address with all but the first `len` bits zero.
    fn mask(self, len: u8) -> Self;
}

macro_rules! address {
    ($int:ty, $bits:literal) => {
        impl Address for $int {
            const BITS: u8 = $bits;

            #[inline]
            fn bit(self, n: u8) -> usize {
                usize::from(self >> ($bits - 1 - u32::from(n)) & 1 != 0)
            }

            #[inline]
            fn common(self, other: Self) -> u8 {
                u8::try_from((self ^ other).leading_zeros()).unwrap_or($bits)
            }

            #[inline]
            fn mask(self, len: u8) -> Self {
                match len {
                    0 => 0,
                    len => self & (<$int>::MAX << ($bits - u32::from(len.min($bits)))),
                }
            }
        }
    };
}

address!(u32, 32);
address!(u128, 128);

#[derive(Clone, Debug)]
struct Node<A> {
    prefix: A,
    len: u8,
    /// Absent in a node that only branches.
    group: Option<GroupId>,
    children: [Link<A>; 2],
}

type Link<A> = Option<Arc<Node<A>>>;

/// A committed table: immutable, shared with workers.
#[derive(Clone, Debug)]
pub struct Fib<A> {
    root: Link<A>,
    routes: usize,
}

impl<A> Default for Fib<A> {
    fn default() -> Self {
        Fib {
            root: None,
            routes: 0,
        }
    }
}

impl<A: Address> Fib<A> {
    /// The group of the longest prefix that holds `address`; [`GroupId::NO_ROUTE`] when none does.
    #[inline]
    pub fn lookup(&self, address: A) -> GroupId {
        let mut best = GroupId::NO_ROUTE;
        let mut link = &self.root;
        while let Some(node) = link {
            if node.prefix.common(address) < node.len {
                break;
            }
            best = node.group.unwrap_or(best);
            if node.len == A::BITS {
                break;
            }
            link = &node.children[address.bit(node.len)];
        }
        best
    }

    /// Looks up a whole burst: `groups[i]` becomes the answer for `addresses[i]`; the longer slice's
    /// rest is left alone.
    #[inline]
    pub fn lookup_burst(&self, addresses: &[A], groups: &mut [GroupId]) {
        for (address, group) in addresses.iter().zip(groups) {
            *group = self.lookup(*address);
        }
    }

    /// The group of just this prefix, whose host bits are zero.
    fn get(&self, prefix: A, len: u8) -> Option<GroupId> {
        let mut node = self.root.as_ref()?;
        while node.len < len {
            node = node.children[prefix.bit(node.len)].as_ref()?;
        }
        node.group
            .filter(|_| (node.prefix, node.len) == (prefix, len))
    }

    /// Prefixes in the table.
    pub fn routes(&self) -> usize {
        self.routes
    }

    /// True when the two are one table in memory: nothing was written between their commits.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Fib<A>) -> bool {
        match (&self.root, &other.root) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// The table that control edits; [`Table::commit`] makes a snapshot of it.
#[derive(Clone, Debug)]
pub struct Table<A>(Fib<A>);

impl<A> Default for Table<A> {
    fn default() -> Self {
        Table(Fib::default())
    }
}

impl<A: Address> Table<A> {
    /// Sets the group of a prefix and returns the one it had. Host bits are masked away; a length
    /// beyond the address is taken as a host route.
    pub fn insert(&mut self, prefix: A, len: u8, group: GroupId) -> Option<GroupId> {
        let len = len.min(A::BITS);
        let old = insert(&mut self.0.root, prefix.mask(len), len, group);
        self.0.routes += usize::from(old.is_none());
        old
    }

    /// Removes a prefix and returns the group it had.
    pub fn remove(&mut self, prefix: A, len: u8) -> Option<GroupId> {
        let (prefix, len) = (prefix.mask(len), len.min(A::BITS));
        // Look before touching: a miss must not copy the path.
        self.0.get(prefix, len)?;
        let old = remove(&mut self.0.root, prefix, len);
        self.0.routes -= usize::from(old.is_some());
        old
    }

    /// The table as it is now, unaffected by later edits.
    pub fn commit(&self) -> Fib<A> {
        self.0.clone()
    }
}

fn insert<A: Address>(
    mut link: &mut Link<A>,
    prefix: A,
    len: u8,
    group: GroupId,
) -> Option<GroupId> {
    loop {
        let Some(arc) = link else {
            *link = Some(Arc::new(Node {
                prefix,
                len,
                group: Some(group),
                children: [None, None],
            }));
            return None;
        };
        let common = arc.prefix.common(prefix).min(arc.len).min(len);
        if common < arc.len {
            // The new prefix ends or branches off above this node.
            let branch = Node {
                prefix: prefix.mask(common),
                len: common,
                group: (common == len).then_some(group),
                children: [None, None],
            };
            let below = std::mem::replace(arc, Arc::new(branch));
            let node = Arc::get_mut(arc)?;
            let side = below.prefix.bit(common);
            node.children[side] = Some(below);
            if common < len {
                let leaf = Node {
                    prefix,
                    len,
                    group: Some(group),
                    children: [None, None],
                };
                node.children[prefix.bit(common)] = Some(Arc::new(leaf));
            }
            return None;
        }
        let node = Arc::make_mut(arc);
        if node.len == len {
            return node.group.replace(group);
        }
        link = &mut node.children[prefix.bit(node.len)];
    }
}

fn remove<A: Address>(link: &mut Link<A>, prefix: A, len: u8) -> Option<GroupId> {
    let arc = link.as_mut()?;
    if arc.len > len || arc.prefix.common(prefix) < arc.len {
        return None;
    }
    let node = Arc::make_mut(arc);
    let old = if node.len == len {
        node.group.take()
    } else {
        remove(&mut node.children[prefix.bit(node.len)], prefix, len)
    }?;
    if node.group.is_none() {
        // A node without a group must branch two ways; else its only child takes its place.
        match node.children.each_mut().map(Option::take) {
            [None, None] => *link = None,
            [Some(child), None] | [None, Some(child)] => *link = Some(child),
            both => node.children = both,
        }
    }
    Some(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn group(n: u32) -> GroupId {
        GroupId::new(n)
    }

    /// The reference: scan all prefixes, the longest that matches wins.
    fn scan<A: Address + Ord>(routes: &BTreeMap<(u8, A), GroupId>, address: A) -> GroupId {
        routes
            .iter()
            .rev()
            .find(|((len, prefix), _)| address.mask(*len) == *prefix)
            .map_or(GroupId::NO_ROUTE, |(_, group)| *group)
    }

    fn follows_a_linear_scan<A: Address + Ord>(ops: Vec<(bool, A, u8, u32)>, probes: &[A]) {
        let mut table = Table::default();
        let mut routes = BTreeMap::new();
        let mut earlier = Vec::new();
        for (add, address, len, id) in ops {
            let len = len % (A::BITS + 1);
            let key = (len, address.mask(len));
            if add {
                assert_eq!(
                    table.insert(address, len, group(id)),
                    routes.insert(key, group(id))
                );
            } else {
                assert_eq!(table.remove(address, len), routes.remove(&key));
            }
            earlier.push((table.commit(), routes.clone()));
        }
        for (fib, routes) in earlier {
            assert_eq!(fib.routes(), routes.len());
            let edges = routes.keys().map(|(_, prefix)| *prefix);
            let addresses: Vec<A> = probes.iter().copied().chain(edges).collect();
            let mut groups = vec![GroupId::NO_ROUTE; addresses.len()];
            fib.lookup_burst(&addresses, &mut groups);
            for (address, found) in addresses.iter().zip(groups) {
                assert_eq!(found, scan(&routes, *address), "{address:?} in {routes:?}");
            }
        }
    }

    #[test]
    fn removing_what_is_not_there_copies_nothing() {
        let mut table = Table::default();
        table.insert(0x0a00_0000u32, 8, group(1));
        table.insert(0x0a01_0000, 16, group(2));
        let before = table.commit();
        for (prefix, len) in [
            (0x0a01_0100, 24),
            (0x0a01_0000, 17),
            (0x0b00_0000, 8),
            (0, 0),
        ] {
            assert_eq!(table.remove(prefix, len), None);
        }
        assert!(table.commit().is_same(&before));
    }

    proptest! {
        #[test]
        fn ipv4_every_snapshot_answers_as_a_linear_scan_does(
            // Few distinct bits, so that prefixes nest and collide.
            ops in proptest::collection::vec((any::<bool>(), 0u32..64, any::<u8>(), 1u32..9), 1..40),
            probes in proptest::collection::vec(any::<u32>(), 1..10),
        ) {
            let ops = ops.into_iter().map(|(add, a, len, id)| (add, a << 26 | a, len, id)).collect();
            follows_a_linear_scan(ops, &probes);
        }

        #[test]
        fn ipv6_every_snapshot_answers_as_a_linear_scan_does(
            ops in proptest::collection::vec((any::<bool>(), 0u128..64, any::<u8>(), 1u32..9), 1..40),
            probes in proptest::collection::vec(any::<u128>(), 1..10),
        ) {
            let ops = ops.into_iter().map(|(add, a, len, id)| (add, a << 122 | a, len, id)).collect();
            follows_a_linear_scan(ops, &probes);
        }
    }

    #[test]
    fn a_table_emptied_route_by_route_leaves_no_node() {
        let mut table: Table<u32> = Table::default();
        for len in 0..=32 {
            table.insert(0x0a01_0203, len, group(7));
        }
        for len in 0..=32 {
            assert_eq!(table.remove(0x0a01_0203, len), Some(group(7)));
        }
        assert!(table.commit().root.is_none());
    }
}
