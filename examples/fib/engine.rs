//! Routes and updates of files put into the router's FIB. `tests/fib.rs` and `benches/fib.rs` do it
//! with this file, too.

use ixmap::shared::fib::{Exhausted, Fib, GroupId, Lpm, Table};
use ixmap_tables::{Change, Route, Update};

/// A table of these routes and its first snapshot.
pub(crate) fn load<A: Lpm>(routes: &[Route<A>]) -> Result<(Table<A>, Fib<A>), Exhausted> {
    let mut table = Table::default();
    for route in routes {
        table.insert(route.prefix, route.len, group(route.id));
    }
    let fib = table.commit()?;
    Ok((table, fib))
}

/// The group of a file's id: group 0 is where addresses without a route lead.
fn group(id: u32) -> GroupId {
    GroupId::new(id + 1)
}

pub(crate) fn apply<A: Lpm>(table: &mut Table<A>, update: &Update<A>) {
    match update.change {
        Change::Announce(id) => table.insert(update.prefix, update.len, group(id)),
        Change::Withdraw => table.remove(update.prefix, update.len),
    };
}
