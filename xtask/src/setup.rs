//! What the lab needs from the machine: root, and Debian packages that are installed when missing.

use std::env;
use std::path::Path;
use std::process::Command;

/// A program that the lab runs, and the Debian package it comes in.
const TOOLS: &[(&str, &str)] = &[
    ("arping", "arping"),
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
];

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
    apt(&install)
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
