//! The FIB on the Internet's tables and on real updates, against an independent reference; and the
//! program that asks and measures it, as a script runs it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../examples/fib/engine.rs"]
mod engine;

use std::fmt::Debug;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use ixmap::shared::fib::{self, Fib, GroupId, Table};
use ixmap_tables::{Reference, Route, SEED, Stream, Update, data};
use tempfile::TempDir;

/// Every STEPth address and prefix is checked: debug builds are slow.
const STEP: usize = if cfg!(debug_assertions) { 31 } else { 1 };

/// A family, its real table and its streams: made once for all tests.
trait Address: fib::Lpm + ixmap_tables::Address {
    fn input() -> &'static Input<Self>;
}

impl Address for u32 {
    fn input() -> &'static Input<u32> {
        static INPUT: OnceLock<Input<u32>> = OnceLock::new();
        INPUT.get_or_init(Input::read)
    }
}

impl Address for u128 {
    fn input() -> &'static Input<u128> {
        static INPUT: OnceLock<Input<u128>> = OnceLock::new();
        INPUT.get_or_init(Input::read)
    }
}

struct Input<A> {
    routes: Vec<Route<A>>,
    streams: [(Stream, Vec<A>); 4],
    reference: Reference,
}

impl<A: Address> Input<A> {
    fn read() -> Input<A> {
        let routes = data::table().unwrap();
        let streams = Stream::ALL.map(|stream| (stream, stream.addresses(&routes, SEED)));
        let reference = Reference::new(&routes);
        Input {
            routes,
            streams,
            reference,
        }
    }
}

/// A table in the FIB and in the reference.
struct Both<A> {
    table: Table<A>,
    fib: Fib<A>,
    reference: Reference,
}

impl<A: Address> Both<A> {
    fn real() -> Both<A> {
        let (table, fib) = engine::load(&A::input().routes).unwrap();
        let reference = A::input().reference.clone();
        Both {
            table,
            fib,
            reference,
        }
    }

    fn apply(&mut self, update: &Update<A>) {
        engine::apply(&mut self.table, update);
        self.reference.apply(update);
    }

    /// Looks addresses up in bursts of many sizes and one by one. Returns how many have a route.
    fn check(&self, what: impl Debug, addresses: &[A]) -> usize {
        let mut groups = [GroupId::NO_ROUTE; 64];
        let (mut rest, mut sizes, mut found) = (addresses, (1..=64).cycle(), 0);
        while !rest.is_empty() {
            let size = sizes.next().unwrap_or(64).min(rest.len());
            let (burst, later) = rest.split_at(size);
            self.fib.lookup_burst(burst, &mut groups[..size]);
            for (address, group) in burst.iter().zip(groups) {
                let (burst, single) = (id(group), id(self.fib.lookup(*address)));
                let right = self.reference.lookup(*address);
                let at = address.to_ip();
                assert_eq!((burst, single), (right, right), "{what:?}: {at}");
                found += usize::from(right.is_some());
            }
            rest = later;
        }
        found
    }

    fn check_streams(&self) {
        for (stream, all) in &A::input().streams {
            let some: Vec<A> = all.iter().copied().step_by(STEP).collect();
            let found = self.check(stream, &some);
            match stream {
                Stream::UniformAddress => assert!(found > 0 && found < some.len()),
                Stream::UniformPrefix | Stream::Zipf => assert!(found > some.len() * 9 / 10),
                Stream::Sequential => assert!(found > 0),
            }
        }
    }

    fn check_edges(&self) {
        assert_eq!(self.fib.routes(), self.reference.routes());
        let prefixes = A::input().routes.iter().step_by(STEP);
        let edges: Vec<A> = prefixes.flat_map(|r| edges(r.prefix, r.len)).collect();
        assert!(self.check("edges", &edges) > edges.len() / 2);
    }

    /// Replays the real updates. After each commit the prefixes of the last few updates are asked,
    /// and the snapshot from before them all must still give its answers.
    fn replay(&mut self, every: usize) {
        let updates: Vec<Update<A>> = data::updates().unwrap();
        let before = self.fib.clone();
        let ask: Vec<A> = updates
            .iter()
            .flat_map(|u| edges(u.prefix, u.len))
            .collect();
        let old: Vec<GroupId> = ask.iter().map(|address| before.lookup(*address)).collect();
        for batch in updates.chunks(every) {
            for update in batch {
                self.apply(update);
            }
            self.fib = self.table.commit().unwrap();
            let last = &batch[batch.len().saturating_sub(4)..];
            let edges: Vec<A> = last.iter().flat_map(|u| edges(u.prefix, u.len)).collect();
            self.check("updated", &edges);
        }
        let new: Vec<GroupId> = ask.iter().map(|a| self.fib.lookup(*a)).collect();
        assert!(new != old, "the updates changed nothing");
        let still: Vec<GroupId> = ask.iter().map(|a| before.lookup(*a)).collect();
        assert!(still == old, "a snapshot changed under its reader");
        self.check_streams();
        self.check_edges();
    }
}

/// The first and the last address of a prefix and their neighbours outside; those of the address
/// space come round.
fn edges<A: Address>(prefix: A, len: u8) -> [A; 4] {
    let one = 1 << (128 - u32::from(<A as ixmap_tables::Address>::BITS));
    let (first, last) = (prefix.first(len), prefix.last(len));
    [
        A::from_high(first.to_high().wrapping_sub(one)),
        first,
        last,
        A::from_high(last.to_high().wrapping_add(one)),
    ]
}

/// The id that a table's file had.
fn id(group: GroupId) -> Option<u32> {
    let id = group.index().checked_sub(1)?;
    Some(u32::try_from(id).unwrap())
}

#[test]
fn the_ipv4_table_is_answered_as_the_reference_answers() {
    let both = Both::<u32>::real();
    both.check_streams();
    both.check_edges();
}

#[test]
fn the_ipv6_table_is_answered_as_the_reference_answers() {
    let both = Both::<u128>::real();
    both.check_streams();
    both.check_edges();
}

#[test]
fn ipv4_updates_committed_one_by_one_are_answered_at_once() {
    Both::<u32>::real().replay(1);
}

#[test]
fn ipv4_updates_committed_256_at_a_time_are_answered_after_each() {
    Both::<u32>::real().replay(256);
}

#[test]
fn ipv6_updates_committed_one_by_one_are_answered_at_once() {
    Both::<u128>::real().replay(1);
}

#[test]
fn ipv6_updates_committed_256_at_a_time_are_answered_after_each() {
    Both::<u128>::real().replay(256);
}

/// The example: `cargo test` builds it beside the tests, `cargo test --test fib` does not.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let deps = std::env::current_exe().unwrap();
        let path = deps.parent().unwrap().with_file_name("examples/fib");
        if !path.exists() {
            let profile = if cfg!(debug_assertions) {
                "dev"
            } else {
                "release"
            };
            let build = ["build", "--quiet", "--example", "fib", "--profile", profile];
            let status = Command::new(env!("CARGO")).args(build).status().unwrap();
            assert!(status.success());
        }
        path
    })
}

/// Runs the program with some text on stdin.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A program that refuses its arguments does not read.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

/// What it prints when it succeeds.
fn answers(arguments: &[&str], input: &str) -> String {
    let output = run(arguments, input);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stderr, b"");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on stderr when it is given something bad, and what it printed before.
fn refusal(arguments: &[&str], input: &str) -> (String, String) {
    let output = run(arguments, input);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    let printed = String::from_utf8(output.stdout).unwrap();
    (line.trim_end().to_owned(), printed)
}

/// A file that lives as long as the directory.
fn file(directory: &TempDir, name: &str, text: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn addresses_on_stdin_are_answered_by_id_or_a_dash() {
    let directory = tempfile::tempdir().unwrap();
    let table = "10.0.0.0/8 0\n10.1.0.0/16 300\n\n10.1.1.1/32 4\n";
    let table = file(&directory, "table", table);
    let input = "10.0.0.1\n10.1.0.1\n10.1.1.1\n\n10.1.1.2\n192.0.2.1";
    assert_eq!(answers(&[&table], input), "0\n300\n4\n300\n-\n");
    assert_eq!(answers(&[&table], ""), "");
    let table = file(&directory, "table6", "2001:db8::/32 5\n::1/128 6\n");
    assert_eq!(answers(&[&table], "2001:db8::1\n::1\n::2\n"), "5\n6\n-\n");
}

#[test]
fn a_written_stream_of_a_real_table_is_answered_as_the_reference_answers() {
    let directory = tempfile::tempdir().unwrap();
    let stream = file(&directory, "stream", "");
    let table = data::path(data::IPV6_TABLE);
    let table = table.to_str().unwrap();
    let words = [table, "--stream", "zipf", "--write-stream", &stream];
    assert_eq!(answers(&words, "not read"), "");

    let routes = data::table::<u128>().unwrap();
    let reference = Reference::new(&routes);
    let addresses = Stream::Zipf.addresses(&routes, SEED);
    let written = std::fs::read_to_string(&stream).unwrap();
    assert_eq!(written.lines().count(), addresses.len());
    let count = addresses.len() / STEP;
    let input: Vec<&str> = written.lines().take(count).collect();
    let printed = answers(&[table], &input.join("\n"));
    assert_eq!(printed.lines().count(), count);
    for (address, answer) in addresses.iter().zip(printed.lines()) {
        let right = reference.lookup(*address);
        assert_eq!(answer.parse().ok(), right, "{address:x}");
    }
}

#[test]
fn updates_are_replayed_before_the_answers() {
    let directory = tempfile::tempdir().unwrap();
    let table = file(&directory, "table", "10.0.0.0/8 1\n10.1.0.0/16 2\n");
    let updates = "0 w 10.1.0.0/16\n1.5 a 10.2.0.0/16 3\n2 w 10.9.0.0/16\n";
    let updates = file(&directory, "updates", updates);
    for (every, commits) in [("1", 3), ("2", 2), ("3", 1)] {
        let words = [&*table, "--updates", &updates, "--commit-every", every];
        let printed = answers(&words, "10.1.0.1\n10.2.0.1\n");
        let (report, answers) = printed.split_once('\n').unwrap();
        let report = json(report);
        assert_eq!(
            (&report["ops"], &report["commits"]),
            (&3.into(), &commits.into())
        );
        assert!(report["ns_per_op_mean"].as_f64().unwrap() > 0.0);
        assert!(report["ns_per_op_p99"].as_f64().unwrap() > 0.0);
        assert_eq!(answers, "1\n3\n");
    }
    let none = file(&directory, "none", "");
    let report = json(&answers(&[&table, "--updates", &none], ""));
    let expected = r#"{"ops":0,"ns_per_op_mean":null,"ns_per_op_p99":null,"commits":0}"#;
    assert_eq!(report, json(expected));
}

#[test]
fn a_measurement_is_a_line_of_json() {
    let directory = tempfile::tempdir().unwrap();
    let table = file(&directory, "table", "2001:db8::/32 1\n");
    let updates = file(&directory, "updates", "0 a 2001:db8:1::/48 2\n");
    let words = [&*table, "--bench", "--rounds", "1", "--burst", "33"];
    for stream in Stream::ALL {
        let printed = answers(&[&words[..], &["--stream", stream.name()]].concat(), "");
        assert_eq!(printed.lines().count(), 1);
        let report = json(&printed);
        assert_eq!(report["stream"], stream.name());
        assert_eq!(
            (&report["burst"], &report["routes"]),
            (&33.into(), &1.into())
        );
        for key in ["ns_per_lookup", "mlookups", "build_seconds"] {
            assert!(report[key].as_f64().unwrap() > 0.0, "{key}: {report}");
        }
        for key in ["hot_bytes", "heap_bytes"] {
            assert!(report[key].is_u64(), "{key}: {report}");
        }
        let path = report["path"].as_str().unwrap();
        assert!(["avx512", "avx2", "scalar"].contains(&path), "{report}");
    }
    let report = json(&answers(&[&words[..], &["--frames", "65"]].concat(), ""));
    assert_eq!(report["frames"], 65);
    for key in ["ns_per_packet", "ns_per_packet_without_lookup"] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key}: {report}");
    }
    let both = answers(&[&words[..], &["--updates", &updates]].concat(), "");
    let reports: Vec<_> = both.lines().map(json).collect();
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[0]["ops"], 1);
    assert_eq!(reports[1]["routes"], 2);
}

#[test]
fn a_bad_line_is_exit_2_with_its_number_and_text() {
    let directory = tempfile::tempdir().unwrap();
    let good = file(&directory, "good", "10.0.0.0/8 1\n");
    for (line, fault) in [
        ("nonsense", "no route: "),
        ("10.0.0.0/33 1", "the prefix is too long: "),
        (
            "10.0.0.1/8 1",
            "bits beyond the prefix length are set: write 10.0.0.0/8",
        ),
        ("10.0.0.0/8 4294967295", "the id is out of range: "),
        ("2001:db8::/32 1", "IPv6 where IPv4 is wanted: "),
    ] {
        let bad = file(&directory, "bad", &format!("10.0.0.0/8 1\n\n{line}\n"));
        let (complaint, _) = refusal(&[&bad], "10.0.0.1\n");
        let start = format!("fib: {bad}:3: \"{line}\": {fault}");
        assert!(complaint.starts_with(&start), "{complaint}");
    }
    let bad = file(&directory, "bad", "0 w 10.0.0.0/8\n0 a 10.0.0.0/8\n");
    let (complaint, printed) = refusal(&[&good, "--updates", &bad], "10.0.0.1\n");
    let start = format!("fib: {bad}:2: \"0 a 10.0.0.0/8\": no update: ");
    assert!(complaint.starts_with(&start), "{complaint}");
    assert_eq!(printed, "");
}

#[test]
fn a_bad_address_is_exit_2_after_the_answers_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let table = file(&directory, "table", "10.0.0.0/8 1\n");
    for (bad, fault) in [
        ("10.0.0", "no address: "),
        ("::1", "IPv6 where IPv4 is wanted: "),
    ] {
        let input = format!("10.0.0.1\n11.0.0.1\n{bad}\n10.0.0.2\n");
        let (complaint, printed) = refusal(&[&table], &input);
        let start = format!("fib: stdin:3: \"{bad}\": {fault}");
        assert!(complaint.starts_with(&start), "{complaint}");
        assert_eq!(printed, "1\n-\n");
    }
}

#[test]
fn bad_arguments_and_files_that_cannot_be_read_are_exit_2_on_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let table = file(&directory, "table", "10.0.0.0/8 1\n");
    let empty = file(&directory, "empty", "\n");
    let folder = directory.path().to_str().unwrap();
    for words in [
        &[][..],
        &["/nowhere/table"],
        &[folder],
        &[&empty],
        &[&table, "--updates", "/nowhere/updates"],
        &[&table, "--stream", "zipf"],
        &[&table, "--bench", "--stream", "nothing"],
        &[&table, "--bench", "--burst", "0"],
        &[&table, "--bench", "--rounds", "0"],
        &[&table, "--bench", "--frames", "0"],
        &[&table, "--frames", "64"],
        &[&table, "--commit-every", "1"],
        &[&table, "--updates", &table, "--commit-every", "0"],
    ] {
        let (complaint, printed) = refusal(words, "");
        assert!(complaint.starts_with("fib: "), "{words:?}: {complaint}");
        assert_eq!(printed, "");
    }
}
