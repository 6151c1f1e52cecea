//! `cargo xtask test [FILTER]`: runs the parts one after the other and adds their tests up. A part
//! that cannot run is skipped by name, with the reason; in CI that is a failure.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use crate::parts::{PARTS, Part};
use crate::setup;

/// How many tests of a part, or of all, ended how.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// What became of one part.
enum Outcome {
    Ran(Tally),
    Skipped(String),
}

pub(crate) fn main(filter: &str) -> ExitCode {
    let selected: Vec<&Part> = PARTS
        .iter()
        .filter(|part| part.name.contains(filter))
        .collect();
    if selected.is_empty() {
        let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        eprintln!(
            "no part of the tests is called `{filter}`: there are {}",
            names.join(", ")
        );
        return ExitCode::from(2);
    }
    let strict = env::var("CI").is_ok_and(|value| value == "true" || value == "1");
    let mut outcomes = Vec::new();
    for part in selected {
        println!("\n== {} ==", part.name);
        outcomes.push((part.name, run(part, strict)));
    }
    report(&outcomes)
}

fn run(part: &Part, strict: bool) -> Outcome {
    let ready = if part.lab {
        setup::root().and_then(|()| setup::tools())
    } else {
        Ok(())
    };
    match ready {
        Ok(()) => Outcome::Ran(cargo(part.cargo)),
        Err(reason) if strict => {
            println!("{}: {reason}; nothing is skipped in CI", part.name);
            Outcome::Ran(Tally {
                failed: 1,
                ..Tally::default()
            })
        }
        Err(reason) => Outcome::Skipped(reason),
    }
}

/// Runs cargo, passes its output on, and adds its test results up.
fn cargo(arguments: &[&str]) -> Tally {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut tally = Tally::default();
    let child = Command::new(cargo)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("cannot run cargo");
        tally.failed = 1;
        return tally;
    };
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("{line}");
            tally.add(result_line(&line).unwrap_or_default());
        }
    }
    let succeeded = child.wait().is_ok_and(|status| status.success());
    let said_nothing = tally == Tally::default();
    if tally.failed == 0 && (!succeeded || said_nothing) {
        // It did not compile, was killed, or ran no test at all.
        tally.failed = 1;
    }
    tally
}

/// Reads `test result: ok. 12 passed; 0 failed; 1 ignored; ...`.
fn result_line(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |what: &str| -> Option<u32> {
        let mut fields = counts.split(';').map(str::trim);
        fields.find_map(|field| field.strip_suffix(what)?.trim().parse().ok())
    };
    Some(Tally {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("ignored")?,
    })
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// One line a part, then the sum, which is the last line of the output.
fn report(outcomes: &[(&str, Outcome)]) -> ExitCode {
    let mut sum = Tally::default();
    println!("\n== summary ==");
    for (name, outcome) in outcomes {
        match outcome {
            Outcome::Ran(tally) => {
                let verdict = if tally.failed == 0 { "pass" } else { "FAIL" };
                println!(
                    "{verdict}  {name}: {} passed, {} failed",
                    tally.passed, tally.failed
                );
                sum.add(*tally);
            }
            Outcome::Skipped(reason) => {
                println!("skip  {name}: {reason}");
                sum.skipped += 1;
            }
        }
    }
    println!(
        "{} passed, {} failed, {} skipped",
        sum.passed, sum.failed, sum.skipped
    );
    if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_line_of_libtest_is_read() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        let tally = Tally {
            passed: 12,
            failed: 3,
            skipped: 1,
        };
        assert_eq!(result_line(line), Some(tally));
        assert_eq!(result_line("test result_of_something ... ok"), None);
    }
}
