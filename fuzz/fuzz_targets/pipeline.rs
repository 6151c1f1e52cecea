//! `cargo +nightly fuzz run pipeline`; or `cargo run --release -p ixmap-fuzz --bin pipeline -- SECONDS` on stable.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ixmap_fuzz::pipeline(data));

#[cfg(not(fuzzing))]
use ixmap_fuzz::random;

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    random::main(ixmap_fuzz::pipeline, &random::packets())
}
