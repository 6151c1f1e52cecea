//! Arguments and files that cannot work: one line that says so, the right exit code, and nothing
//! left behind.

use std::fs;
use std::process::Output;

use ixmap_lab::{Error, Lab, Ports, Result};

use crate::suite::{cabled_lab, ixmapd_lab};

const DAEMON: &str = env!("CARGO_BIN_EXE_ixmapd");

/// Runs a daemon that is expected to give up, on a socket of its own and without metrics.
fn start(lab: &Lab, words: &[&str]) -> Result<Output> {
    let socket = lab.scratch.path().join("bad.sock");
    let mut command = vec![DAEMON, "--socket", socket.to_str().expect("UTF-8")];
    // Errors only: the log's other levels may tell more than the one line.
    command.extend(["--metrics", "off", "--log", "error"]);
    command.extend(words);
    let output = lab.router.output(&command)?;
    assert!(!socket.exists(), "{words:?}: a socket file is left behind");
    Ok(output)
}

/// Asserts the exit code and one line on stderr that contains every one of `names`.
fn assert_refused(words: &[&str], output: &Output, codes: &[i32], names: &[&str]) {
    let reason = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code().unwrap_or(-1);
    assert!(
        codes.contains(&code),
        "{words:?}: exit code {code}: {reason}"
    );
    assert_eq!(reason.trim_end().lines().count(), 1, "{words:?}: {reason}");
    for name in names {
        assert!(
            reason.contains(name),
            "{words:?}: `{name}` is not named: {reason}"
        );
    }
}

/// Asserts that the router's namespace has no port of the tests' and no XDP program.
fn assert_untouched(lab: &Lab) -> Result<()> {
    for host in lab.hosts() {
        assert!(
            !lab.router.has_link(&host.port())?,
            "TAP {} is left",
            host.port()
        );
        assert!(
            !lab.router.has_xdp(&host.device())?,
            "XDP is left on {}",
            host.device()
        );
    }
    Ok(())
}

#[test]
fn ports_that_cannot_be_are_refused() -> Result<()> {
    let Some(lab) = cabled_lab(Ports::Two)? else {
        return Ok(());
    };
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--port", "p0=afxdp:missing0"], &["missing0"]),
        (
            &["--port", "sixteen-letters-=afxdp:v0"],
            &["sixteen-letters-"],
        ),
        (&["--port", "p0=afxdp:v0", "--port", "p0=afxdp:v1"], &["p0"]),
        (&["--port", "p0=afxdp:v0", "--port", "p1=afxdp:v0"], &["v0"]),
        (&["--port", "p0=afxdq:v0"], &["afxdq", "afxdp"]),
        (&["--port", "p0"], &["p0"]),
        (&["--port", "v1=afxdp:v0"], &["v1"]),
        (
            &["--port", "p0=afxdp:v0", "--port", "p1=afxdp:missing1"],
            &["missing1"],
        ),
    ];
    for (words, names) in cases {
        assert_refused(words, &start(&lab, words)?, &[1, 2], names);
        assert_untouched(&lab)?;
    }
    Ok(())
}

#[test]
fn cores_that_no_worker_can_have_are_refused() -> Result<()> {
    let Some(lab) = cabled_lab(Ports::Two)? else {
        return Ok(());
    };
    for cores in ["4095", "x", "3-1", "", "0,0"] {
        let words = ["--port", "p0=afxdp:v0", "--workers", cores];
        assert_refused(
            &words,
            &start(&lab, &words)?,
            &[2],
            &["--workers", cores.trim_end_matches(",0")],
        );
        assert_untouched(&lab)?;
    }
    Ok(())
}

#[test]
fn malformed_files_are_refused_with_file_and_line() -> Result<()> {
    let Some(lab) = cabled_lab(Ports::Two)? else {
        return Ok(());
    };
    let port = "[[port]]\nname = \"p0\"\ndriver = \"afxdp\"\ndevice = \"v0\"\n";
    let cases = [
        ("syntax", format!("{port}mtu = \n"), 5),
        ("type", format!("{port}mtu = \"big\"\n"), 5),
        ("unknown key", format!("{port}promiscuos = true\n"), 5),
    ];
    for (what, text, line) in cases {
        let file = lab.scratch.path().join("bad.toml");
        fs::write(&file, text).map_err(Error::io("write a file"))?;
        let path = file.to_str().expect("UTF-8");
        for words in [&["-c", path][..], &["-c", path, "--check"]] {
            let output = start(&lab, words)?;
            let names = ["bad.toml", &line.to_string()];
            assert_refused(&[what, path], &output, &[2], &names);
        }
        assert_untouched(&lab)?;
    }
    let missing = ["-c", "/nonexistent/ixmap.toml"];
    let output = start(&lab, &missing)?;
    assert_refused(&missing, &output, &[2], &["/nonexistent/ixmap.toml"]);
    Ok(())
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_known_one() -> Result<()> {
    let Some(lab) = cabled_lab(Ports::Two)? else {
        return Ok(());
    };
    let file = lab.scratch.path().join("typo.toml");
    fs::write(&file, "[workers]\nidel = \"poll\"\n").map_err(Error::io("write a file"))?;
    let words = ["--check", "-c", file.to_str().expect("UTF-8")];
    let output = start(&lab, &words)?;
    assert_refused(&words, &output, &[2], &["typo.toml", "2", "idel", "idle"]);
    Ok(())
}

#[test]
fn an_unknown_argument_is_bad_usage() -> Result<()> {
    let Some(lab) = cabled_lab(Ports::Two)? else {
        return Ok(());
    };
    let output = start(&lab, &["--prot", "p0=afxdp:v0"])?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_untouched(&lab)
}

#[test]
fn a_device_in_use_is_refused_and_its_user_is_not_disturbed() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let words = ["--port", "p2=afxdp:v0"];
    assert_refused(&words, &start(&lab, &words)?, &[1, 2], &["v0"]);
    assert!(!lab.router.has_link("p2")?, "TAP p2 is left behind");
    lab.wait_reachable(&lab.a, &lab.b)
}
