//! The archive format of an initramfs: cpio "newc" (the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::path::Path;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;

/// An archive in the making; every path is relative to the root of the guest's file system.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    pub(crate) fn directory(&mut self, path: &str) {
        if path.is_empty() || self.directories.contains(path) {
            return;
        }
        self.parents(path);
        self.directories.insert(path.to_owned());
        self.entry(path, DIRECTORY, &[]);
    }

    /// An executable file, with the directories above it.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.parents(path);
        self.entry(path, PROGRAM, content);
    }

    pub(crate) fn symlink(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, SYMLINK, target.as_bytes());
    }

    /// The finished archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        let parent = Path::new(path).parent().and_then(Path::to_str);
        self.directory(parent.unwrap_or_default());
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (inode, size, name_size) = (self.entries, content.len(), path.len() + 1);
        // inode, mode, uid, gid, links, mtime, file size, device and its node, name size, checksum
        let header = format!(
            "070701{inode:08x}{mode:08x}{:024x}{:08x}{size:08x}{:032x}{name_size:08x}{:08x}",
            1, 0, 0, 0
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_after_its_directories_and_each_of_them_once() {
        let mut archive = Archive::default();
        archive.file("usr/bin/a", b"A");
        archive.file("usr/bin/b", b"B");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let names: Vec<&str> = text
            .split("070701")
            .skip(1)
            .map(|entry| entry[104..].split('\0').next().unwrap())
            .collect();
        let expected = ["usr", "usr/bin", "usr/bin/a", "usr/bin/b", "TRAILER!!!"];
        assert_eq!(names, expected);
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn a_header_has_thirteen_fields_of_eight_digits() {
        let mut archive = Archive::default();
        archive.file("a", b"12345");
        let header = String::from_utf8_lossy(&archive.bytes[..110]).into_owned();
        let fields: Vec<&str> = (0..13).map(|n| &header[6 + 8 * n..][..8]).collect();
        assert_eq!(&header[..6], "070701");
        assert_eq!(fields[1], "000081ed", "mode");
        assert_eq!(fields[4], "00000001", "links");
        assert_eq!(fields[6], "00000005", "file size");
        assert_eq!(fields[11], "00000002", "name size");
    }
}
