//! The pipeline against the table of who does what, the naive reference, and its own promises.

mod cases;
mod generate;
mod lab;
mod multipath;
mod properties;

pub(in crate::dataplane) use self::generate::frames;
pub(in crate::dataplane) use self::lab::{jumbo_world, world};
