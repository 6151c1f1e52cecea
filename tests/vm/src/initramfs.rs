//! The guest's whole file system: busybox, the tools that tests use with their libraries, a few
//! drivers, and `init.sh`, which is the first process and the agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

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
const MODULES: &[&str] = &["e1000e", "ixgbe", "pktgen"];

/// What modprobe looks modules up in.
const INDEXES: &[&str] = &["modules.builtin.bin", "modules.dep.bin"];

/// Builds the archive; QEMU takes it uncompressed, which boots fastest.
pub(crate) fn build(machine: &Machine) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.file("init", INIT.as_bytes());
    archive.symlink("lib", "usr/lib");
    archive.symlink("lib64", "usr/lib64");
    // busybox has a shell too, but it prefers its own ip and ping to the real ones.
    archive.symlink("usr/bin/sh", "dash");
    archive.symlink("usr/sbin/modprobe", "../bin/kmod");
    archive.symlink("usr/sbin/rmmod", "../bin/kmod");
    for file in programs(machine)? {
        archive.file(&file, &read(&machine.tree.path(&file))?);
    }
    let release = machine.modules.file_name().unwrap_or_default();
    let directory = format!("usr/lib/modules/{}", release.to_string_lossy());
    for file in modules(machine)? {
        archive.file(
            &format!("{directory}/{file}"),
            &read(&machine.modules.join(&file))?,
        );
    }
    Ok(archive.finish())
}

/// The programs and every library that any of them needs.
fn programs(machine: &Machine) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for &program in PROGRAMS {
        files.insert(program.to_owned());
        if program != "usr/bin/busybox" {
            files.extend(machine.tree.libraries(program)?);
        }
    }
    Ok(files)
}

/// The modules, those they depend on, and the indexes.
fn modules(machine: &Machine) -> Result<BTreeSet<String>> {
    let text = read(&machine.modules.join("modules.dep"))?;
    let text = String::from_utf8_lossy(&text);
    let mut files: BTreeSet<String> = INDEXES.iter().map(|&index| index.to_owned()).collect();
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
