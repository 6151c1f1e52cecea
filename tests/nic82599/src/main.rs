//! `nic82599`: serves one modelled 82599 over vfio-user until it is told to stop (SIGTERM, SIGINT).
//! SIGUSR1 tears the card out of its slot.
//! What the driver does wrong goes to stderr as it happens, and with `--violations` to a file.

use clap::Parser;
use nic82599::vfio::{Function, Order, Server, ServerError, Told};
use nic82599::wire::{Wire, WireError, WireSpec};
use nic82599::{Settings, Variant, Violation};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use thiserror::Error;

/// Serves one modelled Intel 82599 over vfio-user, for QEMU's vfio-user-pci.
#[derive(Parser)]
struct Arguments {
    /// Where to listen for QEMU.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// What the port is plugged into: tap:NAME, unix:PATH or loop.
    #[arg(long, value_name = "WIRE")]
    wire: WireSpec,
    /// The address in the EEPROM; by default one made from the socket's path.
    #[arg(long)]
    mac: Option<Mac>,
    /// Let the guest map the pages of ring registers: its tails cost it nothing, and are seen only by polling.
    #[arg(long)]
    mmap_rings: bool,
    /// Write each violation to this file as a line of JSON.
    #[arg(long, value_name = "FILE")]
    violations: Option<PathBuf>,
}

/// The address of one station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mac([u8; 6]);

#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("cannot make the memory of the ring registers: {0}")]
    Rings(std::io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(nix::Error),
    #[error("{}: {error}", path.display())]
    Violations {
        path: PathBuf,
        error: std::io::Error,
    },
}

#[derive(Debug, Error)]
#[error("say six bytes in hexadecimal, as in 02:00:00:00:00:01, of which the first is even")]
struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Mac, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len()));
            let digits = part.filter(|part| part.bytes().all(|digit| digit.is_ascii_hexdigit()));
            *byte = digits
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or(MacError)?;
        }
        let is_station = bytes[0] & 1 == 0 && bytes != [0; 6];
        if parts.next().is_some() || !is_station {
            Err(MacError)
        } else {
            Ok(Mac(bytes))
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("nic82599: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGUSR1);
    signals.thread_block().map_err(Failure::Signals)?;
    let signals = SignalFd::new(&signals).map_err(Failure::Signals)?;

    let mut record = arguments
        .violations
        .as_deref()
        .map(Record::create)
        .transpose()?;
    let Mac(mac) = arguments.mac.unwrap_or_else(|| own_mac(&arguments.socket));
    let wire = Wire::open(&arguments.wire)?;
    let settings = Settings {
        mac,
        variant: Variant::default(),
    };
    let function = Function::new(settings, wire, arguments.mmap_rings).map_err(Failure::Rings)?;
    let mut server = Server::new(&arguments.socket, function)?;

    let mut unwritten = None;
    let order = || match signals.read_signal() {
        Ok(Some(signal)) if signal.ssi_signo == Signal::SIGUSR1 as u32 => Some(Order::PullCard),
        Ok(Some(_)) => Some(Order::Stop),
        Ok(None) | Err(_) => None,
    };
    server.run(signals.as_fd(), order, |told| match told {
        Told::Violation(violation) => {
            eprintln!("violation: {violation}");
            if let Some(record) = &mut record {
                unwritten = record.write(violation).err().or(unwritten.take());
            }
        }
        Told::RecordFull => eprintln!("nic82599: further violations are only counted"),
    })?;
    eprintln!(
        "nic82599: violations: {}",
        server.function().nic().violation_count()
    );
    unwritten.map_or(Ok(()), Err)
}

/// An address that is the same for the same socket and differs between sockets.
fn own_mac(socket: &Path) -> Mac {
    let mut hasher = DefaultHasher::new();
    socket.hash(&mut hasher);
    let [a, b, c, ..] = hasher.finish().to_le_bytes();
    Mac([0x02, 0x82, 0x59, a, b, c])
}

/// The file of violations, for a program to read.
struct Record {
    path: PathBuf,
    file: File,
}

impl Record {
    fn create(path: &Path) -> Result<Record, Failure> {
        let path = path.to_owned();
        match File::create(&path) {
            Ok(file) => Ok(Record { path, file }),
            Err(error) => Err(Failure::Violations { path, error }),
        }
    }

    fn write(&mut self, violation: &Violation) -> Result<(), Failure> {
        let line = serde_json::json!({
            "register": violation.register,
            "offset": violation.offset,
            "value": violation.value,
            "why": violation.why.to_string(),
        });
        writeln!(self.file, "{line}").map_err(|error| Failure::Violations {
            path: self.path.clone(),
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_six_bytes_of_one_station() {
        assert_eq!(
            "02:0:00:Aa:34:56".parse::<Mac>().unwrap(),
            Mac([2, 0, 0, 0xAA, 0x34, 0x56])
        );
        let wrong = [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "01:00:00:00:00:01",
            "02:00:00:00:00:+1",
            "00:00:00:00:00:00",
            "02-00-00-00-00-01",
            "002:00:00:00:00:01",
        ];
        for text in wrong {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_the_one_documented() {
        let line = [
            "nic82599",
            "--socket",
            "s",
            "--wire",
            "loop",
            "--mac",
            "02:00:00:00:00:01",
        ];
        let arguments = Arguments::try_parse_from(line.iter().chain(&["--mmap-rings"])).unwrap();
        assert_eq!(arguments.wire, WireSpec::Loop);
        assert!(arguments.mmap_rings && arguments.violations.is_none());
        assert!(Arguments::try_parse_from(&line[..3]).is_err());
    }

    #[test]
    fn instances_have_addresses_of_their_own() {
        let [one, other] = ["a.sock", "b.sock"].map(|path| own_mac(Path::new(path)));
        assert_ne!(one, other);
        assert_eq!(one, own_mac(Path::new("a.sock")));
    }
}
