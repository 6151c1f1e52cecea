//! Names and directories that no other lab, thread or process uses at the same time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use crate::error::{Error, Result};

static SERIAL: AtomicU32 = AtomicU32::new(0);

const PREFIX: &str = "ixlab-";

/// A name for this machine's shared tables: `ixlab-<pid>-<serial>`.
pub(crate) fn unique_name() -> String {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{serial}", process::id())
}

/// The process that made up this name, if it is one of ours.
pub(crate) fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// A temporary directory, removed with all its contents on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Result<Scratch> {
        let path = env::temp_dir().join(unique_name());
        fs::create_dir(&path).map_err(Error::io(format!("create {}", path.display())))?;
        Ok(Scratch(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner() {
        assert_eq!(owner(&unique_name()), Some(process::id()));
        assert_eq!(owner(&format!("{}-a", unique_name())), Some(process::id()));
        assert_eq!(owner("xn-1-a"), None);
    }
}
