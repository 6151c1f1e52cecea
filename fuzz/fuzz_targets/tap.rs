//! `cargo +nightly fuzz run tap`; or `cargo run --release -p ixmap-fuzz --bin tap -- SECONDS` on stable.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ixmap_fuzz::tap(data));

#[cfg(not(fuzzing))]
use ixmap_fuzz::random;

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    random::main(ixmap_fuzz::tap, &random::rows())
}
