//! Which instructions look up bursts.

use std::fmt;
use std::str::FromStr;
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
    let best = Path::ALL.into_iter().find(|path| path.is_here());
    best.unwrap_or(Path::Scalar)
});

impl Path {
    /// Fastest first.
    pub const ALL: [Path; 3] = [Path::Avx512, Path::Avx2, Path::Scalar];

    fn here() -> String {
        let paths = Path::ALL.into_iter().filter(|path| path.is_here());
        paths
            .map(|path| path.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    }

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

/// No path of that name, or not on this machine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no path \"{0}\" on this machine: it has {list}", list = Path::here())]
pub struct NoPath(String);

impl FromStr for Path {
    type Err = NoPath;

    fn from_str(name: &str) -> Result<Path, NoPath> {
        let mut paths = Path::ALL.into_iter().filter(|path| path.is_here());
        paths
            .find(|path| path.to_string() == name)
            .ok_or_else(|| NoPath(name.to_owned()))
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
