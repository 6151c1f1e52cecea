//! Tables of groups and adjacencies, with what plain packets need of each entry packed beside it: a
//! burst then reads one or two cache lines for a next hop, and no enum is taken apart.

/// What can be packed.
pub trait Pack {
    /// What plain packets need of it.
    type Packed: Copy + Eq + std::fmt::Debug;
    /// What stands for an entry that is not there: no packet goes that way.
    const NONE: Self::Packed;

    fn pack(&self) -> Self::Packed;
}

/// Entries by slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackedTable<T: Pack> {
    entries: Vec<T>,
    packed: Vec<T::Packed>,
}

impl<T: Pack> Default for PackedTable<T> {
    fn default() -> Self {
        PackedTable {
            entries: Vec::new(),
            packed: Vec::new(),
        }
    }
}

impl<T: Pack> FromIterator<T> for PackedTable<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let entries: Vec<T> = entries.into_iter().collect();
        let packed = entries.iter().map(Pack::pack).collect();
        PackedTable { entries, packed }
    }
}

impl<T: Pack> PackedTable<T> {
    /// Writes a slot that exists, or the next one.
    pub fn put(&mut self, slot: usize, entry: T) {
        let packed = entry.pack();
        match (self.entries.get_mut(slot), self.packed.get_mut(slot)) {
            (Some(old), Some(old_packed)) => (*old, *old_packed) = (entry, packed),
            _ => {
                self.entries.push(entry);
                self.packed.push(packed);
            }
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
