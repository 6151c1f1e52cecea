//! Why a card could not become a port: one line that says what to do.

use super::eeprom::EepromError;
use super::queue::QueueError;
use crate::dataplane::mem::Shortfall;
use crate::dataplane::port::pci::PciError;
use crate::shared::mac::MacAddr;
use crate::shared::pci::{NoPciAddress, PciAddress};

/// What went wrong in [`super::Device::open`] or [`super::Device::attach_queue`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Address(#[from] NoPciAddress),
    #[error(transparent)]
    Pci(#[from] PciError),
    #[error("{address}: {source}")]
    Card {
        address: PciAddress,
        source: CardError,
    },
    #[error("{address} is no card for this driver (PCI id {vendor:04x}:{device:04x}): {advice}")]
    Unsupported {
        address: PciAddress,
        vendor: u16,
        device: u16,
        advice: &'static str,
    },
    #[error(
        "{address}: mtu {mtu} does not fit the frames that were laid out at the start (at most {max}): \
         restart ixmapd with the port in its configuration"
    )]
    MtuTooLarge {
        address: PciAddress,
        mtu: u32,
        max: u32,
    },
    #[error("{address} has no queue {queue}: it was opened with {queues}")]
    NoSuchQueue {
        address: PciAddress,
        queue: u32,
        queues: u32,
    },
    #[error("{address} can spread flows over {max} queues, not {wanted}: set queues of the port")]
    TooManyQueues {
        address: PciAddress,
        wanted: usize,
        max: u32,
    },
    #[error(
        "{address}: what the card reads and writes must lie in hugepages: {shortfall} (docs/hardware.md)"
    )]
    NoHugePages {
        address: PciAddress,
        shortfall: Shortfall,
    },
    #[error("{address}: cannot {what}: {source}")]
    System {
        address: PciAddress,
        what: &'static str,
        source: std::io::Error,
    },
}

/// What a card does not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CardError {
    #[error("the card is gone: look at its slot")]
    Gone,
    #[error(
        "the card does not {0}: power the machine off and on, and replace the card if that does not help"
    )]
    Late(&'static str),
    #[error(
        "the card's firmware does not get ready: update it with its vendor's tool, or power the machine off \
         and on"
    )]
    Firmware,
    #[error(
        "the card's firmware does not let go of the module's bus or the MAC: update it with its vendor's \
         tool, or power the machine off and on"
    )]
    Semaphore,
    #[error(transparent)]
    Eeprom(#[from] EepromError),
    #[error(
        "the EEPROM has {0}, which is no station's address: restore it with the card's vendor's tool"
    )]
    Mac(MacAddr),
    #[error(transparent)]
    Queue(#[from] QueueError),
}
