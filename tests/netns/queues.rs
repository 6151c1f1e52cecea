//! Several workers: each has a queue of every port, and what arrives on it.

use std::net::UdpSocket;

use ixmap_lab::{Error, Family, Lab, Metrics, Ports, Result, wait_until};

use crate::suite::cabled_lab;

const DATAGRAMS: u32 = 500;

/// What each of the two workers has forwarded.
fn forwarded(metrics: &Metrics) -> [f64; 2] {
    ["core0", "core1"].map(|worker| {
        let labels = [("family", "ipv4"), ("worker", worker)];
        metrics.sum("ixmap_forwarded_packets_total", &labels)
    })
}

/// Two queues on every link; A sends by the queue of the core that it runs on (XPS).
fn widen(lab: &Lab) -> Result<()> {
    for host in [&lab.a, &lab.b] {
        let device = host.device();
        lab.router
            .run(&["ethtool", "-L", &device, "rx", "2", "tx", "2"])?;
        host.run(&["ethtool", "-L", "eth0", "rx", "2", "tx", "2"])?;
    }
    for (queue, cores) in [(0, 1), (1, 2)] {
        let file = format!("/sys/class/net/eth0/queues/tx-{queue}/xps_cpus");
        lab.a
            .run(&["sh", "-c", &format!("echo {cores} > {file}")])?;
    }
    Ok(())
}

/// Sends datagrams from A, on a core, to a neighbour of B that never answers.
fn send(lab: &Lab, core: usize) -> Result<()> {
    let silent = lab.b.neighbour(Family::Ipv4, 77);
    lab.a.enter(|| {
        assert!(core_affinity::set_for_current(core_affinity::CoreId {
            id: core
        }));
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(Error::io("bind a socket"))?;
        for _ in 0..DATAGRAMS {
            let sent = socket.send_to(b"queue", (silent, 9));
            sent.map_err(Error::io("send a datagram"))?;
        }
        Ok(())
    })
}

#[test]
fn each_worker_forwards_what_arrives_on_its_own_queue() -> Result<()> {
    let Some(mut lab) = cabled_lab(Ports::Two)? else {
        return Ok(());
    };
    widen(&lab)?;
    lab.start_with(&["--workers", "0,1"])?;
    lab.router.ip(&format!(
        "neigh replace {} lladdr {} nud permanent dev p1",
        lab.b.neighbour(Family::Ipv4, 77),
        lab.b.mac_text(),
    ))?;
    let status = lab.ctl(&["status"])?;
    assert_eq!(status["ports"][0]["queues"], 2, "{status}");
    // Until the neighbour is in force, its packets go by the kernel.
    let silent = lab.b.neighbour(Family::Ipv4, 77).to_string();
    wait_until("the neighbour is in force", || {
        let route = lab.ctl(&["route", &silent])?;
        Ok(route["group"]["legs"][0]["mac"] == lab.b.mac_text())
    })?;
    for core in [0, 1, 0, 1] {
        let before = forwarded(&lab.metrics()?);
        send(&lab, core)?;
        let mut expected = before;
        expected[core] += f64::from(DATAGRAMS);
        wait_until("all of it is forwarded", || {
            let now = forwarded(&lab.metrics()?);
            assert!(
                now[1 - core] <= expected[1 - core],
                "the other worker had some"
            );
            Ok(now == expected)
        })?;
    }
    Ok(())
}
