//! What the project itself brings into a machine: the router's programs and its kernel module.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::error::{Error, Result};
use crate::guest::Builder;
use crate::machine::Machine;
use crate::process::{note, run};

/// The router in a machine: the daemon `ixmapd` and its tool `ixmapctl`, in /usr/bin, and the kernel
/// module, which `modprobe ixmap` loads.
pub fn router(builder: Builder) -> Result<Builder> {
    let directory = release("ixmap")?;
    let mut builder = builder.kernel_module()?;
    for program in ["ixmapd", "ixmapctl"] {
        builder = builder.program(&directory.join(program), &format!("/usr/bin/{program}"));
    }
    Ok(builder)
}

/// Builds the programs of a package of the workspace for release; the directory that they are in.
pub(crate) fn release(package: &str) -> Result<PathBuf> {
    note(&format!("building {package}"));
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--bins", "--package", package]);
    run(build.current_dir(root()))?;
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    Ok(target.join("release"))
}

/// The kernel module, built for the machine's kernel by the first that asks.
pub(crate) fn kernel_module() -> Result<&'static [u8]> {
    static MODULE: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(module) = MODULE.get() {
        return Ok(module);
    }
    let module = build_kernel_module(Machine::get()?)?;
    Ok(MODULE.get_or_init(|| module))
}

/// Builds a copy of the sources: nothing is left beside them, nor taken from there.
fn build_kernel_module(machine: &Machine) -> Result<Vec<u8>> {
    note("building the kernel module");
    let copy = tempfile::tempdir().map_err(Error::io("make a temporary directory"))?;
    let sources = fs::read_dir(root().join("kmod")).map_err(Error::io("list kmod"))?;
    for source in sources {
        let source = source.map_err(Error::io("list kmod"))?.path();
        let name = Path::new(source.file_name().unwrap_or_default());
        let is_source = ["c", "h"]
            .iter()
            .any(|kind| name.extension() == Some(kind.as_ref()))
            && !name.to_string_lossy().ends_with(".mod.c");
        if is_source || name == Path::new("Kbuild") || name == Path::new("Makefile") {
            fs::copy(&source, copy.path().join(name)).map_err(Error::io("copy kmod"))?;
        }
    }
    let mut make = Command::new("make");
    make.arg("-C").arg(copy.path());
    // The user's own settings of make are for other programs.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    let mut headers = std::ffi::OsString::from("KDIR=");
    headers.push(&machine.headers);
    make.arg(headers);
    // Type information for BPF, which nobody asks for here, and whose tool (pahole) may be missing.
    run(make.arg("CONFIG_DEBUG_INFO_BTF_MODULES="))?;
    fs::read(copy.path().join("ixmap.ko")).map_err(Error::io("read ixmap.ko"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
