//! Which instructions look up bursts.

use std::fmt;
use std::sync::LazyLock;

/// A way to look up a burst; all give the same answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// AVX-512 F, BW and VPOPCNTDQ: sixteen lanes.
    Avx512,
    /// AVX2 and BMI2: eight lanes.
    Avx2,
    /// Plain code, on every machine.
    Scalar,
}

static BEST: LazyLock<Path> = LazyLock::new(|| {
    let paths = [Path::Avx512, Path::Avx2];
    let best = paths.into_iter().find(|path| path.is_here());
    best.unwrap_or(Path::Scalar)
});

impl Path {
    /// The fastest that this machine has.
    #[inline]
    pub fn best() -> Path {
        *BEST
    }

    /// Whether this machine can go it.
    pub fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vpopcntdq")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Path::Avx512 | Path::Avx2 => false,
            Path::Scalar => true,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Path::Avx512 => "avx512",
            Path::Avx2 => "avx2",
            Path::Scalar => "scalar",
        })
    }
}
