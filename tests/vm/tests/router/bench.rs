//! A guest with two modelled cards that runs ixmapd as a router, a host on each of its cables, and
//! the checks that tests share.

use ixmap_lab::wait_until;
use ixmap_vm::{Builder, Guest, Model, Result, Rings, Wire};
use serde_json::Value;

/// The router's ports with the cards behind them; QEMU's first free slots of bus 0 are theirs.
pub(crate) const PORTS: [&str; 2] = ["lan", "wan"];

/// The hosts' addresses; the router has .2 and ::2 of each.
pub(crate) const HOSTS4: [&str; 2] = ["192.0.2.1", "198.51.100.1"];
pub(crate) const HOSTS6: [&str; 2] = ["2001:db8:1::1", "2001:db8:2::1"];
pub(crate) const ROUTER4: [&str; 2] = ["192.0.2.2", "198.51.100.2"];
pub(crate) const ROUTER6: [&str; 2] = ["2001:db8:1::2", "2001:db8:2::2"];

const MACS: [&str; 2] = ["02:00:00:00:82:01", "02:00:00:00:82:02"];

/// Huge pages of the guest: two arenas' worth.
const HUGE_PAGES: u32 = 128;

/// How the cards reach ixmapd.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Through {
    /// Our own module.
    Ixmap,
    /// VFIO, behind an emulated IOMMU.
    Vfio,
    /// Our own module, behind an emulated IOMMU.
    IxmapWithIommu,
}

pub(crate) struct Bench {
    // Fields drop in this order: the guest before its cards, a card before its cable.
    pub(crate) guest: Guest,
    pub(crate) models: [Model; 2],
    pub(crate) wires: [Wire; 2],
    /// The cards' PCI addresses.
    pub(crate) cards: [String; 2],
}

impl Bench {
    /// Boots the guest with the cards bound to what lends them, on cables of this MTU, and ixmapd
    /// configured but not running.
    pub(crate) fn boot(through: Through, mtu: u32) -> Result<Bench> {
        let wires = [wire(0, mtu)?, wire(1, mtu)?];
        let models = [
            Model::start(&wires[0], MACS[0], Rings::Trapped)?,
            Model::start(&wires[1], MACS[1], Rings::Trapped)?,
        ];
        let mut builder = ixmap_vm::router(Guest::builder())?
            .cores(3)
            .memory_mib(1024);
        if through != Through::Ixmap {
            builder = builder.iommu();
        }
        let guest = plug(builder, &models).boot()?;
        let cards = [String::new(), String::new()];
        let mut bench = Bench {
            guest,
            models,
            wires,
            cards,
        };
        bench.prepare(through)?;
        bench.configure(mtu)?;
        Ok(bench)
    }

    fn prepare(&mut self, through: Through) -> Result<()> {
        let find = "for card in /sys/bus/pci/devices/*; do
                [ \"$(cat $card/vendor) $(cat $card/device)\" = '0x8086 0x10fb' ] && echo ${card##*/}
            done
            true";
        let found = self.guest.check("find the cards", find)?;
        for (card, address) in self.cards.iter_mut().zip(found.lines()) {
            address.clone_into(card);
        }
        let (driver, load) = match through {
            Through::Ixmap | Through::IxmapWithIommu => ("ixmap", "modprobe ixmap"),
            Through::Vfio => ("vfio-pci", "modprobe vfio-pci"),
        };
        let [first, second] = &self.cards;
        let script = format!(
            "echo {HUGE_PAGES} >/proc/sys/vm/nr_hugepages
            modprobe tun
            {load}
            ixmapctl bind {first} {driver}
            ixmapctl bind {second} {driver}
            sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
        );
        self.guest.check("bind the cards", &script)?;
        Ok(())
    }

    fn configure(&mut self, mtu: u32) -> Result<()> {
        let mut file = String::from("[workers]\ncores = [1]\nidle = \"adaptive\"\n");
        for (name, card) in PORTS.iter().zip(&self.cards) {
            file += &format!(
                "[[port]]\nname = \"{name}\"\ndriver = \"ixgbe\"\ndevice = \"{card}\"\nmtu = {mtu}\n"
            );
        }
        let script = format!("mkdir -p /etc/ixmap; cat >/etc/ixmap/ixmap.toml <<'END'\n{file}END");
        self.guest.check("configure", &script)?;
        Ok(())
    }

    /// Has ixmapd bind the cards to `driver` when it starts.
    pub(crate) fn bind_at_start(&mut self, driver: &str) -> Result<()> {
        let edit = format!("sed -i '/^device = /a bind = \"{driver}\"' /etc/ixmap/ixmap.toml");
        self.guest.check("bind at the start", &edit).map(drop)
    }

    /// Starts ixmapd, waits until it forwards, and gives its ports their addresses.
    pub(crate) fn start(&mut self) -> Result<()> {
        let start = "ixmapd >/tmp/ixmapd.log 2>&1 & echo $! >/tmp/ixmapd.pid";
        self.guest.check("start ixmapd", start)?;
        let ready = "! kill -0 $(cat /tmp/ixmapd.pid) 2>/dev/null ||
            ixmapctl status --json | grep -q '\"in_sync\":true'";
        self.guest.wait_until("ixmapd is ready", ready)?;
        let lives = "kill -0 $(cat /tmp/ixmapd.pid) || { cat /tmp/ixmapd.log; exit 1; }";
        self.guest.check("ixmapd lives", lives)?;
        for (at, port) in PORTS.iter().enumerate() {
            let script = format!(
                "ip address add {}/24 dev {port}; ip address add {}/64 dev {port} nodad",
                ROUTER4[at], ROUTER6[at]
            );
            self.guest.check("addresses", &script)?;
        }
        self.wait_links("up")
    }

    /// Waits until both ports' links are `up` or `down`.
    pub(crate) fn wait_links(&mut self, state: &str) -> Result<()> {
        let wanted = u8::from(state == "up");
        let script =
            PORTS.map(|port| format!("[ \"$(cat /sys/class/net/{port}/carrier)\" = {wanted} ]"));
        self.guest.wait_until("the links", &script.join(" && "))
    }

    /// SIGTERM; waits for the end, which has to be clean.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.guest
            .check("stop ixmapd", "kill $(cat /tmp/ixmapd.pid)")?;
        let gone = "! kill -0 $(cat /tmp/ixmapd.pid) 2>/dev/null";
        self.guest.wait_until("ixmapd is gone", gone)
    }

    /// Echo requests from one host to the other, in both families: all are answered, unfragmented.
    pub(crate) fn ping_across(&self, count: u32, payload: u32) -> Result<()> {
        let (count, payload) = (count.to_string(), payload.to_string());
        for far in [HOSTS4[1], HOSTS6[1]] {
            self.wait_for_answer(0, far)?;
            let words = [
                "ping", "-M", "do", "-i", "0.1", "-c", &count, "-s", &payload, far,
            ];
            // ping waits for its last answer twice as long as for those before, which may be too short
            // for an emulated router on a busy machine: then it is asked again.
            let mut output = String::new();
            let answered = (0..3).any(|_| {
                let run = self.wires[0].host().run(&words);
                output = run.unwrap_or_else(|error| error.to_string());
                output.contains(" 0% packet loss")
            });
            assert!(answered, "{output}");
        }
        Ok(())
    }

    /// Waits until a host's echo request is answered: neighbours have to be found first.
    pub(crate) fn wait_for_answer(&self, from: usize, to: &str) -> Result<()> {
        wait_until("an answer", || {
            let ping = ["ping", "-c", "1", "-W", "2", to];
            Ok(self.wires[from].host().output(&ping)?.status.success())
        })?;
        Ok(())
    }

    /// `ixmapctl WORDS --json`.
    pub(crate) fn ask(&mut self, words: &str) -> Result<Value> {
        let json = self
            .guest
            .check(words, &format!("ixmapctl {words} --json"))?;
        Ok(serde_json::from_str(&json).unwrap_or_default())
    }

    /// What a daemon could leave behind of itself: huge pages, TAPs, sockets, cards bound anew.
    pub(crate) fn traces(&mut self) -> Result<String> {
        let script = format!(
            "grep HugePages_Free /proc/meminfo
            ls /sys/class/net
            find /run /tmp -type s
            for card in {}; do
                card=/sys/bus/pci/devices/$card
                echo \"$card $(basename $(readlink $card/driver || echo none)) $(cat $card/driver_override)\"
            done",
            self.cards.join(" ")
        );
        self.guest.check("traces", &script)
    }

    /// Packets that the workers forwarded so far, in both families.
    pub(crate) fn forwarded(&mut self) -> Result<[u64; 2]> {
        let ports = self.ask("ports")?;
        let sum = |key: &str| {
            let list = ports.as_array().into_iter().flatten();
            list.filter_map(|port| port[key].as_u64()).sum()
        };
        Ok([sum("forwarded_ipv4"), sum("forwarded_ipv6")])
    }

    /// iperf3 for some seconds between the hosts; Mbit/s at the receiver.
    pub(crate) fn iperf(&self, server: &str, switches: &[&str]) -> Result<f64> {
        let far = self.wires[1].host();
        let serving = far.spawn(&["iperf3", "-s", "-1"])?;
        wait_until("iperf3 listens", || {
            Ok(far.run(&["ss", "-ltn"])?.contains(":5201 "))
        })?;
        let mut words = vec!["iperf3", "-c", server, "-t", "3", "-J"];
        words.extend(switches);
        let json = self.wires[0].host().run(&words)?;
        drop(serving);
        let report: Value = serde_json::from_str(&json).unwrap_or_default();
        let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
        let bits = bits.unwrap_or_default();
        assert!(bits > 1e6, "nothing to speak of arrived: {json}");
        Ok(bits / 1e6)
    }

    /// The end of every test: neither the models nor the kernel have anything to complain of, and the
    /// kernel is tainted by our module alone (out of tree, not signed).
    pub(crate) fn judge(&mut self) -> Result<()> {
        for model in &mut self.models {
            let violations = model.violations()?;
            assert!(violations.is_empty(), "{violations:#?}");
        }
        let complaints = self.guest.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
        const OUT_OF_TREE: u32 = 1 << 12;
        const NOT_SIGNED: u32 = 1 << 13;
        let taint = self.guest.check("taint", "cat /proc/sys/kernel/tainted")?;
        let taint: u32 = taint.trim().parse().unwrap_or(u32::MAX);
        assert_eq!(
            taint & !(OUT_OF_TREE | NOT_SIGNED),
            0,
            "tainted: {taint:#x}"
        );
        Ok(())
    }
}

/// A cable with a host at its end that knows the way to the other.
fn wire(side: usize, mtu: u32) -> Result<Wire> {
    let addresses = [
        format!("{}/24", HOSTS4[side]),
        format!("{}/64", HOSTS6[side]),
    ];
    let wire = Wire::new(mtu, &[&addresses[0], &addresses[1]])?;
    for router in [ROUTER4[side], ROUTER6[side]] {
        wire.host().ip(&format!("route add default via {router}"))?;
    }
    Ok(wire)
}

fn plug(builder: Builder, models: &[Model; 2]) -> Builder {
    let builder = builder.nic(&models[0].socket());
    builder.nic(&models[1].socket())
}
