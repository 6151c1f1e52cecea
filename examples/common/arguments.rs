//! What the examples' command lines have in common.

/// How long to measure.
pub(crate) fn seconds(text: &str) -> Result<u64, &'static str> {
    let seconds = text.parse().ok().filter(|s| (1..=3600).contains(s));
    seconds.ok_or("a whole number from 1 to 3600 is wanted")
}
