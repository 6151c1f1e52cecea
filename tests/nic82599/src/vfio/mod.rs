//! The device served over vfio-user, so that QEMU plugs it into a guest as a PCI device.
//!
//! [`Server`] is the loop: one thread that polls the socket, the wire and the clock. Messages come
//! in through an `Inbox`, are carried out by a `Session` against the [`Function`], and their
//! replies leave through an `Outbox`. Everything that comes from the socket is checked: a bad
//! command gets an error reply, and only a stream that has lost its framing is closed.
//!
//! The protocol is written down in QEMU's documentation, "vfio-user Protocol Specification".
//! Not served, for QEMU needs none of it: DMA by message, region I/O by descriptor, migration.

mod function;
mod inbox;
mod message;
mod outbox;
mod ring_memory;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod vectors;

pub use function::Function;
pub use server::{Order, Server, ServerError, Told};
