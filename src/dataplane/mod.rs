//! The fast path: workers, the burst pipeline, ports and packet memory. `std` and `libc` only:
//! never tokio, never `control`.

pub mod mem;
pub mod port;
