//! ixmap.ko on the modelled card: a small program goes through all that kmod/ixmap.h promises, and
//! ends in every way there is. The kernel, the card and the module have nothing to complain of.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use ixmap_vm::{Builder, Guest, Model, Result, Rings, Wire};
use tempfile::TempDir;

const MAC: &str = "02:00:00:00:82:01";

/// The kernel's taints for modules: built outside its tree, and not signed.
const TAINTS: u32 = 1 << 12 | 1 << 13;

/// A guest whose card is bound to ixmap.
struct Bench {
    // Fields drop in this order: the guest before its card, the card before its cable.
    guest: Guest,
    model: Model,
    _wire: Wire,
    _prober: TempDir,
}

impl Bench {
    fn boot(builder: Builder) -> Result<Bench> {
        let prober = tempfile::tempdir().unwrap();
        let builder = builder.program(&compile(prober.path()), "/usr/bin/prober");
        let wire = Wire::new(1500, &[])?;
        let model = Model::start(&wire, MAC, Rings::Trapped)?;
        let guest = builder.kernel_module()?.nic(&model.socket()).boot()?;
        let mut bench = Bench {
            guest,
            model,
            _wire: wire,
            _prober: prober,
        };
        bench.bind()?;
        Ok(bench)
    }

    /// As an operator does it.
    fn bind(&mut self) -> Result<()> {
        let script = r#"
            modprobe ixmap
            echo 16 >/proc/sys/vm/nr_hugepages
            for card in /sys/bus/pci/devices/*; do
                [ "$(cat $card/device)" = 0x10fb ] && basename $card >/tmp/card
            done
            card=/sys/bus/pci/devices/$(cat /tmp/card)
            echo ixmap >$card/driver_override
            [ -e $card/driver ] || basename $card >/sys/bus/pci/drivers_probe
            [ "$(ls $card/ixmap)" = ixmap0 ]
            [ "$(stat -c %a:%u:%g /dev/ixmap0)" = 600:0:0 ]"#;
        self.guest.check("bind", script).map(drop)
    }

    /// Runs the prober's commands, one process each, and sees that it leaves nothing behind.
    fn probe(&mut self, commands: &[&str]) -> Result<()> {
        for command in commands {
            let output = self
                .guest
                .check(command, &format!("prober {command} /dev/ixmap0"))?;
            assert!(
                output.contains(&format!("{command}: as promised")),
                "{output}"
            );
            self.at_rest()?;
        }
        Ok(())
    }

    /// Starts an owner that holds all it can, by one of the prober's commands that do.
    fn hold(&mut self, command: &str) -> Result<()> {
        let hold = format!("prober {command} /dev/ixmap0 >/tmp/hold 2>&1 & echo $! >/tmp/holder");
        self.guest.check(command, &hold)?;
        self.holder_says("holding")
    }

    /// Waits for a line of the holder's, which has to live to say it.
    fn holder_says(&mut self, line: &str) -> Result<()> {
        let said = format!("cat /tmp/hold; kill -0 $(cat /tmp/holder); grep -x '{line}' /tmp/hold");
        self.guest.wait_until(line, &said)
    }

    /// Without an owner: no vectors, no bus mastering, no memory held.
    fn at_rest(&mut self) -> Result<()> {
        let script = r#"
            grep ixmap /proc/interrupts && exit 1
            command=$(od -A n -t u1 -j 4 -N 1 /sys/bus/pci/devices/$(cat /tmp/card)/config)
            [ $((command & 4)) = 0 ]
            grep -x 'HugePages_Free: *16' /proc/meminfo"#;
        self.guest.check("the card is at rest", script).map(drop)
    }

    /// Nobody saw anything wrong.
    fn judge(&mut self) -> Result<()> {
        let complaints = self.guest.complaints();
        assert!(complaints.is_empty(), "{complaints:?}");
        let violations = self.model.violations()?;
        assert!(violations.is_empty(), "{violations:?}");
        let taint = self.guest.check("taint", "cat /proc/sys/kernel/tainted")?;
        let taint: u32 = taint.trim().parse().unwrap();
        assert_eq!(taint & !TAINTS, 0, "the kernel is tainted: {taint}");
        Ok(())
    }
}

fn compile(directory: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prober = directory.join("prober");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root.join("../../kmod"))
        .arg("-o")
        .arg(&prober)
        .arg(root.join("tests/kmod/prober.c"));
    assert!(gcc.status().unwrap().success(), "{gcc:?}");
    prober
}

/// What holds with and without an IOMMU.
fn keeps_its_promises(builder: Builder) -> Result<()> {
    let mut bench = Bench::boot(builder)?;
    bench.probe(&["info", "registers", "owner", "capability", "bad"])?;
    bench.probe(&["memory", "many-maps", "memlock", "interrupts"])?;
    bench.judge()
}

#[test]
fn the_module_keeps_its_promises() -> Result<()> {
    keeps_its_promises(Guest::builder())
}

#[test]
fn the_module_keeps_its_promises_behind_an_iommu() -> Result<()> {
    keeps_its_promises(Guest::builder().iommu())
}

#[test]
fn an_owner_loses_a_card_that_is_unbound_and_finds_it_when_it_is_bound_again() -> Result<()> {
    let mut bench = Bench::boot(Guest::builder())?;
    let unbind = "prober revoked /dev/ixmap0 /sys/bus/pci/drivers/ixmap/unbind $(cat /tmp/card)";
    for round in ["first", "second"] {
        bench.guest.check(round, unbind)?;
        bench.at_rest()?;
        let gone = "[ ! -e /dev/ixmap0 ]; echo $(cat /tmp/card) >/sys/bus/pci/drivers/ixmap/bind";
        bench.guest.check("bind again", gone)?;
        bench.probe(&["registers", "interrupts"])?;
    }
    let remove = "prober revoked /dev/ixmap0 /sys/bus/pci/devices/$(cat /tmp/card)/remove 1";
    bench.guest.check("the function is removed", remove)?;
    bench
        .guest
        .check("and found", "echo 1 >/sys/bus/pci/rescan")?;
    bench.bind()?;
    bench.probe(&["registers", "interrupts"])?;
    bench.judge()
}

#[test]
fn owners_may_come_and_go_while_the_card_does() -> Result<()> {
    let mut bench = Bench::boot(Guest::builder().iommu())?;
    let race = "
        owners() {
            for round in $(seq 20); do
                for command in memory interrupts; do
                    until [ -e /dev/ixmap0 ]; do :; done
                    prober $command /dev/ixmap0 || true
                done
            done
        }
        owners >/tmp/owners 2>&1 &
        while kill -0 $! 2>/dev/null; do
            cat /tmp/card >/sys/bus/pci/drivers/ixmap/unbind
            cat /tmp/card >/sys/bus/pci/drivers/ixmap/bind
        done
        sort /tmp/owners | uniq -c
        grep -q 'No such device' /tmp/owners";
    bench.guest.check("race", race)?;
    bench.at_rest()?;
    bench.probe(&["registers", "memory", "interrupts"])?;
    bench.judge()
}

#[test]
fn an_owner_that_is_killed_leaves_the_card_at_rest_and_the_module_stays_while_there_is_one()
-> Result<()> {
    for builder in [Guest::builder(), Guest::builder().iommu()] {
        let mut bench = Bench::boot(builder)?;
        bench.hold("hold")?;
        let busy = r"
            [ $(grep -c ixmap /proc/interrupts) = 4 ]
            grep -x 'HugePages_Free: *12' /proc/meminfo
            rmmod ixmap && exit 1
            kill -9 $(cat /tmp/holder)";
        bench.guest.check("busy", busy)?;
        let free = "grep -x 'HugePages_Free: *16' /proc/meminfo";
        bench.guest.wait_until("the owner is gone", free)?;
        bench.at_rest()?;
        bench.probe(&["registers", "interrupts"])?;
        let unload = "rmmod ixmap; [ ! -e /dev/ixmap0 ]; modprobe ixmap; [ -e /dev/ixmap0 ]";
        bench.guest.check("unload and load", unload)?;
        bench.probe(&["memory"])?;
        bench.judge()?;
    }
    Ok(())
}

#[test]
fn a_card_that_is_pulled_reads_as_all_ones_and_its_owner_ends_in_peace() -> Result<()> {
    let mut bench = Bench::boot(Guest::builder())?;
    bench.hold("outlive")?;
    bench.model.pull_card()?;
    bench.holder_says("all ones")?;
    bench.guest.check("kill", "kill -9 $(cat /tmp/holder)")?;
    let free = "grep -x 'HugePages_Free: *16' /proc/meminfo && ! grep ixmap /proc/interrupts";
    bench.guest.wait_until("the owner is gone", free)?;
    let nobody = "prober info /dev/ixmap0 && exit 1; [ -e /dev/ixmap0 ]";
    bench.guest.check("nobody takes it", nobody)?;
    let remove = "echo 1 >/sys/bus/pci/devices/$(cat /tmp/card)/remove; [ ! -e /dev/ixmap0 ]";
    bench.guest.check("remove", remove)?;
    bench.judge()
}
