//! Ports on an Intel 82599: the driver in user space, by the datasheet (331520).
//!
//! A worker has a [`Queue`] of the port: hardware receive queues and a transmit queue, each over a
//! [`Ring`] of descriptors.

mod descriptor;
mod queue;
mod receive;
mod registers;
mod ring;
mod switch;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod transmit;

pub use queue::{Counters, LastResort, Queue, QueueError, Setup, Vector};
pub use receive::{RECEIVE_ENTRIES, ReceiveSetup, buffer_size};
pub use registers::{Register, Registers};
pub use ring::{MAX_ENTRIES, Ring};
pub use switch::QUEUES;
pub use transmit::{TRANSMIT_ENTRIES, TransmitSetup};
