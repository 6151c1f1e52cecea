//! What is in a family's forwarding table: the kernel's routes, and host routes of neighbours, which
//! may hide a route to the same host.

use std::collections::HashMap;

use crate::shared::fib::{Exhausted, Fib, GroupId, Lpm, Table};

/// The table of a family with addresses of type `A`.
#[derive(Debug)]
pub(super) struct Placed<A> {
    table: Table<A>,
    /// The last that fitted in memory.
    committed: Fib<A>,
    /// What came after it did not.
    exhausted: bool,
    /// Groups of neighbours' host routes.
    hosts: HashMap<A, GroupId>,
    /// Groups of the routes that those hide.
    hidden: HashMap<A, GroupId>,
}

impl<A: Lpm> Default for Placed<A> {
    fn default() -> Self {
        Placed::with(Table::default())
    }
}

impl<A: Lpm> Placed<A> {
    pub(super) fn with(table: Table<A>) -> Placed<A> {
        Placed {
            table,
            committed: Fib::default(),
            exhausted: false,
            hosts: HashMap::new(),
            hidden: HashMap::new(),
        }
    }

    pub(super) fn commit(&mut self) -> Result<Fib<A>, Exhausted> {
        let fib = self.table.commit();
        self.exhausted = fib.is_err();
        self.committed = fib?;
        Ok(self.committed.clone())
    }

    /// What fits: after a commit that failed, the one before it. Tries no second time.
    pub(super) fn latest(&mut self) -> Fib<A> {
        if !self.exhausted {
            // A failure leaves what was committed last.
            let _ = self.commit();
        }
        self.committed.clone()
    }

    /// The kernel's routes.
    pub(super) fn routes(&self) -> usize {
        self.table.routes() + self.hidden.len() - self.hosts.len()
    }

    /// The group of a route; host bits are zero.
    pub(super) fn route(&self, prefix: A, len: u8) -> Option<GroupId> {
        match self.is_host(prefix, len) {
            true => self.hidden.get(&prefix).copied(),
            false => self.table.get(prefix, len),
        }
    }

    /// The group of a neighbour's host route.
    pub(super) fn host(&self, address: A) -> Option<GroupId> {
        self.hosts.get(&address).copied()
    }

    /// Prepares for routes to be set or removed soon.
    pub(super) fn warm(&self, prefixes: &[A]) {
        self.table.warm(prefixes);
    }

    /// Sets or removes a route; the group that it had.
    pub(super) fn set_route(
        &mut self,
        prefix: A,
        len: u8,
        group: Option<GroupId>,
    ) -> Option<GroupId> {
        match (self.is_host(prefix, len), group) {
            (true, Some(group)) => self.hidden.insert(prefix, group),
            (true, None) => self.hidden.remove(&prefix),
            (false, Some(group)) => self.table.insert(prefix, len, group),
            (false, None) => self.table.remove(prefix, len),
        }
    }

    /// Sets or removes a neighbour's host route; the group that it had.
    pub(super) fn set_host(&mut self, address: A, group: Option<GroupId>) -> Option<GroupId> {
        let before = match group {
            Some(group) => self.hosts.insert(address, group),
            None => self.hosts.remove(&address),
        };
        match (before, group) {
            (None, None) => {}
            (Some(_), Some(group)) => {
                self.table.insert(address, A::BITS, group);
            }
            (None, Some(group)) => {
                let route = self.table.insert(address, A::BITS, group);
                self.hidden.extend(route.map(|route| (address, route)));
            }
            (Some(_), None) => {
                match self.hidden.remove(&address) {
                    Some(route) => self.table.insert(address, A::BITS, route),
                    None => self.table.remove(address, A::BITS),
                };
            }
        }
        before
    }

    fn is_host(&self, prefix: A, len: u8) -> bool {
        len == A::BITS && self.hosts.contains_key(&prefix)
    }
}
