//! What `ixmapctl` prints for people: aligned tables, and for routes a line each, as `ip route` does.

use std::fmt::Write;

use crate::shared::api::{
    Group, Leg, Neighbour, Port, PortDrops, PortWithCounters, Route, Status, Traffic, Worker,
};

/// Rows under headings, columns as wide as their widest cell.
struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new<const N: usize>(headings: [&str; N]) -> Table {
        Table {
            rows: vec![headings.map(str::to_owned).to_vec()],
        }
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Numbers to the right, words to the left; a column is numeric when its rows are.
    fn render(&self) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let layout: Vec<(usize, bool)> = (0..columns)
            .map(|column| {
                let width = cells(column).map(|c| c.chars().count()).max().unwrap_or(0);
                let numbers = cells(column).skip(1).any(|c| is_number(c));
                let words = cells(column).skip(1).any(|c| c != "-" && !is_number(c));
                (width, numbers && !words)
            })
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, (width, numeric)) in row.iter().zip(&layout) {
                let _ = match numeric {
                    true => write!(line, "{cell:>width$}  "),
                    false => write!(line, "{cell:<width$}  "),
                };
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// `1500`, `10000M`, `25.0%`.
fn is_number(cell: &str) -> bool {
    cell.trim_end_matches(['M', '%']).parse::<f64>().is_ok()
}

pub(super) fn status(status: &Status) -> String {
    let mut out = format!(
        "ixmapd {}, up {}\n",
        status.version,
        duration(status.uptime_seconds)
    );
    let mirror = &status.mirror;
    let _ = writeln!(
        out,
        "mirror: {}, {} resyncs, {} overruns, lag {:.3} s",
        if mirror.in_sync {
            "in sync"
        } else {
            "NOT in sync"
        },
        mirror.resyncs,
        mirror.overruns,
        mirror.lag_seconds
    );
    if let Some(fault) = &mirror.fault {
        let _ = writeln!(out, "fault: {fault}");
    }
    if mirror.drift > 0 {
        let (drift, audits) = (mirror.drift, mirror.audits);
        let _ = writeln!(
            out,
            "drift: {drift} differences in {audits} audits: see the log, and report it"
        );
    }
    if mirror.unknown_messages + mirror.unknown_attributes > 0 {
        let _ = writeln!(
            out,
            "skipped: {} messages and {} attributes of a newer kernel",
            mirror.unknown_messages, mirror.unknown_attributes
        );
    }
    if mirror.unread_entries > 0 {
        let _ = writeln!(
            out,
            "left out: {} entries of the kernel's tables that ixmapd cannot read: see the log, and report it",
            mirror.unread_entries
        );
    }
    for (family, rules) in [("IPv4", &mirror.rules.ipv4), ("IPv6", &mirror.rules.ipv6)] {
        if !rules.is_empty() {
            let rules = rules.join("; ");
            let _ = writeln!(out, "{family} rules, by which the kernel forwards: {rules}");
        }
    }
    let tables = status.neighbour_care.tables.iter();
    let warnings = tables.filter_map(|table| table.warning.as_ref());
    let warnings = warnings.chain(&status.neighbour_care.warning);
    for warning in warnings.chain(&status.next_hops.warning) {
        let _ = writeln!(out, "warning: {warning}");
    }
    let _ = writeln!(
        out,
        "routes: {} IPv4, {} IPv6; neighbours: {} IPv4, {} IPv6; next hops: {} groups, {} adjacencies\n",
        status.routes.ipv4,
        status.routes.ipv6,
        status.neighbours.ipv4,
        status.neighbours.ipv6,
        status.next_hops.groups,
        status.next_hops.adjacencies
    );
    out += &ports(status.ports.iter());
    out.push('\n');
    if status.ports.iter().any(|port| !port.interrupts.is_empty()) {
        out += &interrupts(&status.ports);
        out.push('\n');
    }
    out + &workers(&status.workers)
}

/// Where the interrupts of each port go that sets that.
fn interrupts(ports: &[Port]) -> String {
    let mut table = Table::new(["PORT", "QUEUE", "IRQ", "CORE"]);
    let number = |number: Option<String>| number.unwrap_or("-".to_owned());
    for port in ports {
        for interrupt in &port.interrupts {
            table.row([
                port.name.clone(),
                interrupt.queue.to_string(),
                number(interrupt.irq.map(|irq| irq.to_string())),
                number(interrupt.core.map(|core| core.to_string())),
            ]);
        }
    }
    table.render()
}

fn ports<'a>(ports: impl Iterator<Item = &'a Port>) -> String {
    let mut table = Table::new([
        "PORT", "DRIVER", "DEVICE", "LINK", "SPEED", "MAC", "MTU", "QUEUES", "MODE", "COPY",
    ]);
    for port in ports {
        table.row([
            port.name.clone(),
            port.driver.clone(),
            port.device.clone(),
            if port.link_up { "up" } else { "down" }.to_owned(),
            port.speed_mbps
                .map_or("-".to_owned(), |speed| format!("{speed}M")),
            port.mac.clone(),
            port.mtu.to_string(),
            port.queues.to_string(),
            port.mode.clone().unwrap_or("-".to_owned()),
            if port.zero_copy { "zero-copy" } else { "copy" }.to_owned(),
        ]);
    }
    table.render()
}

pub(super) fn ports_with_counters(list: &[PortWithCounters]) -> String {
    let traffic: Vec<_> = list
        .iter()
        .map(|entry| (entry.port.name.as_str(), entry.traffic))
        .collect();
    ports(list.iter().map(|entry| &entry.port)) + "\n" + &counters(&traffic)
}

pub(super) fn workers(workers: &[Worker]) -> String {
    let mut table = Table::new(["WORKER", "CORE", "STATE", "IDLE", "BUSY", "SLEEPS"]);
    for worker in workers {
        table.row([
            worker.name.clone(),
            worker.core.to_string(),
            format!("{:?}", worker.state).to_lowercase(),
            worker.idle.name().to_owned(),
            format!("{:.1}%", worker.busy_ratio * 100.0),
            worker.sleeps.to_string(),
        ]);
    }
    table.render()
}

pub(super) fn counters(ports: &[(&str, Traffic)]) -> String {
    let mut table = Table::new([
        "PORT",
        "RX",
        "RX-BYTES",
        "TX",
        "TX-BYTES",
        "FWD-IPV4",
        "FWD-IPV6",
        "PUNTED",
        "DROPPED",
        "INJECT-DROPPED",
    ]);
    for (port, traffic) in ports {
        table.row([
            (*port).to_owned(),
            traffic.rx_packets.to_string(),
            traffic.rx_bytes.to_string(),
            traffic.tx_packets.to_string(),
            traffic.tx_bytes.to_string(),
            traffic.forwarded_ipv4.to_string(),
            traffic.forwarded_ipv6.to_string(),
            traffic.punted.to_string(),
            traffic.dropped.to_string(),
            traffic.inject_dropped.to_string(),
        ]);
    }
    table.render()
}

/// One port's packets and bits a second.
#[derive(Clone, Copy, PartialEq, Default, Debug, serde::Serialize)]
pub(super) struct Rates {
    pub(super) rx_pps: f64,
    pub(super) tx_pps: f64,
    pub(super) rx_bps: f64,
    pub(super) tx_bps: f64,
}

pub(super) fn rates<'a>(ports: impl Iterator<Item = (&'a str, Traffic, Rates)>) -> String {
    let mut table = Table::new([
        "PORT", "RX-PPS", "RX-BPS", "TX-PPS", "TX-BPS", "RX", "TX", "PUNTED", "DROPPED",
    ]);
    for (port, traffic, rates) in ports {
        table.row([
            port.to_owned(),
            format!("{:.0}", rates.rx_pps),
            format!("{:.0}", rates.rx_bps),
            format!("{:.0}", rates.tx_pps),
            format!("{:.0}", rates.tx_bps),
            traffic.rx_packets.to_string(),
            traffic.tx_packets.to_string(),
            traffic.punted.to_string(),
            traffic.dropped.to_string(),
        ]);
    }
    table.render()
}

/// Reasons that have counted something.
pub(super) fn drops(ports: &[PortDrops]) -> String {
    let mut table = Table::new(["PORT", "WHAT", "REASON", "PACKETS"]);
    for port in ports {
        for (what, reasons) in [
            ("dropped", &port.dropped),
            ("punted", &port.punted),
            ("inject-dropped", &port.inject_dropped),
            ("lost", &port.lost),
        ] {
            for (reason, count) in reasons.iter().filter(|(_, count)| **count > 0) {
                table.row([
                    port.port.clone(),
                    what.to_owned(),
                    reason.clone(),
                    count.to_string(),
                ]);
            }
        }
    }
    table.render()
}

/// The line that `ixmapctl routes` prints.
pub(super) fn route(route: &Route) -> String {
    let mut line = route
        .prefix
        .map_or("no route".to_owned(), |p| p.to_string());
    if let Some(kind) = route.kind {
        let _ = write!(line, " {}", format!("{kind:?}").to_lowercase());
    }
    let _ = write!(line, " {}", format!("{:?}", route.action).to_lowercase());
    if let Some(reason) = &route.reason {
        let _ = write!(line, " reason {reason}");
    }
    if let Some(via) = route.via {
        let _ = write!(line, " via {via}");
    }
    if let Some(port) = &route.port {
        let _ = write!(line, " port {port}");
    }
    line.push('\n');
    line
}

/// The line of a route and its group below.
pub(super) fn route_with_group(entry: &Route) -> String {
    let mut out = route(entry);
    if let Some(Group { id, legs }) = &entry.group {
        let _ = writeln!(out, "group {id}");
        for leg in legs {
            out.push_str(&leg_line(leg));
        }
    }
    out
}

fn leg_line(leg: &Leg) -> String {
    let mut line = String::from("   ");
    if let Some(via) = leg.via {
        let _ = write!(line, " via {via}");
    }
    if let Some(port) = &leg.port {
        let _ = write!(line, " port {port}");
    }
    let _ = write!(line, " weight {}", leg.weight);
    if let Some(mac) = &leg.mac {
        let _ = write!(line, " mac {mac}");
    }
    if let Some(state) = &leg.state {
        let _ = write!(line, " {state}");
    }
    line.push('\n');
    line
}

/// The line that `ixmapctl neighbours` prints, as `ip neighbour` does.
pub(super) fn neighbour(neighbour: &Neighbour) -> String {
    let mut line = format!("{} port {}", neighbour.address, neighbour.port);
    if let Some(mac) = &neighbour.mac {
        let _ = write!(line, " mac {mac}");
    }
    let _ = writeln!(line, " {}", neighbour.state);
    line
}

/// `1d 02:03:04`.
fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    match days {
        0 => clock,
        _ => format!("{days}d {clock}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_numbers_to_the_right() {
        let mut table = Table::new(["PORT", "PACKETS"]);
        table.row(["lan".into(), "7".into()]);
        table.row(["backbone".into(), "123456789".into()]);
        assert_eq!(
            table.render(),
            "PORT        PACKETS\nlan               7\nbackbone  123456789\n"
        );
    }

    #[test]
    fn interrupts_are_shown_with_their_queue_and_core() {
        let mut port: Port = serde_json::from_str(
            r#"{"name":"wan","driver":"ixgbe","device":"0000:03:00.0","link_up":true,
                "speed_mbps":10000,"mac":"02:00:00:00:00:01","mtu":1500,"queues":2,"mode":"ixmap",
                "zero_copy":true,"interrupts":[{"queue":0,"irq":24,"core":3}]}"#,
        )
        .unwrap();
        port.interrupts.push(crate::shared::api::Interrupt {
            queue: 1,
            irq: None,
            core: None,
        });
        assert_eq!(
            interrupts(&[port]),
            "PORT  QUEUE  IRQ  CORE\nwan       0   24     3\nwan       1    -     -\n"
        );
    }

    #[test]
    fn only_reasons_that_counted_are_shown() {
        let mut totals = crate::shared::stats::PortTotals::default();
        totals.dropped[crate::shared::reason::DropReason::TxFull.index()] = 3;
        assert_eq!(
            drops(&[PortDrops::new("lan", &totals, &[("rx_ring_full", 0)])]),
            "PORT  WHAT     REASON   PACKETS\nlan   dropped  tx_full        3\n"
        );
    }

    #[test]
    fn an_uptime_reads_as_days_and_a_clock() {
        assert_eq!(duration(59), "00:00:59");
        assert_eq!(duration(93784), "1d 02:03:04");
    }
}
