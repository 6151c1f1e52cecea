//! The modelled NIC as a process: served to QEMU over a vfio-user socket, its wire a TAP in a
//! network namespace of the host, or another model.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Instant;

use ixmap_lab::{Namespace, unique_name};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::agent::TICK;
use crate::build::release;
use crate::error::{Error, Result};
use crate::process::{PATIENCE, Process, read_log, tied};

/// The model's record of what the driver did wrong, a line each, in its scratch directory.
const VIOLATIONS: &str = "violations.json";

/// The other end of the NIC's cable: a TAP called `tap0`, up, in a namespace of its own.
pub struct Wire {
    namespace: Namespace,
}

impl Wire {
    /// Lays the cable and gives its end these addresses (`192.0.2.1/24`) and this MTU.
    pub fn new(mtu: u32, addresses: &[&str]) -> Result<Wire> {
        let namespace = Namespace::new(unique_name())?;
        namespace.ip("tuntap add dev tap0 mode tap")?;
        namespace.ip(&format!("link set tap0 mtu {mtu} up"))?;
        for address in addresses {
            namespace.ip(&format!("address add {address} dev tap0"))?;
        }
        Ok(Wire { namespace })
    }

    /// Where the TAP is, for tools that talk to the guest.
    pub fn host(&self) -> &Namespace {
        &self.namespace
    }
}

/// Whether the guest's accesses to the descriptor rings' registers reach the model at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rings {
    /// Each access is a message, and seen by the judge.
    Trapped,
    /// The pages are shared memory that the model polls: an access costs the guest nothing.
    Mapped,
}

/// A running model. It serves one guest at a time.
pub struct Model {
    process: Process,
    scratch: TempDir,
}

impl Model {
    /// Starts the model on the wire and waits until its socket is there.
    pub fn start(wire: &Wire, mac: &str, rings: Rings) -> Result<Model> {
        let program = tied(release("nic82599")?.join("nic82599"));
        let mut command = wire.host().command(&[]);
        command.arg(program.get_program()).args(program.get_args());
        Model::launch(command, scratch()?, "tap:tap0".into(), mac, rings)
    }

    /// Starts two models with one cable between them.
    pub fn pair(macs: [&str; 2], rings: Rings) -> Result<[Model; 2]> {
        let scratch = [scratch()?, scratch()?];
        let mut cable = OsString::from("unix:");
        cable.push(scratch[0].path().join("cable.sock"));
        let binary = release("nic82599")?.join("nic82599");
        let [first, second] = scratch;
        Ok([
            Model::launch(tied(&binary), first, cable.clone(), macs[0], rings)?,
            Model::launch(tied(&binary), second, cable, macs[1], rings)?,
        ])
    }

    fn launch(
        mut command: Command,
        scratch: TempDir,
        wire: OsString,
        mac: &str,
        rings: Rings,
    ) -> Result<Model> {
        command
            .arg("--socket")
            .arg(scratch.path().join("nic.sock"))
            .arg("--wire")
            .arg(wire)
            .args(["--mac", mac, "--violations"])
            .arg(scratch.path().join(VIOLATIONS));
        if rings == Rings::Mapped {
            command.arg("--mmap-rings");
        }
        let log = scratch.path().join("nic82599.log");
        let process = Process::start("nic82599", &mut command, log)?;
        let mut model = Model { process, scratch };
        model.wait_for_socket()?;
        Ok(model)
    }

    /// What QEMU connects to.
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("nic.sock")
    }

    /// What the driver did against the datasheet, a line each; there should be none.
    pub fn violations(&mut self) -> Result<Vec<String>> {
        // A model that is gone has no judgement.
        self.process.alive()?;
        let record = read_log(&self.scratch.path().join(VIOLATIONS));
        Ok(record.lines().map(str::to_owned).collect())
    }

    /// Surprise removal: the card reads as all ones. The process stays, because QEMU 11.1 aborts
    /// now and then when a vfio-user server goes away.
    pub fn pull_card(&mut self) -> Result<()> {
        self.process.alive()?;
        self.process.signal(Signal::SIGUSR1)
    }

    fn wait_for_socket(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.socket().exists() {
            self.process.alive()?;
            if start.elapsed() > PATIENCE {
                return Err(Error::Timeout {
                    what: "the model's socket".to_owned(),
                    log: self.process.log(),
                });
            }
            thread::sleep(TICK);
        }
        Ok(())
    }
}

fn scratch() -> Result<TempDir> {
    tempfile::tempdir().map_err(Error::io("make a temporary directory"))
}
