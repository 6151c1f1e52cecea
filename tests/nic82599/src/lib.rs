//! A modelled Intel 82599.

#![deny(unsafe_code)]

pub mod guest_memory;
mod host;
pub mod pci;
pub mod wire;

pub use host::{DmaFault, DmaFaultKind, Host};
