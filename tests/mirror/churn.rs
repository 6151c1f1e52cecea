//! Dumps, lag and audits of a kernel that does not rest.

#![allow(unsafe_code, reason = "socket filters by libc")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::silence::{advertise, route, set, until};
use super::*;

#[test]
fn next_hop_objects_that_change_during_every_dump_hold_nothing_up() {
    // More than one buffer of netlink's holds.
    const OBJECTS: u32 = 5_000;
    Lab::run(Settings::default(), async |lab| {
        let objects = |verb: &str| -> String {
            let ids = 1_000..1_000 + OBJECTS;
            let line = |id| match verb {
                "add" => format!("nexthop add id {id} via 10.0.1.2 dev e1\n"),
                _ => format!("nexthop del id {id}\n"),
            };
            ids.map(line).collect()
        };
        ip_batch(
            &(objects("add") + "nexthop add id 1 group 1000/5999\nroute add 192.0.2.0/24 nhid 1\n"),
        );
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let churn = std::thread::spawn(move || {
            let pair = "nexthop add id 7 via 10.0.1.3 dev e1\nnexthop del id 7\n";
            while !stopped.load(Ordering::Relaxed) {
                ip_batch(&pair.repeat(1_000));
            }
        });
        // The first dump, and one that a doubt asks for.
        lab.keeper = Keeper::start(&Settings::default()).unwrap();
        lab.keeper.next().await.unwrap();
        assert!(lab.keeper.mirror().nexthop(1_000).is_some());
        ip("link set e2 down");
        while lab.keeper.counters().resyncs == 0 {
            lab.keeper.next().await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        churn.join().unwrap();
        lab.settled().await;
        let mirror = lab.keeper.mirror();
        assert_eq!(mirror.nexthops().len(), OBJECTS as usize + 1);
        assert!(mirror.nexthop(7).is_none());
        ip_batch(&objects("del"));
        lab.settled().await;
        assert_eq!(lab.keeper.mirror().nexthops().len(), 0);
        assert_eq!(route(lab, "192.0.2.0/24"), None);
    });
}

#[test]
fn words_that_wait_count_from_when_they_came_until_they_are_followed() {
    Lab::run(Settings::default(), async |lab| {
        let began = Instant::now();
        until_nothing_waits(lab).await;
        ip_batch(&burst(20_000, "add"));
        let ended = Instant::now();
        // Nobody follows until the last has been read.
        std::thread::sleep(Duration::from_millis(100));
        let mut oldest = began;
        let mut came = HashSet::new();
        while lab.burst_routes() != 20_000 {
            let waits = lab.keeper.unanswered().expect("some wait");
            assert!(oldest <= waits && waits <= ended, "the oldest first");
            oldest = waits;
            came.insert(waits);
            assert_eq!(lab.keeper.next().await.unwrap().heard, Some(waits));
        }
        assert!(came.len() > 10, "each since it came: {}", came.len());
        until_nothing_waits(lab).await;
        // A doubt waits for the dump that finds nothing new.
        ip("link set e2 down");
        lab.keeper.next().await.unwrap();
        let since = lab.keeper.unanswered();
        assert!(since.is_some());
        while !lab.keeper.next().await.unwrap().in_sync {
            let still = lab.keeper.unanswered();
            assert!(still.is_some() && still <= since, "it began anew");
        }
        lab.settled().await;
        until_nothing_waits(lab).await;
    });
}

/// Follows what the kernel still says by itself, as of neighbours; stuck if a word followed waits.
async fn until_nothing_waits(lab: &mut Lab) {
    while lab.keeper.unanswered().is_some() {
        lab.keeper.next().await.unwrap();
    }
}

/// Announces and withdraws a route, again and again, until it is stopped.
fn feed(stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let stopped = Arc::clone(stop);
    std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            ip("-6 route add 2001:db8:a::/48 via 2001:db8:1::2");
            std::thread::sleep(Duration::from_millis(50));
            ip("-6 route del 2001:db8:a::/48 via 2001:db8:1::2");
            std::thread::sleep(Duration::from_millis(50));
        }
    })
}

#[test]
fn audits_run_while_routes_come_and_go_and_judge_all_the_others() {
    let settings = Settings {
        audit: Some(Duration::from_millis(10)),
        ..Settings::default()
    };
    Lab::run(settings, async |lab| {
        let stop = Arc::new(AtomicBool::new(false));
        let feed = feed(&stop);
        until(lab, |lab| lab.keeper.counters().audits >= 2).await;
        assert_eq!(lab.keeper.counters().drift, 0);
        set("ipv6/conf/e1/accept_ra", 2);
        let mtu = |lab: &Lab| route(lab, "::/0").and_then(|route| route.mtu);
        advertise("p1", 1400);
        until(lab, |lab| mtu(lab) == Some(1400)).await;
        // Nothing tells of this one.
        advertise("p1", 1380);
        until(lab, |lab| mtu(lab) == Some(1380)).await;
        let counters = lab.keeper.counters();
        assert!(counters.drift >= 1, "{counters:?}");
        stop.store(true, Ordering::Relaxed);
        feed.join().unwrap();
    });
}

/// Adds and deletes a few routes without a rest, until it is stopped.
fn churn(stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let stopped = Arc::clone(stop);
    std::thread::spawn(move || {
        let all = |verb| {
            let line = |n| format!("route {verb} 2{n:03x}::/16 via 2001:db8:1::2\n");
            (0x100..0x110).map(line).collect::<String>()
        };
        while !stopped.load(Ordering::Relaxed) {
            ip_batch(&(all("add") + &all("del")));
            std::thread::sleep(Duration::from_millis(2));
        }
    })
}

#[test]
fn ipv6_routes_that_do_not_change_outlive_dumps_of_others_that_do() {
    const ROUTES: usize = 10_000;
    Lab::run(Settings::default(), async |lab| {
        let steady = |n| format!("route add 3000:{n:x}::/32 via 2001:db8:1::2\n");
        ip_batch(&(0..ROUTES).map(steady).collect::<String>());
        let stop = Arc::new(AtomicBool::new(false));
        let churn = churn(&stop);
        let count = |lab: &Lab| {
            let is_steady = |prefix: &ipnet::IpNet| prefix.to_string().starts_with("3000:");
            let routes = lab.keeper.mirror().all_routes();
            routes.filter(|(key, _)| is_steady(&key.prefix)).count()
        };
        while count(lab) < ROUTES {
            lab.keeper.next().await.unwrap();
        }
        for state in ["down", "up", "down", "up"] {
            let resyncs = lab.keeper.counters().resyncs;
            ip(&format!("link set e2 {state}"));
            while lab.keeper.counters().resyncs == resyncs {
                lab.keeper.next().await.unwrap();
                assert_eq!(count(lab), ROUTES, "{state}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        churn.join().unwrap();
        lab.settled().await;
    });
}

/// The kernel's word on deleted IPv6 routes with a /49 reaches nobody who listens in this namespace, nor
/// is it counted as lost.
fn deafen() {
    let filter = |code: u32, jt, jf, k| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let returns = libc::BPF_RET | libc::BPF_K;
    let kind = u32::from(libc::RTM_DELROUTE.swap_bytes());
    let mut program = [
        filter(load | libc::BPF_H, 0, 0, 4),
        filter(equal, 0, 3, kind),
        filter(load | libc::BPF_H, 0, 0, 16),
        // AF_INET6, and the length of the destination.
        filter(equal, 0, 1, 10 << 8 | 49),
        filter(returns, 0, 0, 0),
        filter(returns, 0, 0, u32::MAX),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // Sockets in groups, by their inodes.
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let listening = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        (columns[3] != "00000000").then(|| format!("socket:[{}]", columns[9]))
    });
    let listening: Vec<String> = listening.collect();
    let mut deafened = 0;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        let name = std::fs::read_link(&path).unwrap_or_default();
        if listening
            .iter()
            .any(|socket| *socket == name.to_string_lossy())
        {
            let fd = path.file_name().unwrap().to_str().unwrap();
            let fd: libc::c_int = fd.parse().unwrap();
            let length = u32::try_from(size_of_val(&program)).unwrap();
            let value = (&raw const program).cast();
            // SAFETY: the kernel copies the program that `value` points to.
            let result = unsafe {
                libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, value, length)
            };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            deafened += 1;
        }
    }
    assert_eq!(deafened, 1);
}

#[test]
fn a_route_that_only_the_mirror_has_is_found_though_others_come_and_go() {
    let settings = Settings {
        audit: Some(Duration::from_millis(10)),
        ..Settings::default()
    };
    Lab::run(settings, async |lab| {
        let lost = "2001:db8:f::/49";
        ip("-6 route add 2001:db8:f::/49 via 2001:db8:1::2");
        // It is not used for what this one is for.
        ip("-6 route add 2001:db8:f::/64 via 2001:db8:2::2");
        lab.settled().await;
        let stop = Arc::new(AtomicBool::new(false));
        let feed = feed(&stop);
        deafen();
        ip("-6 route del 2001:db8:f::/49");
        lab.rests().await;
        assert!(route(lab, lost).is_some());
        until(lab, |lab| route(lab, lost).is_none()).await;
        let counters = lab.keeper.counters();
        assert_eq!(counters.drift, 1, "{counters:?}");
        stop.store(true, Ordering::Relaxed);
        feed.join().unwrap();
        lab.settled().await;
    });
}

/// Only what a dump lacks because others change is kept for the next ones.
#[test]
fn a_route_that_has_ended_goes_with_a_dump_though_others_change_during_it() {
    Lab::run(Settings::default(), async |lab| {
        // A dump of so many takes long enough for others to change.
        let steady = |n| format!("route add 3000:{n:x}::/32 via 2001:db8:1::2\n");
        ip_batch(&(0..10_000).map(steady).collect::<String>());
        lab.settled().await;
        let stop = Arc::new(AtomicBool::new(false));
        let churn = churn(&stop);
        let prefix = "2001:db8:f::/48";
        let has = |lab: &Lab| route(lab, prefix).is_some();
        ip("-6 route add 2001:db8:f::/48 via 2001:db8:1::2 expires 2");
        let end = Instant::now() + Duration::from_secs(2);
        until(lab, has).await;
        until(lab, |_| Instant::now() > end).await;
        // One that began before, and one for the end.
        let resyncs = lab.keeper.counters().resyncs;
        while has(lab) {
            assert!(lab.keeper.counters().resyncs < resyncs + 2, "it was kept");
            lab.keeper.next().await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        churn.join().unwrap();
        lab.settled().await;
    });
}
