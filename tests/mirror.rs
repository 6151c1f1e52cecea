//! The mirror against the real kernel: `ip` changes a fresh network namespace, and after each step
//! the mirror that followed the events must equal a dump. Needs root: `cargo test --test mirror`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "mirror/churn.rs"]
mod churn;
#[path = "mirror/silence.rs"]
mod silence;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ixmap::control::mirror::{Mirror, Neighbour, NeighbourState};
use ixmap::control::netlink::{Keeper, Settings, dump};
use nix::sched::{CloneFlags, unshare};

/// Silence on the event socket that ends a step; shorter than a dump's debounce.
const QUIET: Duration = Duration::from_millis(20);
/// Nothing here takes the kernel longer.
const PATIENCE: Duration = Duration::from_secs(60);

const PORTS: &[&str] = &[
    "link set lo up",
    "link add e1 type veth peer name p1",
    "link add e2 type veth peer name p2",
    "link set e1 up",
    "link set p1 up",
    "link set e2 up",
    "link set p2 up",
    "addr add 10.0.1.1/24 dev e1",
    "addr add 10.0.2.1/24 dev e2",
    "addr add 2001:db8:1::1/64 dev e1 nodad",
    "addr add 2001:db8:2::1/64 dev e2 nodad",
];

fn ip(command: &str) {
    let status = Command::new("ip")
        .args(command.split_whitespace())
        .status()
        .unwrap();
    assert!(status.success(), "ip {command}");
}

/// Links whose carrier the kernel has told of.
fn links_up() -> usize {
    let output = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let links = String::from_utf8(output.stdout).unwrap();
    links.matches(" state UP ").count()
}

fn ip_batch(lines: &str) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

/// A namespace, its mirror, and the kernel beside it.
struct Lab {
    keeper: Keeper,
    /// What the mirror last claimed.
    in_sync: bool,
}

impl Lab {
    /// Runs `test` on a thread with its own network namespace with two ports that are up.
    fn run(settings: Settings, test: impl AsyncFnOnce(&mut Lab) + Send + 'static) {
        let lab = move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            // Addresses and their routes are there at once.
            std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
            PORTS.iter().for_each(|command| ip(command));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut keeper = Keeper::start(&settings).unwrap();
                let first = keeper.next().await.unwrap();
                assert!(first.changes.everything);
                let in_sync = first.in_sync;
                let mut lab = Lab { keeper, in_sync };
                // The kernel tells of a carrier up to a second late, and the mirror then dumps.
                while links_up() < 4 {
                    tokio::time::sleep(QUIET).await;
                }
                lab.settled().await;
                tokio::time::timeout(PATIENCE, test(&mut lab))
                    .await
                    .expect("stuck");
            });
        };
        std::thread::spawn(lab).join().unwrap();
    }

    /// Follows the kernel until it rests and the mirror claims to be in sync and is.
    async fn settled(&mut self) {
        let began = Instant::now();
        loop {
            self.rests().await;
            if self.in_sync && difference(self.keeper.mirror(), &dump().unwrap()).is_none() {
                return;
            }
            if began.elapsed() > PATIENCE {
                let difference = difference(self.keeper.mirror(), &dump().unwrap());
                panic!(
                    "in sync: {}; {}",
                    self.in_sync,
                    difference.unwrap_or_default()
                );
            }
        }
    }

    /// Runs commands one by one; each must be followed from its events alone.
    async fn follows(&mut self, commands: &[&str]) {
        for command in commands {
            let resyncs = self.keeper.counters().resyncs;
            ip(command);
            self.catches_up(command).await;
            assert_eq!(
                self.keeper.counters().resyncs,
                resyncs,
                "ip {command} needed a dump"
            );
        }
    }

    /// Reads events until the mirror is as the kernel is after a change.
    async fn catches_up(&mut self, change: &str) {
        let began = Instant::now();
        loop {
            self.rests().await;
            let Some(difference) = difference(self.keeper.mirror(), &dump().unwrap()) else {
                return;
            };
            // On a busy machine the thread that reads the events may come late.
            assert!(
                began.elapsed() <= PATIENCE / 10,
                "after {change}: {difference}"
            );
        }
    }

    /// Reads events until there are none.
    async fn rests(&mut self) {
        while let Ok(update) = tokio::time::timeout(QUIET, self.keeper.next()).await {
            self.in_sync = update.unwrap().in_sync;
        }
    }

    /// Runs commands one by one; each may need a dump, but it must end in the kernel's state.
    async fn recovers(&mut self, commands: &[&str]) {
        for command in commands {
            ip(command);
            self.settled().await;
        }
    }

    fn routes(&self) -> usize {
        self.keeper.mirror().route_count()
    }

    /// Routes of [`burst`].
    fn burst_routes(&self) -> usize {
        let is_host = |prefix: &ipnet::IpNet| prefix.to_string().starts_with("172.");
        self.keeper
            .mirror()
            .all_routes()
            .filter(|(key, _)| is_host(&key.prefix))
            .count()
    }
}

/// Entries whose state does not change with time alone.
fn lasts(neighbour: &&Neighbour) -> bool {
    matches!(
        neighbour.state,
        NeighbourState::Permanent | NeighbourState::NoArp
    )
}

/// The first thing in which two mirrors differ.
fn difference(mirror: &Mirror, kernel: &Mirror) -> Option<String> {
    let entries = |mirror: &Mirror| {
        let links = mirror.links().map(|link| format!("{link:?}"));
        let addresses = mirror
            .addresses()
            .iter()
            .map(|address| format!("{address:?}"));
        let routes = mirror
            .all_routes()
            .map(|(key, list)| format!("{key:?}\n {list:#?}"));
        let neighbours = mirror
            .neighbours()
            .filter(lasts)
            .map(|entry| format!("{entry:?}"));
        let rules = [false, true]
            .into_iter()
            .flat_map(|ipv6| mirror.rules().of(ipv6));
        let rules = rules.map(|rule| format!("{rule:?}"));
        let netconf = mirror.all_netconf().map(|entry| format!("{entry:?}"));
        links
            .chain(rules)
            .chain(netconf)
            .chain(addresses)
            .chain(routes)
            .chain(neighbours)
            .collect::<Vec<_>>()
    };
    let (mirror, kernel) = (entries(mirror), entries(kernel));
    let extra = mirror.iter().find(|entry| !kernel.contains(entry));
    let missing = kernel.iter().find(|entry| !mirror.contains(entry));
    (extra.is_some() || missing.is_some())
        .then(|| format!("only mirrored: {extra:?}\nonly in the kernel: {missing:?}"))
}

#[test]
fn routes_of_every_kind_are_followed() {
    Lab::run(Settings::default(), async |lab| {
        let before = lab.routes();
        let mut commands = Vec::new();
        for kind in ["unreachable", "blackhole", "prohibit", "throw"] {
            commands.push(format!(
                "route add {kind} 198.51.100.0/24 metric {}",
                commands.len() + 5
            ));
            commands.push(format!(
                "-6 route add {kind} 2001:db8:f::/48 metric {}",
                commands.len() + 5
            ));
        }
        for family in ["", "-6 "] {
            let (prefix, via, other) = match family {
                "" => ("203.0.113.0/24", "10.0.1.2", "10.0.2.2"),
                _ => ("2001:db8:e::/48", "2001:db8:1::2", "2001:db8:2::2"),
            };
            for route in [
                format!("add {prefix} via {via}"),
                format!("add {prefix} via {other} table 1000 metric 7 proto bgp"),
                format!("add local {prefix} dev lo table 1001"),
                format!("add {prefix} dev e1 metric 3000 mtu 1400"),
                format!("del {prefix} via {via}"),
                format!("del {prefix} table 1000"),
            ] {
                commands.push(format!("{family}route {route}"));
            }
        }
        commands.push("route add broadcast 203.0.113.255 dev e1 table 1001".to_owned());
        commands.push("route add multicast 224.5.0.0/16 dev e1".to_owned());
        commands.push("route add 192.0.2.0/24 tos 0x10 via 10.0.1.2 src 10.0.2.1".to_owned());
        commands.push("route add 192.0.2.0/24 via inet6 2001:db8:1::2 dev e1".to_owned());
        commands.push("route add 192.0.2.1 via 172.16.0.1 dev e2 onlink".to_owned());
        commands
            .push("-6 route add 2001:db8:d::/48 from 2001:db8:1::/48 via 2001:db8:1::2".to_owned());
        commands.push("-6 route add 2001:db8:d::/48 via 2001:db8:1::3".to_owned());
        commands.push("-6 route add default via fe80::1 dev e1".to_owned());
        commands.push("route add default via 10.0.1.9".to_owned());
        let commands: Vec<_> = commands.iter().map(String::as_str).collect();
        lab.follows(&commands).await;
        assert!(lab.routes() > before + 10);
    });
}

#[test]
fn prepend_append_replace_and_deletion_of_ipv4_routes_are_followed() {
    Lab::run(Settings::default(), async |lab| {
        lab.follows(&[
            "route add 192.0.2.0/24 via 10.0.1.2",
            "route append 192.0.2.0/24 via 10.0.1.3",
            "route prepend 192.0.2.0/24 via 10.0.1.4",
            "route add 192.0.2.0/24 via 10.0.1.5 metric 50",
            "route add 192.0.2.0/24 via 10.0.1.5 tos 0x08",
            "route prepend 192.0.2.0/24 via 10.0.1.6 metric 50",
            "route append 192.0.2.0/24 via 10.0.1.7 metric 50",
            "route replace 192.0.2.0/24 via 10.0.2.8 metric 50",
            "route replace 192.0.2.0/24 via 10.0.2.9",
            "route replace 192.0.2.0/24 via 10.0.2.9 metric 60",
            "route replace blackhole 192.0.2.0/24",
            "route del 192.0.2.0/24 via 10.0.1.3",
            "route del 192.0.2.0/24 metric 50",
            "route del blackhole 192.0.2.0/24",
            "route add 192.0.3.0/24 nexthop via 10.0.1.2 weight 3 nexthop via inet6 fe80::9 dev e2",
            "route replace 192.0.3.0/24 nexthop via 10.0.1.2 nexthop via 10.0.2.2 weight 256",
            "route change 192.0.3.0/24 via 10.0.1.2",
            "route del 192.0.3.0/24",
        ])
        .await;
    });
}

#[test]
fn legs_of_ipv6_routes_are_followed() {
    Lab::run(Settings::default(), async |lab| {
        lab.follows(&[
            "-6 route add 2001:db8:f::/48 via 2001:db8:1::2",
            "-6 route append 2001:db8:f::/48 via 2001:db8:2::2",
            "-6 route append 2001:db8:f::/48 via 2001:db8:1::3",
            "-6 route del 2001:db8:f::/48 via 2001:db8:1::2",
            "-6 route replace 2001:db8:f::/48 nexthop via 2001:db8:1::5 weight 3 nexthop via 2001:db8:2::5",
            "-6 route append 2001:db8:f::/48 nexthop via 2001:db8:1::6 nexthop via 2001:db8:2::6",
            "-6 route del 2001:db8:f::/48 via 2001:db8:2::6",
            "-6 route del 2001:db8:f::/48 via 2001:db8:2::5",
            "-6 route del 2001:db8:f::/48 via 2001:db8:1::6",
            "-6 route append 2001:db8:f::/48 via 2001:db8:2::2",
            "-6 route add 2001:db8:f::/48 via 2001:db8:2::2 metric 50",
            "-6 route replace 2001:db8:f::/48 via 2001:db8:2::3 metric 50",
            "-6 route replace 2001:db8:f::/48 via 2001:db8:2::7",
            "-6 route del 2001:db8:f::/48 metric 50",
            "-6 route append 2001:db8:f::/48 via 2001:db8:2::2",
            "-6 route flush 2001:db8:f::/48",
        ])
        .await;
        // Replacing a route by one of another class: kernels differ, so the mirror asks.
        lab.recovers(&[
            "-6 route add 2001:db8:f::/48 via 2001:db8:1::2",
            "-6 route append 2001:db8:f::/48 via 2001:db8:2::2",
            "-6 route replace blackhole 2001:db8:f::/48",
            "-6 route append 2001:db8:f::/48 dev e1",
            "-6 route replace 2001:db8:f::/48 dev e2",
            "-6 route flush 2001:db8:f::/48",
        ])
        .await;
    });
}

#[test]
fn neighbours_are_followed() {
    Lab::run(Settings::default(), async |lab| {
        lab.follows(&[
            "neigh add 10.0.1.2 lladdr 02:00:00:00:00:02 dev e1",
            "neigh add 2001:db8:1::2 lladdr 02:00:00:00:00:02 dev e1",
            "neigh replace 10.0.1.2 lladdr 02:00:00:00:00:03 dev e1",
            "neigh add 10.0.1.3 lladdr 02:00:00:00:00:03 dev e1 nud stale",
            "neigh add proxy 10.0.1.4 dev e1",
            "neigh del 10.0.1.2 dev e1",
        ])
        .await;
        let mirror = lab.keeper.mirror();
        let prefix = "2001:db8:1::/64".parse().unwrap();
        assert_eq!(mirror.neighbours_within(prefix).count(), 1);
        lab.recovers(&[
            "link set e1 address 02:00:00:00:00:aa",
            "neigh flush dev e1",
        ])
        .await;
    });
}

#[test]
fn what_links_and_addresses_take_with_them_is_found() {
    Lab::run(Settings::default(), async |lab| {
        ip_batch(
            "route add 192.0.2.0/24 via 10.0.1.2\n\
             route add 192.0.3.0/24 nexthop via 10.0.1.2 nexthop via 10.0.2.2\n\
             route add 2001:db8:f::/48 via 2001:db8:1::2\n\
             route add 2001:db8:e::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2\n\
             route add 192.0.4.0/24 via 10.0.2.2 src 10.0.1.1\n\
             neigh add 10.0.1.2 lladdr 02:00:00:00:00:02 dev e1\n",
        );
        lab.recovers(&[
            "link set p1 down",
            "link set p1 up",
            "link set e1 mtu 1400",
            "link set e1 down",
            "link set e1 up",
            "addr add 10.0.1.7/24 dev e1",
            "addr del 10.0.1.1/24 dev e1",
            "route add 192.0.2.0/24 dev e2",
            "addr add 10.0.9.1 peer 10.0.9.2 dev e2",
            "addr del 10.0.9.1 peer 10.0.9.2 dev e2",
            "addr del 10.0.2.1/24 dev e2",
            "addr add 10.0.2.1/24 dev e2",
            "addr del 2001:db8:2::1/64 dev e2",
            "link set e2 down",
            "link set e2 name port2",
            "link add d1 type bridge",
            "link set d1 up",
            "route add 192.0.5.0/24 nexthop dev d1 nexthop via 10.0.1.2 dev e1 onlink",
            "link del d1",
            "link del e1",
        ])
        .await;
    });
}

#[test]
fn next_hop_objects_change_routes_silently_and_are_found() {
    Lab::run(Settings::default(), async |lab| {
        lab.recovers(&[
            "nexthop add id 1 via 10.0.1.2 dev e1",
            "nexthop add id 2 via 10.0.2.2 dev e2",
            "nexthop add id 10 group 1/2",
            "route add 192.0.2.0/24 nhid 10",
            "route add 192.0.3.0/24 nhid 1",
            "nexthop replace id 1 via 10.0.1.3 dev e1",
            "nexthop del id 2",
            "nexthop del id 1",
        ])
        .await;
    });
}

fn burst(count: u32, action: &str) -> String {
    (0..count)
        .map(|n| {
            format!(
                "route {action} 172.{}.{}.{}/32 via 10.0.1.2\n",
                16 + (n >> 16),
                n >> 8 & 255,
                n & 255
            )
        })
        .collect()
}

#[test]
fn a_burst_of_routes_is_followed_without_a_dump() {
    Lab::run(Settings::default(), async |lab| {
        for (action, expected) in [("add", 20_000), ("del", 0)] {
            let lines = burst(20_000, action);
            let batch = std::thread::spawn(move || ip_batch(&lines));
            while lab.burst_routes() != expected {
                lab.keeper.next().await.unwrap();
            }
            batch.join().unwrap();
            lab.rests().await;
            assert_eq!(lab.burst_routes(), expected);
            assert_eq!(lab.keeper.counters().overruns, 0);
        }
    });
}

#[test]
fn an_overrun_is_counted_and_recovered_from() {
    Lab::run(
        Settings {
            receive_buffer: 4096,
            ..Settings::default()
        },
        async |lab| {
            // The kernel drops most of it, unless the machine has the reader run between any two.
            ip_batch(&burst(5_000, "add"));
            lab.settled().await;
            while lab.keeper.counters().overruns == 0 {
                for (verb, routes) in [("del", 0), ("add", 5_000)] {
                    ip_batch(&burst(5_000, verb));
                    lab.settled().await;
                    assert_eq!(lab.burst_routes(), routes);
                }
            }
            assert_eq!(lab.burst_routes(), 5_000);
            assert!(lab.keeper.counters().resyncs > 0);
        },
    );
}

/// A queue that overran still has what came before the gap.
#[test]
fn what_came_before_lost_events_is_not_followed_after_the_dump_for_them() {
    // Some hundred events, which come in a few milliseconds.
    let settings = Settings {
        receive_buffer: 64 << 10,
        ..Settings::default()
    };
    Lab::run(settings, async |lab| {
        while lab.keeper.counters().overruns == 0 {
            for _ in 0..2 {
                ip_batch(&burst(20_000, "add"));
                ip_batch(&burst(20_000, "del"));
            }
            lab.settled().await;
            assert_eq!(lab.burst_routes(), 0);
        }
    });
}

#[test]
fn the_first_dump_during_churn_ends_in_the_kernels_state() {
    Lab::run(Settings::default(), async |lab| {
        ip_batch(&burst(20_000, "add"));
        let lines = burst(20_000, "replace") + &burst(10_000, "del");
        let batch = std::thread::spawn(move || ip_batch(&lines));
        lab.keeper = Keeper::start(&Settings::default()).unwrap();
        batch.join().unwrap();
        lab.settled().await;
        assert_eq!(lab.burst_routes(), 10_000);
    });
}
