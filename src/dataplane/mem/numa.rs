//! NUMA nodes: which one a core belongs to, and memory that is to come from one.

#![allow(unsafe_code, reason = "mbind has no wrapper in libc")]

use std::ffi::{c_int, c_ulong};
use std::path::Path;
use std::{fs, io};

/// linux/mempolicy.h: from this node while it has memory, from the others then. MPOL_BIND would kill
/// the process at the first touch when the node's hugetlb pool is empty and another's is not.
const MPOL_PREFERRED: c_int = 1;
/// Nodes that a kernel can have (NODES_SHIFT is at most 10).
const MAX_NODES: usize = 1024;
const WORD_BITS: usize = c_ulong::BITS as usize;

/// The NUMA node that a core belongs to; `None` for a kernel that knows of no nodes.
pub fn node_of_core(core: usize) -> Option<u32> {
    node_of_core_at(Path::new("/sys"), core)
}

fn node_of_core_at(sysfs: &Path, core: usize) -> Option<u32> {
    nodes(&sysfs.join(format!("devices/system/cpu/cpu{core}"))).next()
}

/// The NUMA node that a netdev's device is attached to; `None` for one that is on none.
pub fn node_of_netdev(name: &str) -> Option<u32> {
    node_of_netdev_at(Path::new("/sys"), name)
}

fn node_of_netdev_at(sysfs: &Path, name: &str) -> Option<u32> {
    let file = sysfs.join(format!("class/net/{name}/device/numa_node"));
    // -1 for none.
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Whether the machine has more than one node.
pub(super) fn has_several_nodes(sysfs: &Path) -> bool {
    nodes(&sysfs.join("devices/system/node")).nth(1).is_some()
}

/// The nodes that a directory has entries of: `node0`, `node1`.
fn nodes(directory: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        entry
            .file_name()
            .to_str()?
            .strip_prefix("node")?
            .parse()
            .ok()
    })
}

/// Has the pages of a mapping, none of which was touched yet, come from `node` while it has some.
/// `base` and `len` are those of a whole mapping.
pub(super) fn prefer(base: *mut u8, len: usize, node: u32) -> io::Result<()> {
    let node = usize::try_from(node).unwrap_or(usize::MAX);
    let mut mask: [c_ulong; MAX_NODES / WORD_BITS] = [0; MAX_NODES / WORD_BITS];
    let word = mask.get_mut(node / WORD_BITS);
    *word.ok_or(io::ErrorKind::InvalidInput)? = 1 << (node % WORD_BITS);
    // The kernel takes one off the number of bits.
    let bits: c_ulong = MAX_NODES as c_ulong + 1;
    let flags: c_ulong = 0;
    // SAFETY: `mask` has the bits that it is said to have and is only read. Of the mapping only the
    // policy changes: no byte, no right. An address that is not mapped is an error (EFAULT).
    let done = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            base,
            len,
            MPOL_PREFERRED,
            mask.as_ptr(),
            bits,
            flags,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_of_a_core_is_the_one_that_sysfs_links_to() {
        let root = tempfile::tempdir().unwrap();
        let core = root.path().join("devices/system/cpu/cpu3");
        for entry in ["cache", "node_list", "node12"] {
            fs::create_dir_all(core.join(entry)).unwrap();
        }
        assert_eq!(node_of_core_at(root.path(), 3), Some(12));
        assert_eq!(node_of_core_at(root.path(), 4), None);
    }

    #[test]
    fn the_node_of_a_netdev_is_its_device_s() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("class/net/eth0/device");
        fs::create_dir_all(&device).unwrap();
        let node = |text| {
            fs::write(device.join("numa_node"), text).unwrap();
            node_of_netdev_at(root.path(), "eth0")
        };
        assert_eq!(node("-1\n"), None);
        assert_eq!(node("1\n"), Some(1));
        assert_eq!(node_of_netdev_at(root.path(), "veth0"), None, "no device");
    }

    #[test]
    fn nodes_are_counted_by_their_directories() {
        let root = tempfile::tempdir().unwrap();
        let system = root.path().join("devices/system/node");
        assert!(!has_several_nodes(root.path()));
        for entry in ["node0", "power"] {
            fs::create_dir_all(system.join(entry)).unwrap();
        }
        assert!(!has_several_nodes(root.path()));
        fs::create_dir(system.join("node1")).unwrap();
        assert!(has_several_nodes(root.path()));
    }

    #[test]
    fn a_node_that_no_kernel_has_is_refused() {
        let mut byte = 0u8;
        for node in [1024, u32::MAX] {
            let refused = prefer(&raw mut byte, 1, node).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
