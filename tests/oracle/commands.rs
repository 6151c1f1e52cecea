//! Random commands of ip(8), from few names and numbers, so that they meet.

use crate::random::Random;

/// What a line begins with that is no command but a setting: `PATH=VALUE`, from /proc/sys on.
pub(crate) const SYSCTL: &str = "sysctl ";
/// A namespace that is there for a moment.
const ELSEWHERE: &str = "ixmap-oracle";

/// Commands that run one after the other without a look at what they did.
pub(crate) type Group = Vec<String>;

/// m1 is a macvlan on e1, and goes with it; b1 a bridge, with carrier while f1 is its port.
const DEVICES: [&str; 7] = ["e1", "e2", "e3", "f1", "t1", "m1", "b1"];
/// Devices with a cable end, by which their carrier is pulled.
const CABLES: [(&str, &str); 4] = [("e1", "p1"), ("e2", "p2"), ("e3", "p3"), ("f1", "q1")];

const PREFIXES4: [&str; 16] = [
    "default",
    "0.0.0.0/1",
    "192.0.0.0/16",
    "192.0.2.0/24",
    "192.0.2.0/25",
    "192.0.2.128/25",
    "192.0.2.0/26",
    "192.0.2.1",
    "198.51.100.0/24",
    "198.51.100.0/31",
    "203.0.113.7",
    "10.0.0.0/8",
    "10.0.1.0/24",
    "10.0.1.0/25",
    "10.0.1.2",
    "10.0.2.0/23",
];
const PREFIXES6: [&str; 16] = [
    "default",
    "2000::/3",
    "2001:db8::/32",
    "2001:db8:f::/48",
    "2001:db8:f::/64",
    "2001:db8:f::/65",
    "2001:db8:f:8000::/49",
    "2001:db8:f::1",
    "2001:db8:e::/48",
    "2001:db8:e::/127",
    "2001:db8:d::7",
    "fd00::/8",
    "2001:db8:1::/64",
    "2001:db8:1::/65",
    "2001:db8:1::2",
    "2001:db8:2::/63",
];
const ACTIONS: [&str; 11] = [
    "add", "add", "append", "append", "prepend", "replace", "replace", "change", "del", "del",
    "del",
];
const KINDS: [&str; 4] = ["blackhole", "unreachable", "prohibit", "throw"];
/// Routes that no gateway is asked for.
const OWN_KINDS: [&str; 4] = ["local", "broadcast", "anycast", "multicast"];
const METRICS: [&str; 5] = ["", "", "", " metric 5", " metric 50"];
const TABLES: [&str; 8] = ["", "", "", "", "", "", " table 100", " table 1000"];
const PREFERENCES: [&str; 8] = ["", "", "", "", "", "", " pref low", " pref high"];
/// What the rules of a family are now and then.
const RULES: [&str; 7] = [
    "priority 100 from 10.0.0.0/8 lookup 100",
    "priority 100 from 10.0.0.0/8 lookup 100 protocol 98",
    "priority 100 from all iif e1 lookup 1000",
    "priority 200 from all fwmark 0x7 blackhole",
    "priority 32766 from all lookup main",
    "priority 32766 from all lookup main protocol 98",
    "priority 32000 from all lookup main suppress_prefixlength 0",
];
const MTUS: [&str; 6] = ["", "", "", "", " mtu 1400", " mtu lock 1300"];

/// An interface and its cable end, as new.
fn device(name: &str) -> Group {
    let number = DEVICES.iter().position(|device| *device == name).unwrap() + 1;
    let mut lines = match CABLES.iter().find(|(device, _)| *device == name) {
        Some((_, end)) => vec![
            format!("link add {name} type veth peer name {end}"),
            format!("link set {end} up"),
        ],
        None if name == "m1" => vec![format!("link add link e1 name {name} type macvlan")],
        None if name == "b1" => vec![format!("link add {name} type bridge")],
        None => vec![format!("tuntap add {name} mode tun")],
    };
    lines.extend([
        format!("link set {name} up"),
        format!("addr add 10.0.{number}.1/24 dev {name}"),
        format!("addr add 2001:db8:{number}::1/64 dev {name} nodad"),
    ]);
    lines
}

/// What every namespace begins with.
pub(crate) fn set_up() -> Group {
    let lo = std::iter::once("link set lo up".to_owned());
    lo.chain(DEVICES.iter().flat_map(|name| device(name)))
        .collect()
}

/// A source of commands.
pub(crate) struct Commands {
    random: Random,
}

impl Commands {
    pub(crate) fn new(seed: u64) -> Commands {
        Commands {
            random: Random::new(seed),
        }
    }

    /// The next one to seven operations.
    pub(crate) fn group(&mut self) -> Group {
        let operations = 1 + self.random.below(7);
        (0..operations).flat_map(|_| self.operation()).collect()
    }

    fn operation(&mut self) -> Group {
        let line = match self.random.below(100) {
            0..60 => self.route(),
            60..73 => self.nexthop(),
            73..79 => self.address(),
            79..86 => self.link(),
            86..90 => self.neighbour(),
            90..92 => return self.rules(),
            92 => self.setting(),
            94 => self.expiring(),
            93 => return self.departure(),
            _ => {
                let name = *self.random.pick(&DEVICES);
                return device(name);
            }
        };
        vec![line]
    }

    fn route(&mut self) -> String {
        let ipv6 = self.random.once_in(2);
        let (family, prefixes) = match ipv6 {
            false => ("", &PREFIXES4),
            true => ("-6 ", &PREFIXES6),
        };
        let prefix = *self.random.pick(prefixes);
        let action = *self.random.pick(&ACTIONS);
        let metric = *self.random.pick(&METRICS);
        // While IPv4's table `default` has routes, much is left to the kernel.
        let table = match self.random.once_in(100) {
            true => " table 253",
            false => *self.random.pick(&TABLES),
        };
        if action == "del" && self.random.once_in(2) {
            let action = if ipv6 && self.random.once_in(4) {
                "flush"
            } else {
                "del"
            };
            return format!("{family}route {action} {prefix}{metric}{table}");
        }
        if self.random.once_in(8) {
            let kind = self.random.pick(&KINDS);
            // Of a route through a blackhole, id 9, the kernel tells no type but that. What IPv6 looked up
            // through an object it uses for all of the object's routes.
            let object = match !ipv6 && self.random.once_in(3) {
                true => format!(" nhid {}", 1 + self.random.below(8)),
                false => String::new(),
            };
            return format!("{family}route {action} {kind} {prefix}{metric}{table}{object}");
        }
        if self.random.once_in(16) {
            let kind = self.random.pick(&OWN_KINDS);
            let device = self.random.pick(&DEVICES);
            return format!("{family}route {action} {kind} {prefix}{metric} dev {device}");
        }
        let tos = if ipv6 {
            ""
        } else {
            self.random.maybe(12, " tos 0x10")
        };
        let from = if ipv6 {
            self.random.maybe(20, " from 2001:db8:1::/48")
        } else {
            ""
        };
        let preference = match ipv6 {
            true => *self.random.pick(&PREFERENCES),
            false => "",
        };
        let mtu = *self.random.pick(&MTUS);
        let source = self.source(ipv6);
        let target = self.target(ipv6);
        format!(
            "{family}route {action} {prefix}{from}{tos}{metric}{table}{preference}{mtu}{source} {target}"
        )
    }

    fn target(&mut self, ipv6: bool) -> String {
        match self.random.below(10) {
            0..5 => self.leg(ipv6),
            5..8 => {
                let legs = 2 + self.random.below(3);
                let legs = (0..legs).map(|_| {
                    let weight = *self.random.pick(&["", "", " weight 3", " weight 200"]);
                    format!("nexthop {}{weight}", self.leg(ipv6))
                });
                legs.collect::<Vec<_>>().join(" ")
            }
            _ => format!("nhid {}", self.nexthop_id()),
        }
    }

    fn leg(&mut self, ipv6: bool) -> String {
        let device = *self.random.pick(&DEVICES);
        let gateway = self.gateway(ipv6, device);
        let via = if ipv6 { "via" } else { "via inet6" };
        match self.random.below(12) {
            0..6 => format!("via {gateway} dev {device}"),
            6 => format!("via {gateway}"),
            7 | 8 => format!("dev {device}"),
            9 => format!("{via} {} dev {device}", self.gateway(true, device)),
            10 if ipv6 => format!("via 2001:db8:77::9 dev {device} onlink"),
            10 => format!("via 172.16.0.9 dev {device} onlink"),
            _ => format!("{via} fe80::{} dev {device}", 2 + self.random.below(3)),
        }
    }

    /// An address that may be the router's own.
    fn source(&mut self, ipv6: bool) -> String {
        let number = 1 + self.random.below(3);
        match (self.random.once_in(6), ipv6) {
            (false, _) => String::new(),
            (true, false) => format!(" src 10.0.{number}.1"),
            (true, true) => format!(" src 2001:db8:{number}::1"),
        }
    }

    /// A neighbour on a device's own prefix.
    fn gateway(&mut self, ipv6: bool, device: &str) -> String {
        let number = DEVICES.iter().position(|name| *name == device).unwrap() + 1;
        let host = 2 + self.random.below(3);
        match ipv6 {
            false => format!("10.0.{number}.{host}"),
            true => format!("2001:db8:{number}::{host}"),
        }
    }

    /// 1 to 4 lead by IPv4, 5 to 8 by IPv6, 9 nowhere; 21 to 23 are groups.
    fn nexthop_id(&mut self) -> usize {
        match self.random.below(3) {
            0 => 21 + self.random.below(3),
            _ => 1 + self.random.below(9),
        }
    }

    fn nexthop(&mut self) -> String {
        let id = self.nexthop_id();
        if self.random.once_in(4) {
            return format!("nexthop del id {id}");
        }
        let action = *self.random.pick(&["add", "replace"]);
        match id {
            9 => format!("nexthop {action} id 9 blackhole"),
            1..=8 => {
                let device = *self.random.pick(&DEVICES);
                let gateway = self.gateway(id > 4, device);
                let family = if id > 4 { "-6 " } else { "" };
                match self.random.below(6) {
                    0 => format!("{family}nexthop {action} id {id} dev {device}"),
                    _ => format!("nexthop {action} id {id} via {gateway} dev {device}"),
                }
            }
            _ => {
                // Members of both families make a group that no route can use.
                let first = if self.random.once_in(2) { 1 } else { 5 };
                let members = 1 + self.random.below(3);
                let members = (0..members).map(|_| {
                    let weight = *self.random.pick(&["", "", ",3", ",100"]);
                    format!("{}{weight}", first + self.random.below(4))
                });
                let members = members.collect::<Vec<_>>().join("/");
                let resilient = self.random.maybe(5, " type resilient buckets 32");
                format!("nexthop {action} id {id} group {members}{resilient}")
            }
        }
    }

    fn address(&mut self) -> String {
        let device = *self.random.pick(&DEVICES);
        let number = DEVICES.iter().position(|name| *name == device).unwrap() + 1;
        let action = *self.random.pick(&["add", "add", "del"]);
        match self.random.below(9) {
            7 => format!("addr add 10.0.{number}.9/24 dev {device} noprefixroute"),
            8 => format!("addr flush dev {device}"),
            0 => format!("addr {action} 10.0.{number}.1/24 dev {device}"),
            1 => format!("addr {action} 10.0.{number}.7/24 dev {device}"),
            2 => format!("addr {action} 10.0.{number}.130/25 dev {device}"),
            3 => {
                let peer = 2 + self.random.below(2);
                format!("addr {action} 10.9.{number}.1 peer 10.9.{number}.{peer} dev {device}")
            }
            4 => format!("addr {action} 2001:db8:{number}::1/64 dev {device} nodad"),
            5 => format!("addr {action} 2001:db8:{number}::7/64 dev {device} nodad"),
            _ => format!("addr {action} 192.0.2.1/32 dev {device}"),
        }
    }

    /// A rule comes or goes, or a family gets its first rules back.
    fn rules(&mut self) -> Group {
        let family = *self.random.pick(&["", "-6 "]);
        if self.random.once_in(2) {
            let mut lines = vec![
                format!("{family}rule flush"),
                format!("{family}rule add priority 32766 lookup main"),
            ];
            if family.is_empty() {
                lines.push("rule add priority 32767 lookup default".to_owned());
            }
            return lines;
        }
        let rule = *self.random.pick(&RULES);
        let rule = match family {
            "" => rule.to_owned(),
            _ => rule.replace("10.0.0.0/8", "2001:db8::/32"),
        };
        let action = *self.random.pick(&["add", "del"]);
        vec![format!("{family}rule {action} {rule}")]
    }

    fn link(&mut self) -> String {
        let device = *self.random.pick(&DEVICES);
        let (_, end) = *self.random.pick(&CABLES);
        match self.random.below(15) {
            12 => format!("link set {device} name x{device}"),
            13 => format!("link set x{device} name {device}"),
            14 => {
                let master = *self.random.pick(&["master b1", "nomaster"]);
                format!("link set f1 {master}")
            }
            0 | 1 => format!("link set {device} down"),
            2..5 => format!("link set {device} up"),
            5 => format!("link set {end} down"),
            6 | 7 => format!("link set {end} up"),
            8 => {
                let mtu = *self.random.pick(&["1500", "1500", "1400", "1200"]);
                format!("link set {device} mtu {mtu}")
            }
            9 => {
                let mac = self.mac();
                format!("link set {device} address {mac}")
            }
            _ => format!("link del {device}"),
        }
    }

    /// A route or a leg that ends while the script runs, or not. The gateway says when, since what has
    /// ended lives on without a word when it is appended again.
    fn expiring(&mut self) -> String {
        let (actions, host, expires): (&[&str], _, _) = match self.random.below(4) {
            0 | 1 => (&["add", "replace", "del"], 2, " expires 1"),
            2 => (&["add", "append", "replace"], 3, " expires 100"),
            _ => (&["append", "append", "del"], 4, ""),
        };
        let action = *self.random.pick(actions);
        let length = *self.random.pick(&["48", "64"]);
        let number = 1 + self.random.below(DEVICES.len());
        let device = DEVICES[number - 1];
        format!(
            "-6 route {action} 2001:db8:c::/{length}{expires} via 2001:db8:{number}::{host} dev {device}"
        )
    }

    /// Legs without carrier count, or they don't.
    fn setting(&mut self) -> String {
        let device = *self.random.pick(&["e1", "e2", "e3", "f1", "all"]);
        let family = *self.random.pick(&["ipv4", "ipv6"]);
        let value = self.random.below(2);
        format!("{SYSCTL}net/{family}/conf/{device}/ignore_routes_with_linkdown={value}")
    }

    /// A device goes to another namespace, and ends with it.
    fn departure(&mut self) -> Group {
        let (device, _) = *self.random.pick(&CABLES);
        vec![
            format!("netns add {ELSEWHERE}"),
            format!("link set {device} netns {ELSEWHERE}"),
            format!("netns del {ELSEWHERE}"),
        ]
    }

    fn neighbour(&mut self) -> String {
        let device = *self.random.pick(&DEVICES);
        let ipv6 = self.random.once_in(2);
        let address = self.gateway(ipv6, device);
        match self.random.below(5) {
            0 => format!("neigh del {address} dev {device}"),
            1 => format!("neigh add {address} lladdr {} dev {device}", self.mac()),
            _ => format!("neigh replace {address} lladdr {} dev {device}", self.mac()),
        }
    }

    fn mac(&mut self) -> String {
        format!("02:00:00:00:00:{:02x}", 16 + self.random.below(8))
    }
}
