//! Which kernel driver a PCI function is bound to, and how to change that by way of sysfs
//! (Documentation/ABI/testing/sysfs-bus-pci).

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::function::is_held;
use super::sysfs::Sysfs;

use crate::shared::config::KernelDriver;
use crate::shared::pci::PciAddress;

/// Why a function was not bound: one line that says what to do. It is bound as it was.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0}: there is no such PCI function: `lspci -D` shows what there is")]
    NoFunction(PciAddress),
    #[error("the kernel has no driver {driver} now: `modprobe {driver}`{}", whence(.driver))]
    NotLoaded { driver: String },
    #[error(
        "{0} has no IOMMU in front of it, which vfio-pci needs: enable VT-d or AMD-Vi, or use our module: \
         `ixmapctl bind {0} ixmap`"
    )]
    NoIommu(PciAddress),
    #[error(
        "{address}: its netdev {netdev} is in use ({by}), which would be gone: take that off, or use \
         --force"
    )]
    InUse {
        address: PciAddress,
        netdev: String,
        by: String,
    },
    #[error("{0} is a port of a running ixmapd: remove the port first (`ixmapctl port del`)")]
    Owned(PciAddress),
    #[error(
        "{0} stays bound as it is, because a worker still has it: restart ixmapd, then `ixmapctl bind {0} ixgbe`"
    )]
    Held(PciAddress),
    #[error("binding a PCI function needs root")]
    Permission,
    #[error("{address} cannot be {what}: {source}: `dmesg` may say why")]
    System {
        address: PciAddress,
        what: String,
        source: io::Error,
    },
}

/// A function that was bound anew, and how to undo it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    pub address: PciAddress,
    /// The driver that it was bound to before.
    pub was: Option<String>,
    pub now: String,
}

impl Bound {
    /// Binds the function to what it was bound to before, or to nothing.
    pub fn back(&self, sysfs: &Sysfs) -> Result<(), BindError> {
        // A card that is gone has no way back.
        if self.was.as_deref() == Some(self.now.as_str()) || !sysfs.exists(self.address) {
            return Ok(());
        }
        // The kernel would wait for it, and control with it.
        if is_held(self.address) {
            return Err(BindError::Held(self.address));
        }
        unbind(sysfs, self.address)?;
        restore(sysfs, self.address, self.was.as_deref())
    }
}

/// Binds a function to a driver that is loaded: `ixmap`, `vfio-pci`, or one of the kernel's own. A
/// netdev that is in use stays what it is, unless `force` says otherwise.
pub fn to(
    sysfs: &Sysfs,
    address: PciAddress,
    driver: &str,
    force: bool,
) -> Result<Bound, BindError> {
    if !sysfs.exists(address) {
        return Err(BindError::NoFunction(address));
    }
    let bound = Bound {
        address,
        was: sysfs.driver(address),
        now: driver.to_owned(),
    };
    if bound.was.as_deref() == Some(driver) {
        return Ok(bound);
    }
    if driver == KernelDriver::VfioPci.name() && sysfs.iommu_group(address).is_none() {
        return Err(BindError::NoIommu(address));
    }
    if !sysfs.path(&format!("bus/pci/drivers/{driver}")).exists() {
        return Err(BindError::NotLoaded {
            driver: driver.to_owned(),
        });
    }
    if !force {
        check_idle(sysfs, address)?;
    }
    check_owner(sysfs, address)?;
    unbind(sysfs, address)?;
    let done = override_driver(sysfs, address, driver).and_then(|()| bind(sysfs, address, driver));
    if let Err(error) = done {
        // The first error is the one to tell.
        let _ = restore(sysfs, address, bound.was.as_deref());
        return Err(error);
    }
    Ok(bound)
}

/// Refuses a function whose netdev somebody uses.
fn check_idle(sysfs: &Sysfs, address: PciAddress) -> Result<(), BindError> {
    let netdevs = sysfs.names(address, "net");
    for netdev in &netdevs {
        // A bridge or bond that it is in, a VLAN interface on it.
        let mut links = sysfs.names(address, &format!("net/{netdev}")).into_iter();
        if let Some(by) = links.find_map(|link| link.strip_prefix("upper_").map(str::to_owned)) {
            let netdev = netdev.clone();
            return Err(BindError::InUse {
                address,
                netdev,
                by,
            });
        }
    }
    let in_use = getifaddrs().into_iter().flatten().find_map(|entry| {
        let ip = entry.address.as_ref().and_then(lasting)?;
        let up = entry.flags.contains(InterfaceFlags::IFF_UP);
        (up && netdevs.contains(&entry.interface_name)).then_some((entry.interface_name, ip))
    });
    match in_use {
        None => Ok(()),
        Some((netdev, by)) => Err(BindError::InUse {
            address,
            netdev,
            by,
        }),
    }
}

/// An address that somebody gave an interface: not one that it makes by itself.
fn lasting(address: &SockaddrStorage) -> Option<String> {
    address.family()?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(v4.ip().to_string());
    }
    let v6 = address.as_sockaddr_in6()?.ip();
    (!v6.is_unicast_link_local()).then(|| v6.to_string())
}

/// Refuses a function that a process holds: unbinding would take it away, or wait for ever.
fn check_owner(sysfs: &Sysfs, address: PciAddress) -> Result<(), BindError> {
    let driver = sysfs.driver(address);
    let node = if driver.as_deref() == Some(KernelDriver::Ixmap.name()) {
        sysfs.ixmap_node(address)
    } else if driver.as_deref() == Some(KernelDriver::VfioPci.name()) {
        let group = sysfs.iommu_group(address);
        group.map(|group| format!("vfio/{group}"))
    } else {
        None
    };
    let Some(node) = node else {
        return Ok(());
    };
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .open(Path::new("/dev").join(node));
    match opened {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Err(BindError::Owned(address)),
        _ => Ok(()),
    }
}

fn unbind(sysfs: &Sysfs, address: PciAddress) -> Result<(), BindError> {
    if sysfs.driver(address).is_none() {
        return Ok(());
    }
    let file = sysfs.function(address, "driver/unbind");
    let written = write(&file, &address.to_string());
    written.map_err(|source| failed(address, "unbound", source))
}

/// Has the kernel match the function with this driver only, or as its ids say.
fn override_driver(sysfs: &Sysfs, address: PciAddress, driver: &str) -> Result<(), BindError> {
    // An empty line clears it.
    let text = if lends(driver) { driver } else { "\n" };
    let written = write(&sysfs.function(address, "driver_override"), text);
    written.map_err(|source| failed(address, "reserved for a driver", source))
}

fn bind(sysfs: &Sysfs, address: PciAddress, driver: &str) -> Result<(), BindError> {
    let file = sysfs.path(&format!("bus/pci/drivers/{driver}/bind"));
    let written = write(&file, &address.to_string());
    written.map_err(|source| failed(address, &format!("bound to {driver}"), source))
}

fn restore(sysfs: &Sysfs, address: PciAddress, driver: Option<&str>) -> Result<(), BindError> {
    override_driver(sysfs, address, driver.unwrap_or_default())?;
    driver.map_or(Ok(()), |driver| bind(sysfs, address, driver))
}

/// Whether a driver is one that lends functions to processes.
pub(crate) fn lends(driver: &str) -> bool {
    KernelDriver::ALL.iter().any(|known| known.name() == driver)
}

/// Where a driver comes from that a distribution does not have.
fn whence(driver: &str) -> &'static str {
    match driver == KernelDriver::Ixmap.name() {
        true => " (kmod/README.md says how to install it)",
        false => "",
    }
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(file)?;
    file.write_all(text.as_bytes())
}

fn failed(address: PciAddress, what: &str, source: io::Error) -> BindError {
    if source.kind() == io::ErrorKind::PermissionDenied {
        return BindError::Permission;
    }
    BindError::System {
        address,
        what: what.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// A function bound to ixgbe in a tree that keeps what is written; ixmap and vfio-pci are loaded.
    struct Tree {
        _directory: TempDir,
        sysfs: Sysfs,
        address: PciAddress,
    }

    impl Tree {
        fn new() -> Tree {
            let directory = tempfile::tempdir().unwrap();
            let sysfs = Sysfs::at(directory.path());
            let address: PciAddress = "0000:03:00.0".parse().unwrap();
            let function = sysfs.function(address, "");
            fs::create_dir_all(function.join("net/nosuchdev0")).unwrap();
            fs::write(function.join("vendor"), "0x8086\n").unwrap();
            fs::write(function.join("driver_override"), "(null)\n").unwrap();
            for driver in ["ixgbe", "ixmap", "vfio-pci"] {
                let path = sysfs.path(&format!("bus/pci/drivers/{driver}"));
                fs::create_dir_all(&path).unwrap();
                fs::write(path.join("bind"), "").unwrap();
                fs::write(path.join("unbind"), "").unwrap();
            }
            symlink(sysfs.path("bus/pci/drivers/ixgbe"), function.join("driver")).unwrap();
            Tree {
                _directory: directory,
                sysfs,
                address,
            }
        }

        fn to(&self, driver: &str) -> Result<Bound, String> {
            to(&self.sysfs, self.address, driver, false).map_err(|error| error.to_string())
        }

        fn written(&self, file: &str) -> String {
            fs::read_to_string(self.sysfs.path(&format!("bus/pci/{file}"))).unwrap()
        }
    }

    #[test]
    fn a_function_goes_to_the_driver_that_lends_it_and_back() {
        let tree = Tree::new();
        let bound = tree.to("ixmap").unwrap();
        assert_eq!(
            (bound.was.as_deref(), bound.now.as_str()),
            (Some("ixgbe"), "ixmap")
        );
        assert_eq!(tree.written("drivers/ixgbe/unbind"), "0000:03:00.0");
        assert!(
            tree.written("devices/0000:03:00.0/driver_override")
                .starts_with("ixmap")
        );
        assert_eq!(tree.written("drivers/ixmap/bind"), "0000:03:00.0");
        bound.back(&tree.sysfs).unwrap();
        assert!(
            tree.written("devices/0000:03:00.0/driver_override")
                .starts_with('\n')
        );
        assert_eq!(tree.written("drivers/ixgbe/bind"), "0000:03:00.0");
    }

    #[test]
    fn what_is_bound_already_is_left_alone() {
        let tree = Tree::new();
        assert_eq!(tree.to("ixgbe").unwrap().was.as_deref(), Some("ixgbe"));
        assert_eq!(tree.written("drivers/ixgbe/unbind"), "");
    }

    #[test]
    fn what_cannot_be_bound_is_refused_before_anything_is_touched() {
        let tree = Tree::new();
        assert_eq!(
            tree.to("igb").unwrap_err(),
            "the kernel has no driver igb now: `modprobe igb`"
        );
        fs::remove_dir_all(tree.sysfs.path("bus/pci/drivers/ixmap")).unwrap();
        assert!(tree.to("ixmap").unwrap_err().contains("kmod/README.md"));
        assert!(tree.to("vfio-pci").unwrap_err().contains("no IOMMU"));
        let other: PciAddress = "0000:04:00.0".parse().unwrap();
        let error = to(&tree.sysfs, other, "ixmap", false).unwrap_err();
        assert!(error.to_string().contains("`lspci -D`"), "{error}");
        assert_eq!(tree.written("drivers/ixgbe/unbind"), "");
    }

    #[test]
    fn a_function_whose_netdev_is_part_of_another_stays_where_it_is() {
        let tree = Tree::new();
        let upper = tree
            .sysfs
            .function(tree.address, "net/nosuchdev0/upper_br0");
        fs::create_dir(&upper).unwrap();
        let error = tree.to("ixmap").unwrap_err();
        assert!(error.contains("nosuchdev0 is in use (br0)"), "{error}");
        assert_eq!(tree.written("drivers/ixgbe/unbind"), "");
    }

    #[test]
    fn a_function_that_a_driver_refuses_is_given_back() {
        let tree = Tree::new();
        let bind = tree.sysfs.path("bus/pci/drivers/ixmap/bind");
        fs::remove_file(&bind).unwrap();
        fs::create_dir(&bind).unwrap();
        let error = tree.to("ixmap").unwrap_err();
        assert!(
            error.starts_with("0000:03:00.0 cannot be bound to ixmap: "),
            "{error}"
        );
        assert_eq!(tree.written("drivers/ixgbe/bind"), "0000:03:00.0");
        assert!(
            tree.written("devices/0000:03:00.0/driver_override")
                .starts_with('\n')
        );
    }
}
