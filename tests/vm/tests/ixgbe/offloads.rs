//! Offloads, and that they are used: the kernel's tracepoints tell how it and the driver hand
//! packets to each other, its counters what it thinks of the checksums.

use crate::bench::{Bench, GUEST};
use ixmap_vm::{Error, Result, Rings};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn};
use nix::sys::socket::{sendto, socket};
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;

const FEATURES: [&str; 9] = [
    "rx", "tx", "sg", "tso", "gso", "gro", "rxvlan", "txvlan", "rxhash",
];

/// What tracepoints print of a packet to the driver that the card is to segment, of one whose
/// checksum the card is to fill in, and of one from the driver whose checksum the card has checked.
const SEGMENTED: &str = "net_dev_start_xmit: dev=eth0 .* gso_size=[1-9]";
const FILLED_IN: &str = "net_dev_start_xmit: dev=eth0 .* ip_summed=3";
const CHECKED: &str = "napi_gro_receive_entry: dev=eth0 .* protocol=0x0800 ip_summed=1";
const UNCHECKED: &str = "napi_gro_receive_entry: dev=eth0 .* protocol=0x0800 ip_summed=0";

#[test]
fn traffic_flows_with_every_offload_off_and_on() -> Result<()> {
    let mut bench = Bench::boot(Rings::Trapped)?;
    bench.configure()?;
    for switch in ["off", "on"] {
        bench.switch_offloads(switch)?;
        bench.ping_from_guest(4, 1472)?;

        bench.trace()?;
        let rate = bench.iperf(&[])?;
        println!("offloads {switch}, to the guest: {rate:.1} Mbit/s");
        let seen = [bench.traced(CHECKED)? > 0, bench.traced(UNCHECKED)? > 0];
        assert_eq!(seen, [switch == "on", switch == "off"], "{switch}");

        bench.trace()?;
        let rate = bench.iperf(&["--reverse"])?;
        println!("offloads {switch}, from the guest: {rate:.1} Mbit/s");
        let seen = [bench.traced(SEGMENTED)? > 0, bench.traced(FILLED_IN)? > 0];
        assert_eq!(seen, [switch == "on"; 2], "{switch}");
    }
    let wrong = bench
        .wire
        .host()
        .run(&["nstat", "-asz", "TcpInCsumErrors"])?;
    assert!(
        wrong.contains("TcpInCsumErrors                 0 "),
        "{wrong}"
    );
    bench.judge()
}

#[test]
fn a_wrong_checksum_is_found_by_the_card_or_by_the_kernel() -> Result<()> {
    let mut bench = Bench::boot(Rings::Trapped)?;
    bench.configure()?;
    bench.ping_from_host(1)?;
    for (switch, by_the_card, by_the_kernel) in [("on", 5, 5), ("off", 5, 10)] {
        bench.switch_offloads(switch)?;
        bench.ping_from_host(1)?;
        for _ in 0..5 {
            bench.wrong_checksum()?;
        }
        let counted = format!(
            "[ \"$(sed -n 's/^Tcp: .* //p' /proc/net/snmp | tail -n 1)\" = {by_the_kernel} ]"
        );
        bench.guest.wait_until("the kernel counts", &counted)?;
        let statistics = bench.statistics()?;
        assert_eq!(statistics["rx_csum_offload_errors"], by_the_card);
    }
    bench.judge()
}

impl Bench {
    fn switch_offloads(&mut self, switch: &str) -> Result<()> {
        let set: Vec<String> = FEATURES
            .iter()
            .map(|name| format!("{name} {switch}"))
            .collect();
        let script = format!("ethtool -K eth0 {}; ethtool -k eth0", set.join(" "));
        let state = self.guest.check(&format!("offloads {switch}"), &script)?;
        for feature in [
            "rx-checksumming",
            "tx-checksum-ip-generic",
            "tx-tcp-segmentation",
        ] {
            assert!(state.contains(&format!("{feature}: {switch}")), "{state}");
        }
        self.wait_link()
    }

    /// Records from now on how packets are handed over; the newest are kept.
    fn trace(&mut self) -> Result<()> {
        let script = "
            cd /sys/kernel/tracing
            if [ ! -e trace ]; then mount -t tracefs tracefs .; cd /sys/kernel/tracing; fi
            echo 128 >buffer_size_kb
            echo 1 >events/net/net_dev_start_xmit/enable
            echo 1 >events/net/napi_gro_receive_entry/enable
            echo 1 >tracing_on
            echo >trace";
        self.guest.check("trace", script).map(drop)
    }

    /// How many of the packets on record match.
    fn traced(&mut self, pattern: &str) -> Result<u64> {
        let script = format!(
            "cd /sys/kernel/tracing
            echo 0 >tracing_on
            grep -c '{pattern}' trace || true"
        );
        let count = self.guest.check("traced", &script)?;
        count.trim().parse().map_err(|_| Error::Parse {
            what: "a count",
            text: count.clone(),
        })
    }

    /// One TCP segment to the guest whose checksum is wrong.
    fn wrong_checksum(&self) -> Result<()> {
        // Ports, sequence and acknowledgement numbers, five words, RST, no checksum.
        let mut segment = [0; 20];
        segment[..4].copy_from_slice(&[0x9C, 0x40, 0, 9]);
        segment[12..14].copy_from_slice(&[0x50, 0x04]);
        let send = || {
            let (family, kind) = (AddressFamily::Inet, SockType::Raw);
            let raw = socket(family, kind, SockFlag::empty(), SockProtocol::Tcp)?;
            let address: SocketAddrV4 = format!("{GUEST}:0").parse().map_err(|_| Errno::EINVAL)?;
            let address = SockaddrIn::from(address);
            sendto(raw.as_raw_fd(), &segment, &address, MsgFlags::empty())
        };
        let what = ixmap_lab::Error::io("send a segment");
        let sent = self.wire.host().enter(|| send().map_err(what));
        Ok(sent.map(drop)?)
    }
}
