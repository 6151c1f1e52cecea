//! Linux's own ixgbe as the judge of the modelled 82599, and the model as the judge of ixgbe: each
//! test boots a stock Debian guest, and ends with neither having anything to complain of.

mod bench;
mod offloads;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bench::{Bench, GUEST, HOST, MAC};
use ixmap_vm::{Guest, Result, Rings};

#[test]
fn ixgbe_probes_the_card_brings_its_link_up_and_carries_packets() -> Result<()> {
    let mut bench = Bench::boot(Rings::Trapped)?;
    bench.configure()?;
    bench.ping_from_guest(1, 56)?;
    println!("{:?} from power-on to an answered ping", bench.guest.age());
    bench.ping_from_guest(8, 56)?;

    let dmesg = bench.guest.dmesg()?;
    assert!(
        dmesg.contains("Rx Queue count = 4, Tx Queue count = 4"),
        "{dmesg}"
    );
    assert!(dmesg.contains("NIC Link is Up 10 Gbps"), "{dmesg}");
    let settings = bench
        .guest
        .check("settings", "ethtool eth0; ip link show dev eth0")?;
    for wanted in ["Speed: 10000Mb/s", "Link detected: yes", MAC] {
        assert!(settings.contains(wanted), "no `{wanted}`: {settings}");
    }
    bench.ping_from_host(8)?;

    bench
        .guest
        .check("jumbo frames", "ip link set eth0 mtu 9000")?;
    bench.wait_link()?;
    bench.ping_from_guest(4, 8972)?;
    bench.judge()
}

#[test]
fn the_statistics_of_the_card_and_of_the_driver_agree() -> Result<()> {
    let mut bench = Bench::boot(Rings::Trapped)?;
    bench.configure()?;
    bench.ping_from_guest(20, 1000)?;
    // The driver reads the card's counters every two seconds.
    let agree = r#"
        ethtool -S eth0 >/tmp/statistics
        of() { sed -n "s/^ *$1: //p" /tmp/statistics; }
        [ "$(of rx_packets)" -ge 20 ] && [ "$(of tx_packets)" -ge 20 ]
        [ "$(of rx_packets)" = "$(of rx_pkts_nic)" ]
        [ "$(of tx_packets)" = "$(of tx_pkts_nic)" ]"#;
    bench.guest.wait_until("the counters agree", agree)?;
    let statistics = bench.statistics()?;
    let queues = |direction: &str| -> u64 {
        let names = (0..4).map(|queue| format!("{direction}_queue_{queue}_packets"));
        names.map(|name| statistics[&name]).sum()
    };
    assert_eq!(queues("rx"), statistics["rx_packets"]);
    assert_eq!(queues("tx"), statistics["tx_packets"]);
    let faults = statistics.iter().filter(|(name, value)| {
        let fault = ["error", "dropped", "missed", "timeout", "over_", "csum"];
        **value != 0 && fault.iter().any(|word| name.contains(word))
    });
    assert_eq!(faults.collect::<Vec<_>>(), []);
    bench.judge()
}

#[test]
fn flows_spread_over_four_queue_pairs() -> Result<()> {
    let mut bench = Bench::boot(Rings::Trapped)?;
    bench.configure()?;
    bench
        .guest
        .check("hash ports", "ethtool -N eth0 rx-flow-hash udp4 sdfn")?;
    bench.ping_from_guest(1, 56)?;
    let before = bench.statistics()?;
    bench.udp_flows(128)?;
    let queues = || (0..4).map(|queue| format!("rx_queue_{queue}_packets"));
    let sum = |counters: &BTreeMap<String, u64>| queues().map(|name| counters[&name]).sum::<u64>();
    // The driver counts a packet after the kernel has had it.
    let patience = Instant::now() + Duration::from_secs(30);
    let mut after = bench.statistics()?;
    while sum(&after) < sum(&before) + 128 {
        assert!(Instant::now() < patience, "of 128 flows came {after:?}");
        after = bench.statistics()?;
    }
    for name in queues() {
        let packets = after[&name] - before[&name];
        println!("{name}: {packets}");
        assert!(packets >= 8, "{name}: {packets} of 128");
    }
    bench.judge()
}

#[test]
fn all_five_self_tests_of_the_driver_pass() -> Result<()> {
    let mut bench = Bench::boot(Rings::Trapped)?;
    bench.configure()?;
    // ixgbe sets the carrier before it wakes its queues, and crashes if it is closed in between.
    bench.ping_from_guest(1, 56)?;
    let report = bench.guest.check("self-test", "ethtool -t eth0 offline")?;
    assert!(report.contains("The test result is PASS"), "{report}");
    for test in [
        "Register test",
        "Eeprom test",
        "Interrupt test",
        "Loopback test",
        "Link test",
    ] {
        let line = report.lines().find(|line| line.starts_with(test));
        let passed = line.is_some_and(|line| line.trim_end().ends_with(" 0"));
        assert!(passed, "{test}: {report}");
    }
    bench.wait_link()?;
    bench.ping_from_guest(4, 56)?;
    bench.judge()
}

#[test]
fn the_driver_binds_again_and_after_a_warm_reboot() -> Result<()> {
    let mut bench = Bench::boot(Rings::Trapped)?;
    bench.configure()?;
    for round in 0..2 {
        let rebind = "
            cd /sys/bus/pci/drivers/ixgbe
            card=$(ls -d 0000:*)
            echo $card >unbind
            [ ! -e /sys/class/net/eth0 ]
            echo $card >bind";
        bench.guest.check(&format!("rebind {round}"), rebind)?;
        bench.address()?;
        bench.ping_from_guest(2, 56)?;
    }
    bench.guest.check("reload", "rmmod ixgbe")?;
    bench.configure()?;
    bench.ping_from_guest(2, 56)?;

    bench.guest.reboot_warm()?;
    bench.configure()?;
    bench.ping_from_guest(2, 56)?;
    bench.judge()
}

/// TCP both ways, then packets as fast as the kernel can: all have to arrive on the wire.
fn carries_load(rings: Rings) -> Result<()> {
    let mut bench = Bench::boot(rings)?;
    bench.configure()?;
    for direction in [&["--parallel=4"][..], &["--parallel=4", "--reverse"]] {
        let rate = bench.iperf(direction)?;
        println!("{rings:?}, {direction:?}: {rate:.1} Mbit/s");
    }
    let sent = 200_000;
    let before = bench.received_by_the_host()?;
    let rate = bench.pktgen(sent)?;
    println!("{rings:?}, pktgen: {rate} packets a second");
    bench.wait_received(before + sent)?;
    bench.judge()
}

#[test]
fn load_is_carried_with_trapped_rings() -> Result<()> {
    carries_load(Rings::Trapped)
}

#[test]
fn load_is_carried_with_mapped_rings() -> Result<()> {
    carries_load(Rings::Mapped)
}

#[test]
fn packets_go_through_an_iommu() -> Result<()> {
    let mut bench = Bench::boot_as(Rings::Trapped, Guest::builder().iommu())?;
    bench.configure()?;
    let group = "cat /sys/class/net/eth0/device/iommu_group/type";
    let group = bench.guest.check("its group", group)?;
    assert!(group.starts_with("DMA"), "{group}");
    bench.ping_from_guest(8, 1472)?;
    for direction in [&[][..], &["--reverse"]] {
        let rate = bench.iperf(direction)?;
        println!("IOMMU, {direction:?}: {rate:.1} Mbit/s");
    }
    bench.judge()
}

#[test]
fn a_cable_that_is_gone_is_a_link_down() -> Result<()> {
    let mut bench = Bench::boot(Rings::Trapped)?;
    bench.configure()?;
    bench.ping_from_guest(1, 56)?;
    bench.wire.host().ip("link delete tap0")?;
    let down = "[ \"$(cat /sys/class/net/eth0/carrier)\" = 0 ]";
    bench.guest.wait_until("the link is down", down)?;
    bench.judge()
}

#[test]
fn a_guest_survives_its_card_being_torn_out_under_load() -> Result<()> {
    let mut bench = Bench::boot(Rings::Trapped)?;
    bench.configure()?;
    let flood = format!("(while true; do ping -q -f -c 1000 -w 60 {HOST}; done) >/dev/null 2>&1 &");
    bench.guest.check("load", &flood)?;
    bench.ping_from_host(20)?;
    bench.model.pull_card()?;
    bench
        .guest
        .wait_until("the driver notices", "dmesg | grep -q 'Adapter removed'")?;
    bench
        .guest
        .check("the driver lets go", "ip link set eth0 down; rmmod ixgbe")?;
    bench.judge()
}

#[test]
fn two_cards_in_one_guest_are_told_apart() -> Result<()> {
    let (left, right) = (bench::wire()?, bench::wire()?);
    let second_mac = "02:00:00:00:82:02";
    let mut first = ixmap_vm::Model::start(&left, MAC, Rings::Trapped)?;
    let mut second = ixmap_vm::Model::start(&right, second_mac, Rings::Trapped)?;
    let builder = Guest::builder().nic(&first.socket()).nic(&second.socket());
    let mut guest = builder.boot()?;
    guest.check(
        "drive both",
        "modprobe ixgbe; ip link set eth0 up; ip link set eth1 up",
    )?;
    let macs = guest.check("addresses", "cat /sys/class/net/eth[01]/address")?;
    assert_eq!(macs.lines().collect::<Vec<_>>(), [MAC, second_mac]);
    for (name, wire) in [("eth0", &left), ("eth1", &right)] {
        guest.check(name, &format!("ip address flush dev eth0; ip address flush dev eth1; ip address add {GUEST}/24 dev {name}"))?;
        guest.wait_until("ping", &format!("ping -c 1 -W 1 {HOST}"))?;
        wire.host().run(&["ping", "-c", "1", "-W", "20", GUEST])?;
    }
    assert_eq!(first.violations()?, second.violations()?);
    assert!(first.violations()?.is_empty(), "{:#?}", first.violations()?);
    assert!(guest.complaints().is_empty(), "{:#?}", guest.complaints());
    Ok(())
}
