//! Swapping in a fresh dump, and telling exactly what differs.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Mirror;
use super::types::Changes;

impl Mirror {
    /// Takes over the tables of `fresh` and returns what is not as it was.
    pub fn replace_with(&mut self, fresh: Mirror) -> Changes {
        let mut changes = Changes::default();
        differences(&self.links, &fresh.links, |index| {
            changes.links.insert(*index);
        });
        self.routes.differences(&fresh.routes, |prefix| {
            changes.prefixes.insert(prefix);
        });
        differences(&self.nexthops, &fresh.nexthops, |id| {
            fresh.note_nexthop(*id, &mut changes);
        });
        differences(&self.neighbours, &fresh.neighbours, |key| {
            changes.neighbours.insert(*key);
        });
        changes.addresses = self.addresses != fresh.addresses;
        *self = fresh;
        changes
    }
}

/// Calls `differs` with each key whose value is only in one of the maps or not the same in both.
fn differences<K: Ord, V: PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    mut differs: impl FnMut(&K),
) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        match (before, after) {
            (Some((_, a)), Some((_, b))) if a == b => {}
            (Some((key, _)), _) | (None, Some((key, _))) => differs(key),
            (None, None) => return,
        }
    }
}
