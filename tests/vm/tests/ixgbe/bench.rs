//! One guest with one modelled card, the cable's other end, and the checks that tests share.

use std::collections::BTreeMap;
use std::net::UdpSocket;

use ixmap_lab::wait_until;
use ixmap_vm::{Builder, Error, Guest, Model, Result, Rings, Wire};
use serde_json::Value;

/// The host's and the guest's address on the cable, and the card's MAC.
pub(crate) const HOST: &str = "192.0.2.1";
pub(crate) const GUEST: &str = "192.0.2.2";
pub(crate) const MAC: &str = "02:00:00:00:82:01";

/// A guest of four cores, so that ixgbe takes four queue pairs.
pub(crate) struct Bench {
    // Fields drop in this order: the guest before its card, the card before its cable.
    pub(crate) guest: Guest,
    pub(crate) model: Model,
    pub(crate) wire: Wire,
}

/// A cable that takes jumbo frames, with the host's address at its end.
pub(crate) fn wire() -> Result<Wire> {
    Wire::new(9000, &[&format!("{HOST}/24")])
}

impl Bench {
    pub(crate) fn boot(rings: Rings) -> Result<Bench> {
        Bench::boot_as(rings, Guest::builder())
    }

    pub(crate) fn boot_as(rings: Rings, builder: Builder) -> Result<Bench> {
        let wire = wire()?;
        let model = Model::start(&wire, MAC, rings)?;
        let guest = builder.cores(4).nic(&model.socket()).boot()?;
        Ok(Bench { guest, model, wire })
    }

    /// Loads the driver and sets the interface up.
    pub(crate) fn configure(&mut self) -> Result<()> {
        self.guest.check("load the driver", "modprobe ixgbe")?;
        self.address()
    }

    /// Sets the interface of a bound driver up.
    pub(crate) fn address(&mut self) -> Result<()> {
        let script = format!("ip link set eth0 up; ip address add {GUEST}/24 dev eth0");
        self.guest.check("set the interface up", &script)?;
        self.wait_link()
    }

    pub(crate) fn wait_link(&mut self) -> Result<()> {
        let up = "[ \"$(cat /sys/class/net/eth0/carrier)\" = 1 ]";
        self.guest.wait_until("the link is up", up)
    }

    /// Echo requests to the host: all are answered, unfragmented.
    pub(crate) fn ping_from_guest(&mut self, count: u32, payload: u32) -> Result<()> {
        let ping = format!("ping -M do -i 0.2 -c {count} -s {payload} -W 20 {HOST}");
        let output = self.guest.check("ping", &ping)?;
        assert!(output.contains(" 0% packet loss"), "{output}");
        Ok(())
    }

    /// Echo requests from the host: all are answered.
    pub(crate) fn ping_from_host(&self, count: u32) -> Result<()> {
        let count = count.to_string();
        let words = ["ping", "-i", "0.2", "-c", &count, "-W", "20", GUEST];
        let output = self.wire.host().run(&words)?;
        assert!(output.contains(" 0% packet loss"), "{output}");
        Ok(())
    }

    /// `ethtool -S`, by name.
    pub(crate) fn statistics(&mut self) -> Result<BTreeMap<String, u64>> {
        let text = self.guest.check("statistics", "ethtool -S eth0")?;
        let counters = text.lines().filter_map(|line| {
            let (name, value) = line.trim().split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Ok(counters.collect())
    }

    /// One UDP datagram from the host on each of so many ports. They differ in all their bits: RSS is
    /// linear and the driver draws its key, so neighbouring ports often share half of the queues.
    pub(crate) fn udp_flows(&self, count: usize) -> Result<()> {
        self.wire.host().enter(|| {
            for port in (20_000..u16::MAX).step_by(251).take(count) {
                UdpSocket::bind((HOST, port))
                    .and_then(|socket| socket.send_to(b"flow", (GUEST, 9)))
                    .map_err(ixmap_lab::Error::io("send a datagram"))?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// iperf3 for three seconds from the host to the guest; Mbit/s at the receiver.
    pub(crate) fn iperf(&mut self, switches: &[&str]) -> Result<f64> {
        self.serve_iperf()?;
        let mut words = vec!["iperf3", "-c", GUEST, "-t", "3", "-J"];
        words.extend(switches);
        let json = self.wire.host().run(&words)?;
        let report: Value = serde_json::from_str(&json).unwrap_or_default();
        let received = &report["end"]["sum_received"];
        let bits = received["bits_per_second"].as_f64().unwrap_or_default();
        assert!(bits > 1e6, "nothing to speak of arrived: {json}");
        Ok(bits / 1e6)
    }

    /// A server for one run: between runs, one for many closes its port for a moment and refuses.
    fn serve_iperf(&mut self) -> Result<()> {
        self.guest
            .wait_until("the last server is done", "! pidof iperf3")?;
        self.guest.check("serve iperf3", "iperf3 -s -1 -D")?;
        let listens = "grep -qs ':1451 0*:0000 0A' /proc/net/tcp /proc/net/tcp6";
        self.guest.wait_until("iperf3 listens", listens)
    }

    /// Sends `count` frames of 60 bytes by the guest's pktgen; how many a second it made.
    pub(crate) fn pktgen(&mut self, count: u64) -> Result<u64> {
        let script = format!(
            "modprobe pktgen
            cd /proc/net/pktgen
            echo 'add_device eth0' >kpktgend_0
            for setting in 'count {count}' 'clone_skb 1000' 'pkt_size 60' 'dst {HOST}' 'dst_mac 02:00:00:00:00:01'; do
                echo \"$setting\" >eth0
            done
            echo start >pgctrl
            # On a busy machine `start` comes back before the thread has begun.
            until grep -q pps eth0; do sleep 0.1; done
            cat eth0"
        );
        let report = self.guest.check("pktgen", &script)?;
        let rate = report
            .split_whitespace()
            .find_map(|word| word.strip_suffix("pps"));
        let unreadable = || Error::Parse {
            what: "pktgen's report",
            text: report.clone(),
        };
        rate.and_then(|rate| rate.parse().ok())
            .ok_or_else(unreadable)
    }

    /// How many frames have come out of the cable.
    pub(crate) fn received_by_the_host(&self) -> Result<u64> {
        let path = "/sys/class/net/tap0/statistics/rx_packets";
        let text = self.wire.host().run(&["cat", path])?;
        text.trim().parse().map_err(|_| Error::Parse {
            what: "the TAP's counter",
            text: text.clone(),
        })
    }

    pub(crate) fn wait_received(&self, count: u64) -> Result<()> {
        let mut seen = 0;
        let arrived = wait_until("every frame has arrived", || {
            seen = self.received_by_the_host().unwrap_or_default();
            Ok(seen >= count)
        });
        assert!(arrived.is_ok(), "{seen} of {count} frames arrived");
        Ok(())
    }

    /// The end of every test: neither the model nor the kernel has anything to complain of.
    pub(crate) fn judge(&mut self) -> Result<()> {
        let violations = self.model.violations()?;
        assert!(violations.is_empty(), "{violations:#?}");
        let complaints = self.guest.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
        Ok(())
    }
}
