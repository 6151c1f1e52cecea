//! What the examples' command lines have in common.

/// How long to measure.
pub(crate) fn seconds(text: &str) -> Result<u64, &'static str> {
    let seconds = text.parse().ok().filter(|s| (1..=3600).contains(s));
    seconds.ok_or("a whole number from 1 to 3600 is wanted")
}

/// The largest id in a table that is taken: each up to it gets a group and its memory.
pub(crate) const LARGEST_ID: u32 = (1 << 20) - 1;

/// Has this thread run on one core; false where there is none or it is not for this process.
pub(crate) fn pin(core: usize) -> bool {
    // A set of cores has so many.
    const CORES: usize = 1024;
    core < CORES && core_affinity::set_for_current(core_affinity::CoreId { id: core })
}
