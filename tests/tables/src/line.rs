//! The lines of a file or stream, plain or xz: counted, bounded, blank ones skipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use lzma_rust2::XzReader;

use crate::error::{Error, Excerpt, Fault};

/// Bytes of a line, its end not counted; the longest well-formed one is well below 100.
pub(crate) const MAX_LINE: usize = 255;
/// Lines of a file: eighteen times the Internet's table.
pub(crate) const MAX_LINES: u64 = 1 << 24;
/// How an xz file begins (its format, section 2.1.1.1).
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";
/// Memory that decompressing may take, in KiB: enough for what `xz -9` writes (64 MiB).
const XZ_MEMORY_KIB: u32 = 80 << 10;
const BUFFER: usize = 64 << 10;

/// Lines from one source.
pub(crate) struct Lines {
    /// What to call the source in errors.
    name: String,
    reader: BufReader<Box<dyn Read>>,
    buffer: Vec<u8>,
    /// Of the line in the buffer, counted from 1; 0 before the first.
    number: u64,
    /// Most lines to read.
    limit: u64,
    /// The line in the buffer was only looked at.
    held: bool,
}

impl Lines {
    /// The lines of a file, xz or plain by its first bytes.
    pub(crate) fn open(path: &Path) -> Result<Lines, Error> {
        let name = path.display().to_string();
        let open = || -> io::Result<Box<dyn Read>> {
            let mut file = File::open(path)?;
            let mut head = Vec::new();
            Read::by_ref(&mut file)
                .take(XZ_MAGIC.len() as u64)
                .read_to_end(&mut head)?;
            let is_xz = head == XZ_MAGIC;
            let whole = io::Cursor::new(head).chain(file);
            Ok(if is_xz {
                let whole = BufReader::with_capacity(BUFFER, whole);
                Box::new(XzReader::new_mem_limit(whole, true, XZ_MEMORY_KIB))
            } else {
                Box::new(whole)
            })
        };
        match open() {
            Ok(reader) => Ok(Lines::new(name, reader, MAX_LINES)),
            Err(source) => Err(Error::Open { file: name, source }),
        }
    }

    /// The lines of a stream without end.
    pub(crate) fn stream(name: &str, reader: impl Read + 'static) -> Lines {
        Lines::new(name.to_owned(), Box::new(reader), u64::MAX)
    }

    fn new(name: String, reader: Box<dyn Read>, limit: u64) -> Lines {
        Lines {
            name,
            reader: BufReader::with_capacity(BUFFER, reader),
            buffer: Vec::with_capacity(MAX_LINE + 1),
            number: 0,
            limit,
            held: false,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What `parse` makes of the next line that is not blank; `None` at the end.
    pub(crate) fn next<T>(
        &mut self,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, Error> {
        if !self.advance()? {
            return Ok(None);
        }
        let parsed = match str::from_utf8(&self.buffer) {
            Ok(text) => parse(text),
            Err(_) => Err(Fault::Encoding),
        };
        parsed.map(Some).map_err(|fault| self.fault(fault))
    }

    /// Like [`Lines::next`], but the line stays the next one.
    pub(crate) fn peek<T>(
        &mut self,
        parse: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, Error> {
        let peeked = self.next(parse)?;
        self.held = peeked.is_some();
        Ok(peeked)
    }

    /// True when the next line has yet to arrive, so that reading it may block.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.held && !self.reader.buffer().contains(&b'\n')
    }

    /// Puts the next line that is not blank into the buffer, trimmed; false at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        if std::mem::take(&mut self.held) {
            return Ok(true);
        }
        loop {
            self.buffer.clear();
            let most = MAX_LINE as u64 + 1;
            let mut line = self.reader.by_ref().take(most);
            match line.read_until(b'\n', &mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(_) if self.number == self.limit => {
                    let file = self.name.clone();
                    return Err(Error::TooManyLines { file });
                }
                Ok(_) => self.number += 1,
                Err(source) => {
                    return Err(Error::Read {
                        file: self.name.clone(),
                        line: self.number,
                        source,
                    });
                }
            }
            if self.buffer.len() > MAX_LINE && self.buffer.last() != Some(&b'\n') {
                return Err(self.fault(Fault::TooLong));
            }
            let end = self.buffer.trim_ascii_end().len();
            self.buffer.truncate(end);
            if end > 0 {
                return Ok(true);
            }
        }
    }

    fn fault(&self, fault: Fault) -> Error {
        Error::Line {
            file: self.name.clone(),
            line: self.number,
            text: Excerpt::new(&self.buffer),
            fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: impl Into<Vec<u8>>) -> Lines {
        Lines::stream("test", io::Cursor::new(text.into()))
    }

    fn all(mut lines: Lines) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        while let Some(text) = lines
            .next(|text| Ok(text.to_owned()))
            .map_err(|error| error.to_string())?
        {
            found.push(text);
        }
        Ok(found)
    }

    #[test]
    fn blank_lines_are_skipped_but_counted_and_any_line_end_will_do() {
        let mut lines = lines("\n  \na b\r\n\t\nc");
        let whole = |text: &str| Ok(text.to_owned());
        assert_eq!(lines.next(whole).unwrap().as_deref(), Some("a b"));
        let error = lines.next(|_| Err::<(), _>(Fault::Route)).unwrap_err();
        assert!(error.to_string().starts_with("test:5: \"c\": no route"));
        assert_eq!(lines.next(whole).unwrap(), None);
    }

    #[test]
    fn a_line_that_was_looked_at_comes_again() {
        let mut lines = lines("one\ntwo\n");
        let whole = |text: &str| Ok(text.to_owned());
        assert_eq!(lines.peek(whole).unwrap().as_deref(), Some("one"));
        assert!(!lines.is_waiting());
        assert_eq!(all(lines).unwrap(), ["one", "two"]);
    }

    #[test]
    fn a_line_may_have_255_bytes_and_no_more() {
        let longest = "x".repeat(MAX_LINE);
        assert_eq!(all(lines(format!("{longest}\n"))).unwrap(), [&*longest]);
        assert_eq!(all(lines(longest)).unwrap().len(), 1);
        for end in ["", "\n"] {
            let error = all(lines(format!("a\n{}{end}", "x".repeat(MAX_LINE + 1)))).unwrap_err();
            assert!(error.starts_with("test:2: \"xxx"), "{error}");
            assert!(error.ends_with("longer than 255 bytes"), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_a_fault_of_their_line() {
        let error = all(lines(&b"a\n\xff\xfe\n"[..])).unwrap_err();
        assert!(error.starts_with("test:2: "), "{error}");
        assert!(error.ends_with("not UTF-8 text"), "{error}");
    }

    #[test]
    fn a_file_without_end_is_cut_off() {
        let endless = Lines::new("test".into(), Box::new(io::repeat(b'\n')), 1000);
        assert_eq!(
            all(endless).unwrap_err(),
            "test has more than 16777216 lines: split it"
        );
    }

    #[test]
    fn a_damaged_xz_file_is_an_error_not_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table.xz");
        let whole = std::fs::read(crate::data::path(crate::data::IPV6_UPDATES)).unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            all(Lines::open(&path).unwrap())
        };
        assert_eq!(read(&whole).unwrap().len(), 6886);
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [&whole[..whole.len() / 2], &whole[..6], &flipped] {
            let error = read(damaged).unwrap_err();
            assert!(error.starts_with("cannot read "), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Lines::open(Path::new("/nowhere/table")).err().unwrap();
        assert!(
            error
                .to_string()
                .starts_with("cannot open /nowhere/table: ")
        );
    }
}
