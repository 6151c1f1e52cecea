//! Why a PCI function is not to be had: one line that says what to do.

use std::io;

use crate::shared::pci::PciAddress;

/// What went wrong with a PCI function.
#[derive(Debug, thiserror::Error)]
pub enum PciError {
    #[error("{0}: there is no such PCI function: `lspci -D` shows what there is")]
    NoFunction(PciAddress),
    #[error("{0} is bound to no driver: `ixmapctl bind {0}`")]
    NotBound(PciAddress),
    #[error("{address} is bound to {driver}, which does not lend it: `ixmapctl bind {address}`")]
    BoundTo { address: PciAddress, driver: String },
    #[error("{0} already has an owner: another ixmapd, or a port of this one?")]
    Owned(PciAddress),
    #[error(
        "{address}: no right to {what}: run as root with CAP_SYS_RAWIO (the unit's CapabilityBoundingSet), and a \
         kernel that is locked down (Secure Boot) lends a card only behind an IOMMU"
    )]
    Permission {
        address: PciAddress,
        what: &'static str,
    },
    #[error(
        "{address}: ixmap.ko has version {found} of its interface and this ixmapd {wanted}: install the \
         module of the same release, then `rmmod ixmap; modprobe ixmap`"
    )]
    Interface {
        address: PciAddress,
        found: u32,
        wanted: u32,
    },
    #[error(
        "{0}: no more memory may be locked for DMA: LimitMEMLOCK=infinity (`ulimit -l unlimited`) or \
         CAP_IPC_LOCK"
    )]
    LockedMemory(PciAddress),
    #[error(
        "{0}: packet memory lies in pieces of less than 2 MiB, which its driver cannot use: it takes \
         hugepages, or an IOMMU (docs/hardware.md)"
    )]
    Scattered(PciAddress),
    #[error(
        "{address} has {has} interrupt vectors of the {wanted} that it needs: use fewer queues"
    )]
    Vectors {
        address: PciAddress,
        wanted: u16,
        has: u32,
    },
    #[error(
        "{0} has no IOMMU in front of it, without which vfio-pci does not lend it: enable VT-d or AMD-Vi, \
         or use the module: `ixmapctl bind {0} ixmap`"
    )]
    NoIommu(PciAddress),
    #[error(
        "{address}: other drivers have devices of its IOMMU group {group}: bind those to vfio-pci too, or \
         to none (`ls /sys/kernel/iommu_groups/{group}/devices`)"
    )]
    NotViable { address: PciAddress, group: u32 },
    #[error(
        "{0}: its IOMMU does not keep interrupts apart (no interrupt remapping), so the kernel does not lend \
         it: enable that in the BIOS, or accept it by `modprobe vfio_iommu_type1 allow_unsafe_interrupts=1`"
    )]
    UnsafeInterrupts(PciAddress),
    #[error(
        "{0} is bound to vfio-pci, but there is no /dev/vfio/vfio: `modprobe vfio_iommu_type1`"
    )]
    NoContainer(PciAddress),
    #[error("{0} is bound to ixmap, which has no node in /dev for it: `dmesg` may say why")]
    NoNode(PciAddress),
    #[error("{0} is gone")]
    Gone(PciAddress),
    #[error("{address}: cannot {what}: {source}")]
    System {
        address: PciAddress,
        what: &'static str,
        source: io::Error,
    },
}

impl PciError {
    /// The error of a system call that was to do `what` with the function.
    pub(super) fn system(address: PciAddress, what: &'static str, source: io::Error) -> PciError {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => PciError::Permission { address, what },
            Some(libc::EBUSY) => PciError::Owned(address),
            Some(libc::ENODEV) => PciError::Gone(address),
            _ => PciError::System {
                address,
                what,
                source,
            },
        }
    }

    /// The error of mapping memory for the function.
    pub(super) fn mapping(address: PciAddress, source: io::Error) -> PciError {
        match source.raw_os_error() {
            Some(libc::ENOMEM) => PciError::LockedMemory(address),
            _ => PciError::system(address, "map memory for DMA", source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_becomes_a_line_that_says_what_to_do() {
        let address: PciAddress = "0000:03:00.0".parse().unwrap();
        let error = |errno| io::Error::from_raw_os_error(errno);
        let line = |errno| PciError::system(address, "open it", error(errno)).to_string();
        assert!(line(libc::EPERM).contains("run as root"));
        assert!(line(libc::EBUSY).contains("already has an owner"));
        assert_eq!(line(libc::ENODEV), "0000:03:00.0 is gone");
        assert!(line(libc::EINVAL).starts_with("0000:03:00.0: cannot open it: "));
        let line = PciError::mapping(address, error(libc::ENOMEM)).to_string();
        assert!(line.contains("ulimit -l"), "{line}");
    }
}
