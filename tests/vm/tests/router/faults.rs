//! What goes wrong while packets flow: processes killed, cards pulled, drivers unbound.

use crate::bench::{Bench, PORTS, Through};
use crate::ready;
use ixmap_lab::{Background, wait_until};
use ixmap_vm::Result;

/// Packets forwarded after which a load counts as one.
const FLOWING: u64 = 100;

/// Floods echo requests across the router until the guard is dropped: it forwards them already.
fn load(bench: &mut Bench) -> Result<Background> {
    let [before, _] = bench.forwarded()?;
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
    let flood = bench.wires[0].host().spawn(&words)?;
    wait_until("packets flow", || {
        let forwarded = bench.forwarded();
        Ok(forwarded.is_ok_and(|[ipv4, _]| ipv4 >= before + FLOWING))
    })?;
    Ok(flood)
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
        let flood = load(&mut bench)?;
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
    let flood = load(&mut bench)?;
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
    let flood = load(&mut bench)?;
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
    let flood = load(&mut bench)?;
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
