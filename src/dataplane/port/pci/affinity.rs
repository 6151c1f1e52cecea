//! Which core an interrupt goes to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::sysfs::Sysfs;
use crate::shared::pci::PciAddress;

/// The number in /proc/irq of a function's MSI-X vector, found by the name that what lends the function
/// gave it: `ixmap[3](0000:03:00.0)` or `vfio-msix[3](0000:03:00.0)`.
pub(super) fn irq_of_vector(sysfs: &Sysfs, address: PciAddress, vector: u16) -> Option<u32> {
    let names = ["ixmap", "vfio-msix"].map(|lender| format!("{lender}[{vector}]({address})"));
    let irqs = sysfs.names(address, "msi_irqs").into_iter();
    irqs.filter_map(|irq| irq.parse().ok()).find(|irq: &u32| {
        let actions = sysfs.path(&format!("kernel/irq/{irq}/actions"));
        let actions = fs::read_to_string(actions).unwrap_or_default();
        names.iter().any(|name| actions.trim() == name)
    })
}

/// An interrupt that was steered; dropping it puts back where it went before.
#[derive(Debug)]
pub(super) struct Affinity {
    file: PathBuf,
    before: String,
}

impl Affinity {
    pub(super) fn steer(irq: u32, core: usize) -> io::Result<Affinity> {
        Affinity::steer_at(Path::new("/proc/irq"), irq, core)
    }

    fn steer_at(root: &Path, irq: u32, core: usize) -> io::Result<Affinity> {
        let file = root.join(irq.to_string()).join("smp_affinity_list");
        let before = fs::read_to_string(&file)?.trim().to_owned();
        fs::write(&file, core.to_string())?;
        Ok(Affinity { file, before })
    }
}

impl Drop for Affinity {
    fn drop(&mut self) {
        // An interrupt that is gone needs nothing put back.
        let _ = fs::write(&self.file, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_found_by_its_name() {
        let tree = tempfile::tempdir().unwrap();
        let sysfs = Sysfs::at(tree.path());
        let address: PciAddress = "0000:03:00.0".parse().unwrap();
        for (irq, name) in [
            (24, "ixmap[1](0000:03:00.0)\n"),
            (25, "ixmap[10](0000:03:00.0)\n"),
            (26, "vfio-msix[2](0000:03:00.0)\n"),
            (27, "ixmap[3](0000:03:00.1)\n"),
        ] {
            fs::create_dir_all(sysfs.function(address, "msi_irqs").join(irq.to_string())).unwrap();
            let directory = sysfs.path(&format!("kernel/irq/{irq}"));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("actions"), name).unwrap();
        }
        let found = |vector| irq_of_vector(&sysfs, address, vector);
        assert_eq!(
            (found(1), found(10), found(2)),
            (Some(24), Some(25), Some(26))
        );
        assert_eq!((found(0), found(3)), (None, None));
    }

    #[test]
    fn a_steered_interrupt_goes_back_where_it_went() {
        let tree = tempfile::tempdir().unwrap();
        let file = tree.path().join("24/smp_affinity_list");
        fs::create_dir(tree.path().join("24")).unwrap();
        fs::write(&file, "0-7\n").unwrap();
        let steered = Affinity::steer_at(tree.path(), 24, 5).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "5");
        drop(steered);
        assert_eq!(fs::read_to_string(&file).unwrap(), "0-7");
        assert!(Affinity::steer_at(tree.path(), 25, 5).is_err());
    }
}
