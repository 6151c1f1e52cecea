//! Workers: where their threads run, and that sleep costs no packet.

use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use ixmap_lab::{Error, Family, Lab, PATIENCE, Ports, Result};

use crate::packet::Datagram;
use crate::suite::ixmapd_lab;

/// How often the worker has slept.
fn sleeps(lab: &Lab) -> Result<u64> {
    let workers = lab.ctl(&["workers"])?;
    Ok(workers[0]["sleeps"].as_u64().expect("sleeps"))
}

fn wait(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[test]
fn no_packet_is_lost_over_a_thousand_sleeps() -> Result<()> {
    const BATCH: usize = 500;
    const SLEEPS: u64 = 1000;
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let (near, far) = (lab.a.tap()?, lab.b.tap()?);
    let to = lab.b.address(Family::Ipv4);
    let router = lab.router.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0");
        socket.map_err(Error::io("open a socket"))
    })?;
    let (begun, asleep) = (Instant::now(), sleeps(&lab)?);
    while sleeps(&lab)? < asleep + SLEEPS {
        assert!(begun.elapsed() < 4 * PATIENCE, "the worker does not sleep");
        for number in 0..BATCH {
            let text = format!("nap {number:03}.");
            // By a port and by the TAP in turns: a sleeper is woken by a socket or by its bell.
            if number % 2 == 0 {
                near.send(&Datagram::new(&lab.a, to, &text).frame())?;
            } else {
                let sent = router.send_to(text.as_bytes(), (to, 9));
                sent.map_err(Error::io("send"))?;
            }
            // Shorter and longer than its patience of 50 µs: awake, about to sleep, asleep.
            wait(Duration::from_micros(number as u64 * 7 % 160));
        }
        let frames = far.collect("nap ")?;
        assert_eq!(frames.len(), BATCH);
        let mut seen: Vec<&[u8]> = frames.iter().map(|frame| &frame[42..49]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), BATCH, "one came twice");
    }
    Ok(())
}

#[test]
fn workers_have_their_cores_and_control_the_others() -> Result<()> {
    let Some(lab) = ixmapd_lab(Ports::Two)? else {
        return Ok(());
    };
    let core = lab.ctl(&["workers"])?[0]["core"].to_string();
    let tasks = format!("/proc/{}/task", lab.daemon()?.pid());
    let mut workers = 0;
    for task in fs::read_dir(&tasks).map_err(Error::io(tasks))? {
        let read = |file| {
            let path = task.as_ref().unwrap().path().join(file);
            // A thread of a moment ago.
            fs::read_to_string(path).unwrap_or_default()
        };
        let status = read("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let (name, cores) = (field("Name:"), field("Cpus_allowed_list:"));
        if name == format!("ixmap-core{core}") {
            workers += 1;
            assert_eq!(cores, core, "{name}");
        } else if core != "0" {
            // The lab's worker has the last core.
            let last = cores.rsplit(['-', ',']).next();
            assert_ne!(last, Some(&*core), "{name} may run on {cores}");
        }
    }
    assert_eq!(workers, 1);
    Ok(())
}
