//! Hugepages that were not there, and the command that reserves them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use super::numa::has_several_nodes;
use super::region::HUGE_PAGE;

/// Why a region lies in normal pages: said once in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortfall {
    /// Bytes of the pages that are counted here.
    pub page_size: usize,
    /// Pages that the region needs.
    pub needed: usize,
    /// Pages that it could have had.
    pub free: usize,
    /// Pages of this size that are reserved, in use or free: what the command raises.
    pub reserved: usize,
    /// The NUMA node that they are counted on; `None` for those of the whole machine.
    pub node: Option<u32>,
    /// Whether `vm.nr_hugepages` counts pages of this size.
    pub is_default_size: bool,
}

impl Shortfall {
    /// What `bytes` lack now, on `node` where there are several.
    pub(super) fn now(bytes: usize, node: Option<u32>) -> Shortfall {
        Shortfall::at(Path::new("/"), bytes, node)
    }

    /// As told by the `proc` and `sys` below `root`.
    fn at(root: &Path, bytes: usize, node: Option<u32>) -> Shortfall {
        let sysfs = root.join("sys");
        let machine = sysfs.join(machine_pool(HUGE_PAGE));
        let node = node.filter(|_| has_several_nodes(&sysfs));
        let node = node.filter(|node| sysfs.join(node_pool(HUGE_PAGE, *node)).exists());
        // Free pages may be promised to mappings that have not touched them; the kernel counts those
        // for the machine only.
        let free = number(&machine, "free_hugepages");
        let unclaimed = free.saturating_sub(number(&machine, "resv_hugepages"));
        let (reserved, free) = match node {
            Some(node) => {
                let pool = sysfs.join(node_pool(HUGE_PAGE, node));
                let free = number(&pool, "free_hugepages").min(unclaimed);
                (number(&pool, "nr_hugepages"), free)
            }
            None => (number(&machine, "nr_hugepages"), unclaimed),
        };
        Shortfall {
            page_size: HUGE_PAGE,
            needed: bytes.div_ceil(HUGE_PAGE),
            free,
            reserved,
            node,
            is_default_size: default_page_size(root).is_none_or(|size| size == HUGE_PAGE),
        }
    }

    /// What regions (bytes, and the NUMA node that they are to be on) lack together that can only lie in
    /// huge pages; `None` when there are enough, or when larger pages may serve.
    pub fn of_all(regions: impl IntoIterator<Item = (usize, Option<u32>)>) -> Option<Shortfall> {
        let giant = Path::new("/sys").join(machine_pool(HUGE_PAGE << 9));
        if number(&giant, "free_hugepages") > 0 {
            return None;
        }
        let mut pools = BTreeMap::<_, Shortfall>::new();
        for (bytes, node) in regions {
            let one = Shortfall::now(bytes, node);
            let sum = pools.get(&one.node).map_or(one, |other| other.with(one));
            pools.insert(one.node, sum);
        }
        let mut short = pools.into_values().filter(|pool| pool.needed > pool.free);
        short.next()
    }

    /// What two regions lack of the same pages together: what is free suffices for neither, and does
    /// not count twice.
    pub fn with(self, other: Shortfall) -> Shortfall {
        Shortfall {
            needed: self.needed + other.needed,
            free: self.free.min(other.free),
            ..other
        }
    }

    /// The command that reserves what is missing, besides what is reserved now.
    pub fn command(&self) -> String {
        let total = self.reserved + self.needed.saturating_sub(self.free);
        let pool = match self.node {
            None if self.is_default_size => return format!("sysctl -w vm.nr_hugepages={total}"),
            None => machine_pool(self.page_size),
            Some(node) => node_pool(self.page_size, node),
        };
        format!("echo {total} > /sys/{pool}/nr_hugepages")
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |count| if count == 1 { "is" } else { "are" };
        write!(
            f,
            "{} hugepage{} of {} MiB {} needed and {} {} free",
            self.needed,
            if self.needed == 1 { "" } else { "s" },
            self.page_size >> 20,
            verb(self.needed),
            self.free,
            verb(self.free),
        )?;
        if let Some(node) = self.node {
            write!(f, " on NUMA node {node}")?;
        }
        write!(f, ": `{}`", self.command())
    }
}

/// Where sysfs has the pool of the whole machine.
fn machine_pool(page_size: usize) -> String {
    format!("kernel/mm/hugepages/hugepages-{}kB", page_size >> 10)
}

/// Where sysfs has the pool of a node.
fn node_pool(page_size: usize, node: u32) -> String {
    let kib = page_size >> 10;
    format!("devices/system/node/node{node}/hugepages/hugepages-{kib}kB")
}

/// A number in sysfs; a kernel without such pages has none of them.
fn number(pool: &Path, name: &str) -> usize {
    let text = fs::read_to_string(pool.join(name)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Bytes of the pages that `vm.nr_hugepages` counts.
fn default_page_size(root: &Path) -> Option<usize> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let mut lines = text.lines();
    let kib = lines.find_map(|line| line.strip_prefix("Hugepagesize:"))?;
    let kib: usize = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// A machine with these pages of 2 MiB: reserved, free, promised.
    fn machine(pages: [usize; 3]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let pool = root.path().join("sys").join(machine_pool(HUGE_PAGE));
        let names = ["nr_hugepages", "free_hugepages", "resv_hugepages"];
        fill(&pool, &names, &pages);
        meminfo(&root, 2048);
        root
    }

    /// A node of it with these: reserved, free.
    fn add_node(root: &tempfile::TempDir, node: u32, pages: [usize; 2]) {
        let pool = root.path().join("sys").join(node_pool(HUGE_PAGE, node));
        fill(&pool, &["nr_hugepages", "free_hugepages"], &pages);
    }

    fn fill(pool: &Path, names: &[&str], pages: &[usize]) {
        fs::create_dir_all(pool).unwrap();
        for (name, pages) in names.iter().zip(pages) {
            fs::write(pool.join(name), format!("{pages}\n")).unwrap();
        }
    }

    fn meminfo(root: &tempfile::TempDir, kib: usize) {
        let directory = root.path().join("proc");
        fs::create_dir_all(&directory).unwrap();
        let text = format!("HugePages_Total:       7\nHugepagesize:       {kib} kB\n");
        fs::write(directory.join("meminfo"), text).unwrap();
    }

    #[test]
    fn the_command_adds_what_is_missing_to_what_is_reserved() {
        let root = machine([71, 3, 0]);
        let short = Shortfall::at(root.path(), 16 * MIB, None);
        assert_eq!((short.needed, short.free, short.node), (8, 3, None));
        assert_eq!(
            short.to_string(),
            "8 hugepages of 2 MiB are needed and 3 are free: `sysctl -w vm.nr_hugepages=76`"
        );
    }

    #[test]
    fn pages_promised_to_others_are_not_free() {
        let root = machine([10, 6, 4]);
        let short = Shortfall::at(root.path(), 8 * MIB, None);
        assert_eq!((short.needed, short.free), (4, 2));
        assert_eq!(short.command(), "sysctl -w vm.nr_hugepages=12");
    }

    #[test]
    fn what_is_free_counts_once_for_two_regions() {
        let root = machine([71, 3, 0]);
        let short = Shortfall::at(root.path(), 16 * MIB, None);
        let both = short.with(short);
        assert_eq!((both.needed, both.free), (16, 3));
        assert_eq!(both.command(), "sysctl -w vm.nr_hugepages=84");
    }

    #[test]
    fn one_page_is_told_in_the_singular() {
        let root = machine([1, 1, 0]);
        let mut short = Shortfall::at(root.path(), 1, None);
        short.free = 0;
        assert_eq!(
            short.to_string(),
            "1 hugepage of 2 MiB is needed and 0 are free: `sysctl -w vm.nr_hugepages=2`"
        );
    }

    #[test]
    fn among_several_nodes_the_pages_are_counted_and_reserved_on_the_one() {
        let root = machine([100, 30, 0]);
        add_node(&root, 0, [71, 3]);
        let alone = Shortfall::at(root.path(), 80 * MIB, Some(0));
        assert_eq!(alone.command(), "sysctl -w vm.nr_hugepages=110");
        add_node(&root, 1, [29, 27]);
        let short = Shortfall::at(root.path(), 16 * MIB, Some(0));
        assert_eq!(
            short.to_string(),
            "8 hugepages of 2 MiB are needed and 3 are free on NUMA node 0: `echo 76 > \
             /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages`"
        );
        // A node without memory has no pool.
        let nowhere = Shortfall::at(root.path(), 80 * MIB, Some(2));
        assert_eq!(nowhere.command(), "sysctl -w vm.nr_hugepages=110");
    }

    #[test]
    fn where_the_sysctl_counts_other_pages_the_pool_is_named() {
        let root = machine([0, 0, 0]);
        meminfo(&root, 1 << 20);
        let short = Shortfall::at(root.path(), 4 * MIB, None);
        assert_eq!(
            short.command(),
            "echo 2 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
        );
    }

    #[test]
    fn a_kernel_that_tells_nothing_has_no_pages() {
        let root = tempfile::tempdir().unwrap();
        let short = Shortfall::at(root.path(), HUGE_PAGE + 1, Some(1));
        assert_eq!((short.needed, short.free, short.reserved), (2, 0, 0));
        assert_eq!(short.command(), "sysctl -w vm.nr_hugepages=2");
    }
}
