//! The Internet's table by eBGP: BIRD feeds BIRD or FRR on the router, which fills the kernel,
//! which ixmapd follows; and when the router's daemon ends, nothing of it is left. A tenth of the
//! table, or all of it with `IXMAP_TEST_FULL_TABLE=1`.
//!
//! `n1 (kernel, BIRD with the table) ── r1 (ixmapd, BIRD or FRR)`

use std::collections::HashSet;
use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use ixmap_lab::{Error, Family, Metrics, Result};
use ixmap_tables::{Address, Route, data};

use crate::bird::Bird;
use crate::frr::{self, Frr, Neighbour};
use crate::node::{Network, Node, address, cable};

/// The full table takes a while on a small machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a route may stay that the kernel no longer has. An unoptimised build on a busy machine
/// only has to get there.
const STALE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 1 });

const ROUTER: &str = r#"
router id 192.0.2.1;
protocol device { }
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
protocol bgp {
    local 10.0.1.1 as 65001;
    neighbor 10.0.1.2 as 65002;
    ipv4 { import all; export none; };
}
protocol bgp {
    local fd00:0:0:1::1 as 65001;
    neighbor fd00:0:0:1::2 as 65002;
    ipv6 { import all; export none; };
}
"#;

const FEEDER: &str = r#"
router id 192.0.2.2;
protocol device { }
protocol bgp {
    local 10.0.1.2 as 65002;
    neighbor 10.0.1.1 as 65001;
    ipv4 { import none; export all; };
}
protocol bgp {
    local fd00:0:0:1::2 as 65002;
    neighbor fd00:0:0:1::1 as 65001;
    ipv6 { import none; export all; };
}
"#;

/// Every tenth prefix of the family's table, or all.
fn prefixes<A: Address>(text: fn(A) -> IpAddr) -> Vec<(IpAddr, u8)> {
    let step = if env::var_os("IXMAP_TEST_FULL_TABLE").is_some() {
        1
    } else {
        10
    };
    let table: Vec<Route<A>> = data::table().expect("tests/data has the table");
    let chosen = table.iter().step_by(step).filter(|route| route.len > 0);
    chosen
        .map(|route| (text(route.prefix), route.len))
        .collect()
}

fn feeder(tables: &[Vec<(IpAddr, u8)>; 2]) -> String {
    let mut config = FEEDER.to_owned();
    for (family, table) in ["ipv4", "ipv6"].iter().zip(tables) {
        config += &format!("protocol static {{\n{family};\n");
        for (prefix, length) in table {
            config += &format!("route {prefix}/{length} blackhole;\n");
        }
        config += "}\n";
    }
    config
}

/// How many routes the kernel has from this daemon.
fn kernel_routes(r1: &Node, family: Family, protocol: &str) -> Result<u64> {
    let flag = family.flag();
    let lines = r1
        .namespace
        .run(&["ip", flag, "route", "show", "proto", protocol])?;
    Ok(u64::try_from(lines.lines().count()).unwrap())
}

/// How many routes ixmapd has, both tables of the kernel's counted.
fn routes(r1: &Node, family: Family) -> Result<u64> {
    let status = r1.ctl(&["status"])?;
    let count = status["routes"][family.label()].as_u64();
    Ok(count.expect("a count"))
}

fn in_sync(r1: &Node) -> Result<bool> {
    Ok(r1.ctl(&["status"])?["mirror"]["in_sync"] == true)
}

/// Asks until it is so and says how long that took.
fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > PATIENCE {
            return Err(Error::Timeout(what.to_owned()));
        }
        thread::sleep(Duration::from_millis(50));
    }
    println!("{what}: {:.2} s", start.elapsed().as_secs_f64());
    Ok(start.elapsed())
}

/// What ixmapd says about a hundred prefixes from all over the table, and whether it forwards them.
fn check_samples(r1: &Node, table: &[(IpAddr, u8)], forwards: bool) -> Result<()> {
    for (address, length) in table.iter().step_by(table.len() / 100) {
        let route = r1.ctl(&["route", &address.to_string()])?;
        if forwards {
            let prefix = route["prefix"].as_str().unwrap_or_default();
            let (_, found) = prefix.split_once('/').unwrap_or_default();
            let found: u8 = found.parse().unwrap_or_default();
            assert!(found >= *length, "{address}/{length}: {route}");
            assert_eq!(route["port"], "n1", "{address}/{length}: {route}");
        } else {
            assert!(route["prefix"].is_null(), "{address}/{length}: {route}");
        }
    }
    Ok(())
}

/// How far ixmapd was behind the kernel since `before`, and what memory it takes.
fn say_lag(r1: &Node, before: &Metrics) -> Result<Metrics> {
    let now = Metrics::scrape(&r1.namespace)?;
    let lag = now.quantile_since(before, "ixmap_netlink_lag_seconds", 0.99);
    println!("lag p99: at most {lag} s");
    println!("memory: {}", r1.memory()?);
    Ok(now)
}

#[test]
fn a_full_table_by_bird_is_followed_to_the_last_route_and_back() -> Result<()> {
    is_followed("bird", |r1| Bird::start(&r1.namespace, ROUTER))
}

#[test]
fn a_full_table_by_frr_is_followed_to_the_last_route_and_back() -> Result<()> {
    let feeder = Neighbour {
        cable: 1,
        end: 2,
        system: 65002,
        bfd: false,
    };
    let config = frr::bgp(1, &[feeder], None);
    is_followed("bgp", |r1| Frr::start(&r1.namespace, &["bgpd"], &config))
}

/// `start` starts the router's daemon, whose routes the kernel knows by the name `protocol`.
fn is_followed<D>(protocol: &str, start: impl FnOnce(&Node) -> Result<D>) -> Result<()> {
    let network = Network::new();
    let (mut r1, mut n1) = (network.router("r1")?, network.plain("n1")?);
    cable(1, &mut r1, &mut n1)?;
    r1.start()?;
    n1.start()?;
    r1.wait_route(address(Family::Ipv4, 1, 2), "n1")?;
    let own = Family::BOTH.map(|family| routes(&r1, family).unwrap());
    let idle = Metrics::scrape(&r1.namespace)?;

    let tables = [
        prefixes(|address: u32| Ipv4Addr::from(address).into()),
        prefixes(|address: u128| Ipv6Addr::from(address).into()),
    ];
    let distinct = tables
        .each_ref()
        .map(|table| table.iter().collect::<HashSet<_>>().len());
    let wanted = distinct.map(|count| u64::try_from(count).unwrap());
    let _feeder = Bird::start(&n1.namespace, &feeder(&tables))?;
    let daemon = start(&r1)?;
    println!("{wanted:?} prefixes are fed to {protocol}");
    // ixmapd is asked, which costs little: a dump of the kernel's takes a core from those that work.
    until("ixmapd has them", || {
        let there = [routes(&r1, Family::Ipv4)?, routes(&r1, Family::Ipv6)?];
        Ok(there == [own[0] + wanted[0], own[1] + wanted[1]] && in_sync(&r1)?)
    })?;
    let full = say_lag(&r1, &idle)?;
    for (family, wanted) in Family::BOTH.into_iter().zip(wanted) {
        assert_eq!(kernel_routes(&r1, family, protocol)?, wanted);
    }
    for table in &tables {
        check_samples(&r1, table, true)?;
    }

    // The daemon takes its routes out of the kernel before it ends.
    let start = Instant::now();
    drop(daemon);
    println!("its end: {:.2} s", start.elapsed().as_secs_f64());
    for family in Family::BOTH {
        assert_eq!(kernel_routes(&r1, family, protocol)?, 0);
    }
    let lag = until("then ixmapd has none", || {
        Ok(Family::BOTH.map(|family| routes(&r1, family).unwrap()) == own)
    })?;
    assert!(lag < STALE, "{lag:?}");
    until("and is in sync", || in_sync(&r1))?;
    say_lag(&r1, &full)?;
    for table in &tables {
        check_samples(&r1, table, false)?;
    }
    println!("mirror: {}", r1.ctl(&["status"])?["mirror"]);
    Ok(())
}
