//! When the kernel's neighbour tables run full: what an operator is told.

use crate::control::mirror::{Mirror, NeighbourState};
use crate::control::netlink::NeighbourTable;
use crate::shared::api::Family;

/// A table counts as nearly full from this share of its limit on, in eighths.
const NEARLY: u64 = 7;
/// How many times the limit, or the entries, a new limit is advised to be.
const ADVICE: u64 = 4;

/// The kernel's word on one table, with what became of it since.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Watched {
    table: NeighbourTable,
    /// Entries that the limit counts.
    counted: u64,
    /// An entry found no room when it was last looked at.
    refuses: bool,
    /// The log has said so.
    told: bool,
}

impl Watched {
    pub(super) fn table(&self) -> NeighbourTable {
        self.table
    }

    /// Takes in the table as it is now, of which `exempt` entries are not limited.
    pub(super) fn update(&mut self, table: NeighbourTable, exempt: u64) {
        // The count goes back to the machine's start: the first look is no news.
        self.refuses = self.table.limit != 0 && table.full > self.table.full;
        self.counted = u64::from(table.entries).saturating_sub(exempt);
        self.table = table;
        if self.counted < u64::from(table.limit) / 2 {
            self.told = false;
        }
    }

    /// What is wrong, and the way out.
    pub(super) fn warning(&self, family: Family) -> Option<String> {
        let limit = u64::from(self.table.limit);
        let nearly = limit != 0 && self.counted * 8 >= limit * NEARLY;
        if !self.refuses && !nearly {
            return None;
        }
        let (name, directory) = match family {
            Family::Ipv4 => ("IPv4", "ipv4"),
            Family::Ipv6 => ("IPv6", "ipv6"),
        };
        let advised = (limit.max(self.counted) * ADVICE).next_power_of_two();
        let key = format!("net.{directory}.neigh.default.gc_thresh");
        Some(format!(
            "the kernel's table of {name} neighbours holds {} of at most {limit} on this machine; \
             beyond, hosts stay unreachable: `sysctl -w {key}3={advised} {key}2={} {key}1={}`",
            self.counted,
            advised / 2,
            advised / 4,
        ))
    }

    /// The warning, once until the table has emptied by half.
    pub(super) fn news(&mut self, family: Family) -> Option<String> {
        let warning = self.warning(family).filter(|_| !self.told);
        self.told |= warning.is_some();
        warning
    }
}

/// Entries of this network namespace that gc_thresh3 does not count, by family.
pub(super) fn exempt(mirror: &Mirror) -> [u64; 2] {
    let mut counts = [0; 2];
    for neighbour in mirror.neighbours() {
        if neighbour.state == NeighbourState::Permanent || neighbour.flags.learned {
            counts[usize::from(neighbour.address.is_ipv6())] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: u32, full: u64) -> NeighbourTable {
        NeighbourTable {
            entries,
            limit: 1024,
            full,
        }
    }

    #[test]
    fn a_table_that_is_nearly_full_is_told_once_with_the_command_that_helps() {
        let mut watched = Watched::default();
        assert_eq!(watched.news(Family::Ipv4), None, "not looked at yet");
        watched.update(table(895, 7), 0);
        assert_eq!(watched.news(Family::Ipv4), None, "under seven eighths");
        watched.update(table(896, 7), 0);
        let line = watched.news(Family::Ipv4).unwrap();
        let command = "`sysctl -w net.ipv4.neigh.default.gc_thresh3=4096 \
                       net.ipv4.neigh.default.gc_thresh2=2048 \
                       net.ipv4.neigh.default.gc_thresh1=1024`";
        assert!(
            line.ends_with(command) && line.contains(" 896 of at most 1024 "),
            "{line}"
        );
        assert_eq!(watched.news(Family::Ipv4), None, "said already");
        assert!(watched.warning(Family::Ipv4).is_some(), "status still says");
        watched.update(table(600, 7), 0);
        watched.update(table(1000, 7), 0);
        assert_eq!(watched.news(Family::Ipv4), None, "it had not emptied");
        watched.update(table(100, 7), 0);
        watched.update(table(1000, 7), 0);
        assert!(watched.news(Family::Ipv4).is_some());
    }

    #[test]
    fn a_table_that_refuses_entries_is_told_however_few_it_counts() {
        let mut watched = Watched::default();
        watched.update(table(10, 7), 0);
        assert_eq!(
            watched.warning(Family::Ipv6),
            None,
            "of before the daemon's start"
        );
        watched.update(table(10, 8), 0);
        let line = watched.warning(Family::Ipv6).unwrap();
        assert!(
            line.contains("IPv6") && line.contains("net.ipv6.neigh.default.gc_thresh3="),
            "{line}"
        );
        watched.update(table(10, 8), 0);
        assert_eq!(watched.warning(Family::Ipv6), None);
    }

    #[test]
    fn entries_that_are_not_limited_do_not_count() {
        let mut watched = Watched::default();
        watched.update(table(2000, 0), 1900);
        assert_eq!(watched.warning(Family::Ipv4), None);
        watched.update(table(2000, 0), 1000);
        assert!(watched.warning(Family::Ipv4).is_some());
    }
}
