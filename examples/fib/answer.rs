//! Addresses on stdin, answers on stdout: looked up in bursts, as workers do, and shown as soon as
//! the input pauses.

use std::io::{self, BufWriter, Write};

use ixmap::shared::fib::{self, Fib, GroupId};
use ixmap_tables::Addresses;

use crate::Error;

const BURST: usize = 64;

pub(crate) fn stdin<A>(fib: &Fib<A>) -> Result<(), Error>
where
    A: fib::Address + ixmap_tables::Address,
{
    let mut addresses = Addresses::stream("stdin", io::stdin());
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let mut burst = Vec::with_capacity(BURST);
    let mut groups = [GroupId::NO_ROUTE; BURST];
    loop {
        let filled = addresses.fill(&mut burst, BURST);
        fib.lookup_burst(&burst, &mut groups[..burst.len()]);
        write(&mut out, &groups[..burst.len()]).map_err(Error::stdout)?;
        let done = filled.is_err() || burst.is_empty();
        if done || addresses.is_waiting() {
            out.flush().map_err(Error::stdout)?;
        }
        filled?;
        if done {
            return Ok(());
        }
    }
}

/// The id of each group, or `-` for no route, on a line of its own.
fn write(out: &mut impl Write, groups: &[GroupId]) -> io::Result<()> {
    for group in groups {
        match group.index().checked_sub(1) {
            Some(id) => writeln!(out, "{id}")?,
            None => writeln!(out, "-")?,
        }
    }
    Ok(())
}
