//! `ixmapctl bind`: which driver of the kernel a card is bound to. It needs no daemon.

use serde::Serialize;

use crate::dataplane::port::pci::bind::Bound;
use crate::dataplane::port::{OpenError, bind_card};
use crate::shared::pci::PciAddress;

/// What the command did.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    address: String,
    driver: String,
    /// The driver before; `null` for none.
    was: Option<String>,
}

/// Binds the function at `address` to `driver`.
pub(super) fn run(address: PciAddress, driver: &str, force: bool) -> Result<Report, OpenError> {
    let Bound { address, was, now } = bind_card(address, driver, force)?;
    Ok(Report {
        address: address.to_string(),
        driver: now,
        was,
    })
}

impl Report {
    /// The line for people, with the way back.
    pub(super) fn line(&self) -> String {
        let Report {
            address,
            driver,
            was,
        } = self;
        match was {
            Some(was) if was == driver => format!("{address} is bound to {driver} already\n"),
            Some(was) => {
                format!("{address}: {was} -> {driver}; back: `ixmapctl bind {address} {was}`\n")
            }
            None => format!("{address}: bound to {driver}\n"),
        }
    }
}
