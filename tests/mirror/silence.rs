//! Rules and settings, and what the kernel changes without a word: against the real kernel.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use ixmap::control::mirror::{Route, RouteKey};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt,
    socket, sockopt,
};

use super::*;

pub(crate) fn set(setting: &str, value: u8) {
    let path = format!("/proc/sys/net/{setting}");
    std::fs::write(&path, value.to_string()).expect(&path);
}

fn key(prefix: &str) -> RouteKey {
    RouteKey {
        table: 254,
        prefix: prefix.parse().unwrap(),
    }
}

pub(crate) fn route(lab: &Lab, prefix: &str) -> Option<Route> {
    lab.keeper.mirror().routes(&key(prefix)).first().cloned()
}

/// Follows the kernel until `is_so`.
pub(crate) async fn until(lab: &mut Lab, is_so: impl Fn(&Lab) -> bool) {
    while !is_so(lab) {
        lab.keeper.next().await.unwrap();
    }
}

#[test]
fn rules_are_followed_without_a_dump() {
    Lab::run(Settings::default(), async |lab| {
        let is_default =
            |lab: &Lab| [false, true].map(|ipv6| lab.keeper.mirror().rules().are_default(ipv6));
        assert_eq!(is_default(lab), [true, true]);
        lab.follows(&[
            "rule add from 10.0.0.0/8 lookup 100 priority 32765",
            "rule add from 10.0.0.0/8 lookup 100 priority 7",
            "-6 rule add iif e1 lookup 70000 priority 7",
            "-6 rule add not fwmark 0x1/0xff prohibit priority 32765",
            "rule add ipproto tcp dport 80 goto 32766 priority 9",
        ])
        .await;
        assert_eq!(is_default(lab), [false, false]);
        lab.follows(&[
            "-6 rule del priority 7",
            "-6 rule del priority 32765",
            "-6 rule add from all lookup main suppress_prefixlength 0 priority 3",
            "-6 rule del priority 3",
        ])
        .await;
        assert_eq!(is_default(lab), [false, true]);
        lab.follows(&["rule del priority 7", "rule del priority 9"])
            .await;
        lab.follows(&["rule del priority 32765"]).await;
        assert_eq!(is_default(lab), [true, true]);
        lab.follows(&["rule del priority 32766"]).await;
        assert_eq!(is_default(lab), [false, true]);
        lab.follows(&["rule add from all lookup main priority 32766"])
            .await;
        assert_eq!(is_default(lab), [true, true]);
    });
}

/// RTM_NEWRULE of `from all to 192.0.2.0/24 lookup 100 priority 100`, as ip(8) never asks: without
/// NLM_F_EXCL, so that the kernel takes a second of the same.
fn add_rule_again() {
    let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    let mut message = Vec::new();
    let length = 16 + 12 + 8 + 8;
    message.extend(u32::to_ne_bytes(length));
    message.extend(libc::RTM_NEWRULE.to_ne_bytes());
    // NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE
    message.extend(0x405u16.to_ne_bytes());
    message.extend([0; 8]);
    // AF_INET, /24, table 100, FR_ACT_TO_TBL; FRA_DST, FRA_PRIORITY
    message.extend([2, 24, 0, 0, 100, 0, 0, 1, 0, 0, 0, 0]);
    message.extend([8, 0, 1, 0, 192, 0, 2, 0]);
    message.extend([8, 0, 6, 0, 100, 0, 0, 0]);
    socket.send(&message, 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    assert_eq!(answer[16..20], [0; 4], "the kernel refuses: {answer:?}");
}

#[test]
fn of_two_equal_rules_one_remains() {
    Lab::run(Settings::default(), async |lab| {
        let is_default = |lab: &Lab| lab.keeper.mirror().rules().are_default(false);
        add_rule_again();
        add_rule_again();
        lab.rests().await;
        for remaining in [1, 0] {
            ip("rule del priority 100");
            lab.settled().await;
            assert_eq!(is_default(lab), remaining == 0, "{remaining} remain");
        }
    });
}

#[test]
fn the_command_that_the_log_names_removes_the_rule() {
    Lab::run(Settings::default(), async |lab| {
        lab.recovers(&["rule add l3mdev priority 1000"]).await;
        let odd = lab.keeper.mirror().rules().odd(false);
        assert_eq!(odd.len(), 1);
        assert_eq!(odd[0].to_string(), "1000: from all l3mdev");
        let cure = odd[0].cure();
        ip(cure.strip_prefix("ip ").unwrap());
        until(lab, |lab| lab.keeper.mirror().rules().are_default(false)).await;
    });
}

#[test]
fn settings_are_followed_by_interface_and_for_all() {
    Lab::run(Settings::default(), async |lab| {
        for (setting, value) in [
            ("ipv4/conf/e1/forwarding", 1),
            ("ipv4/conf/e1/rp_filter", 2),
            ("ipv4/conf/all/ignore_routes_with_linkdown", 1),
            ("ipv6/conf/all/forwarding", 1),
            ("ipv6/conf/all/ignore_routes_with_linkdown", 1),
            ("ipv4/conf/all/rp_filter", 1),
        ] {
            set(setting, value);
            lab.catches_up(setting).await;
        }
        let follows_default = |lab: &Lab| {
            let index = i32::try_from(if_nametoindex("p2").unwrap()).unwrap();
            lab.keeper.mirror().netconf(false, index).unwrap().rp_filter
        };
        assert_eq!(follows_default(lab), Some(0));
        set("ipv4/conf/default/rp_filter", 1);
        until(lab, |lab| follows_default(lab) == Some(1)).await;
        set("ipv4/conf/all/forwarding", 1);
        lab.settled().await;
        lab.recovers(&["link set e1 down", "link set e1 name port1", "link del e2"])
            .await;
    });
}

#[test]
fn routes_of_a_link_without_carrier_are_given_up_at_once_where_that_is_set() {
    const ROUTES: [(&str, &str); 2] = [("192.0.2.0/24", "ipv4"), ("2001:db8:f::/48", "ipv6")];
    Lab::run(Settings::default(), async |lab| {
        lab.recovers(&[
            "route add 192.0.2.0/24 nexthop via 10.0.1.2 nexthop via 10.0.2.2",
            "-6 route add 2001:db8:f::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2",
        ])
        .await;
        let dead = |lab: &Lab, prefix| {
            let paths = route(lab, prefix).unwrap().paths;
            paths.iter().filter(|path| path.dead).count()
        };
        for (set_for, other) in [(0, 1), (1, 0)] {
            let [(prefix, family), (untouched, _)] = [ROUTES[set_for], ROUTES[other]];
            set(&format!("{family}/conf/e1/ignore_routes_with_linkdown"), 1);
            lab.settled().await;
            let resyncs = lab.keeper.counters().resyncs;
            ip("link set p1 down");
            until(lab, |lab| dead(lab, prefix) == 1).await;
            assert_eq!(lab.keeper.counters().resyncs, resyncs, "it took a dump");
            assert_eq!(dead(lab, untouched), 0);
            lab.settled().await;
            assert_eq!((dead(lab, prefix), dead(lab, untouched)), (1, 0));
            // The kernel says no word of the routes when the setting is changed.
            set(&format!("{family}/conf/e1/ignore_routes_with_linkdown"), 0);
            lab.settled().await;
            assert_eq!(dead(lab, prefix), 0);
            ip("link set p1 up");
            lab.settled().await;
        }
        // `all` counts in IPv4 too.
        ip("link set p1 down");
        lab.settled().await;
        assert_eq!(dead(lab, ROUTES[0].0), 0);
        set("ipv4/conf/all/ignore_routes_with_linkdown", 1);
        lab.settled().await;
        assert_eq!(dead(lab, ROUTES[0].0), 1);
    });
}

#[test]
fn an_ipv6_address_is_local_when_it_is_known_to_be_the_only_one() {
    Lab::run(Settings::default(), async |lab| {
        set("ipv6/conf/e1/accept_dad", 1);
        let own = RouteKey {
            table: 255,
            prefix: "2001:db8:1::77/128".parse().unwrap(),
        };
        let is_local = |lab: &Lab| !lab.keeper.mirror().routes(&own).is_empty();
        ip("-6 addr add 2001:db8:1::77/64 dev e1");
        lab.rests().await;
        assert!(!is_local(lab), "duplicate address detection takes a second");
        until(lab, is_local).await;
        lab.settled().await;
    });
}

/// Without an address of IPv6's there, that is silent but for one route of the kernel's own.
#[test]
fn legs_of_an_interface_die_and_rise_with_ipv6_there() {
    Lab::run(Settings::default(), async |lab| {
        set("ipv6/conf/e1/addr_gen_mode", 1);
        lab.recovers(&[
            "-6 addr flush dev e1",
            "-6 route add 2001:db8:f::/48 nexthop via fe80::2 dev e1 nexthop via fe80::3 dev e2",
        ])
        .await;
        for (disabled, dead) in [(1, 1), (0, 0)] {
            set("ipv6/conf/e1/disable_ipv6", disabled);
            lab.settled().await;
            let paths = route(lab, "2001:db8:f::/48").unwrap().paths;
            assert_eq!(paths.iter().filter(|path| path.dead).count(), dead);
        }
    });
}

#[test]
fn an_address_with_another_peer_is_another_address() {
    Lab::run(Settings::default(), async |lab| {
        lab.recovers(&[
            "addr flush dev e1",
            "addr add 10.0.1.1 peer 10.0.1.2 dev e1",
            "addr add 10.0.1.1 peer 10.0.1.3 dev e1",
            "route add 192.0.2.0/24 via 10.0.1.2",
        ])
        .await;
        ip("addr del 10.0.1.1 peer 10.0.1.3 dev e1");
        let resyncs = lab.keeper.counters().resyncs;
        while lab.keeper.counters().resyncs == resyncs {
            lab.keeper.next().await.unwrap();
            assert!(route(lab, "192.0.2.0/24").is_some());
        }
        lab.settled().await;
    });
}

#[test]
fn a_route_ends_when_it_expires_not_when_the_kernel_forgets_it() {
    Lab::run(Settings::default(), async |lab| {
        let lasting = "2001:db8:e::/48";
        let prefix = "2001:db8:f::/48";
        lab.follows(&[
            "-6 route add 2001:db8:e::/48 via 2001:db8:1::2 expires 3000",
            "-6 route add 2001:db8:f::/48 via 2001:db8:1::2 expires 2",
        ])
        .await;
        assert!(route(lab, prefix).is_some());
        until(lab, |lab| route(lab, prefix).is_none()).await;
        let mut show = Command::new("ip");
        show.args(["-6", "route", "show", prefix]);
        let shown = String::from_utf8(show.output().unwrap().stdout).unwrap();
        assert!(shown.contains(prefix), "the kernel has it still: {shown}");
        assert!(route(lab, lasting).is_some());
        // Its deletion, when it comes, is no news.
        ip("-6 route flush 2001:db8:f::/48");
        lab.rests().await;
        lab.settled().await;
    });
}

#[test]
fn an_end_that_comes_sooner_than_was_told_is_found() {
    Lab::run(Settings::default(), async |lab| {
        let prefix = "2001:db8:f::/48";
        let add = |how: &str| {
            let line = format!("-6 route {how} via 2001:db8:1::2 dev e1");
            let mut ip = Command::new("ip");
            ip.args(line.split(' ')).stderr(Stdio::null());
            ip.status().unwrap().success()
        };
        assert!(add("add 2001:db8:f::/48 expires 300"));
        lab.settled().await;
        // Refused, since it is there; yet its end is the new one.
        let began = Instant::now();
        assert!(!add("append 2001:db8:f::/48 expires 3"));
        until(lab, |lab| route(lab, prefix).is_none()).await;
        assert!(began.elapsed() > Duration::from_millis(2800));
        let show = Command::new("ip").args(["-6", "route", "show"]).output();
        let shown = String::from_utf8(show.unwrap().stdout).unwrap();
        assert!(shown.contains(prefix), "the kernel has it still: {shown}");
    });
}

/// The kernel remembers a route that has ended for up to half a minute, and gives it back silently.
#[test]
fn a_route_that_is_back_after_its_end_is_found_and_is_no_drift() {
    for audit in [Some(Duration::from_millis(10)), None] {
        let settings = Settings {
            audit,
            ..Settings::default()
        };
        Lab::run(settings, async |lab| {
            let prefix = "2001:db8:f::/48";
            let has = |lab: &Lab| route(lab, prefix).is_some();
            ip("-6 route add 2001:db8:f::/48 via 2001:db8:1::2 dev e1 expires 1");
            until(lab, has).await;
            until(lab, |lab| !has(lab)).await;
            // Refused, since it is there; yet it has no end any more.
            let append = "-6 route append 2001:db8:f::/48 via 2001:db8:1::2 dev e1";
            let mut ip = Command::new("ip");
            ip.args(append.split(' ')).stderr(Stdio::null());
            assert!(!ip.status().unwrap().success());
            until(lab, has).await;
            lab.settled().await;
            assert_eq!(lab.keeper.counters().drift, 0);
        });
    }
}

#[test]
fn a_route_that_ends_while_another_ones_end_is_looked_for_ends_too() {
    Lab::run(Settings::default(), async |lab| {
        // A dump in the last 10 ms of a route says that it never ends.
        for apart in (60..84).step_by(6) {
            let prefixes = ["a", "b"].map(|one| format!("2001:db8:{one}{apart}::/48"));
            for prefix in &prefixes {
                let add = format!("-6 route add {prefix} via 2001:db8:1::2 expires 1");
                ip(&add);
                std::thread::sleep(Duration::from_millis(apart));
            }
            let has = |lab: &Lab, prefix: &String| route(lab, prefix).is_some();
            until(lab, |lab| prefixes.iter().any(|prefix| has(lab, prefix))).await;
            until(lab, |lab| !prefixes.iter().any(|prefix| has(lab, prefix))).await;
            let show = Command::new("ip").args(["-6", "route", "show"]).output();
            let shown = String::from_utf8(show.unwrap().stdout).unwrap();
            for prefix in prefixes {
                assert!(shown.contains(&prefix), "{apart}: gone: {shown}");
            }
        }
    });
}

/// The kernel uses the leg that has ended until its next garbage collection, and says but then.
#[test]
fn a_multipath_route_outlives_its_first_leg() {
    Lab::run(Settings::default(), async |lab| {
        let prefix = "2001:db8:f::/48";
        ip("-6 route add 2001:db8:f::/48 via 2001:db8:1::2 dev e1 expires 1");
        ip("-6 route append 2001:db8:f::/48 via 2001:db8:2::2 dev e2");
        let lapsed = |lab: &Lab| route(lab, prefix).is_some_and(|route| route.lapsed);
        until(lab, lapsed).await;
        assert_eq!(route(lab, prefix).unwrap().paths.len(), 2);
        set("ipv6/route/flush", 1);
        until(lab, |lab| !lapsed(lab)).await;
        lab.settled().await;
        let left = route(lab, prefix).unwrap().paths;
        assert_eq!(left.len(), 1, "{left:?}");
        assert_eq!(left[0].via, "2001:db8:2::2".parse().ok());
        // As well when the other leg comes after the first one's end.
        ip("-6 route add 2001:db8:e::/48 via 2001:db8:1::2 dev e1 expires 1");
        let other = |lab: &Lab| route(lab, "2001:db8:e::/48");
        until(lab, |lab| other(lab).is_some()).await;
        until(lab, |lab| other(lab).is_none()).await;
        ip("-6 route append 2001:db8:e::/48 via 2001:db8:2::2 dev e2");
        lab.settled().await;
        let both = other(lab).unwrap();
        assert_eq!((both.paths.len(), both.lapsed), (2, true));
    });
}

/// Sends a router advertisement with an MTU option from `port`.
pub(crate) fn advertise(port: &str, mtu: u32) {
    let socket = socket(
        AddressFamily::Inet6,
        SockType::Raw,
        SockFlag::empty(),
        SockProtocol::IcmpV6,
    )
    .unwrap();
    setsockopt(&socket, sockopt::Ipv6MulticastHops, &255).unwrap();
    // Type, code, checksum (the kernel's), hop limit, flags, lifetime 1800 s, timers; MTU option.
    let mut packet = vec![
        134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0, 0,
    ];
    packet.extend(mtu.to_be_bytes());
    let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
    let scope = if_nametoindex(port).unwrap();
    let to = SockaddrIn6::from(SocketAddrV6::new(all_nodes, 0, 0, scope));
    sendto(socket.as_raw_fd(), &packet, &to, MsgFlags::empty()).unwrap();
}

#[test]
fn the_mtu_of_an_advertised_route_is_found_and_its_silent_change_by_the_audit() {
    let settings = Settings {
        audit: Some(Duration::from_secs(3)),
        ..Settings::default()
    };
    Lab::run(settings, async |lab| {
        set("ipv6/conf/e1/accept_ra", 2);
        lab.settled().await;
        let mtu = |lab: &Lab| route(lab, "::/0").and_then(|route| route.mtu);
        advertise("p1", 1400);
        until(lab, |lab| mtu(lab) == Some(1400)).await;
        let counters = lab.keeper.counters();
        assert_eq!(counters.drift, 0, "{counters:?}");
        // Nothing tells of this one.
        advertise("p1", 1380);
        until(lab, |lab| mtu(lab) == Some(1380)).await;
        let counters = lab.keeper.counters();
        assert!(counters.drift >= 1, "{counters:?}");
    });
}

#[test]
fn audits_of_a_kernel_that_keeps_its_word_find_nothing() {
    let settings = Settings {
        audit: Some(Duration::from_millis(10)),
        ..Settings::default()
    };
    Lab::run(settings, async |lab| {
        lab.recovers(&["route add 192.0.2.0/24 via 10.0.1.2", "link set p2 down"])
            .await;
        // The kernel makes a neighbour of 0.0.0.0 for loopback, and says nothing; nobody listens.
        let refused = std::net::TcpStream::connect("127.0.0.1:9");
        assert_eq!(
            refused.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionRefused
        );
        while lab.keeper.counters().audits < 2 {
            let step = tokio::time::timeout(QUIET, lab.keeper.next()).await;
            // An audit that finds nothing is no step, and the mirror is in sync during it.
            assert!(step.map_or(true, |step| step.unwrap().in_sync));
        }
        assert_eq!(lab.keeper.counters().drift, 0);
    });
}
