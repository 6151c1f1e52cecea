//! Tables of groups and adjacencies, with what plain packets need of each entry packed beside it: a
//! burst then reads one or two cache lines for a next hop, and no enum is taken apart.

/// What can be packed.
pub trait Pack {
    /// What plain packets need of it.
    type Packed: Copy + std::fmt::Debug;
    /// What an entry may have several of.
    type Listed: Copy + std::fmt::Debug;
    /// What stands for an entry that is not there: no packet goes that way.
    const NONE: Self::Packed;

    /// The list of an entry that has one.
    fn list(&self) -> &[Self::Listed];

    /// What plain packets need, when the entry's list begins at `list_at` of all lists.
    fn pack(&self, list_at: usize) -> Self::Packed;
}

/// Entries by slot.
#[derive(Clone, Debug)]
pub struct PackedTable<T: Pack> {
    entries: Vec<T>,
    packed: Vec<T::Packed>,
    /// Those of all entries, one after the other.
    lists: Vec<T::Listed>,
    /// How many of `lists` were of entries that are replaced.
    stale: usize,
}

impl<T: Pack> Default for PackedTable<T> {
    fn default() -> Self {
        PackedTable {
            entries: Vec::new(),
            packed: Vec::new(),
            lists: Vec::new(),
            stale: 0,
        }
    }
}

impl<T: Pack> FromIterator<T> for PackedTable<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut table = PackedTable::default();
        for entry in entries {
            table.put(table.len(), entry);
        }
        table
    }
}

impl<T: Pack> PackedTable<T> {
    /// Writes a slot that exists, or the next one.
    pub fn put(&mut self, slot: usize, entry: T) {
        let packed = entry.pack(self.lists.len());
        self.lists.extend_from_slice(entry.list());
        match (self.entries.get_mut(slot), self.packed.get_mut(slot)) {
            (Some(old), Some(old_packed)) => {
                self.stale += old.list().len();
                (*old, *old_packed) = (entry, packed);
            }
            _ => {
                self.entries.push(entry);
                self.packed.push(packed);
            }
        }
        if self.stale > self.lists.len() / 2 {
            self.sweep();
        }
    }

    /// Lays the lists of all entries anew, without those of entries that are replaced.
    fn sweep(&mut self) {
        self.lists.clear();
        self.stale = 0;
        for (entry, packed) in self.entries.iter().zip(&mut self.packed) {
            *packed = entry.pack(self.lists.len());
            self.lists.extend_from_slice(entry.list());
        }
    }

    #[inline]
    pub fn get(&self, slot: usize) -> Option<&T> {
        self.entries.get(slot)
    }

    /// What plain packets need, by slot.
    #[inline]
    pub fn packed(&self) -> &[T::Packed] {
        &self.packed
    }

    /// The lists that packed entries point into.
    #[inline]
    pub fn lists(&self) -> &[T::Listed] {
        &self.lists
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Pack for Vec<u8> {
        type Packed = (usize, usize);
        type Listed = u8;
        const NONE: Self::Packed = (0, 0);

        fn list(&self) -> &[u8] {
            self
        }

        fn pack(&self, list_at: usize) -> Self::Packed {
            (list_at, self.len())
        }
    }

    proptest! {
        #[test]
        fn packed_entries_lead_to_their_lists_whatever_was_replaced(
            puts in proptest::collection::vec((0usize..9, any::<Vec<u8>>()), 1..200),
        ) {
            let mut table = PackedTable::default();
            for (slot, list) in puts {
                let slot = slot.min(table.len());
                table.put(slot, list.clone());
                prop_assert_eq!(table.get(slot), Some(&list));
                let live: usize = table.iter().map(Vec::len).sum();
                prop_assert!(table.lists().len() <= 2 * live);
                for (list, (at, len)) in table.iter().zip(table.packed()) {
                    prop_assert_eq!(&table.lists()[*at..at + len], &list[..]);
                }
            }
        }
    }
}
