//! The fast path: workers, the burst pipeline, ports and packet memory. `std` and thin system
//! wrappers only: never tokio, never `control`.

pub mod bell;
pub mod forward;
pub mod limit;
pub mod mem;
pub mod port;
pub mod ring;
pub mod worker;
