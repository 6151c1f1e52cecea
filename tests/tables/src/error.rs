//! What is wrong with a file, in one line that names the place and the way out.

use std::fmt;
use std::io;
use std::net::IpAddr;

use crate::Family;
use crate::line::{MAX_LINE, MAX_LINES};

/// Why a file was not read.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("cannot open {file}: {source}")]
    Open { file: String, source: io::Error },
    #[error("cannot read {file} after line {line}: {source}")]
    Read {
        file: String,
        line: u64,
        source: io::Error,
    },
    #[error("{file}:{line}: \"{text}\": {fault}")]
    Line {
        file: String,
        /// Counted from 1.
        line: u64,
        text: Excerpt,
        fault: Fault,
    },
    #[error("{file} has more than {MAX_LINES} lines: split it")]
    TooManyLines { file: String },
    #[error("{file} has no route: give it at least one line like 192.0.2.0/24 7")]
    Empty { file: String },
}

/// What is wrong with a line.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    #[error("no route: write PREFIX ID, like 192.0.2.0/24 7")]
    Route,
    #[error("no update: write TIME a PREFIX ID or TIME w PREFIX, like 12.5 a 192.0.2.0/24 7")]
    Update,
    #[error("no time in seconds: start the line with one, like 12.5")]
    Time,
    #[error("no prefix: write ADDRESS/LENGTH, like 192.0.2.0/24 or 2001:db8::/32")]
    Prefix,
    #[error("no address: write one a line, like 192.0.2.1 or 2001:db8::1")]
    Address,
    #[error("{found} where {wanted} is wanted: one table holds one family")]
    Family { found: Family, wanted: Family },
    #[error("the prefix is too long: {family} has {bits} bits")]
    Length { family: Family, bits: u8 },
    #[error("bits beyond the prefix length are set: write {first}/{len}")]
    HostBits { first: IpAddr, len: u8 },
    #[error("the id is no number: use 0 to {largest}")]
    Id { largest: u32 },
    #[error("the id is out of range: use 0 to {largest}")]
    IdRange { largest: u32 },
    #[error("the line is longer than {MAX_LINE} bytes")]
    TooLong,
    #[error("the line is not UTF-8 text")]
    Encoding,
}

/// The beginning of a line, fit for a terminal: cut when long, control characters escaped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Excerpt(String);

/// Characters of a line that are shown.
const SHOWN: usize = 60;

impl Excerpt {
    pub(crate) fn new(line: &[u8]) -> Excerpt {
        let text = String::from_utf8_lossy(line);
        let mut shown = String::new();
        let mut characters = text.chars();
        for character in characters.by_ref().take(SHOWN) {
            shown.extend(character.escape_debug());
        }
        if characters.next().is_some() {
            shown.push_str("...");
        }
        Excerpt(shown)
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_harmless_on_a_terminal() {
        let shown = |line: &[u8]| Excerpt::new(line).to_string();
        assert_eq!(shown(b"10.0.0.0/8 x"), "10.0.0.0/8 x");
        assert_eq!(
            shown(b"a\x1b[2J\tb\0\"\xff"),
            "a\\u{1b}[2J\\tb\\0\\\"\u{fffd}"
        );
        assert_eq!(shown(&[b'x'; 60]), "x".repeat(60));
        assert_eq!(shown(&[b'x'; 61]), format!("{}...", "x".repeat(60)));
    }
}
