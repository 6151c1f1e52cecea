//! What the configuration is checked against on this machine: its cores and its groups.

use std::collections::BTreeMap;

use crate::control::fault::Fault;

/// The machine as a configuration sees it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Machine {
    /// Cores that this process may run on, ascending.
    pub cores: Vec<usize>,
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
        Machine {
            cores,
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
                return Err(Fault::new(
                    format!("no core {core} here"),
                    format!("use some of {}", ranges(&self.cores)),
                ));
            }
        }
        Ok(())
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
    fn this_machine_has_a_core_and_a_root_group() {
        let machine = Machine::read();
        assert!(!machine.cores.is_empty());
        assert_eq!(machine.group("root"), Ok(0));
    }
}
