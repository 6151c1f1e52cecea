//! `cargo +nightly fuzz run netlink`; or `cargo run --release -p ixmap-fuzz --bin netlink -- SECONDS` on stable.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ixmap_fuzz::netlink(data));

#[cfg(not(fuzzing))]
use ixmap_fuzz::random;

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    random::main(ixmap_fuzz::netlink, &random::messages())
}
