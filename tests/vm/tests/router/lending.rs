//! Cards that change hands: from the kernel's own driver to one that lends them, and back.

use crate::bench::{Bench, ROUTER4, Through};
use crate::ready;
use crate::refusals::fails;
use ixmap_vm::Result;

/// A guest whose cards are bound to ixgbe, as a kernel does it that knows nothing of ixmap.
fn on_ixgbe(through: Through) -> Result<Bench> {
    let mut bench = Bench::boot(through, 1500)?;
    let [first, second] = bench.cards.clone();
    let script = format!(
        "modprobe ixgbe
        ixmapctl bind {first} ixgbe
        ixmapctl bind {second} ixgbe"
    );
    bench.guest.check("to ixgbe", &script)?;
    assert_eq!(drivers(&mut bench)?, ["ixgbe"; 2]);
    Ok(bench)
}

fn drivers(bench: &mut Bench) -> Result<[String; 2]> {
    let mut drivers = bench.cards.clone();
    for driver in &mut drivers {
        let link = format!("basename $(readlink /sys/bus/pci/devices/{driver}/driver)");
        *driver = bench.guest.check("driver", &link)?.trim().to_owned();
    }
    Ok(drivers)
}

/// The numbers of the cards' netdevs: a card that was away has come back with another.
fn netdevs(bench: &mut Bench) -> Result<[String; 2]> {
    let mut netdevs = bench.cards.clone();
    for netdev in &mut netdevs {
        let number = format!("cat /sys/bus/pci/devices/{netdev}/net/*/ifindex");
        *netdev = bench.guest.check("netdev", &number)?;
    }
    Ok(netdevs)
}

/// The first card's netdev gets the router's address, and answers by it.
fn answers_by_ixgbe(bench: &mut Bench) -> Result<String> {
    let card = &bench.cards[0];
    let script = format!(
        "netdev=$(ls /sys/bus/pci/devices/{card}/net)
        ip link set $netdev up
        ip address add {}/24 dev $netdev
        echo $netdev",
        ROUTER4[0]
    );
    let netdev = bench.guest.check("by ixgbe", &script)?.trim().to_owned();
    bench.wait_for_answer(0, ROUTER4[0])?;
    Ok(netdev)
}

fn bound_for_the_daemons_life(through: Through, driver: &str) -> Result<()> {
    let mut bench = on_ixgbe(through)?;
    bench.bind_at_start(driver)?;
    let before = bench.traces()?;
    bench.start()?;
    assert_eq!(drivers(&mut bench)?, [driver; 2]);
    bench.ping_across(3, 56)?;
    bench.stop()?;
    assert_eq!(bench.traces()?, before);
    answers_by_ixgbe(&mut bench)?;
    bench.judge()
}

#[test]
fn a_card_is_bound_to_our_module_at_the_start_and_given_back_at_the_end() -> Result<()> {
    bound_for_the_daemons_life(Through::Ixmap, "ixmap")
}

#[test]
fn a_card_is_bound_to_vfio_at_the_start_and_given_back_at_the_end() -> Result<()> {
    bound_for_the_daemons_life(Through::Vfio, "vfio-pci")
}

#[test]
fn a_start_that_fails_gives_its_cards_back() -> Result<()> {
    let mut bench = on_ixgbe(Through::Ixmap)?;
    bench.bind_at_start("ixmap")?;
    let taken = "modprobe veth; ip link add wan type veth peer name spare";
    bench.guest.check("the second TAP's name is taken", taken)?;
    let before = netdevs(&mut bench)?;
    let said = fails(&mut bench, "a start that fails", "")?;
    assert!(said.contains("ip link del wan"), "{said}");
    assert_eq!(drivers(&mut bench)?, ["ixgbe"; 2]);
    let after = netdevs(&mut bench)?;
    assert!(before[0] != after[0], "{before:?}: the card was never away");
    answers_by_ixgbe(&mut bench)?;
    bench.judge()
}

/// Binding a card that has to stay as it is; the line that says why.
fn is_not_bound(bench: &mut Bench, words: &str) -> Result<String> {
    let before = bench.traces()?;
    let output = bench
        .guest
        .run(words, &format!("ixmapctl bind {words} 2>&1"))?;
    assert_eq!(output.status, 1, "{}", output.stdout);
    assert_eq!(output.stdout.lines().count(), 1, "{}", output.stdout);
    assert_eq!(bench.traces()?, before, "{words}");
    Ok(output.stdout)
}

#[test]
fn a_netdev_in_use_is_taken_by_force_only() -> Result<()> {
    let mut bench = on_ixgbe(Through::Ixmap)?;
    let card = bench.cards[0].clone();
    let netdev = answers_by_ixgbe(&mut bench)?;
    let said = is_not_bound(&mut bench, &format!("{card} ixmap"))?;
    assert!(said.contains(&netdev) && said.contains("--force"), "{said}");
    bench.wait_for_answer(0, ROUTER4[0])?;

    let force = format!("ixmapctl bind --force {card} ixmap; [ ! -e /sys/class/net/{netdev} ]");
    bench.guest.check("by force", &force)?;
    assert_eq!(drivers(&mut bench)?, ["ixmap", "ixgbe"]);
    bench.judge()
}

#[test]
fn a_card_of_a_running_daemon_is_not_bound_even_by_force() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    bench.guest.check("ixgbe is there", "modprobe ixgbe")?;
    let words = format!("--force {} ixgbe", bench.cards[0]);
    let said = is_not_bound(&mut bench, &words)?;
    assert!(said.contains("ixmapctl port del"), "{said}");
    bench.ping_across(3, 56)?;
    bench.judge()
}
