//! `ixmapd`'s command line, and the configuration that it and the file amount to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use super::config::{self, ConfigError, Conflict, DEFAULT_FILE, Machine};
use super::fault::Fault;
use super::logging;
use crate::shared::config::{Config, PortConfig};

/// A user-space IPv4/IPv6 router: the kernel keeps the routes, ixmapd forwards the packets.
#[derive(Parser, Clone, Debug)]
#[command(name = "ixmapd", version)]
pub struct Arguments {
    /// Configuration file [default: /etc/ixmap/ixmap.toml; none with --port]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,
    /// Add a port: its TAP's name, its driver and its device
    #[arg(long = "port", value_name = "NAME=DRIVER:DEVICE", value_parser = config::port_spec)]
    ports: Vec<PortConfig>,
    /// Cores to run workers on, one each: 1, 2-5 or 2,4 [default: the last core]
    #[arg(long, value_name = "CORES", value_parser = cores)]
    workers: Option<Cores>,
    /// Control socket
    #[arg(long, value_name = "PATH", value_parser = socket)]
    socket: Option<PathBuf>,
    /// Where to serve /metrics over HTTP, or "off"
    #[arg(long, value_name = "ADDR:PORT", value_parser = metrics)]
    metrics: Option<Metrics>,
    /// Log filter: error, warn, info, debug, trace, MODULE=LEVEL
    #[arg(long, value_name = "LEVEL", value_parser = logging::check)]
    log: Option<String>,
}

/// `--workers`: one argument, several cores.
#[derive(Clone, Debug)]
struct Cores(Vec<usize>);

/// `--metrics`: an address, or off.
#[derive(Clone, Debug)]
struct Metrics(Option<SocketAddr>);

fn cores(text: &str) -> Result<Cores, Fault> {
    config::core_list(text).map(Cores)
}

fn metrics(text: &str) -> Result<Metrics, Fault> {
    config::metrics(text).map(Metrics)
}

fn socket(text: &str) -> Result<PathBuf, Fault> {
    config::socket(Path::new(text))
}

impl Arguments {
    /// The file that the configuration comes from; `None` when `--port` stands in for it.
    pub fn file(&self) -> Option<&Path> {
        match &self.config {
            Some(path) => Some(path),
            None if self.ports.is_empty() => Some(Path::new(DEFAULT_FILE)),
            None => None,
        }
    }

    /// The configuration: the file's, with what the command line says on top. Called again for a
    /// reload.
    pub fn load(&self, machine: &Machine) -> Result<Config, ConfigError> {
        let mut config = match self.file() {
            Some(path) => config::load(path, machine)?,
            None => Config::default(),
        };
        if let Some(Cores(cores)) = &self.workers {
            let option = "--workers";
            machine
                .check_cores(cores)
                .map_err(|fault| ConfigError::Option { option, fault })?;
            config.cores.clone_from(cores);
        }
        if let Some(socket) = &self.socket {
            config.socket.clone_from(socket);
        }
        if let Some(Metrics(address)) = &self.metrics {
            config.metrics = *address;
        }
        if let Some(log) = &self.log {
            config.log.clone_from(log);
        }
        config.ports.extend_from_slice(&self.ports);
        config::check_ports(&config.ports).map_err(|Conflict { fault, .. }| {
            let option = "--port";
            ConfigError::Option { option, fault }
        })?;
        Ok(config)
    }
}

/// Parses a program's command line. `Err` is its exit code: help and version have been printed, or
/// what is wrong, on one line.
pub fn parse<T: Parser>(program: &str) -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        if error.use_stderr() {
            eprintln!("{program}: {}", usage_error(&error));
            return ExitCode::from(2);
        }
        // A closed stdout is the reader's business: `ixmapd --help | head`.
        let _ = error.print();
        ExitCode::SUCCESS
    })
}

/// What clap has to say about a command line, on one line.
fn usage_error(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"))
        .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
        .map(|line| line.strip_prefix("error: ").unwrap_or(line))
        .collect();
    format!("{}: see --help", lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            cores: vec![0, 1, 2, 3],
            groups: [("ixmap".to_owned(), 998)].into(),
            ..Machine::default()
        }
    }

    fn arguments(words: &[&str]) -> Result<Arguments, String> {
        Arguments::try_parse_from(["ixmapd"].iter().chain(words))
            .map_err(|error| usage_error(&error))
    }

    #[test]
    fn ports_on_the_command_line_need_no_file() {
        let arguments = arguments(&[
            "--port",
            "lan=afxdp:eth0",
            "--port",
            "wan=afxdp:eth1",
            "--workers",
            "2-3",
            "--socket",
            "/tmp/s",
            "--metrics",
            "off",
            "--log",
            "debug",
        ])
        .unwrap();
        assert_eq!(arguments.file(), None);
        let config = arguments.load(&machine()).unwrap();
        let ports: Vec<_> = config
            .ports
            .iter()
            .map(|p| (&*p.name, &*p.device))
            .collect();
        assert_eq!(ports, [("lan", "eth0"), ("wan", "eth1")]);
        assert_eq!(config.cores, [2, 3]);
        assert_eq!(config.socket, Path::new("/tmp/s"));
        assert_eq!(config.metrics, None);
        assert_eq!(config.log, "debug");
    }

    #[test]
    fn without_arguments_the_default_file_is_read() {
        let arguments = arguments(&[]).unwrap();
        assert_eq!(arguments.file(), Some(Path::new("/etc/ixmap/ixmap.toml")));
    }

    #[test]
    fn ports_on_the_command_line_add_to_a_named_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ixmap.toml");
        std::fs::write(
            &path,
            "[daemon]\nlog = \"warn\"\n[[port]]\nname = \"a\"\ndriver = \"afxdp\"\ndevice = \"eth0\"\n",
        )
        .unwrap();
        let file = path.to_str().unwrap();
        let both = arguments(&["-c", file, "--port", "b=afxdp:eth1"]).unwrap();
        let config = both.load(&machine()).unwrap();
        assert_eq!(config.log, "warn");
        assert_eq!(config.ports.len(), 2);

        let clash = arguments(&["-c", file, "--port", "b=afxdp:eth0"]).unwrap();
        assert_eq!(
            clash.load(&machine()).unwrap_err().to_string(),
            "--port: \"eth0\" already belongs to \"a\": give each port a device of its own"
        );
    }

    #[test]
    fn bad_arguments_are_one_line_with_the_way_out() {
        for (words, message) in [
            (
                &["--prot", "x"][..],
                "unexpected argument '--prot' found; tip: a similar argument exists: '--port': see --help",
            ),
            (
                &["--port", "lan"],
                "invalid value 'lan' for '--port <NAME=DRIVER:DEVICE>': \"lan\" is no port: write NAME=DRIVER:DEVICE, such as lan0=afxdp:eth0: see --help",
            ),
            (
                &["--workers", "x"],
                "invalid value 'x' for '--workers <CORES>': \"x\" is no list of cores: write it like 1, 2-5 or 2,4: see --help",
            ),
            (
                &["--metrics", "9473"],
                "invalid value '9473' for '--metrics <ADDR:PORT>': \"9473\" is no address to listen on: use ADDR:PORT such as 127.0.0.1:9473 or [::1]:9473, or \"off\": see --help",
            ),
        ] {
            assert_eq!(arguments(words).unwrap_err(), message);
        }
    }

    #[test]
    fn workers_must_name_cores_of_this_machine_once() {
        for (cores, message) in [
            ("3-4", "--workers: no core 4 here: use some of 0-3"),
            (
                "1,1",
                "--workers: core 1 is named twice: name each core once: one worker runs on it",
            ),
        ] {
            let arguments = arguments(&["--port", "a=afxdp:b", "--workers", cores]).unwrap();
            assert_eq!(arguments.load(&machine()).unwrap_err().to_string(), message);
        }
    }
}
