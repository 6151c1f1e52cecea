//! What guests are made of: QEMU, a kernel with its modules and headers, and the guest's tools. All
//! of it is fetched once, into a cache that every clone of the project shares.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::apt;
use crate::error::{Error, Result};
use crate::process::{note, tied};
use crate::tree::Tree;

/// The release of Debian with a QEMU that has `vfio-user-pci` (10.1 or newer).
const RELEASE: &str = "forky";

/// What is fetched of it: QEMU, and what the guest's scripts use.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "dash",
    "ethtool",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "kmod",
    "qemu-system-x86",
    "tcpdump",
];

/// The series of the guest's kernel.
const KERNEL: &str = "6.12";

/// Counts up when the recipe changes, so that a cache of the old one is not taken for it.
const RECIPE: &str = "machine-3";

/// A fetched machine; boot it with [`Guest::builder`](crate::Guest::builder).
pub struct Machine {
    pub(crate) tree: Tree,
    pub(crate) kernel: PathBuf,
    /// The directory of modules, `lib/modules/<release>`, with its indexes.
    pub(crate) modules: PathBuf,
    /// What modules for the kernel are built with.
    pub(crate) headers: PathBuf,
}

impl Machine {
    /// The machine from the cache, which is filled first if need be: a download of 170 MB.
    pub fn get() -> Result<&'static Machine> {
        static MACHINE: OnceLock<Machine> = OnceLock::new();
        if let Some(machine) = MACHINE.get() {
            return Ok(machine);
        }
        let machine = Machine::cached(&cache_directory())?;
        Ok(MACHINE.get_or_init(|| machine))
    }

    fn cached(cache: &Path) -> Result<Machine> {
        fs::create_dir_all(cache).map_err(Error::io(format!("make {}", cache.display())))?;
        // Held until the machine is complete: another test process waits instead of fetching too.
        let lock = File::create(cache.join("lock")).map_err(Error::io("open the cache's lock"))?;
        lock.lock().map_err(Error::io("lock the cache"))?;
        let root = cache.join(RECIPE);
        if !root.exists() {
            note(&format!("fetching QEMU and Linux into {}", cache.display()));
            let partial = cache.join("partial");
            // What a killed process left behind.
            let _ = fs::remove_dir_all(&partial);
            fetch(&partial)?;
            fs::rename(&partial, &root).map_err(Error::io("complete the cache"))?;
        }
        Machine::open(&root)
    }

    fn open(root: &Path) -> Result<Machine> {
        let modules = only_entry(&root.join("kernel/lib/modules"))?;
        let release = modules.file_name().unwrap_or_default().to_string_lossy();
        Ok(Machine {
            tree: Tree::open(root.join("tree")),
            kernel: root.join(format!("kernel/boot/vmlinuz-{release}")),
            headers: root.join(format!("headers/usr/src/linux-headers-{release}")),
            modules,
        })
    }

    /// QEMU, tied to the thread that starts it; the arguments that make a machine are the caller's.
    pub(crate) fn qemu(&self) -> Command {
        let name = "qemu-system-x86_64";
        let words = self.tree.words(&format!("usr/bin/{name}"), name);
        let mut command = tied(&words[0]);
        command.args(&words[1..]);
        for firmware in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(self.tree.path(firmware));
        }
        command
    }
}

/// Fills `root` with what [`Machine::open`] reads.
fn fetch(root: &Path) -> Result<()> {
    let (scratch, kernel) = (root.join("scratch"), root.join("kernel"));
    let tree = Tree::create(root.join("tree"))?;
    apt::unpack_release(RELEASE, PACKAGES, &scratch, &tree.path(""))?;
    apt::unpack_own(&[apt::kernel_package(KERNEL)?], &scratch, &kernel)?;
    let modules = only_entry(&kernel.join("lib/modules"))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy();
    // A kernel's installation would do this.
    tree.depmod(&kernel, &release)?;
    fetch_headers(&release, &scratch, &root.join("headers"))?;
    fs::remove_dir_all(&scratch).map_err(Error::io("remove the packages"))
}

/// Fetches what modules for the kernel `release` ("6.12.3+deb13-amd64") are built with.
fn fetch_headers(release: &str, scratch: &Path, headers: &Path) -> Result<()> {
    let version = release.trim_end_matches("-amd64");
    let common = format!("linux-headers-{version}-common");
    let packages = [
        format!("linux-headers-{release}"),
        common.clone(),
        format!("linux-kbuild-{version}"),
    ];
    apt::unpack_own(&packages, &scratch.join("headers"), headers)?;
    // The package's own says where it would be installed.
    let makefile = headers.join(format!("usr/src/linux-headers-{release}/Makefile"));
    let include = format!("include $(dir $(lastword $(MAKEFILE_LIST)))../{common}/Makefile\n");
    fs::write(makefile, include).map_err(Error::io("write a makefile"))
}

fn only_entry(directory: &Path) -> Result<PathBuf> {
    let what = || format!("list {}", directory.display());
    let mut entries = fs::read_dir(directory).map_err(Error::io(what()))?;
    let entry = entries.next().ok_or_else(|| Error::Parse {
        what: "an unpacked kernel",
        text: format!("{} is empty", directory.display()),
    })?;
    Ok(entry.map_err(Error::io(what()))?.path())
}

/// `$XDG_CACHE_HOME/ixmap-vm`, or below `~/.cache`; without either, with what cargo builds.
fn cache_directory() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let caches = set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    caches.join("ixmap-vm")
}
