//! Steady traffic of both families while something happens: how much of it was lost, to the packet,
//! and for how long no answer came.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

use ixmap_lab::{Background, Error, Family, Result, wait_until};
use tempfile::NamedTempFile;

use crate::node::Node;

/// Echo requests 10 ms apart (ping falls behind while answers are missing), by IPv4 and by IPv6.
pub(crate) struct Traffic([Flow; 2]);

struct Flow {
    pings: Background,
    answers: NamedTempFile,
}

/// What became of those of one family.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) lost: usize,
    pub(crate) sent: usize,
    /// The longest time between two answers, in seconds.
    silence: f64,
}

impl Traffic {
    /// Starts it to the addresses that `to` has for the families, and waits until it flows.
    pub(crate) fn start(from: &Node, to: impl Fn(Family) -> IpAddr) -> Result<Traffic> {
        let [ipv4, ipv6] = Family::BOTH.map(|family| Flow::start(from, to(family)));
        let flows = [ipv4?, ipv6?];
        for flow in &flows {
            wait_until("traffic flows", || Ok(!answered(&flow.answers)?.is_empty()))?;
        }
        Ok(Traffic(flows))
    }

    /// Ends the traffic, once it flows again.
    pub(crate) fn finish(self, event: &str) -> Result<[Loss; 2]> {
        let [ipv4, ipv6] = self.0.map(|flow| flow.finish());
        let losses = [ipv4?, ipv6?];
        for (family, loss) in Family::BOTH.iter().zip(&losses) {
            let (
                Loss {
                    lost,
                    sent,
                    silence,
                },
                family,
            ) = (loss, family.label());
            println!("{event}: {lost} of {sent} {family} packets lost, {silence:.2} s of silence");
        }
        Ok(losses)
    }
}

impl Flow {
    fn start(from: &Node, to: IpAddr) -> Result<Flow> {
        let answers = NamedTempFile::new().map_err(Error::io("make a temporary file"))?;
        let file = answers.path().display();
        let ping = format!("exec ping -D -n -i 0.01 {to} > {file}");
        let pings = from.namespace.spawn(&["sh", "-c", &ping])?;
        Ok(Flow { pings, answers })
    }

    /// Requests after the last one that was answered are not counted: the end cut them off.
    fn finish(self) -> Result<Loss> {
        self.pings.finish()?;
        let answered = answered(&self.answers)?;
        let sent = answered.keys().last().copied().unwrap_or_default();
        let times = answered.values().zip(answered.values().skip(1));
        let silence = times.map(|(before, after)| after - before);
        Ok(Loss {
            lost: sent - answered.len(),
            sent,
            silence: silence.fold(0.0, f64::max),
        })
    }
}

/// When the requests that were answered were, by their numbers.
fn answered(answers: &NamedTempFile) -> Result<BTreeMap<usize, f64>> {
    let text = fs::read_to_string(answers).map_err(Error::io("read what ping has said"))?;
    // "[1700000000.123456] 64 bytes from": not an ICMP error, which has a number as well.
    let answers = text.lines().filter_map(|line| {
        let (time, _) = line.strip_prefix('[')?.split_once("] 64 bytes from")?;
        let (_, rest) = line.split_once("icmp_seq=")?;
        let number: usize = rest.split_whitespace().next()?.parse().ok()?;
        Some((number, time.parse().ok()?))
    });
    Ok(answers.collect())
}
