//! Which instructions work on bursts.

#![allow(
    unsafe_code,
    reason = "calls what is compiled for instructions that this machine was found to have"
)]

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// Instructions that this machine has for bursts; all give the same answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// AVX-512 F, BW, DQ, VL and VPOPCNTDQ: sixteen lanes.
    Avx512(Avx512),
    /// AVX2 and BMI2: eight lanes.
    Avx2(Avx2),
    /// Plain code, on every machine.
    Scalar,
}

/// Exists only where there is AVX-512 F, BW, DQ, VL and VPOPCNTDQ, with BMI1, BMI2, LZCNT and POPCNT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Avx512(());

/// Exists only where there is AVX2, BMI1, BMI2, LZCNT and POPCNT.
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

    /// Does `work` with these instructions.
    #[inline]
    pub fn run<W: Vectored>(self, work: W) -> W::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an Avx512 exists only where its instructions are.
            Path::Avx512(_) => unsafe { with_avx512(work) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an Avx2 exists only where its instructions are.
            Path::Avx2(_) => unsafe { with_avx2(work) },
            _ => work.run(),
        }
    }
}

/// Work that is compiled once for each path: what its `run` inlines, which must itself be always
/// inlined, turns into vector instructions where the compiler finds use for them.
pub trait Vectored {
    type Output;

    fn run(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
#[target_feature(enable = "bmi1,bmi2,lzcnt,popcnt")]
fn with_avx512<W: Vectored>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn with_avx2<W: Vectored>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    fn here() -> Option<Avx512> {
        let here = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vpopcntdq")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        here.then_some(Avx512(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    fn here() -> Option<Avx2> {
        let here = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
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
