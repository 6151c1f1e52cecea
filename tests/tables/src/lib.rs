//! Routing tables for tests and measurements, independent of the router that they test.
//!
//! - A **table** file has a route a line, `prefix id`: `192.0.2.0/24 7`. All IPv4 or all IPv6.
//! - An **update** file has a change a line, in order: `time a prefix id` announces a route (or
//!   gives it another id), `time w prefix` withdraws it, whatever id follows; `time` is in seconds.
//! - **Addresses** are one a line.
//!
//! Files are plain or xz; fields are apart by spaces or tabs; blank lines are skipped; there are no
//! comments. Host bits in a prefix are refused, as `ip route add` refuses them, and so is anything
//! else that is not the format: [`Error`] names the file, the line and what is wrong with it. Of
//! routes for the same prefix the last one counts.
//!
//! A table can be [`made_up()`], too. From a table come the address [`Stream`]s that every program under
//! measurement is given, and the [`Reference`] that says what the right answers are.

mod address;
pub mod data;
mod error;
mod line;
mod made_up;
mod parse;
mod read;
mod reference;
mod rng;
mod stream;

pub use address::{Address, Family};
pub use error::{Error, Excerpt, Fault};
pub use made_up::made_up;
pub use read::{Addresses, Change, Route, Routes, Update, read_routes, read_updates};
pub use reference::Reference;
pub use stream::{LENGTH, SEED, Stream, UnknownStream};
