//! Waiting for a condition instead of for a while.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long anything may take on a slow, loaded machine before it counts as broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until `ready` says yes; an error that it returns is passed on.
pub fn wait_until(what: &str, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !ready()? {
        if start.elapsed() > PATIENCE {
            return Err(Error::Timeout(what.to_owned()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
