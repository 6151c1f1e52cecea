//! `cargo +nightly fuzz run pipeline`; or `cargo run --release -p ixmap-fuzz --bin pipeline -- SECONDS` on stable.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ixmap_fuzz::pipeline(data));

#[cfg(not(fuzzing))]
fn main() {
    ixmap_fuzz::random::main(ixmap_fuzz::pipeline);
}
