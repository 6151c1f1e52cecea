//! Values that are kept once, each in a slot of its own, and counted by their users.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// Dense slots by value. `K` is cloned on first use: cheap to clone, best of all an `Arc`.
#[derive(Clone, Debug)]
pub(super) struct Slots<K> {
    /// Hashed quickly: a full table asks it a million times.
    by_key: HashMap<K, u32, RandomState>,
    /// By slot: the value and how many users it has; absent for a free slot.
    taken: Vec<Option<(K, u32)>>,
    free: Vec<u32>,
    /// Without users, but not to be handed out yet.
    resting: Vec<u32>,
}

impl<K> Default for Slots<K> {
    fn default() -> Self {
        Slots {
            by_key: HashMap::default(),
            taken: Vec::new(),
            free: Vec::new(),
            resting: Vec::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Slots<K> {
    /// `first` slots are never handed out.
    pub(super) fn after(first: usize) -> Slots<K> {
        Slots {
            taken: vec![None; first],
            ..Slots::default()
        }
    }

    /// Values in use.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The slot of a value in use.
    pub(super) fn find<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        self.by_key.get(key).copied()
    }

    /// Counts one more user of a value in use.
    pub(super) fn share<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        let slot = self.find(key)?;
        self.share_slot(slot);
        Some(slot)
    }

    /// Counts one more user of a slot in use.
    pub(super) fn share_slot(&mut self, slot: u32) {
        if let Some(Some((_, users))) = self.taken.get_mut(slot as usize) {
            *users += 1;
        }
    }

    /// A slot for a new value with one user.
    pub(super) fn take(&mut self, key: K) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.taken.push(None);
            u32::try_from(self.taken.len() - 1).unwrap_or(u32::MAX)
        });
        self.by_key.insert(key.clone(), slot);
        self.taken[slot as usize] = Some((key, 1));
        slot
    }

    /// Counts one user less; returns the value when it was the last, and the slot is free again.
    pub(super) fn release(&mut self, slot: u32) -> Option<K> {
        let last = self.retire(slot)?;
        self.settle();
        Some(last)
    }

    /// As [`Self::release`], but the slot rests until [`Self::settle`]: somebody may still look
    /// there for what it was.
    pub(super) fn retire(&mut self, slot: u32) -> Option<K> {
        let entry = self.taken.get_mut(slot as usize)?;
        let (_, users) = entry.as_mut()?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        let (key, _) = entry.take()?;
        self.by_key.remove(&key);
        self.resting.push(slot);
        Some(key)
    }

    /// The slots that rest.
    pub(super) fn resting(&self) -> &[u32] {
        &self.resting
    }

    /// Nobody looks for what the resting slots were any more.
    pub(super) fn settle(&mut self) {
        self.free.append(&mut self.resting);
    }

    /// The value in a slot.
    pub(super) fn get(&self, slot: u32) -> Option<&K> {
        let entry = self.taken.get(slot as usize)?;
        entry.as_ref().map(|(key, _)| key)
    }

    /// Every slot, free ones included.
    pub(super) fn slots(&self) -> impl Iterator<Item = Option<&K>> {
        let slots = self.taken.iter();
        slots.map(|slot| slot.as_ref().map(|(key, _)| key))
    }

    /// Every slot in use with its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &K)> {
        (0..)
            .zip(self.slots())
            .filter_map(|(slot, key)| Some((slot, key?)))
    }
}
