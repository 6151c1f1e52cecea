//! How many small packets a second one core of the guest forwards: ixmapd beside the guest's own ixgbe
//! and its kernel's routing, on the same modelled cards. The cards are each other's cable end, and the
//! route's next hop is the first card's own address: a packet is forwarded again and again until its
//! TTL ends, so neither a sender nor a TAP takes part to speak of. The senders sleep: on a machine of
//! two cores, one that spins would be measured more than the router.
//!
//! For an idle machine: `cargo run --release -p ixmap-vm --example speed`. Needs root and what
//! `cargo xtask test virtual` installs.

use std::thread::sleep;
use std::time::Duration;

use ixmap_vm::{Guest, Model, Result, Rings};

const MACS: [&str; 2] = ["02:00:00:00:82:01", "02:00:00:00:82:02"];
const COUNTED: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;
/// Seconds between two packets of a sender, each to be forwarded 254 times: more than can be.
const PAUSE: f32 = 0.001;

/// Who forwards.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Router {
    Kernel,
    Ixmapd,
}

fn main() -> Result<()> {
    for rings in [Rings::Trapped, Rings::Mapped] {
        let by_kernel = median(Router::Kernel, rings)?;
        let by_ixmapd = median(Router::Ixmapd, rings)?;
        println!(
            "{rings:?} rings: kernel {by_kernel:.0}/s, ixmapd {by_ixmapd:.0}/s, ratio {:.2}",
            by_ixmapd / by_kernel
        );
    }
    Ok(())
}

/// Packets a second, the median of some rounds.
fn median(router: Router, rings: Rings) -> Result<f64> {
    let models = Model::pair(MACS, rings)?;
    let builder = ixmap_vm::router(Guest::builder())?;
    let builder = builder.cores(3).memory_mib(1024);
    let builder = builder.nic(&models[0].socket()).nic(&models[1].socket());
    let mut guest = builder.boot()?;
    let ports = match router {
        Router::Kernel => by_kernel(&mut guest)?,
        Router::Ixmapd => by_ixmapd(&mut guest)?,
    };
    lay_the_loop(&mut guest, ports)?;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let (before, began) = forwarded(&mut guest, router)?;
        sleep(COUNTED);
        let (after, ended) = forwarded(&mut guest, router)?;
        rates.push((after - before) / (ended - began));
    }
    rates.sort_by(f64::total_cmp);
    println!("rates: {rates:.0?}");
    Ok(rates[ROUNDS / 2])
}

/// The kernel routes with one queue pair a card, on core 1.
fn by_kernel(guest: &mut Guest) -> Result<[&'static str; 2]> {
    let script = "modprobe ixgbe
        for card in eth0 eth1; do
            ethtool -L $card combined 1
            ip link set $card up
        done
        sleep 3
        for irq in $(grep eth /proc/interrupts | cut -d: -f1); do
            echo 1 >/proc/irq/$irq/smp_affinity_list
        done";
    guest.check("the kernel's driver", script)?;
    Ok(["eth0", "eth1"])
}

/// ixmapd routes with one worker, on core 1.
fn by_ixmapd(guest: &mut Guest) -> Result<[&'static str; 2]> {
    let script = "echo 64 >/proc/sys/vm/nr_hugepages
        modprobe tun
        modprobe ixmap
        ixmapd --workers 1 --port lan=ixgbe:0000:00:02.0 --port wan=ixgbe:0000:00:03.0 >/tmp/log 2>&1 &";
    guest.check("ixmapd", script)?;
    let ready = "ixmapctl status --json | grep -q '\"in_sync\":true'";
    guest.wait_until("ixmapd is ready", ready)?;
    Ok(["lan", "wan"])
}

/// Addresses, the neighbour that is the first card, and packets on core 2.
fn lay_the_loop(guest: &mut Guest, [first, second]: [&str; 2]) -> Result<()> {
    let mac = MACS[0];
    let script = format!(
        "sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
        sysctl -q -w net.ipv4.conf.{first}.rp_filter=0
        ip address add 192.0.2.2/24 dev {first}
        ip address add 198.51.100.2/24 dev {second}
        ip neighbour replace 198.51.100.1 lladdr {mac} dev {second} nud permanent
        modprobe veth
        ip netns add sender
        ip link add to_sender type veth peer name eth0 netns sender
        ip address add 203.0.113.1/24 dev to_sender
        ip link set to_sender up
        ip -n sender address add 203.0.113.2/24 dev eth0
        ip -n sender link set eth0 up
        ip -n sender route add default via 203.0.113.1
        for sender in 1 2 3; do
            # By its path: busybox would run its own.
            ip netns exec sender taskset -c 2 \
                /usr/bin/ping -n -q -l 64 -s 18 -t 255 -i {PAUSE} 198.51.100.1 >/dev/null 2>&1 &
        done
        sleep 3"
    );
    guest.check("lay the loop", &script)?;
    Ok(())
}

/// Packets forwarded so far, and the guest's time in seconds.
fn forwarded(guest: &mut Guest, router: Router) -> Result<(f64, f64)> {
    let count = match router {
        Router::Kernel => {
            "sed -n 's/^Ip: [0-9]* [0-9]* [0-9]* [0-9]* [0-9]* \\([0-9]*\\) .*/\\1/p' /proc/net/snmp"
        }
        Router::Ixmapd => {
            "ixmapctl workers >/dev/null; ixmapctl counters --json | grep -o '\"forwarded_ipv4\":[0-9]*' | tail -n 1 | cut -d: -f2"
        }
    };
    let script = format!("{count}; cut -d' ' -f1 /proc/uptime");
    let text = guest.check("forwarded", &script)?;
    let mut numbers = text
        .lines()
        .map(|line| line.trim().parse().unwrap_or_default());
    Ok((
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    ))
}
