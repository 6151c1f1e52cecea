//! A running virtual machine: booted by its builder, told steps, gone on drop.

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::agent::{Agent, Output, TICK};
use crate::build;
use crate::error::{Error, Result};
use crate::initramfs::{self, Additions};
use crate::machine::Machine;
use crate::process::{PATIENCE, Process, read_log, tail};

/// What the kernel says when something is wrong with it, a driver or a device. IOMMUs say a lot that is
/// harmless: only what they stop counts, in Intel's words (DMAR) and AMD's.
const COMPLAINTS: &[&str] = &[
    "AMD-Vi: Event logged",
    "BUG:",
    "Call Trace:",
    "DMAR: DRHD: handling fault status",
    "Hang",
    "IO_PAGE_FAULT",
    "NETDEV WATCHDOG",
    "Oops",
    "WARNING:",
    "[fault reason",
    "general protection fault",
];

/// The kernel's command line. Its watchdogs are off: they would bark at the host's load.
const KERNEL_WORDS: &str = "console=ttyS0 nowatchdog tsc=nowatchdog rcupdate.rcu_cpu_stall_suppress=1 workqueue.watchdog_thresh=0";

/// A machine to be: two cores, 512 MiB, no NIC.
pub struct Builder {
    cores: u32,
    memory_mib: u32,
    kernel_words: String,
    devices: Vec<OsString>,
    additions: Additions,
}

impl Builder {
    pub fn cores(mut self, cores: u32) -> Builder {
        self.cores = cores;
        self
    }

    pub fn memory_mib(mut self, memory_mib: u32) -> Builder {
        self.memory_mib = memory_mib;
        self
    }

    /// Plugs in the PCI device that is served over vfio-user on this socket.
    pub fn nic(self, socket: &Path) -> Builder {
        let socket = format!(r#"{{"type":"unix","path":"{}"}}"#, socket.display());
        let device = format!(r#"{{"driver":"vfio-user-pci","socket":{socket}}}"#);
        self.qemu(&["-device", &device])
    }

    /// An IOMMU in front of the devices that are plugged in after it; the guest's kernel uses it.
    pub fn iommu(mut self) -> Builder {
        self.kernel_words.push_str(" intel_iommu=on iommu=nopt");
        self.qemu(&["-device", "intel-iommu,caching-mode=on"])
    }

    /// Puts a program of the host into the guest, with the shared libraries that it needs.
    pub fn program(mut self, program: &Path, place: &str) -> Builder {
        let program = (program.to_owned(), place.to_owned());
        self.additions.programs.push(program);
        self
    }

    /// Puts the project's kernel module, built for the guest, where modprobe finds it.
    pub fn kernel_module(mut self) -> Result<Builder> {
        self.additions.kernel_module = Some(build::kernel_module()?);
        Ok(self)
    }

    /// More of QEMU's own arguments.
    pub fn qemu(mut self, arguments: &[&str]) -> Builder {
        self.devices.extend(arguments.iter().map(OsString::from));
        self
    }

    /// Boots the machine and waits until it takes steps.
    pub fn boot(self) -> Result<Guest> {
        let machine = Machine::get()?;
        let scratch = tempfile::tempdir().map_err(Error::io("make a temporary directory"))?;
        let file = |name: &str| scratch.path().join(name);
        let initramfs = file("initramfs");
        fs::write(&initramfs, initramfs::build(machine, &self.additions)?)
            .map_err(Error::io("write initramfs"))?;
        let channel = file("agent.sock");
        let listener =
            UnixListener::bind(&channel).map_err(Error::io("bind the agent's socket"))?;

        let console = file("console.log");
        let mut command = machine.qemu();
        command
            .args(self.machine_words())
            .arg("-kernel")
            .arg(&machine.kernel)
            .arg("-initrd")
            .arg(&initramfs)
            .args(["-append", &self.kernel_words])
            .arg("-serial")
            .arg(prefixed("file:", &console))
            .args(["-device", "virtio-serial", "-chardev"])
            .arg(prefixed("socket,id=agent,path=", &channel))
            .args(["-device", "virtserialport,chardev=agent,name=agent"])
            .args(&self.devices);
        let started = Instant::now();
        let mut qemu = Process::start("QEMU", &mut command, file("qemu.log"))?;
        let stream = accept(&listener, &mut qemu)?;
        let mut guest = Guest {
            qemu,
            agent: Agent::new(stream)?,
            console,
            started,
            _scratch: scratch,
        };
        guest.wait_ready()?;
        Ok(guest)
    }

    fn machine_words(&self) -> Vec<String> {
        let (cores, memory) = (self.cores.to_string(), format!("{}M", self.memory_mib));
        // A device outside QEMU reads and writes the guest's memory, so it is shared.
        let backend = format!("memory-backend-memfd,id=mem,size={memory},share=on");
        let words = [
            ["-machine", "q35,memory-backend=mem,accel=tcg"],
            ["-object", &backend],
            ["-m", &memory],
            ["-smp", &cores],
            ["-cpu", "max"],
            ["-display", "none"],
        ];
        let mut words: Vec<String> = words.concat().iter().map(|&word| word.to_owned()).collect();
        words.push("-nodefaults".to_owned());
        words
    }
}

/// A booted machine.
pub struct Guest {
    qemu: Process,
    agent: Agent,
    console: PathBuf,
    started: Instant,
    _scratch: TempDir,
}

impl Guest {
    pub fn builder() -> Builder {
        Builder {
            cores: 2,
            memory_mib: 512,
            kernel_words: KERNEL_WORDS.to_owned(),
            devices: Vec::new(),
            additions: Additions::default(),
        }
    }

    /// Runs a shell script (`sh -eu`) in the guest, whatever its exit code. `step` names it in what
    /// a failing test prints.
    pub fn run(&mut self, step: &str, script: &str) -> Result<Output> {
        let (qemu, console) = (&mut self.qemu, &self.console);
        let result = self.agent.run(script, &mut || healthy(qemu, console));
        let output = result.map_err(|error| self.explain(step, error))?;
        println!("== {step}: exit {}\n{}", output.status, output.stdout);
        Ok(output)
    }

    /// Runs a script that has to succeed and returns what it printed.
    pub fn check(&mut self, step: &str, script: &str) -> Result<String> {
        let output = self.run(step, script)?;
        if output.status == 0 {
            return Ok(output.stdout);
        }
        Err(Error::Command {
            command: format!("guest: {step}"),
            status: format!("exit {}", output.status),
            output: output.stdout,
        })
    }

    /// Runs a script again and again until it succeeds.
    pub fn wait_until(&mut self, step: &str, script: &str) -> Result<()> {
        let start = Instant::now();
        while self.run(step, script)?.status != 0 {
            if start.elapsed() > PATIENCE {
                return Err(self.timeout(step));
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Reboots as `reboot` does: the machine is reset, but not its power.
    pub fn reboot_warm(&mut self) -> Result<()> {
        self.agent.send("reboot -f")?;
        self.wait_ready()
    }

    /// The kernel's log since it booted last.
    pub fn dmesg(&mut self) -> Result<String> {
        Ok(self.run("dmesg", "dmesg")?.stdout)
    }

    /// The lines of all boots' kernel logs that tell of a defect; there should be none.
    pub fn complaints(&self) -> Vec<String> {
        complaints(&read_log(&self.console))
    }

    /// How long ago the machine was switched on.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let (qemu, console) = (&mut self.qemu, &self.console);
        let ready = self.agent.ready(&mut || healthy(qemu, console));
        ready.map_err(|error| self.explain("boot", error))
    }

    /// Adds to a time-out what was waited for, and what the kernel said last.
    fn explain(&self, step: &str, error: Error) -> Error {
        match error {
            Error::Timeout { .. } => self.timeout(step),
            error => error,
        }
    }

    fn timeout(&self, step: &str) -> Error {
        Error::Timeout {
            what: format!("the guest: {step}"),
            log: tail(&self.console),
        }
    }
}

/// Whether QEMU runs and its kernel has not panicked.
fn healthy(qemu: &mut Process, console: &Path) -> Result<()> {
    qemu.alive()?;
    let log = tail(console);
    if log.contains("Kernel panic") {
        return Err(Error::Panic(log));
    }
    Ok(())
}

fn accept(listener: &UnixListener, qemu: &mut Process) -> Result<UnixStream> {
    let what = "accept QEMU's connection";
    listener.set_nonblocking(true).map_err(Error::io(what))?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).map_err(Error::io(what))?;
            return Ok(stream);
        }
        qemu.alive()?;
        thread::sleep(TICK);
    }
    Err(Error::Timeout {
        what: "QEMU".to_owned(),
        log: qemu.log(),
    })
}

fn complaints(log: &str) -> Vec<String> {
    let bad = |line: &&str| COMPLAINTS.iter().any(|complaint| line.contains(complaint));
    log.lines().filter(bad).map(str::to_owned).collect()
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut word = OsString::from(prefix);
    word.push(path);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_says_of_a_defect_is_a_complaint() {
        let log = "[ 1.0] ixgbe: probed\n[ 2.0] WARNING: CPU: 0 PID: 1 at drivers/x.c:1 f+0x1\n";
        assert_eq!(complaints(log).len(), 1);
        assert!(complaints("[ 1.0] ixgbe 0000:00:03.0: NIC Link is Up 10 Gbps").is_empty());
    }

    #[test]
    fn what_an_iommu_stops_is_a_complaint_and_that_there_is_one_is_not() {
        let faults = [
            "[ 9.0] DMAR: DRHD: handling fault status reg 2",
            "[ 9.0] DMAR: [DMA Write NO_PASID] Request device [00:03.0] fault addr 0x1000 [fault reason 0x05] PTE Write access is not set",
            "[ 9.0] DMAR: [INTR-REMAP] Request device [00:03.0] fault index 0x7 [fault reason 0x22] Present field in the IRTE entry is clear",
            "[ 9.0] ixmap 0000:03:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0010 address=0x1000 flags=0x0020]",
        ];
        for fault in faults {
            assert_eq!(complaints(fault), [fault]);
        }
        let boot = "[ 0.0] DMAR: IOMMU enabled\n\
            [ 0.1] DMAR: Host address width 39\n\
            [ 0.1] DMAR: DRHD base: 0x000000fed90000 flags: 0x0\n\
            [ 0.1] DMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap d2008c222f0686 ecap f00f5a\n\
            [ 0.5] DMAR: No ATSR found\n\
            [ 0.6] DMAR: Intel(R) Virtualization Technology for Directed I/O\n\
            [ 0.6] AMD-Vi: Interrupt remapping enabled";
        assert!(complaints(boot).is_empty());
    }
}
