//! Routes and updates of files put into the router's FIB. `tests/fib.rs` and `benches/fib.rs` do it
//! with this file, too.

use ixmap::shared::fib::{Address, Fib, GroupId, Table};
use ixmap_tables::{Change, Route, Update};

/// A table of these routes and its first snapshot.
pub(crate) fn load<A: Address>(routes: &[Route<A>]) -> (Table<A>, Fib<A>) {
    let mut table = Table::default();
    for route in routes {
        table.insert(route.prefix, route.len, group(route.id));
    }
    let fib = commit(&mut table);
    (table, fib)
}

/// The group of a file's id: group 0 is where addresses without a route lead.
fn group(id: u32) -> GroupId {
    GroupId::new(id + 1)
}

pub(crate) fn apply<A: Address>(table: &mut Table<A>, update: &Update<A>) {
    match update.change {
        Change::Announce(id) => table.insert(update.prefix, update.len, group(id)),
        Change::Withdraw => table.remove(update.prefix, update.len),
    };
}

pub(crate) fn commit<A: Address>(table: &mut Table<A>) -> Fib<A> {
    table.commit()
}
