//! Packages by apt, unpacked and never installed: a private apt root for another release of
//! Debian, and the machine's own lists for its kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::run;

/// What signs Debian's archive, where the machine has it as a package.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Unpacks `packages` of Debian's `release`, with all that they depend on, into `tree`.
/// `scratch` keeps apt's state meanwhile.
pub(crate) fn unpack_release(
    release: &str,
    packages: &[&str],
    scratch: &Path,
    tree: &Path,
) -> Result<()> {
    let root = Root::new(release, scratch)?;
    run(root.apt_get().arg("update"))?;
    let mut install = root.apt_get();
    install.args(["install", "-y", "--no-install-recommends"]);
    run(install.arg("--download-only").args(packages))?;
    unpack_all(&root.archives, tree)
}

/// Unpacks the machine's own `packages` into `tree`.
pub(crate) fn unpack_own(packages: &[String], scratch: &Path, tree: &Path) -> Result<()> {
    let archives = scratch.join("own");
    fs::create_dir_all(&archives).map_err(Error::io("make a directory for packages"))?;
    let mut download = apt("apt-get");
    download.arg("download").args(packages);
    run(download.current_dir(&archives))?;
    unpack_all(&archives, tree)
}

/// Debian's newest kernel of the series `version` ("6.12") that the machine's sources have.
pub(crate) fn kernel_package(version: &str) -> Result<String> {
    // A release's own series hides behind the plain name, a backported one names its series.
    let packages = [
        format!("linux-image-{version}-amd64"),
        "linux-image-amd64".to_owned(),
    ];
    let wanted = format!("linux-image-{version}.");
    let find = || {
        let dependencies = packages.iter().filter_map(|package| {
            let depends = run(apt("apt-cache").args(["depends", "--important", package])).ok()?;
            let mut names = depends.lines().filter_map(|line| line.split_once(": "));
            let found = names.find(|(_, name)| name.starts_with(&wanted));
            found.map(|(_, name)| name.to_owned())
        });
        dependencies.into_iter().next()
    };
    with_update(find)?.ok_or(Error::NotInApt("Linux 6.12"))
}

/// The archive that the machine takes Debian from.
fn mirror() -> Result<String> {
    let find = || {
        let mut targets = apt("apt-get");
        targets.args(["indextargets", "--format", "$(REPO_URI)"]);
        let uris = run(targets.args(["Created-By: Packages", "Origin: Debian", "Label: Debian"]));
        uris.ok()?.lines().next().map(str::to_owned)
    };
    with_update(find)?.ok_or(Error::NotInApt("mirror of Debian"))
}

/// Asks apt's lists and, when they don't know, once more after fetching them.
fn with_update<T>(find: impl Fn() -> Option<T>) -> Result<Option<T>> {
    if let Some(found) = find() {
        return Ok(Some(found));
    }
    run(apt("apt-get").args(["-qq", "update"]))?;
    Ok(find())
}

/// apt's own directories for another release, beside the machine's.
struct Root {
    options: Vec<String>,
    archives: PathBuf,
}

impl Root {
    fn new(release: &str, scratch: &Path) -> Result<Root> {
        let archives = scratch.join("cache/archives");
        let state = scratch.join("state");
        for directory in [archives.join("partial"), state.join("lists/partial")] {
            fs::create_dir_all(directory).map_err(Error::io("make apt's directories"))?;
        }
        let (sources, status) = (scratch.join("sources.list"), scratch.join("status"));
        let signed_by = if Path::new(KEYRING).exists() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let line = format!("deb {signed_by}{} {release} main\n", mirror()?);
        fs::write(&sources, line).map_err(Error::io("write apt's sources"))?;
        // Nothing is installed in there, so everything that a package needs comes with it.
        fs::write(&status, "").map_err(Error::io("write apt's state"))?;
        let option = |name: &str, path: &Path| format!("-oDir::{name}={}", path.display());
        let nothing = Path::new("/dev/null");
        let options = vec![
            option("Etc::sourcelist", &sources),
            option("Etc::sourceparts", nothing),
            option("Etc::preferences", nothing),
            option("Etc::preferencesparts", nothing),
            option("State", &state),
            option("State::status", &status),
            option("Cache", &scratch.join("cache")),
        ];
        Ok(Root { options, archives })
    }

    fn apt_get(&self) -> Command {
        let mut command = apt("apt-get");
        command.arg("-qq").args(&self.options);
        command
    }
}

/// A program of apt's that asks nothing and may write where only we can.
fn apt(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.env("LC_ALL", "C").arg("-oAPT::Sandbox::User=root");
    command
}

fn unpack_all(archives: &Path, tree: &Path) -> Result<()> {
    let files = fs::read_dir(archives).map_err(Error::io("list the packages"))?;
    for file in files {
        let path = file.map_err(Error::io("list the packages"))?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(tree))?;
        }
    }
    Ok(())
}
