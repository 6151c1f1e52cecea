//! The Prometheus text format, version 0.0.4, written by hand: every value is read from the
//! workers' counters at the time of the scrape, so there is nothing for a registry to keep.

use std::fmt::{Display, Write};

use super::histogram::BOUNDS;
use super::{Histogram, Times};
use crate::shared::api::{Counters, NeighbourCare, NeighbourTable, PortDrops, Status, Traffic};

/// What a scrape shows.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub(super) status: &'a Status,
    pub(super) counters: &'a Counters,
    pub(super) drops: &'a [PortDrops],
    pub(super) times: &'a Times,
}

/// Writes every metric.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut text = Text(String::with_capacity(64 * 1024));
    daemon(&mut text, snapshot.status);
    ports(&mut text, snapshot);
    reasons(&mut text, snapshot.drops);
    workers(&mut text, snapshot);
    tables(&mut text, snapshot);
    neighbours(&mut text, &snapshot.status.neighbour_care);
    mirror(&mut text, snapshot.status);
    text.histogram(
        "ixmap_netlink_lag_seconds",
        "Time from the kernel's word to the published snapshot that has it.",
        &snapshot.times.lag,
    );
    text.0
}

fn daemon(text: &mut Text, status: &Status) {
    text.family("ixmap_build_info", "gauge", "The running version.");
    text.sample("ixmap_build_info", &[("version", &status.version)], 1);
    text.family(
        "ixmap_uptime_seconds",
        "gauge",
        "Time since the daemon started.",
    );
    text.sample("ixmap_uptime_seconds", &[], status.uptime_seconds);
}

fn ports(text: &mut Text, snapshot: &Snapshot) {
    type Count = fn(&Traffic) -> u64;
    let counters: [(&str, &str, Count); 4] = [
        (
            "ixmap_port_rx_packets_total",
            "Packets received by a port.",
            |t| t.rx_packets,
        ),
        (
            "ixmap_port_tx_packets_total",
            "Packets sent by a port.",
            |t| t.tx_packets,
        ),
        (
            "ixmap_port_rx_bytes_total",
            "Bytes received by a port.",
            |t| t.rx_bytes,
        ),
        ("ixmap_port_tx_bytes_total", "Bytes sent by a port.", |t| {
            t.tx_bytes
        }),
    ];
    for (name, help, count) in counters {
        text.family(name, "counter", help);
        for entry in &snapshot.counters.ports {
            text.sample(name, &[("port", &entry.port)], count(&entry.traffic));
        }
    }
    let ports = &snapshot.status.ports;
    text.family(
        "ixmap_port_link_up",
        "gauge",
        "1 while a port's device has a link.",
    );
    for port in ports {
        let up = u8::from(port.link_up);
        text.sample("ixmap_port_link_up", &[("port", &port.name)], up);
    }
    text.family("ixmap_port_info", "gauge", "A port's driver and device.");
    for port in ports {
        let labels = [
            ("port", port.name.as_str()),
            ("driver", port.driver.as_str()),
            ("device", port.device.as_str()),
        ];
        text.sample("ixmap_port_info", &labels, 1);
    }
}

fn reasons(text: &mut Text, drops: &[PortDrops]) {
    type Reasons = fn(&PortDrops) -> &std::collections::BTreeMap<String, u64>;
    let families: [(&str, &str, Reasons); 4] = [
        (
            "ixmap_punted_packets_total",
            "Received packets handed to the kernel, by receiving port.",
            |d| &d.punted,
        ),
        (
            "ixmap_drops_total",
            "Received packets dropped, by receiving port.",
            |d| &d.dropped,
        ),
        (
            "ixmap_inject_drops_total",
            "Packets that the kernel sent on a port's TAP and that could not leave.",
            |d| &d.inject_dropped,
        ),
        (
            "ixmap_port_lost_packets_total",
            "Packets that a port's device or its rings lost before ixmapd had them, or after.",
            |d| &d.lost,
        ),
    ];
    for (name, help, reasons) in families {
        text.family(name, "counter", help);
        for port in drops {
            for (reason, count) in reasons(port) {
                text.sample(name, &[("port", &port.port), ("reason", reason)], count);
            }
        }
    }
}

fn workers(text: &mut Text, snapshot: &Snapshot) {
    let name = "ixmap_forwarded_packets_total";
    text.family(name, "counter", "Packets forwarded by the fast path.");
    for worker in &snapshot.counters.workers {
        for (family, count) in [
            ("ipv4", worker.forwarded_ipv4),
            ("ipv6", worker.forwarded_ipv6),
        ] {
            text.sample(
                name,
                &[("family", family), ("worker", &worker.worker)],
                count,
            );
        }
    }
    let name = "ixmap_worker_busy_ratio";
    text.family(
        name,
        "gauge",
        "Share of recent time that a worker spent on polls with work.",
    );
    for worker in &snapshot.status.workers {
        text.sample(name, &[("worker", &worker.name)], worker.busy_ratio);
    }
    let name = "ixmap_worker_sleeps_total";
    text.family(name, "counter", "Times that a worker went to sleep.");
    for worker in &snapshot.status.workers {
        text.sample(name, &[("worker", &worker.name)], worker.sleeps);
    }
}

fn tables(text: &mut Text, snapshot: &Snapshot) {
    let status = snapshot.status;
    for (name, help, counts) in [
        ("ixmap_fib_routes", "Routes in the FIB.", status.routes),
        (
            "ixmap_neighbours",
            "Neighbours known on the ports.",
            status.neighbours,
        ),
    ] {
        text.family(name, "gauge", help);
        text.sample(name, &[("family", "ipv4")], counts.ipv4);
        text.sample(name, &[("family", "ipv6")], counts.ipv6);
    }
    text.family(
        "ixmap_next_hop_groups",
        "gauge",
        "Next-hop groups that routes point to.",
    );
    text.sample("ixmap_next_hop_groups", &[], status.next_hops.groups);
    let name = "ixmap_oversized_next_hop_groups";
    let help = "Next-hop groups with more legs than the fast path spreads over.";
    text.family(name, "gauge", help);
    text.sample(name, &[], status.next_hops.oversized_groups);
    text.family(
        "ixmap_adjacencies",
        "gauge",
        "Adjacencies that next-hop groups point to.",
    );
    text.sample("ixmap_adjacencies", &[], status.next_hops.adjacencies);
    text.histogram(
        "ixmap_fib_publish_seconds",
        "Time to build and publish a forwarding snapshot.",
        &snapshot.times.publish,
    );
}

fn neighbours(text: &mut Text, care: &NeighbourCare) {
    let name = "ixmap_neighbour_probes_total";
    let help = "Times that the kernel was asked to look after a neighbour.";
    text.family(name, "counter", help);
    text.sample(name, &[], care.probes);
    let name = "ixmap_neighbour_probes_refused_total";
    let help = "Times that the kernel refused to look after a neighbour.";
    text.family(name, "counter", help);
    text.sample(name, &[], care.refused);
    let name = "ixmap_neighbour_managed_gateways";
    let help = "Next hops of routes that the kernel is to keep resolved.";
    text.family(name, "gauge", help);
    text.sample(name, &[], care.managed_gateways);
    let name = "ixmap_neighbour_unmanaged_gateways";
    let help = "Next hops of routes beyond the most that the kernel is asked to keep resolved.";
    text.family(name, "gauge", help);
    text.sample(name, &[], care.unmanaged_gateways);
    type Value = fn(&NeighbourTable) -> u64;
    let families: [(&str, &str, &str, Value); 3] = [
        (
            "ixmap_neighbour_table_entries",
            "gauge",
            "Entries of the kernel's neighbour table, of all network namespaces.",
            |table| table.entries.into(),
        ),
        (
            "ixmap_neighbour_table_limit",
            "gauge",
            "The most entries of the kernel's neighbour table (gc_thresh3).",
            |table| table.limit.into(),
        ),
        (
            "ixmap_neighbour_table_full_total",
            "counter",
            "Times that the kernel's neighbour table had no room for an entry.",
            |table| table.full,
        ),
    ];
    for (name, kind, help, value) in families {
        text.family(name, kind, help);
        for table in &care.tables {
            text.sample(name, &[("family", table.family.name())], value(table));
        }
    }
}

fn mirror(text: &mut Text, status: &Status) {
    let mirror = &status.mirror;
    let name = "ixmap_netlink_overruns_total";
    text.family(
        name,
        "counter",
        "Times that netlink events were lost, in the kernel's queue or in ixmapd's.",
    );
    text.sample(name, &[], mirror.overruns);
    let name = "ixmap_netlink_resyncs_total";
    text.family(
        name,
        "counter",
        "Full dumps of the kernel's tables since the first.",
    );
    text.sample(name, &[], mirror.resyncs);
    text.family(
        "ixmap_mirror_in_sync",
        "gauge",
        "1 while the FIB follows the kernel.",
    );
    text.sample("ixmap_mirror_in_sync", &[], u8::from(mirror.in_sync));
    let name = "ixmap_mirror_lag_seconds";
    text.family(
        name,
        "gauge",
        "Time from the kernel's word to the FIB, at the last change.",
    );
    text.sample(name, &[], mirror.lag_seconds);
    for (name, help, count) in [
        (
            "ixmap_netlink_audits_total",
            "Comparisons of a kernel at rest with what was followed of it.",
            mirror.audits,
        ),
        (
            "ixmap_netlink_drift_total",
            "Differences that audits found and repaired: each is a bug to report.",
            mirror.drift,
        ),
        (
            "ixmap_netlink_unknown_messages_total",
            "Messages of types that ixmap does not know, skipped.",
            mirror.unknown_messages,
        ),
        (
            "ixmap_netlink_unknown_attributes_total",
            "Attributes that ixmap does not know, skipped.",
            mirror.unknown_attributes,
        ),
    ] {
        text.family(name, "counter", help);
        text.sample(name, &[], count);
    }
    let name = "ixmap_netlink_unread_entries";
    let help = "Entries of the kernel's tables that ixmap could not read in the last dump.";
    text.family(name, "gauge", help);
    text.sample(name, &[], mirror.unread_entries);
    text.family(
        "ixmap_odd_rules",
        "gauge",
        "Rules other than the default ones: the kernel alone forwards a family that has any.",
    );
    for (family, rules) in [("ipv4", &mirror.rules.ipv4), ("ipv6", &mirror.rules.ipv6)] {
        text.sample("ixmap_odd_rules", &[("family", family)], rules.len());
    }
}

/// The text so far.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{separator}{label}=\"{}\"", escape(text));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        let counts = histogram.cumulative();
        let bucket = format!("{name}_bucket");
        for (bound, count) in BOUNDS.iter().zip(counts) {
            let bound = bound.as_secs_f64().to_string();
            self.sample(&bucket, &[("le", &bound)], count);
        }
        let total = counts.last().copied().unwrap_or_default();
        self.sample(&bucket, &[("le", "+Inf")], total);
        self.sample(&format!("{name}_sum"), &[], histogram.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), &[], total);
    }
}

/// A label's value: device names are the kernel's, and it allows quotes and backslashes.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
