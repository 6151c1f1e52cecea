//! The guest's whole file system: busybox, the tools that tests use with their libraries, a few
//! drivers, and `init.sh`, which is the first process and the agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cpio::Archive;
use crate::error::{Error, Result};
use crate::machine::Machine;

const INIT: &str = include_str!("init.sh");

/// Programs of the tree.
const PROGRAMS: &[&str] = &[
    "usr/bin/busybox",
    "usr/bin/dash",
    "usr/bin/ip",
    "usr/bin/iperf3",
    "usr/bin/kmod",
    "usr/bin/ping",
    "usr/bin/tcpdump",
    "usr/sbin/ethtool",
];

/// Drivers that tests load with modprobe.
const MODULES: &[&str] = &[
    "8021q",
    "e1000e",
    "ixgbe",
    "pktgen",
    "tun",
    "veth",
    "vfio-pci",
    "vfio_iommu_type1",
];

/// What depmod reads beside the modules.
const LISTS: &[&str] = &[
    "modules.builtin",
    "modules.builtin.modinfo",
    "modules.order",
];

/// What modprobe looks modules up in.
const INDEXES: &[&str] = &["modules.builtin.bin", "modules.dep.bin", "modules.softdep"];

/// What a test adds to a guest.
#[derive(Default)]
pub(crate) struct Additions {
    /// Programs of the host, and where they go.
    pub(crate) programs: Vec<(PathBuf, String)>,
    /// The project's kernel module.
    pub(crate) kernel_module: Option<&'static [u8]>,
}

/// Builds the archive; QEMU takes it uncompressed, which boots fastest.
pub(crate) fn build(machine: &Machine, additions: &Additions) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.file("init", INIT.as_bytes());
    archive.symlink("lib", "usr/lib");
    archive.symlink("lib64", "usr/lib64");
    // busybox has a shell too, but it prefers its own ip and ping to the real ones.
    archive.symlink("usr/bin/sh", "dash");
    archive.symlink("usr/sbin/modprobe", "../bin/kmod");
    archive.symlink("usr/sbin/rmmod", "../bin/kmod");
    for file in programs(machine, additions)? {
        archive.file(&file, &read(&machine.tree.path(&file))?);
    }
    for (program, place) in &additions.programs {
        archive.file(place.trim_start_matches('/'), &read(program)?);
    }
    add_modules(&mut archive, machine, additions)?;
    Ok(archive.finish())
}

/// The programs of the tree, and every library of it that any program needs.
fn programs(machine: &Machine, additions: &Additions) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for &program in PROGRAMS {
        files.insert(program.to_owned());
        if program != "usr/bin/busybox" {
            files.extend(machine.tree.libraries(&machine.tree.path(program))?);
        }
    }
    for (program, _) in &additions.programs {
        files.extend(machine.tree.libraries(program)?);
    }
    Ok(files)
}

/// The modules, those they depend on, and indexes of just them.
fn add_modules(archive: &mut Archive, machine: &Machine, additions: &Additions) -> Result<()> {
    let release = machine.modules.file_name().unwrap_or_default();
    let release = release.to_string_lossy();
    let directory = format!("lib/modules/{release}");
    let staging = tempfile::tempdir().map_err(Error::io("make a temporary directory"))?;
    let staged = staging.path().join(&directory);
    let mut files = modules(machine)?;
    for file in files
        .iter()
        .map(String::as_str)
        .chain(LISTS.iter().copied())
    {
        write(&staged.join(file), &read(&machine.modules.join(file))?)?;
    }
    if let Some(module) = additions.kernel_module {
        write(&staged.join("ixmap.ko"), module)?;
        files.insert("ixmap.ko".to_owned());
    }
    machine.tree.depmod(staging.path(), &release)?;
    for file in files
        .iter()
        .map(String::as_str)
        .chain(INDEXES.iter().copied())
    {
        archive.file(
            &format!("usr/{directory}/{file}"),
            &read(&staged.join(file))?,
        );
    }
    Ok(())
}

fn modules(machine: &Machine) -> Result<BTreeSet<String>> {
    let text = read(&machine.modules.join("modules.dep"))?;
    let text = String::from_utf8_lossy(&text);
    let mut files = BTreeSet::new();
    for &module in MODULES {
        let found = text.lines().find_map(|line| closure(line, module));
        files.extend(found.ok_or_else(|| Error::Parse {
            what: "modules.dep",
            text: format!("there is no {module}"),
        })?);
    }
    Ok(files)
}

/// The files of a line `a/name.ko.xz: b/other.ko.xz ...` if it is this module's.
fn closure(line: &str, module: &str) -> Option<Vec<String>> {
    let (file, dependencies) = line.split_once(':')?;
    let name = Path::new(file).file_name()?.to_str()?;
    if name.split('.').next()? != module {
        return None;
    }
    let files = std::iter::once(file).chain(dependencies.split_whitespace());
    Some(files.map(str::to_owned).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io(format!("read {}", path.display())))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, content))
        .map_err(Error::io(format!("write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_found_by_its_name_with_what_it_needs() {
        let line = "kernel/net/ixgbe.ko.xz: kernel/net/mdio.ko.xz kernel/dca.ko.xz";
        let files = closure(line, "ixgbe").unwrap();
        assert_eq!(files.len(), 3);
        assert_eq!(files[2], "kernel/dca.ko.xz");
        assert_eq!(closure(line, "ixgb"), None);
        assert_eq!(closure(line, "mdio"), None);
    }
}
