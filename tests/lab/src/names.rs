//! Names that no other lab, thread or process uses at the same time.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

static SERIAL: AtomicU32 = AtomicU32::new(0);

const PREFIX: &str = "ixlab-";

/// A name for this machine's shared tables: `ixlab-<pid>-<serial>`.
pub fn unique_name() -> String {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{serial}", process::id())
}

/// The process that made up this name, if it is one of ours.
pub(crate) fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
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
