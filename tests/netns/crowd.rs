//! Ten thousand neighbours on one link, all of them in use. The kernel's table of neighbours is one
//! for the whole machine: its limits are raised while the test runs.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use ixmap_lab::{Error, Family, Lab, Ports, Result, wait_until};
use serde_json::Value;

use crate::packet::Datagram;
use crate::suite::ixmapd_lab;

const MANY: u16 = 10_000;
/// A limit that this many come near to, and one that they don't.
const SCANTY: u32 = 11_000;
const AMPLE: u32 = 40_000;

/// The limits of a neighbour table of the machine's, as they were once this is dropped.
pub(crate) struct Limits(Vec<(PathBuf, String)>);

impl Limits {
    pub(crate) fn keep(family: Family) -> Result<Limits> {
        let mut kept = Vec::new();
        // The largest last: the others never exceed it.
        for level in ["3", "2", "1"] {
            let name = format!(
                "/proc/sys/net/{}/neigh/default/gc_thresh{level}",
                family.label()
            );
            let value = fs::read_to_string(&name).map_err(Error::io(format!("read {name}")))?;
            kept.push((name.into(), value));
        }
        Ok(Limits(kept))
    }

    /// Room for `limit` entries, none of which is collected before.
    pub(crate) fn set(&self, limit: u32) -> Result<()> {
        for (file, _) in &self.0 {
            let what = format!("write {}", file.display());
            fs::write(file, limit.to_string()).map_err(Error::io(what))?;
        }
        Ok(())
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        for (file, value) in self.0.iter().rev() {
            let _ = fs::write(file, value);
        }
    }
}

/// The n-th neighbour.
fn neighbour(n: u16) -> Ipv4Addr {
    let [high, low] = (n + 2).to_be_bytes();
    Ipv4Addr::new(10, 50, high, low)
}

/// What `ixmapctl status` says of the kernel's IPv4 table.
fn table(lab: &Lab) -> Result<Value> {
    Ok(lab.ctl(&["status"])?["neighbour_care"]["tables"][0].take())
}

/// How many of the neighbours are in a state.
fn count(lab: &Lab, state: &str) -> Result<u64> {
    let list = lab
        .router
        .ip(&format!("-4 neigh show dev p1 nud {state} to 10.50.0.0/16"))?;
    Ok(list.lines().map(|_| 1).sum())
}

#[test]
fn ten_thousand_neighbours_in_use_are_all_forwarded_to_and_kept_fresh() -> Result<()> {
    // Put back once the lab is gone: its neighbours are more than that.
    let limits = Limits::keep(Family::Ipv4)?;
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    limits.set(SCANTY)?;
    // B is all of them.
    lab.b.ip("route add local 10.50.0.0/17 dev lo")?;
    lab.router.ip("addr add 10.50.255.1/16 dev p1")?;
    let mac = lab.b.mac_text();
    let line = |n| {
        let address = neighbour(n);
        format!("neigh add {address} lladdr {mac} dev p1 nud stale")
    };
    let lines: Vec<String> = (0..MANY).map(line).collect();
    let began = Instant::now();
    lab.router.ip_batch(&lines)?;
    let added = began.elapsed();
    wait_until("every neighbour is known and the mirror in sync", || {
        let status = lab.ctl(&["status"])?;
        let known = status["neighbours"]["ipv4"].as_u64().unwrap_or_default();
        Ok(known >= MANY.into() && status["mirror"]["in_sync"] == true)
    })?;
    println!(
        "{MANY} neighbours: added in {added:.2?}, in sync after {:.2?}",
        began.elapsed()
    );
    assert_eq!(
        count(&lab, "stale")?,
        u64::from(MANY),
        "nobody has asked yet"
    );

    assert_warned(&lab, &limits)?;
    assert_forwarded(&lab)?;
    assert_kept_fresh(&lab)
}

/// The operator is told, in the log and in the status, until there is room.
fn assert_warned(lab: &Lab, limits: &Limits) -> Result<()> {
    wait_until(
        "the status warns",
        || Ok(table(lab)?["warning"].is_string()),
    )?;
    let warning = table(lab)?["warning"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        warning.contains(&SCANTY.to_string())
            && warning.contains("net.ipv4.neigh.default.gc_thresh3="),
        "{warning}"
    );
    assert_eq!(lab.daemon()?.log().matches("at most 11000 ").count(), 1);
    limits.set(AMPLE)?;
    wait_until("the status has nothing to say", || {
        let table = table(lab)?;
        Ok(table["limit"] == AMPLE && table["warning"].is_null())
    })
}

fn assert_forwarded(lab: &Lab) -> Result<()> {
    let before = lab.metrics()?;
    let some = (0..MANY).step_by(1234).map(neighbour).map(IpAddr::V4);
    let mut pings = 0.0;
    for address in some {
        let ping = lab.a.ping(address, 3)?;
        assert_eq!(ping.received, 3, "{address}: {}", ping.output);
        pings += 3.0;
    }
    let forwarded = before.forwarded(Family::Ipv4) + 2.0 * pings;
    wait_until("all have gone by the fast path", || {
        Ok(lab.metrics()?.forwarded(Family::Ipv4) >= forwarded)
    })?;
    let after = lab.metrics()?;
    let punted = after.punts("p0", "no_neighbour") - before.punts("p0", "no_neighbour");
    assert_eq!(punted, 0.0);
    Ok(())
}

/// Traffic to all of them has the kernel confirm each.
fn assert_kept_fresh(lab: &Lab) -> Result<()> {
    // The first must still be REACHABLE when the last have been probed.
    lab.router.sysctl(&[
        "net.ipv4.neigh.p1.base_reachable_time_ms=600000",
        "net.ipv4.neigh.p1.delay_first_probe_time=1",
    ])?;
    let tap = lab.a.tap()?;
    let frames = (0..MANY).map(|n| Datagram::new(&lab.a, neighbour(n).into(), "hello").frame());
    let frames: Vec<Vec<u8>> = frames.collect();
    let began = Instant::now();
    wait_until("every neighbour is confirmed", || {
        for burst in frames.chunks(100) {
            burst.iter().try_for_each(|frame| tap.send(frame))?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(count(lab, "reachable")? == u64::from(MANY))
    })?;
    println!("all of them confirmed after {:.1?}", began.elapsed());
    let probes = lab.metrics()?.sum("ixmap_neighbour_probes_total", &[]);
    assert!(probes >= MANY.into(), "{probes} probes");
    Ok(())
}
