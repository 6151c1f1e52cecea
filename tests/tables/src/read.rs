//! Whole files: tables, updates, addresses.

use std::io::Read;
use std::path::Path;

use crate::address::{Address, Family};
use crate::error::Error;
use crate::line::Lines;
use crate::parse;

/// A prefix and the id of its next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route<A> {
    /// All bits beyond `len` are zero.
    pub prefix: A,
    pub len: u8,
    pub id: u32,
}

/// A table as its file has it, in the file's order; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Routes {
    Ipv4(Vec<Route<u32>>),
    Ipv6(Vec<Route<u128>>),
}

impl Routes {
    /// Reads a table of the family that its first prefix has. Ids beyond `largest_id` are refused.
    pub fn read(path: &Path, largest_id: u32) -> Result<Routes, Error> {
        let mut lines = Lines::open(path)?;
        match lines.peek(parse::family)? {
            Some(Family::Ipv4) => rest(lines, largest_id).map(Routes::Ipv4),
            Some(Family::Ipv6) => rest(lines, largest_id).map(Routes::Ipv6),
            None => Err(Error::Empty {
                file: lines.name().to_owned(),
            }),
        }
    }
}

/// Reads a table of a family known beforehand, which may be empty. Ids beyond `largest_id` are
/// refused.
pub fn read_routes<A: Address>(path: &Path, largest_id: u32) -> Result<Vec<Route<A>>, Error> {
    rest(Lines::open(path)?, largest_id)
}

fn rest<A: Address>(mut lines: Lines, largest_id: u32) -> Result<Vec<Route<A>>, Error> {
    let mut routes = Vec::new();
    while let Some(route) = lines.next(|line| parse::route(line, largest_id))? {
        routes.push(route);
    }
    Ok(routes)
}

/// A change to a table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Update<A> {
    /// When it came, on the file's own clock.
    pub seconds: f64,
    /// All bits beyond `len` are zero.
    pub prefix: A,
    pub len: u8,
    pub change: Change,
}

/// What happens to the prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It leads to this id from now on, whether it was there or not.
    Announce(u32),
    /// It goes, if it was there.
    Withdraw,
}

/// Reads an update file. Ids beyond `largest_id` are refused.
pub fn read_updates<A: Address>(path: &Path, largest_id: u32) -> Result<Vec<Update<A>>, Error> {
    let mut lines = Lines::open(path)?;
    let mut updates = Vec::new();
    while let Some(update) = lines.next(|line| parse::update(line, largest_id))? {
        updates.push(update);
    }
    Ok(updates)
}

/// Addresses, one a line, in bursts.
pub struct Addresses(Lines);

impl Addresses {
    /// Those of a file, plain or xz.
    pub fn open(path: &Path) -> Result<Addresses, Error> {
        Lines::open(path).map(Addresses)
    }

    /// Those of a stream, which may be a terminal; errors call it `name`.
    pub fn stream(name: &str, reader: impl Read + 'static) -> Addresses {
        Addresses(Lines::stream(name, reader))
    }

    /// Fills `burst`, which is cleared first, with up to `most` addresses: fewer when the next one
    /// has yet to arrive, none at the end. After an error it holds those before the bad line.
    pub fn fill<A: Address>(&mut self, burst: &mut Vec<A>, most: usize) -> Result<(), Error> {
        burst.clear();
        while burst.len() < most {
            match self.0.next(parse::address)? {
                Some(address) => burst.push(address),
                None => break,
            }
            if self.is_waiting() {
                break;
            }
        }
        Ok(())
    }

    /// All addresses, or the first `most`.
    pub fn all<A: Address>(mut self, most: usize) -> Result<Vec<A>, Error> {
        let (mut all, mut some) = (Vec::new(), Vec::new());
        loop {
            // A file, too, comes piece by piece.
            self.fill(&mut some, most - all.len())?;
            if some.is_empty() {
                return Ok(all);
            }
            all.append(&mut some);
        }
    }

    /// True when the next address has yet to arrive: time to show the answers so far.
    pub fn is_waiting(&self) -> bool {
        self.0.is_waiting()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tempfile::TempDir;

    /// A file with this text; it lives as long as the directory.
    fn file(text: &str) -> (TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn table(text: &str) -> Result<Routes, String> {
        let (_directory, path) = file(text);
        let shown = path.display().to_string();
        Routes::read(&path, 1000).map_err(|error| error.to_string().replace(&shown, "FILE"))
    }

    #[test]
    fn the_first_line_decides_the_family() {
        let route = |prefix, len, id| Route { prefix, len, id };
        assert_eq!(
            table("\n10.0.0.0/8 1\n\n0.0.0.0/0 0"),
            Ok(Routes::Ipv4(vec![route(10 << 24, 8, 1), route(0, 0, 0)]))
        );
        let Ok(Routes::Ipv6(routes)) = table("::/0 3\n") else {
            panic!("no IPv6 table");
        };
        assert_eq!(routes.len(), 1);
        assert_eq!(
            table("10.0.0.0/8 1\n::/0 3\n").unwrap_err(),
            "FILE:2: \"::/0 3\": IPv6 where IPv4 is wanted: one table holds one family"
        );
    }

    #[test]
    fn a_bad_line_is_named_by_file_number_and_text() {
        for (text, message) in [
            (
                "10.0.0.0/8 1\n\n10.0.0.1/8 2\n",
                "FILE:3: \"10.0.0.1/8 2\": bits beyond the prefix length are set: write 10.0.0.0/8",
            ),
            (
                "10.0.0.0/8 1001\n",
                "FILE:1: \"10.0.0.0/8 1001\": the id is out of range: use 0 to 1000",
            ),
            (
                "nonsense\u{7}\n",
                "FILE:1: \"nonsense\\u{7}\": no prefix: write ADDRESS/LENGTH, like 192.0.2.0/24 or 2001:db8::/32",
            ),
            (
                " \n",
                "FILE has no route: give it at least one line like 192.0.2.0/24 7",
            ),
        ] {
            assert_eq!(table(text).unwrap_err(), message);
        }
    }

    #[test]
    fn updates_keep_their_order() {
        let (_directory, path) = file("1 a 10.0.0.0/8 7\n2 w 10.0.0.0/8\n");
        let updates = read_updates::<u32>(&path, 1000).unwrap();
        let changes: Vec<_> = updates.iter().map(|u| (u.seconds, u.change)).collect();
        assert_eq!(
            changes,
            [(1.0, Change::Announce(7)), (2.0, Change::Withdraw)]
        );
        let error = read_updates::<u128>(&path, 1000).unwrap_err().to_string();
        assert!(error.contains(":1: \"1 a 10.0.0.0/8 7\": IPv4 where IPv6"));
    }

    /// Gives one chunk a read, as a pipe does.
    struct Chunks(Vec<&'static [u8]>);

    impl Read for Chunks {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let chunk = self.0.remove(0);
            into[..chunk.len()].copy_from_slice(chunk);
            Ok(chunk.len())
        }
    }

    #[test]
    fn a_burst_ends_when_full_and_when_the_next_line_has_yet_to_arrive() {
        let chunks = Chunks(vec![b"0.0.0.1\n0.0.0.2\n0.0.", b"0.3\n0.0.0.4\n0.0.0.5"]);
        let mut addresses = Addresses::stream("stdin", chunks);
        let mut burst: Vec<u32> = Vec::new();
        for expected in [&[1, 2][..], &[3, 4], &[5], &[]] {
            addresses.fill(&mut burst, 2).unwrap();
            assert_eq!(burst, expected);
        }
    }

    #[test]
    fn all_addresses_of_a_file_are_read_however_long_it_is() {
        let wanted: Vec<u32> = (0..100_000).collect();
        let line = |address: &u32| format!("{}\n", std::net::Ipv4Addr::from_bits(*address));
        let (_directory, path) = file(&wanted.iter().map(line).collect::<String>());
        let all = |most| Addresses::open(&path).unwrap().all::<u32>(most).unwrap();
        assert!(all(usize::MAX) == wanted);
        assert!(all(70_000) == wanted[..70_000]);
    }

    #[test]
    fn the_addresses_before_a_bad_one_are_kept() {
        let (_directory, path) = file("0.0.0.1\n\n0.0.0.2\n::1\n0.0.0.3\n");
        let mut addresses = Addresses::open(&path).unwrap();
        let mut burst: Vec<u32> = Vec::new();
        let error = addresses.fill(&mut burst, 64).unwrap_err().to_string();
        assert_eq!(burst, [1, 2]);
        assert!(error.contains(":4: \"::1\": IPv6 where"), "{error}");
    }
}
