//! The project's own tables and updates (tests/data, where a README has their sources).

use std::path::{Path, PathBuf};

use crate::address::{Address, Family};
use crate::error::Error;
use crate::read::{Route, Update, read_routes, read_updates};

pub const IPV4_TABLE: &str = "bart4.txt.xz";
pub const IPV6_TABLE: &str = "bart6.txt.xz";
pub const IPV4_UPDATES: &str = "upd4-ris2016.txt.xz";
pub const IPV6_UPDATES: &str = "upd6-ris2016.txt.xz";

/// Ids in these files are smaller: they stand for 256 next hops.
const LARGEST_ID: u32 = 256;

/// Where a file of tests/data is.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../data")
        .join(name)
}

/// The Internet's table of a family.
pub fn table<A: Address>() -> Result<Vec<Route<A>>, Error> {
    let name = match A::FAMILY {
        Family::Ipv4 => IPV4_TABLE,
        Family::Ipv6 => IPV6_TABLE,
    };
    read_routes(&path(name), LARGEST_ID)
}

/// Five minutes of updates to it.
pub fn updates<A: Address>() -> Result<Vec<Update<A>>, Error> {
    let name = match A::FAMILY {
        Family::Ipv4 => IPV4_UPDATES,
        Family::Ipv6 => IPV6_UPDATES,
    };
    read_updates(&path(name), LARGEST_ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes<A: Address>() -> (usize, usize) {
        (table::<A>().unwrap().len(), updates::<A>().unwrap().len())
    }

    #[test]
    fn the_files_hold_what_their_readme_says() {
        assert_eq!(sizes::<u32>(), (901_899, 34_326));
        assert_eq!(sizes::<u128>(), (160_147, 6_886));
    }
}
