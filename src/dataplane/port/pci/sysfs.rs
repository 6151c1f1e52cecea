//! What sysfs tells of PCI functions.

use std::fs;
use std::path::PathBuf;

use crate::shared::pci::PciAddress;

/// The most that a file of sysfs says that is read here.
const LONGEST: usize = 4096;

/// Where sysfs is mounted.
#[derive(Clone, Debug)]
pub struct Sysfs(PathBuf);

/// What a function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    pub vendor: u16,
    pub device: u16,
    pub subsystem_vendor: u16,
    pub subsystem_device: u16,
    pub revision: u8,
}

impl Default for Sysfs {
    fn default() -> Sysfs {
        Sysfs::at("/sys")
    }
}

impl Sysfs {
    /// Another tree of the same form, for tests.
    pub fn at(root: impl Into<PathBuf>) -> Sysfs {
        Sysfs(root.into())
    }

    /// A file or directory below the root.
    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.0.join(below)
    }

    /// The directory of a function, or what is below it.
    pub(super) fn function(&self, address: PciAddress, below: &str) -> PathBuf {
        self.path(&format!("bus/pci/devices/{address}")).join(below)
    }

    pub fn exists(&self, address: PciAddress) -> bool {
        self.function(address, "vendor").exists()
    }

    pub fn ids(&self, address: PciAddress) -> Option<Ids> {
        let id = |name| u16::try_from(self.hex(address, name)?).ok();
        Some(Ids {
            vendor: id("vendor")?,
            device: id("device")?,
            subsystem_vendor: id("subsystem_vendor")?,
            subsystem_device: id("subsystem_device")?,
            revision: u8::try_from(self.hex(address, "revision")?).ok()?,
        })
    }

    /// The NUMA node that a function is attached to; `None` where there is but one.
    pub fn numa_node(&self, address: PciAddress) -> Option<u32> {
        // -1 for none.
        self.read(address, "numa_node")?.parse().ok()
    }

    /// The driver that a function is bound to.
    pub fn driver(&self, address: PciAddress) -> Option<String> {
        self.target(address, "driver")
    }

    /// The number of its IOMMU group.
    pub fn iommu_group(&self, address: PciAddress) -> Option<u32> {
        self.target(address, "iommu_group")?.parse().ok()
    }

    /// The name in /dev that ixmap.ko lends a function by.
    pub fn ixmap_node(&self, address: PciAddress) -> Option<String> {
        let mut names = self.names(address, "ixmap").into_iter();
        names.find(|name| {
            let number = name.strip_prefix("ixmap");
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        })
    }

    /// The entries of a directory of a function; none when it is not there.
    pub(super) fn names(&self, address: PciAddress, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.function(address, directory));
        let entries = entries.into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    /// The one line of a function's file.
    fn read(&self, address: PciAddress, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.function(address, name)).ok()?;
        (text.len() <= LONGEST).then(|| text.trim().to_owned())
    }

    fn hex(&self, address: PciAddress, name: &str) -> Option<u32> {
        let text = self.read(address, name)?;
        u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
    }

    /// The last part of where a link leads.
    fn target(&self, address: PciAddress, link: &str) -> Option<String> {
        let target = fs::read_link(self.function(address, link)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_function_is_read_and_nonsense_is_nothing() {
        let tree = tempfile::tempdir().unwrap();
        let sysfs = Sysfs::at(tree.path());
        let address: PciAddress = "0000:03:00.0".parse().unwrap();
        let other: PciAddress = "0000:03:00.1".parse().unwrap();
        let directory = sysfs.function(address, "");
        fs::create_dir_all(directory.join("ixmap/ixmap3")).unwrap();
        fs::create_dir_all(directory.join("ixmap/power")).unwrap();
        for (name, text) in [
            ("vendor", "0x8086\n"),
            ("device", "0x10fb\n"),
            ("subsystem_vendor", "0x8086\n"),
            ("subsystem_device", "0x000c\n"),
            ("revision", "0x01\n"),
            ("numa_node", "-1\n"),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
        symlink(
            "../../../../bus/pci/drivers/ixmap",
            directory.join("driver"),
        )
        .unwrap();
        symlink(
            "../../kernel/iommu_groups/17",
            directory.join("iommu_group"),
        )
        .unwrap();
        assert!(sysfs.exists(address) && !sysfs.exists(other));
        let ids = sysfs.ids(address).unwrap();
        assert_eq!((ids.vendor, ids.device, ids.revision), (0x8086, 0x10FB, 1));
        assert_eq!(sysfs.numa_node(address), None);
        assert_eq!(sysfs.driver(address).as_deref(), Some("ixmap"));
        assert_eq!(sysfs.iommu_group(address), Some(17));
        assert_eq!(sysfs.ixmap_node(address).as_deref(), Some("ixmap3"));
        assert_eq!(sysfs.driver(other), None);
        assert_eq!(sysfs.ixmap_node(other), None);
        fs::write(directory.join("numa_node"), "1\n").unwrap();
        fs::write(directory.join("device"), "0x10fb0\n").unwrap();
        assert_eq!(sysfs.numa_node(address), Some(1));
        assert_eq!(sysfs.ids(address), None);
    }
}
