//! Programs of another release of Debian, run from the directory they were unpacked in: by that
//! release's own dynamic loader and libraries, so without a chroot and what it needs mounted.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::process::run;

const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// The directory of a release's files.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// An empty tree for packages to be unpacked in.
    pub(crate) fn create(root: PathBuf) -> Result<Tree> {
        // All of /bin, /lib ... is below /usr; some packages still say the short names.
        for name in ["bin", "lib", "lib64", "sbin"] {
            let merged = Path::new("usr").join(name);
            fs::create_dir_all(root.join(&merged))
                .and_then(|()| symlink(&merged, root.join(name)))
                .map_err(Error::io("lay out a tree"))?;
        }
        Ok(Tree { root })
    }

    pub(crate) fn open(root: PathBuf) -> Tree {
        Tree { root }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The words that run a program of the tree under the name `name`, for its arguments to follow.
    pub(crate) fn words(&self, program: &str, name: &str) -> Vec<OsString> {
        vec![
            self.path(LOADER).into(),
            "--library-path".into(),
            self.path(LIBRARIES).into(),
            "--argv0".into(),
            name.into(),
            self.path(program).into(),
        ]
    }

    /// Writes the indexes that modprobe reads into `base/lib/modules/<release>`.
    pub(crate) fn depmod(&self, base: &Path, release: &str) -> Result<()> {
        let words = self.words("usr/bin/kmod", "depmod");
        let mut depmod = Command::new(&words[0]);
        depmod.args(&words[1..]).arg("-b").arg(base);
        run(depmod.arg(release)).map(drop)
    }

    /// The shared libraries of the tree that a program of anybody's needs, the loader among them,
    /// relative to the root.
    pub(crate) fn libraries(&self, program: &Path) -> Result<Vec<String>> {
        let mut command = Command::new(self.path(LOADER));
        command.arg("--library-path").arg(self.path(LIBRARIES));
        let list = run(command.arg("--list").arg(program))?;
        let root = format!("{}/", self.root.display());
        let found = list.lines().filter_map(|line| {
            let path = line.split_once(" => ")?.1.split(" (").next()?;
            Some(path.strip_prefix(&root)?.to_owned())
        });
        let mut libraries: Vec<String> = found.collect();
        libraries.push(LOADER.to_owned());
        Ok(libraries)
    }
}
