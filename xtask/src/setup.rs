//! What the lab needs from the machine: root, and Debian packages that are installed when missing.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

/// A program that the lab runs, and the Debian package it comes in.
const TOOLS: &[(&str, &str)] = &[
    ("arping", "arping"),
    ("bird", "bird2"),
    ("ethtool", "ethtool"),
    ("gcc", "gcc"),
    ("ip", "iproute2"),
    ("iperf3", "iperf3"),
    ("make", "make"),
    ("ndisc6", "ndisc6"),
    ("nstat", "iproute2"),
    ("ping", "iputils-ping"),
    ("setpriv", "util-linux"),
    ("ss", "iproute2"),
    ("sysctl", "procps"),
    ("timeout", "coreutils"),
    ("traceroute", "traceroute"),
    ("vtysh", "frr"),
];

/// Packages of [`TOOLS`] that bring a service, which must not run beside the tests, now or at boot.
const SERVICES: &[(&str, &str)] = &[("bird2", "bird"), ("frr", "frr")];

/// Asked by Debian's packages whether they may start their services.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Where Debian keeps programs for root, in case the caller's PATH does not have it.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether namespaces can be made at all; the reason if not.
pub(crate) fn root() -> Result<(), String> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err("needs root for network namespaces and AF_XDP".to_owned())
}

/// Installs whatever of [`TOOLS`] is missing.
pub(crate) fn tools() -> Result<(), String> {
    let mut packages: Vec<&str> = TOOLS
        .iter()
        .filter(|(program, _)| !is_installed(program))
        .map(|&(_, package)| package)
        .collect();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    println!("Installing what the lab needs: {}", packages.join(" "));
    apt(&["update", "-qq"])?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&packages);
    let _quiet = NoServices::new()?;
    apt(&install)?;
    let services = SERVICES
        .iter()
        .filter(|(package, _)| packages.contains(package));
    for (_, service) in services {
        // Where there is no systemd, nothing starts it at boot either.
        let mut systemctl = Command::new("systemctl");
        let _ = systemctl.args(["--quiet", "disable", service]).status();
    }
    Ok(())
}

/// Keeps the packages' services from being started while it lives: the tests run the daemons
/// themselves, in namespaces. The file is Debian's own way (invoke-rc.d(8)).
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    fn new() -> Result<NoServices, String> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY);
        let mut file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Ok(NoServices { is_ours: false });
            }
            Err(error) => return Err(format!("cannot write {POLICY}: {error}")),
        };
        let policy = NoServices { is_ours: true };
        file.write_all(b"#!/bin/sh\nexit 101\n")
            .map_err(|error| format!("cannot write {POLICY}: {error}"))?;
        Ok(policy)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = env::var("PATH").unwrap_or_default();
    let directories = path.split(':').chain(SYSTEM_PATH.split(':'));
    let mut files = directories.map(|directory| Path::new(directory).join(program));
    files.any(|file| file.is_file())
}

fn apt(words: &[&str]) -> Result<(), String> {
    let status = Command::new("apt-get")
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`apt-get {}` failed: {status}", words.join(" "))),
        Err(error) => Err(format!(
            "cannot run apt-get, install the tools by hand: {error}"
        )),
    }
}
