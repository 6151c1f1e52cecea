//! ping and iperf3, run and understood.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::namespace::Namespace;
use crate::wait::wait_until;

/// What a run of ping saw.
pub struct Ping {
    pub sent: u32,
    pub received: u32,
    pub output: String,
}

impl Ping {
    /// Reads the statistics line: `5 packets transmitted, 4 received, ...`.
    pub fn parse(output: String) -> Result<Ping> {
        let count = |what: &str| -> Option<u32> {
            let before = output.split(what).next()?;
            before.split_whitespace().last()?.parse().ok()
        };
        match (count(" packets transmitted"), count(" received")) {
            (Some(sent), Some(received)) => Ok(Ping {
                sent,
                received,
                output,
            }),
            _ => Err(Error::Parse {
                what: "ping's statistics",
                text: output,
            }),
        }
    }
}

/// What a run of iperf3 moved, as the sender and the receiver tell it.
#[derive(Debug)]
pub struct Iperf {
    pub received_bytes: f64,
    pub bits_per_second: f64,
    pub retransmits: f64,
    pub segments: f64,
}

/// The payload of a full TCP segment with time stamps on a 1500 byte link, about.
const SEGMENT_BYTES: f64 = 1448.0;

impl Namespace {
    /// `count` echo requests, a tenth of a second apart; a single one waits two seconds for its answer,
    /// several three for the last ones.
    pub fn ping(&self, to: IpAddr, count: u32) -> Result<Ping> {
        if count == 1 {
            return self.ping_with(to, 1, &[]);
        }
        let deadline = deadline(count);
        let mut ping = self.ping_with(to, count, &["-w", &deadline])?;
        ping.received = answered(&ping.output, count);
        Ok(ping)
    }

    /// The same with more of ping's own switches. Without `-w` it ends a tenth of a second after the last
    /// request if any was answered before.
    pub fn ping_with(&self, to: IpAddr, count: u32, switches: &[&str]) -> Result<Ping> {
        let (to, count) = (to.to_string(), count.to_string());
        let mut words = vec!["ping", "-n", "-i", "0.1", "-W", "2", "-c", &count];
        words.extend(switches);
        words.push(&to);
        let output = self.output(&words)?;
        Ping::parse(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Host {
    /// iperf3 from this host to `server`, with extra switches (`-R`, `-u` ...) for the client.
    pub fn iperf(&self, server: &Host, to: IpAddr, switches: &[&str]) -> Result<Iperf> {
        let _serving = server.spawn(&["iperf3", "-s", "-1"])?;
        wait_until("iperf3 listens", || {
            let listeners = server.run(&["ss", "-Hltn", "sport = :5201"])?;
            Ok(!listeners.trim().is_empty())
        })?;
        let to = to.to_string();
        let mut words = vec!["iperf3", "-J", "-c", &to];
        words.extend(switches);
        let json = self.run(&words)?;
        Iperf::parse(&json)
    }
}

/// The seconds that ping is given for `count` requests, so that it waits for the last answers on a machine
/// that has other things to do as well.
fn deadline(count: u32) -> String {
    (count.div_ceil(10) + 3).to_string()
}

/// How many of the first `count` requests were answered: while ping waits for them it sends more.
fn answered(output: &str, count: u32) -> u32 {
    let number = |line: &str| -> Option<u32> {
        let (_, rest) = line.split_once(" bytes from ")?.1.split_once("icmp_seq=")?;
        rest.split(' ').next()?.parse().ok()
    };
    let numbers: BTreeSet<u32> = output.lines().filter_map(number).collect();
    numbers.range(1..=count).map(|_| 1).sum()
}

impl Iperf {
    fn parse(json: &str) -> Result<Iperf> {
        let unreadable = || Error::Parse {
            what: "iperf3's JSON",
            text: json.to_owned(),
        };
        let report: Value = serde_json::from_str(json).map_err(|_| unreadable())?;
        let end = &report["end"];
        let number = |value: &Value| value.as_f64();
        // UDP has one `sum`; TCP has one sum a side.
        let received = if end["sum_received"].is_object() {
            &end["sum_received"]
        } else {
            &end["sum"]
        };
        let received_bytes = number(&received["bytes"]).ok_or_else(unreadable)?;
        Ok(Iperf {
            received_bytes,
            bits_per_second: number(&received["bits_per_second"]).ok_or_else(unreadable)?,
            retransmits: number(&end["sum_sent"]["retransmits"]).unwrap_or(0.0),
            segments: received_bytes / SEGMENT_BYTES,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_the_first_requests_are_counted_once() {
        let line = |n| format!("64 bytes from 10.0.2.2: icmp_seq={n} ttl=63 time=0.1 ms\n");
        let error = "From 10.0.1.1 icmp_seq=3 Destination Host Unreachable\n";
        let output = [line(1), line(2), line(2), error.to_owned(), line(5)].concat();
        assert_eq!([4, 5].map(|count| answered(&output, count)), [2, 3]);
        let large = "8008 bytes from fd00::2: icmp_seq=1 ttl=63\n";
        assert_eq!(answered(large, 2), 1);
    }

    #[test]
    fn ping_statistics_are_read() {
        let text = "PING x\n\n5 packets transmitted, 4 received, 20% packet loss, time 3ms\n";
        let ping = Ping::parse(text.to_owned()).unwrap();
        assert_eq!((ping.sent, ping.received), (5, 4));
        assert!(Ping::parse("ping: bad".to_owned()).is_err());
    }
}
