//! What goes wrong: processes killed, cards pulled, drivers unbound, second owners.

use crate::bench::{Bench, PORTS, Through};
use crate::ready;
use ixmap_lab::wait_until;
use ixmap_vm::Result;

/// Floods echo requests across the router until the guard is dropped.
fn load(bench: &Bench) -> Result<ixmap_lab::Background> {
    let words = [
        "timeout",
        "60",
        "ping",
        "-q",
        "-f",
        "-c",
        "100000",
        crate::HOSTS4[1],
    ];
    Ok(bench.wires[0].host().spawn(&words)?)
}

fn free_huge_pages(bench: &mut Bench) -> Result<String> {
    bench
        .guest
        .check("free huge pages", "grep HugePages_Free /proc/meminfo")
}

fn killed_and_started_again(through: Through) -> Result<()> {
    let mut bench = Bench::boot(through, 1500)?;
    let before = free_huge_pages(&mut bench)?;
    for _ in 0..2 {
        bench.start()?;
        bench.ping_across(3, 56)?;
        let flood = load(&bench)?;
        bench
            .guest
            .check("kill ixmapd", "kill -9 $(cat /tmp/ixmapd.pid)")?;
        let gone = "! kill -0 $(cat /tmp/ixmapd.pid) 2>/dev/null";
        bench.guest.wait_until("ixmapd is gone", gone)?;
        drop(flood);
        let free = format!(
            "[ \"$(grep HugePages_Free /proc/meminfo)\" = '{}' ]",
            before.trim()
        );
        bench.guest.wait_until("its memory is free again", &free)?;
        for port in PORTS {
            let no_tap = format!("[ ! -e /sys/class/net/{port} ]");
            bench.guest.check("no TAP is left", &no_tap)?;
        }
    }
    bench.judge()
}

#[test]
fn a_killed_daemon_leaves_nothing_and_starts_again() -> Result<()> {
    killed_and_started_again(Through::Ixmap)
}

#[test]
fn a_killed_daemon_leaves_nothing_in_vfio_either() -> Result<()> {
    killed_and_started_again(Through::Vfio)
}

#[test]
fn the_module_stays_while_it_is_used() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    let refused = bench.guest.run("rmmod in use", "rmmod ixmap")?;
    assert_ne!(refused.status, 0, "{}", refused.stdout);
    bench.ping_across(3, 56)?;
    bench.stop()?;
    bench.guest.check("rmmod", "rmmod ixmap")?;
    bench.judge()
}

#[test]
fn a_card_torn_out_under_load_takes_its_port_down_and_no_more() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    bench.ping_across(3, 56)?;
    let flood = load(&bench)?;
    bench.models[0].pull_card()?;
    let down = "[ \"$(cat /sys/class/net/lan/carrier)\" = 0 ]";
    bench.guest.wait_until("the port is down", down)?;
    drop(flood);
    bench.wait_for_answer(1, crate::ROUTER4[1])?;
    bench
        .guest
        .check("the daemon lets go", "ixmapctl port del lan")?;
    bench.stop()?;
    bench.judge()
}

#[test]
fn an_unbound_card_takes_its_port_down_and_no_more() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    bench.ping_across(3, 56)?;
    let flood = load(&bench)?;
    let unbind = format!("echo {} >/sys/bus/pci/drivers/ixmap/unbind", bench.cards[0]);
    bench.guest.check("unbind", &unbind)?;
    let down = "[ \"$(cat /sys/class/net/lan/carrier)\" = 0 ]";
    bench.guest.wait_until("the port is down", down)?;
    drop(flood);
    bench.wait_for_answer(1, crate::ROUTER4[1])?;
    bench.stop()?;
    bench.judge()
}

#[test]
fn a_card_that_the_kernel_wants_back_from_vfio_is_let_go() -> Result<()> {
    let mut bench = ready(Through::Vfio)?;
    bench.ping_across(3, 56)?;
    let flood = load(&bench)?;
    let unbind = format!(
        "timeout 30 sh -c 'echo {} >/sys/bus/pci/drivers/vfio-pci/unbind'",
        bench.cards[0]
    );
    bench.guest.check("unbind", &unbind)?;
    let closed = "[ ! -e /sys/class/net/lan ] && grep 'wants .* back' /tmp/ixmapd.log";
    bench.guest.wait_until("the port is closed", closed)?;
    drop(flood);
    bench.wait_for_answer(1, crate::ROUTER4[1])?;
    bench.stop()?;
    bench.judge()
}

#[test]
fn a_cable_that_is_gone_is_a_link_down() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    bench.ping_across(2, 56)?;
    bench.wires[0].host().ip("link delete tap0")?;
    let down = "[ \"$(cat /sys/class/net/lan/carrier)\" = 0 ]";
    bench.guest.wait_until("the link is down", down)?;
    let ports = bench.ask("ports")?;
    assert_eq!(ports[0]["link_up"], false, "{ports}");
    assert_eq!(ports[1]["link_up"], true, "{ports}");
    bench.judge()
}

/// Starts a daemon that has to fail, and returns its last words.
fn fails(bench: &mut Bench, step: &str, port: &str) -> Result<String> {
    let script =
        format!("ixmapd --port x={port} --socket /tmp/second.sock --metrics off --workers 2 2>&1");
    let output = bench.guest.run(step, &script)?;
    assert_eq!(output.status, 1, "{}", output.stdout);
    assert_eq!(output.stdout.lines().count(), 1, "{}", output.stdout);
    Ok(output.stdout)
}

#[test]
fn what_cannot_work_is_refused_in_one_line() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    let card = bench.cards[0].clone();
    let said = fails(&mut bench, "a second owner", &format!("ixgbe:{card}"))?;
    assert!(said.contains(&card) && said.contains("already"), "{said}");
    let said = fails(&mut bench, "no such card", "ixgbe:0000:7f:00.0")?;
    assert!(said.contains("lspci"), "{said}");
    bench.stop()?;

    bench
        .guest
        .check("no huge pages", "echo 0 >/proc/sys/vm/nr_hugepages")?;
    let said = fails(&mut bench, "no huge pages", &format!("ixgbe:{card}"))?;
    assert!(
        said.contains("hugepages-2048kB/nr_hugepages") || said.contains("vm.nr_hugepages"),
        "{said}"
    );
    bench
        .guest
        .check("huge pages again", "echo 64 >/proc/sys/vm/nr_hugepages")?;

    let unbind = format!("echo {card} >/sys/bus/pci/drivers/ixmap/unbind");
    bench.guest.check("unbind", &unbind)?;
    let said = fails(&mut bench, "bound to nothing", &format!("ixgbe:{card}"))?;
    assert!(said.contains(&format!("ixmapctl bind {card}")), "{said}");
    let bind = format!("modprobe ixgbe; ixmapctl bind {card} ixgbe");
    bench.guest.check("bound to ixgbe", &bind)?;
    let said = fails(&mut bench, "bound to ixgbe", &format!("ixgbe:{card}"))?;
    assert!(said.contains(&format!("ixmapctl bind {card}")), "{said}");
    wait_until("nothing is left behind", || {
        let left = bench.guest.run("no TAP", "[ ! -e /sys/class/net/x ]");
        Ok(left.is_ok_and(|output| output.status == 0))
    })?;
    bench.judge()
}
