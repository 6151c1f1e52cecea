//! Routes and updates of files put into the router's FIB. `tests/fib.rs` and `benches/fib.rs` do it
//! with this file, too.

use ixmap::shared::fib::{Address, Fib, GroupId, Table};
use ixmap_tables::{Change, Route, Update};

/// Ids of files are groups from 1 up: group 0 is where addresses without a route lead.
pub(crate) const LARGEST_ID: u32 = u32::MAX - 1;

/// A table of these routes and its first snapshot.
pub(crate) fn load<A: Address>(routes: &[Route<A>]) -> (Table<A>, Fib<A>) {
    let mut table = Table::default();
    for route in routes {
        table.insert(route.prefix, route.len, GroupId::new(route.id + 1));
    }
    let fib = commit(&mut table);
    (table, fib)
}

pub(crate) fn apply<A: Address>(table: &mut Table<A>, update: &Update<A>) {
    match update.change {
        Change::Announce(id) => table.insert(update.prefix, update.len, GroupId::new(id + 1)),
        Change::Withdraw => table.remove(update.prefix, update.len),
    };
}

pub(crate) fn commit<A: Address>(table: &mut Table<A>) -> Fib<A> {
    table.commit()
}
