//! Ports on an Intel 82599: the driver in user space, by the datasheet (331520).
//!
//! Control opens a [`Device`], which resets the card (`reset`, `eeprom`), programs it (`setup`),
//! has it use what is in its cage (`link`, `module`), and hears what happens to it (`controller`). A worker has a [`Queue`] of the port: hardware receive
//! queues and a transmit queue (`switch` turns them on and off), each over a [`Ring`] of descriptors.
//! All but [`Device`] reaches registers by [`Registers`], so that tests drive a modelled card.

mod controller;
mod descriptor;
mod device;
mod eeprom;
mod error;
mod frame;
mod i2c;
mod link;
mod module;
mod queue;
mod receive;
mod registers;
mod reset;
mod ring;
mod semaphore;
mod setup;
mod switch;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transmit;

pub use controller::{Event, Link};
pub(super) use device::check_ids;
pub use device::{Device, Facts, ring_bytes};
pub use eeprom::EepromError;
pub use error::{CardError, OpenError};
pub use frame::{DEFAULT_MTU, MAX_FRAME_SIZE, MAX_MTU, frame_size_for, frames, max_mtu};
pub use module::{Kind, Module};
pub use queue::{Counters, LastResort, Queue, QueueError, Setup, Vector};
pub use receive::{RECEIVE_ENTRIES, ReceiveSetup, buffer_size};
pub use registers::{Register, Registers};
pub use ring::{MAX_ENTRIES, Ring};
pub use switch::QUEUES;
pub use transmit::{TRANSMIT_ENTRIES, TransmitSetup};
