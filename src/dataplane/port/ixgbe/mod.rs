//! Ports on an Intel 82599: the driver in user space, by the datasheet (331520).

mod registers;

pub use registers::{Register, Registers};
