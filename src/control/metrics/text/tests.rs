//! The names and labels that dashboards rely on.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::shared::api::{
    Family, FamilyCounts, Mirror, NextHopCounts, OddRules, Port, PortTraffic, Worker, WorkerState,
    WorkerTraffic,
};
use crate::shared::config::Idle;
use crate::shared::reason::{DropReason, InjectDropReason, PuntReason};
use crate::shared::stats::PortTotals;

fn status() -> Status {
    Status {
        version: "1.2.3".into(),
        uptime_seconds: 60,
        ports: vec![Port {
            name: "lan".into(),
            driver: "afxdp".into(),
            device: "e\"0".into(),
            link_up: true,
            speed_mbps: Some(10_000),
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            queues: 1,
            mode: None,
            zero_copy: false,
            interrupts: Vec::new(),
        }],
        workers: vec![Worker {
            name: "core3".into(),
            core: 3,
            state: WorkerState::Running,
            idle: Idle::Adaptive,
            busy_ratio: 0.25,
            sleeps: 4,
        }],
        routes: FamilyCounts { ipv4: 10, ipv6: 11 },
        neighbours: FamilyCounts { ipv4: 2, ipv6: 3 },
        neighbour_care: NeighbourCare {
            probes: 11,
            refused: 1,
            managed_gateways: 4,
            unmanaged_gateways: 8,
            warning: None,
            tables: vec![NeighbourTable {
                family: Family::Ipv6,
                entries: 5,
                limit: 1024,
                full: 2,
                warning: None,
            }],
        },
        next_hops: NextHopCounts {
            groups: 5,
            adjacencies: 6,
            oversized_groups: 1,
            warning: None,
        },
        mirror: Mirror {
            in_sync: true,
            fault: None,
            resyncs: 1,
            overruns: 2,
            lag_seconds: 0.0,
            rules: OddRules {
                ipv4: vec!["100: from all nop".to_owned()],
                ipv6: Vec::new(),
            },
            audits: 3,
            drift: 4,
            unknown_messages: 5,
            unknown_attributes: 6,
            unread_entries: 7,
        },
    }
}

fn text() -> String {
    let mut totals = PortTotals {
        rx_packets: 100,
        rx_bytes: 6400,
        tx_packets: 50,
        tx_bytes: 3200,
        forwarded_ipv4: 90,
        ..PortTotals::default()
    };
    totals.punted[PuntReason::Arp.index()] = 3;
    totals.dropped[DropReason::Blackhole.index()] = 7;
    totals.inject_dropped[InjectDropReason::TooLong.index()] = 1;
    let times = Times::default();
    times.lag.observe(Duration::from_millis(3));
    times.publish.observe(Duration::from_micros(700));
    render(&Snapshot {
        status: &status(),
        counters: &Counters {
            ports: vec![PortTraffic {
                port: "lan".into(),
                traffic: Traffic::from(&totals),
            }],
            workers: vec![WorkerTraffic {
                worker: "core3".into(),
                forwarded_ipv4: 90,
                forwarded_ipv6: 0,
            }],
        },
        drops: &[PortDrops::new("lan", &totals, &[("rx_ring_full", 5)])],
        times: &times,
    })
}

#[test]
fn every_promised_sample_is_there_with_its_labels() {
    let text = text();
    let lines: BTreeSet<&str> = text.lines().collect();
    for line in [
        "ixmap_port_rx_packets_total{port=\"lan\"} 100",
        "ixmap_port_tx_packets_total{port=\"lan\"} 50",
        "ixmap_port_rx_bytes_total{port=\"lan\"} 6400",
        "ixmap_port_tx_bytes_total{port=\"lan\"} 3200",
        "ixmap_forwarded_packets_total{family=\"ipv4\",worker=\"core3\"} 90",
        "ixmap_forwarded_packets_total{family=\"ipv6\",worker=\"core3\"} 0",
        "ixmap_punted_packets_total{port=\"lan\",reason=\"arp\"} 3",
        "ixmap_drops_total{port=\"lan\",reason=\"blackhole\"} 7",
        "ixmap_drops_total{port=\"lan\",reason=\"tx_full\"} 0",
        "ixmap_inject_drops_total{port=\"lan\",reason=\"too_long\"} 1",
        "ixmap_worker_busy_ratio{worker=\"core3\"} 0.25",
        "ixmap_fib_routes{family=\"ipv4\"} 10",
        "ixmap_fib_routes{family=\"ipv6\"} 11",
        "ixmap_neighbours{family=\"ipv4\"} 2",
        "ixmap_neighbours{family=\"ipv6\"} 3",
        "ixmap_neighbour_probes_total 11",
        "ixmap_neighbour_probes_refused_total 1",
        "ixmap_neighbour_managed_gateways 4",
        "ixmap_neighbour_unmanaged_gateways 8",
        "ixmap_oversized_next_hop_groups 1",
        "ixmap_neighbour_table_entries{family=\"ipv6\"} 5",
        "ixmap_neighbour_table_limit{family=\"ipv6\"} 1024",
        "ixmap_neighbour_table_full_total{family=\"ipv6\"} 2",
        "ixmap_fib_publish_seconds_bucket{le=\"0.0005\"} 0",
        "ixmap_fib_publish_seconds_bucket{le=\"0.001\"} 1",
        "ixmap_fib_publish_seconds_bucket{le=\"+Inf\"} 1",
        "ixmap_fib_publish_seconds_sum 0.0007",
        "ixmap_netlink_lag_seconds_sum 0.003",
        "ixmap_netlink_drift_total 4",
        "ixmap_netlink_audits_total 3",
        "ixmap_netlink_unknown_messages_total 5",
        "ixmap_netlink_unknown_attributes_total 6",
        "ixmap_netlink_unread_entries 7",
        "ixmap_odd_rules{family=\"ipv4\"} 1",
        "ixmap_odd_rules{family=\"ipv6\"} 0",
        "ixmap_fib_publish_seconds_count 1",
        "ixmap_netlink_overruns_total 2",
        "ixmap_netlink_resyncs_total 1",
        "ixmap_port_link_up{port=\"lan\"} 1",
        "ixmap_build_info{version=\"1.2.3\"} 1",
        "ixmap_port_info{port=\"lan\",driver=\"afxdp\",device=\"e\\\"0\"} 1",
    ] {
        assert!(lines.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn every_sample_belongs_to_a_family_with_help_and_type() {
    let text = text();
    let mut typed = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(typed.insert(name), "{name} is declared twice");
            assert!(text.contains(&format!("# HELP {name} ")));
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            assert!(typed.contains(base), "{line} has no type above it");
        }
    }
}

#[test]
fn what_came_in_is_what_went_somewhere() {
    let text = text();
    let sum = |prefix: &str| -> u64 {
        text.lines()
            .filter(|line| line.starts_with(prefix))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    assert_eq!(
        sum("ixmap_port_rx_packets_total{"),
        sum("ixmap_forwarded_packets_total{")
            + sum("ixmap_punted_packets_total{")
            + sum("ixmap_drops_total{")
    );
}
