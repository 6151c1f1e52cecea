//! A modelled Intel 82599 (331520, "the datasheet"): registers, rings, interrupts, EEPROM and link,
//! with a strict judge of what the driver does.
//!
//! [`Nic`] is the device: deterministic, without clock, threads or I/O. What it reaches beyond its
//! registers is a [`Host`]: memory, interrupts and the wire. [`Memory`] is the host of tests that
//! run in this process, [`vfio`] serves the device to QEMU with [`guest_memory`], [`pci`] and a
//! [`wire`] around it. What a driver does wrong is a [`Violation`].

#![deny(unsafe_code)]

mod eeprom;
pub mod guest_memory;
mod host;
mod interrupts;
mod link;
mod memory;
mod nic;
mod packet;
pub mod pci;
mod phy;
mod receive;
mod registers;
mod ring_pages;
mod rings;
mod semaphores;
mod socket_file;
mod state;
mod statistics;
#[cfg(test)]
mod testing;
mod transmit;
pub mod vfio;
mod violation;
pub mod wire;

pub use host::{DmaFault, DmaFaultKind, Host};
pub use interrupts::VECTORS;
pub use memory::{Memory, Permission};
pub use nic::{Nic, Settings, Variant};
pub use registers::BAR0_SIZE;
pub use ring_pages::{RingPage, RingPages};
pub use socket_file::SocketFileError;
pub use violation::{Violation, Why};
