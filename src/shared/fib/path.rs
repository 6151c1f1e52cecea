//! Which instructions look up bursts.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// A way to look up a burst that this machine can go; all give the same answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// AVX-512 F, BW and VPOPCNTDQ: sixteen lanes.
    Avx512(Avx512),
    /// AVX2 and BMI2: eight lanes.
    Avx2(Avx2),
    /// Plain code, on every machine.
    Scalar,
}

/// Exists only where there is AVX-512 F, BW and VPOPCNTDQ, with BMI2 and POPCNT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Avx512(());

/// Exists only where there is AVX2, BMI2 and POPCNT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Avx2(());

static BEST: LazyLock<Path> = LazyLock::new(|| Path::all().next().unwrap_or(Path::Scalar));

impl Path {
    /// Those of this machine, fastest first.
    pub fn all() -> impl Iterator<Item = Path> {
        let paths = [
            Avx512::here().map(Path::Avx512),
            Avx2::here().map(Path::Avx2),
            Some(Path::Scalar),
        ];
        paths.into_iter().flatten()
    }

    /// The fastest of this machine.
    #[inline]
    pub fn best() -> Path {
        *BEST
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    fn here() -> Option<Avx512> {
        let here = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt");
        here.then_some(Avx512(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    fn here() -> Option<Avx2> {
        let here = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt");
        here.then_some(Avx2(()))
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Avx512 {
    fn here() -> Option<Avx512> {
        None
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Avx2 {
    fn here() -> Option<Avx2> {
        None
    }
}

/// No path of that name, or not on this machine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no path \"{0}\" on this machine: it has {list}", list = names())]
pub struct NoPath(String);

fn names() -> String {
    let names: Vec<String> = Path::all().map(|path| path.to_string()).collect();
    names.join(", ")
}

impl FromStr for Path {
    type Err = NoPath;

    fn from_str(name: &str) -> Result<Path, NoPath> {
        Path::all()
            .find(|path| path.to_string() == name)
            .ok_or_else(|| NoPath(name.to_owned()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Path::Avx512(_) => "avx512",
            Path::Avx2(_) => "avx2",
            Path::Scalar => "scalar",
        })
    }
}
