//! Which cores workers and control run on, and what an operator should know about the choice.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::control::config::Machine;
use crate::shared::config::Config;

/// Of control's threads.
const NICE: i32 = -10;

/// The configured cores, or else the last one.
pub(super) fn of_workers(config: &Config, machine: &Machine) -> Vec<usize> {
    match config.cores.as_slice() {
        [] => machine.cores.last().copied().into_iter().collect(),
        cores => cores.to_vec(),
    }
}

/// What the thread of a worker is called.
pub(super) fn thread_name(core: usize) -> String {
    format!("ixmap-core{core}")
}

/// Keeps this thread, and all that it starts, off the workers' cores where there are others.
pub(super) fn keep_off(workers: &[usize], machine: &Machine) {
    let others = machine.cores.iter().filter(|core| !workers.contains(core));
    let mut set = CpuSet::new();
    others.for_each(|core| set.set(*core));
    // Refused for the empty set, when workers have every core: control shares them then.
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::debug!("control shares the workers' cores: {error}");
    }
}

/// Lets this thread, and all that it starts, go before others: whoever fills the kernel with routes
/// would else take the time that it takes to follow them.
pub(super) fn go_first() {
    // Refused without CAP_SYS_NICE.
    if let Err(error) = setpriority_process(None, NICE) {
        tracing::debug!("control has no priority over others: {error}");
    }
}

/// What an operator should know about the workers' cores, a line each.
pub(super) fn warnings(workers: &[usize], machine: &Machine) -> Vec<String> {
    let mut lines = Vec::new();
    // With a single core there is no choice.
    if machine.cores.len() > 1 && machine.cores.iter().all(|core| workers.contains(core)) {
        lines.push(
            "workers have every core, and control shares them, so that it follows the kernel late \
             under load: leave one out of [workers] cores (--workers)"
                .to_owned(),
        );
    }
    lines.extend(workers.iter().filter_map(|core| {
        let process = neighbour(Path::new("/proc"), *core)?;
        Some(format!(
            "core {core} has a worker of another ixmapd as well (process {process}), and each gets \
             half of it: give one of them another core ([workers] cores, --workers)"
        ))
    }));
    lines
}

/// The process id of another ixmapd that has a worker on this core.
fn neighbour(proc: &Path, core: usize) -> Option<u32> {
    let name = |path: PathBuf| fs::read_to_string(path.join("comm")).unwrap_or_default();
    let own = proc.join("self");
    let (own_id, own_name) = (id(&fs::read_link(&own).unwrap_or_default()), name(own));
    let mut others = entries(proc).filter(|process| {
        id(process).is_some_and(|id| Some(id) != own_id) && name(process.clone()) == own_name
    });
    let wanted = thread_name(core);
    let process = others.find(|process| {
        entries(&process.join("task")).any(|thread| name(thread).trim_end() == wanted)
    });
    id(&process?)
}

/// The process that a directory of /proc is about.
fn id(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Of the workers, by name and NUMA node, those that a device on `node` is far from: a line for its
/// port.
pub(super) fn far<'a>(
    node: u32,
    workers: impl Iterator<Item = (&'a str, Option<u32>)>,
) -> Option<String> {
    let far = workers.filter(|(_, of_core)| of_core.is_some_and(|of_core| of_core != node));
    let names: Vec<&str> = far.map(|(name, _)| name).collect();
    (!names.is_empty()).then(|| {
        format!(
            "its device is on NUMA node {node}, and {} not, so that every packet crosses: choose cores \
             of that node (`lscpu -e`)",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn machine(cores: &[usize]) -> Machine {
        Machine {
            cores: cores.to_vec(),
            ..Machine::default()
        }
    }

    #[test]
    fn without_a_choice_one_worker_has_the_last_core() {
        let mut config = Config::default();
        assert_eq!(of_workers(&config, &machine(&[0, 1, 5])), [5]);
        config.cores = vec![1, 0];
        assert_eq!(of_workers(&config, &machine(&[0, 1, 5])), [1, 0]);
    }

    #[test]
    fn control_without_a_core_of_its_own_is_told_of() {
        let told = |cores: &[usize], workers: &[usize]| {
            let lines = warnings(workers, &machine(cores));
            lines
                .iter()
                .any(|line| line.starts_with("workers have every core"))
        };
        assert!(told(&[0, 1], &[1, 0]));
        assert!(!told(&[0, 1], &[1]));
        assert!(!told(&[0], &[0]), "there is no choice");
    }

    #[test]
    fn a_core_with_a_worker_of_another_daemon_is_found() {
        let proc = tempfile::tempdir().unwrap();
        let thread = |process: u32, thread: u32, name: &str| {
            let directory = proc.path().join(format!("{process}/task/{thread}"));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("comm"), format!("{name}\n")).unwrap();
            if process == thread {
                fs::write(
                    proc.path().join(format!("{process}/comm")),
                    format!("{name}\n"),
                )
                .unwrap();
            }
        };
        symlink("10", proc.path().join("self")).unwrap();
        thread(10, 10, "ixmapd");
        thread(10, 11, "ixmap-core1");
        assert_eq!(neighbour(proc.path(), 1), None, "its own");
        thread(20, 20, "ixmapd");
        thread(20, 21, "ixmap-core12");
        thread(30, 30, "editor");
        thread(30, 31, "ixmap-core1");
        assert_eq!(
            neighbour(proc.path(), 1),
            None,
            "another core, another program"
        );
        thread(20, 22, "ixmap-core1");
        assert_eq!(neighbour(proc.path(), 1), Some(20));
    }

    #[test]
    fn workers_that_a_port_is_far_from_are_named() {
        let far =
            |nodes: [Option<u32>; 3]| far(1, ["core1", "core2", "core3"].into_iter().zip(nodes));
        assert_eq!(far([Some(1), None, Some(1)]), None);
        let line = far([Some(0), Some(1), Some(2)]).unwrap();
        assert!(
            line.starts_with("its device is on NUMA node 1, and core1, core3 not"),
            "{line}"
        );
    }
}
