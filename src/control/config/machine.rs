//! What the configuration is checked against on this machine: its cores and its groups.

use std::collections::BTreeMap;

use super::value::core_list;
use crate::control::fault::Fault;

/// Where the kernel lists the cores that there are, and those that run.
const CORES: &str = "/sys/devices/system/cpu";

/// The machine as a configuration sees it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Machine {
    /// Cores that this process may run on, ascending.
    pub cores: Vec<usize>,
    /// Cores that run, for this process or not.
    pub online: Vec<usize>,
    /// Cores that are plugged in, online or not.
    pub present: Vec<usize>,
    /// Groups by name.
    pub groups: BTreeMap<String, u32>,
}

impl Machine {
    /// Looks at this machine: once, before any thread is pinned, for a pinned thread sees only its
    /// own cores. Groups come from /etc/group only: a daemon that routes should not
    /// wait for a directory server.
    pub fn read() -> Machine {
        let mut cores: Vec<usize> = core_affinity::get_core_ids()
            .unwrap_or_default()
            .into_iter()
            .map(|core| core.id)
            .collect();
        cores.sort_unstable();
        let listed = |file| {
            let list = std::fs::read_to_string(format!("{CORES}/{file}")).unwrap_or_default();
            core_list(list.trim()).unwrap_or_default()
        };
        Machine {
            cores,
            online: listed("online"),
            present: listed("present"),
            groups: parse_groups(&std::fs::read_to_string("/etc/group").unwrap_or_default()),
        }
    }

    /// The id of a group that may use the control socket.
    pub fn group(&self, name: &str) -> Result<u32, Fault> {
        self.groups.get(name).copied().ok_or_else(|| {
            Fault::new(
                format!("no group \"{name}\" in /etc/group"),
                format!("create it with `groupadd --system {name}`"),
            )
        })
    }

    /// Checks that workers can be pinned to these cores, one each.
    pub(crate) fn check_cores(&self, cores: &[usize]) -> Result<(), Fault> {
        for (index, core) in cores.iter().enumerate() {
            if cores[..index].contains(core) {
                return Err(Fault::new(
                    format!("core {core} is named twice"),
                    "name each core once: one worker runs on it",
                ));
            }
            if !self.cores.contains(core) {
                return Err(self.absent(*core));
            }
        }
        Ok(())
    }

    /// Why no worker can run on a core.
    fn absent(&self, core: usize) -> Fault {
        let others = format!("use some of {}", ranges(&self.cores));
        let (wrong, remedy) = if self.online.contains(&core) {
            let way = "widen its CPUAffinity=, cpuset or `taskset`";
            ("is not for this process", format!("{way}, or {others}"))
        } else if self.present.contains(&core) {
            let way = format!("`echo 1 > {CORES}/cpu{core}/online`");
            ("is offline", format!("{way}, or {others}"))
        } else {
            return Fault::new(format!("no core {core} here"), others);
        };
        Fault::new(format!("core {core} {wrong}"), remedy)
    }
}

/// group(5): `name:password:gid:members`. Odd lines are skipped, as libc does.
fn parse_groups(text: &str) -> BTreeMap<String, u32> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let id = fields.nth(1)?.parse().ok()?;
            Some((name.to_owned(), id))
        })
        .collect()
}

/// Ascending cores in the words of [`super::value::core_list`]: `0-3,6`.
fn ranges(cores: &[usize]) -> String {
    cores
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            [only] => only.to_string(),
            [] => String::new(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_from_the_group_file() {
        let groups = parse_groups("root:x:0:\n# odd\nixmap:x:998:ann,bob\nbroken:x\n");
        assert_eq!(
            groups,
            BTreeMap::from([("root".into(), 0), ("ixmap".into(), 998)])
        );
    }

    #[test]
    fn cores_are_shown_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 3, 6, 8, 9]), "0-3,6,8-9");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn a_core_that_is_there_and_cannot_be_used_is_told_from_one_that_is_not() {
        let machine = Machine {
            cores: vec![0, 1],
            online: vec![0, 1, 2],
            present: vec![0, 1, 2, 3],
            ..Machine::default()
        };
        for (core, line) in [
            (
                2,
                "core 2 is not for this process: widen its CPUAffinity=, cpuset or `taskset`, or use \
                 some of 0-1",
            ),
            (
                3,
                "core 3 is offline: `echo 1 > /sys/devices/system/cpu/cpu3/online`, or use some of 0-1",
            ),
            (4, "no core 4 here: use some of 0-1"),
        ] {
            let fault = machine.check_cores(&[0, core]).unwrap_err();
            assert_eq!(fault.to_string(), line);
        }
    }

    #[test]
    fn this_machine_has_a_core_and_a_root_group() {
        let machine = Machine::read();
        assert!(!machine.cores.is_empty());
        let online = |core| machine.online.contains(core) && machine.present.contains(core);
        assert!(machine.cores.iter().all(online), "{machine:?}");
        assert_eq!(machine.group("root"), Ok(0));
    }
}
