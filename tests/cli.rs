//! `ixmapctl` and `ixmapd --check` as an operator runs them: the real binaries, their output and
//! their exit codes. The daemon's side of the socket is a script of answers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use ixmap::control::ctl;
use ixmap::shared::api::{Request, Route};
use tempfile::TempDir;

const TRAFFIC: &str = r#""rx_packets":10,"rx_bytes":640,"tx_packets":7,"tx_bytes":448,"forwarded_ipv4":5,"forwarded_ipv6":2,"punted":1,"dropped":2,"inject_dropped":0"#;
const PORT: &str = r#""name":"lan","driver":"afxdp","device":"eth0","link_up":true,"speed_mbps":10000,"mac":"02:00:00:00:00:01","mtu":1500,"queues":1,"mode":"native","zero_copy":false,"interrupts":[{"queue":0,"irq":24,"core":3}]"#;
const WORKER: &str =
    r#"{"name":"core3","core":3,"state":"running","idle":"adaptive","busy_ratio":0.25,"sleeps":4}"#;
const ROUTE: &str = r#"{"prefix":"192.0.2.0/24","type":"unicast","action":"forward","reason":null,"port":"wan","via":"198.51.100.1","group":{"id":5,"legs":[{"port":"wan","via":"198.51.100.1","weight":1,"mac":"02:00:00:00:00:02","state":"REACHABLE"}]}}"#;
const NO_ROUTE: &str = r#"{"prefix":null,"type":null,"action":"punt","reason":"no_route","port":null,"via":null,"group":null}"#;

/// A daemon that answers one client: each request, in turn, with the next of its answers.
struct Daemon {
    path: PathBuf,
    requests: JoinHandle<Vec<String>>,
    _directory: TempDir,
}

impl Daemon {
    fn new(answers: &[&str]) -> Daemon {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let answers: Vec<String> = answers.iter().map(|answer| format!("{answer}\n")).collect();
        let requests = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines();
            let mut requests = Vec::new();
            for answer in answers {
                requests.push(lines.next().unwrap().unwrap());
                // A client that has seen enough leaves.
                let _ = (&stream).write_all(answer.as_bytes());
            }
            requests
        });
        Daemon {
            path,
            requests,
            _directory: directory,
        }
    }

    /// Runs ixmapctl against it. Returns what it did and the requests that it made.
    fn run(self, words: &[&str]) -> (Output, Vec<String>) {
        let output = ixmapctl()
            .args(words)
            .arg("--socket")
            .arg(&self.path)
            .output()
            .unwrap();
        (output, self.requests.join().unwrap())
    }
}

fn ixmapctl() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ixmapctl"))
}

fn ixmapd(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ixmapd"))
        .args(words)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

/// The one line on stderr.
fn complaint(output: &Output) -> &str {
    let text = str::from_utf8(&output.stderr).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    text.trim_end()
}

/// Runs a command that succeeds with one request.
fn succeeds(words: &[&str], answer: &str, request: &str) -> String {
    let (output, requests) = Daemon::new(&[answer]).run(words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    assert_eq!(requests, [request]);
    stdout(&output).to_owned()
}

#[test]
fn status_shows_mirror_ports_and_workers() {
    let document = format!(
        r#"{{"version":"1.2.3","uptime_seconds":93784,"ports":[{{{PORT}}}],"workers":[{WORKER}],"routes":{{"ipv4":10,"ipv6":11}},"neighbours":{{"ipv4":2,"ipv6":3}},"neighbour_care":{{"probes":9,"refused":0,"managed_gateways":1,"unmanaged_gateways":0,"warning":null,"tables":[]}},"next_hops":{{"groups":5,"adjacencies":6,"oversized_groups":0,"warning":null}},"mirror":{{"in_sync":true,"fault":null,"resyncs":1,"overruns":0,"lag_seconds":0.0,"rules":{{"ipv4":[],"ipv6":[]}},"audits":7,"drift":0,"unknown_messages":0,"unknown_attributes":0,"unread_entries":0}}}}"#
    );
    let answer = format!(r#"{{"ok":{document}}}"#);
    let request = r#"{"request":"status"}"#;
    assert_eq!(
        succeeds(&["status"], &answer, request),
        "ixmapd 1.2.3, up 1d 02:03:04\n\
         mirror: in sync, 1 resyncs, 0 overruns, lag 0.000 s\n\
         routes: 10 IPv4, 11 IPv6; neighbours: 2 IPv4, 3 IPv6; next hops: 5 groups, 6 adjacencies\n\n\
         PORT  DRIVER  DEVICE  LINK   SPEED  MAC                 MTU  QUEUES  MODE    COPY\n\
         lan   afxdp   eth0    up    10000M  02:00:00:00:00:01  1500       1  native  copy\n\n\
         PORT  QUEUE  IRQ  CORE\n\
         lan       0   24     3\n\n\
         WORKER  CORE  STATE    IDLE       BUSY  SLEEPS\n\
         core3      3  running  adaptive  25.0%       4\n"
    );
    let json = succeeds(&["status", "--json"], &answer, request);
    assert_eq!(json.trim_end(), document);
    let faulty = answer.replace(
        r#""in_sync":true,"fault":null"#,
        r#""in_sync":false,"fault":"too large: let less in""#,
    );
    let text = succeeds(&["status"], &faulty, request);
    let lines: Vec<&str> = text.lines().skip(1).take(2).collect();
    assert_eq!(
        lines,
        [
            "mirror: NOT in sync, 1 resyncs, 0 overruns, lag 0.000 s",
            "fault: too large: let less in"
        ]
    );
    let ruled = answer.replace(
        r#""rules":{"ipv4":[]"#,
        r#""rules":{"ipv4":["100: from all iif lan lookup 7","101: from all nop"]"#,
    );
    let text = succeeds(&["status"], &ruled, request);
    assert_eq!(
        text.lines().nth(2),
        Some(
            "IPv4 rules, by which the kernel forwards: 100: from all iif lan lookup 7; \
             101: from all nop"
        )
    );
}

#[test]
fn every_read_command_prints_the_daemons_document_as_json() {
    let ports = format!("[{{{PORT},{TRAFFIC}}}]");
    let counters = format!(
        r#"{{"ports":[{{"port":"lan",{TRAFFIC}}}],"workers":[{{"worker":"core3","forwarded_ipv4":5,"forwarded_ipv6":2}}]}}"#
    );
    let drops = r#"[{"port":"lan","dropped":{"tx_full":2},"punted":{"arp":1},"inject_dropped":{"too_long":0},"lost":{"rx_ring_full":1}}]"#;
    for (command, request, document) in [
        ("ports", r#"{"request":"ports"}"#, ports.as_str()),
        (
            "workers",
            r#"{"request":"workers"}"#,
            &format!("[{WORKER}]"),
        ),
        ("counters", r#"{"request":"counters"}"#, &counters),
        ("drops", r#"{"request":"drops"}"#, drops),
    ] {
        let answer = format!(r#"{{"ok":{document}}}"#);
        let json = succeeds(&["--json", command], &answer, request);
        assert_eq!(json.trim_end(), document);
        let text = succeeds(&[command], &answer, request);
        assert!(text.contains("lan") || text.contains("core3"), "{text}");
    }
}

#[test]
fn a_route_shows_its_group_and_no_route_is_no_failure() {
    let request = r#"{"request":"route","address":"192.0.2.9"}"#;
    let answer = format!(r#"{{"ok":{ROUTE}}}"#);
    assert_eq!(
        succeeds(&["route", "192.0.2.9"], &answer, request),
        "192.0.2.0/24 unicast forward via 198.51.100.1 port wan\n\
         group 5\n    via 198.51.100.1 port wan weight 1 mac 02:00:00:00:00:02 REACHABLE\n"
    );
    let json = succeeds(&["route", "192.0.2.9", "--json"], &answer, request);
    assert_eq!(json.trim_end(), ROUTE);

    let none = format!(r#"{{"ok":{NO_ROUTE}}}"#);
    assert_eq!(
        succeeds(&["route", "192.0.2.9"], &none, request),
        "no route punt reason no_route\n"
    );
    let json = succeeds(&["route", "192.0.2.9", "--json"], &none, request);
    assert_eq!(json.trim_end(), NO_ROUTE);
}

#[test]
fn routes_are_a_line_each_or_one_json_list() {
    let list = format!("{{\"item\":{ROUTE}}}\n{{\"item\":{ROUTE}}}\n{{\"end\":2}}");
    let line = "192.0.2.0/24 unicast forward via 198.51.100.1 port wan\n";
    let all = r#"{"request":"routes"}"#;
    assert_eq!(succeeds(&["routes"], &list, all), line.repeat(2));
    assert_eq!(
        succeeds(&["routes", "--json"], &list, all),
        format!("[{ROUTE},\n{ROUTE}]\n")
    );
    assert_eq!(succeeds(&["routes", "--json"], r#"{"end":0}"#, all), "[]\n");
    succeeds(
        &["routes", "-4", "192.0.2.7/24"],
        &list,
        r#"{"request":"routes","family":"ipv4","prefix":"192.0.2.0/24"}"#,
    );
    succeeds(
        &["routes", "-6"],
        &list,
        r#"{"request":"routes","family":"ipv6"}"#,
    );
}

#[test]
fn neighbours_read_like_ip_neighbour() {
    let entry = r#"{"address":"2001:db8::1","port":"lan","mac":null,"state":"INCOMPLETE"}"#;
    let list = format!("{{\"item\":{entry}}}\n{{\"end\":1}}");
    let request = r#"{"request":"neighbours"}"#;
    assert_eq!(
        succeeds(&["neighbours"], &list, request),
        "2001:db8::1 port lan INCOMPLETE\n"
    );
    assert_eq!(
        succeeds(&["neighbours", "--json"], &list, request),
        format!("[{entry}]\n")
    );
}

#[test]
fn commands_that_change_something_say_nothing_when_done() {
    let done = r#"{"ok":null}"#;
    for (words, request) in [
        (&["reload"][..], r#"{"request":"reload"}"#),
        (
            &["port", "add", "lan=afxdp:eth0"],
            r#"{"request":"port_add","port":"lan=afxdp:eth0"}"#,
        ),
        (
            &["port", "del", "lan"],
            r#"{"request":"port_del","name":"lan"}"#,
        ),
        (&["log", "debug"], r#"{"request":"log","level":"debug"}"#),
    ] {
        assert_eq!(succeeds(words, done, request), "");
    }
}

#[test]
fn a_refusal_is_exit_1_with_the_daemons_reason() {
    let refusal = r#"{"error":"/etc/ixmap/ixmap.toml:3: port.mtu: 9 is no MTU"}"#;
    for words in [
        &["reload"][..],
        &["port", "add", "a=new:b"],
        &["routes"],
        &["status"],
    ] {
        let (output, _) = Daemon::new(&[refusal]).run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert_eq!(
            complaint(&output),
            "ixmapctl: /etc/ixmap/ixmap.toml:3: port.mtu: 9 is no MTU"
        );
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn bad_usage_is_exit_2_on_one_line() {
    for words in [
        &[][..],
        &["nothing"],
        &["port"],
        &["route"],
        &["route", "192.0.2.300"],
        &["routes", "-4", "-6"],
        &["routes", "192.0.2.0/33"],
        &["port", "add", "lan"],
        &["status", "--socket"],
        &["bind"],
        &["bind", "eth0"],
        &["bind", "0000:03:00.0", "../e1000e"],
    ] {
        let output = ixmapctl().args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert!(complaint(&output).starts_with("ixmapctl: "), "{output:?}");
    }
}

#[test]
fn binding_a_card_that_is_not_there_is_exit_1_without_a_daemon() {
    let output = ixmapctl().args(["bind", "ffff:7f:1f.7"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(
        complaint(&output),
        "ixmapctl: ffff:7f:1f.7: there is no such PCI function: `lspci -D` shows what there is"
    );
}

#[test]
fn no_daemon_is_exit_3() {
    let directory = tempfile::tempdir().unwrap();
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    for path in [directory.path().join("absent"), stale] {
        let output = ixmapctl()
            .arg("status")
            .arg("--socket")
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3));
        let start = format!("ixmapctl: no ixmapd answers on {}", path.display());
        assert!(complaint(&output).starts_with(&start), "{output:?}");
    }
}

#[test]
fn a_daemon_that_dies_while_asked_is_exit_3_and_nonsense_is_exit_1() {
    let (output, _) = Daemon::new(&["{\"item\":1"]).run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("makes no sense"));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = thread::spawn(move || drop(listener.accept().unwrap()));
    let output = ixmapctl()
        .arg("status")
        .arg("--socket")
        .arg(&path)
        .output()
        .unwrap();
    daemon.join().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(complaint(&output).contains("the daemon went away"));
}

#[test]
fn watched_counters_are_one_document_a_line_with_rates() {
    let document = |rx: u64| {
        let traffic = TRAFFIC.replace("\"rx_packets\":10", &format!("\"rx_packets\":{rx}"));
        format!(r#"{{"ok":{{"ports":[{{"port":"lan",{traffic}}}],"workers":[]}}}}"#)
    };
    let daemon = Daemon::new(&[&document(10), &document(1010), r#"{"error":"enough"}"#]);
    let (output, requests) = daemon.run(&["counters", "--watch", "--json"]);
    assert_eq!(requests, [r#"{"request":"counters"}"#; 3]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<serde_json::Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1);
    let port = &lines[0]["ports"][0];
    assert_eq!(port["rx_packets"], 1010);
    // A thousand packets in a second, or in whatever a busy machine made of it.
    let pps = port["rx_pps"].as_f64().unwrap();
    assert!(pps > 0.0 && pps <= 1000.0, "{pps}");
    assert_eq!(port["tx_pps"], 0.0);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut list = format!("{{\"item\":{ROUTE}}}\n").repeat(5000);
    list.push_str("{\"end\":5000}");
    let daemon = Daemon::new(&[&list]);
    let mut child = ixmapctl()
        .arg("routes")
        .arg("--socket")
        .arg(&daemon.path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One line, as head -1 reads it; the pipe closes with the reader.
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert!(first.starts_with("192.0.2.0/24"));
    let mut complaint = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut complaint)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(complaint, "");
    daemon.requests.join().unwrap();
}

#[test]
fn the_daemons_own_server_and_ixmapctl_understand_each_other() {
    const ROUTES: usize = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ixmapd.sock");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (operations, mut calls) = ctl::channel();
    let listener = runtime.block_on(async { ctl::Listener::bind(&path, None).unwrap() });
    runtime.spawn(listener.serve(operations));
    runtime.spawn(async move {
        while let Some(call) = calls.recv().await {
            let route: Route = serde_json::from_str(ROUTE).unwrap();
            call.reply
                .send(match call.request {
                    Request::Routes { .. } => {
                        ctl::Answer::Routes(Box::new(std::iter::repeat_n(route, ROUTES)))
                    }
                    Request::Route { .. } => ctl::Answer::Route(Box::new(route)),
                    Request::Log { .. } => ctl::Answer::Done,
                    _ => ctl::Answer::Refused("not now".into()),
                })
                .unwrap();
        }
    });
    let run = |words: &[&str]| {
        let output = ixmapctl()
            .args(words)
            .arg("--socket")
            .arg(&path)
            .output()
            .unwrap();
        (output.status.code(), stdout(&output).to_owned())
    };
    let (code, routes) = run(&["routes"]);
    assert_eq!((code, routes.lines().count()), (Some(0), ROUTES));
    let (code, route) = run(&["route", "192.0.2.1", "--json"]);
    assert_eq!((code, route.trim_end()), (Some(0), ROUTE));
    assert_eq!(run(&["log", "debug"]), (Some(0), String::new()));
    assert_eq!(run(&["reload"]), (Some(1), String::new()));
}

#[test]
fn the_example_configuration_passes_the_check() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/ixmap.toml");
    let output = ixmapd(&["--check", "-c", file]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stdout(&output), format!("{file}: ok\n"));
}

#[test]
fn a_bad_configuration_is_exit_2_with_file_line_key_and_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.toml");
    std::fs::write(&path, "[daemon]\nsokcet = \"/run/s\"\n").unwrap();
    let file = path.to_str().unwrap();
    for words in [&["--check", "-c", file][..], &["-c", file]] {
        let output = ixmapd(words);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(
            complaint(&output),
            format!(
                "ixmapd: {file}:2: daemon.sokcet: unknown key: the nearest known key is \"socket\""
            )
        );
    }
}

#[test]
fn bad_arguments_of_the_daemon_are_exit_2_on_one_line() {
    for words in [
        &["--prot", "x"][..],
        &["--port", "lan"],
        &["--port", "a=afxdp:b", "--workers", "4000"],
        &["-c", "/nowhere/ixmap.toml"],
        &["--check", "extra"],
    ] {
        let output = ixmapd(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert!(complaint(&output).starts_with("ixmapd: "), "{output:?}");
    }
}

#[test]
fn help_and_version_are_exit_0() {
    for word in ["--help", "--version"] {
        for output in [ixmapd(&[word]), ixmapctl().arg(word).output().unwrap()] {
            assert_eq!(output.status.code(), Some(0));
            assert!(stdout(&output).contains("ixmap"));
        }
    }
}
