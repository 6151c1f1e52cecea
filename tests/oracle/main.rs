//! The kernel as oracle: random operations of `ip` in a network namespace, and after each few of them
//! ixmap's answers must be the kernel's (RTM_GETROUTE), its mirror what the kernel dumps. Needs root:
//! `cargo test --test oracle`.
//!
//! A failure is shrunk to a short script, ready to paste, which then becomes one of `cases`. For a
//! long run: `IXMAP_ORACLE_SEED=7 IXMAP_ORACLE_STEPS=20000 cargo test --test oracle -- random`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cases;
mod commands;
mod compare;
mod kernel;
mod lab;
mod random;
mod record;
mod shrink;
mod stream;

use commands::{Commands, Group, SYSCTL};
use lab::{Check, Failure, Objects, Tally, run};

/// Groups in one namespace: few enough that a failure is soon shrunk.
const EPISODE: usize = 60;
/// Commands of a run that no variable makes longer.
const STEPS: usize = 900;

#[test]
fn random_operations_of_seed_1() {
    operations(1);
}

#[test]
fn random_operations_of_seed_2() {
    operations(2);
}

#[test]
fn random_operations_of_another_seed() {
    operations(number("IXMAP_ORACLE_SEED", 3));
}

fn number<T: std::str::FromStr>(variable: &str, default: T) -> T {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}

fn operations(seed: u64) {
    let steps: usize = number("IXMAP_ORACLE_STEPS", STEPS);
    let (mut done, mut episode) = (0, 0u64);
    let mut total = Tally::default();
    while done < steps {
        let seed = seed << 32 | episode;
        let mut commands = Commands::new(seed);
        let script: Vec<Group> = (0..EPISODE).map(|_| commands.group()).collect();
        let objects = match episode % 2 {
            0 => Objects::Told,
            _ => Objects::Silent,
        };
        match run(&script, objects, Check::EachGroup) {
            Ok(tally) => {
                total.asked += tally.asked;
                total.left += tally.left;
                total.forwarded += tally.forwarded;
                total.late += tally.late;
            }
            Err(failure) => panic!("seed {seed}: {}", shrunk(script, objects, &failure)),
        }
        done += script.iter().map(Vec::len).sum::<usize>();
        episode += 1;
    }
    println!("{done} commands, {total:?}");
    // Mostly punted answers would prove nothing.
    assert!(total.forwarded * 4 > total.asked && total.left * 3 < total.asked);
}

/// A failure as a script to paste.
fn shrunk(mut script: Vec<Group>, objects: Objects, failure: &Failure) -> String {
    script.truncate(failure.group + 1);
    let fails = |script: &[Group]| run(script, objects, Check::AtTheEnd).is_err();
    if !fails(&script) {
        let all = paste(&script);
        return format!(
            "{}\n(not seen again, next-hop objects: {objects:?})\n{all}",
            failure.what
        );
    }
    let script = shrink::shrink(script, fails);
    let what = match run(&script, objects, Check::AtTheEnd) {
        Err(failure) => failure.what,
        Ok(_) => format!("{} (not always)", failure.what),
    };
    format!(
        "{what}\n(next-hop objects: {objects:?})\n{}",
        paste(&script)
    )
}

/// Groups of several commands must run at once to fail.
fn paste(script: &[Group]) -> String {
    let command = |line: &String| match line.starts_with(SYSCTL) {
        true => format!("{line}\n"),
        false => format!("ip {line}\n"),
    };
    let paste = |group: &Group| match group.as_slice() {
        [line] => command(line),
        lines if lines.iter().any(|line| line.starts_with(SYSCTL)) => {
            lines.iter().map(command).collect()
        }
        lines => format!("ip -force -batch - <<'END'\n{}\nEND\n", lines.join("\n")),
    };
    script.iter().map(paste).collect()
}
