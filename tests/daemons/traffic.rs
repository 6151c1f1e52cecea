//! Steady traffic of both families while something happens: how much of it was lost, to the packet.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use ixmap_lab::{Background, Error, Family, Result};
use tempfile::NamedTempFile;

use crate::node::Node;

/// Echo requests 10 ms apart, by IPv4 and by IPv6.
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
}

impl Traffic {
    /// Starts it to the addresses that `to` has for the families.
    pub(crate) fn start(from: &Node, to: impl Fn(Family) -> IpAddr) -> Result<Traffic> {
        let [ipv4, ipv6] = Family::BOTH.map(|family| Flow::start(from, to(family)));
        Ok(Traffic([ipv4?, ipv6?]))
    }

    /// Ends the traffic, once it flows again.
    pub(crate) fn finish(self, event: &str) -> Result<[Loss; 2]> {
        let [ipv4, ipv6] = self.0.map(|flow| flow.finish(event));
        let losses = [ipv4?, ipv6?];
        for (family, Loss { lost, sent }) in Family::BOTH.iter().zip(&losses) {
            let family = family.label();
            println!("{event}: {lost} of {sent} {family} packets lost, 10 ms apart");
        }
        Ok(losses)
    }
}

impl Flow {
    fn start(from: &Node, to: IpAddr) -> Result<Flow> {
        let answers = NamedTempFile::new().map_err(Error::io("make a temporary file"))?;
        let file = answers.path().display();
        let ping = format!("exec ping -n -i 0.01 {to} > {file}");
        let pings = from.namespace.spawn(&["sh", "-c", &ping])?;
        Ok(Flow { pings, answers })
    }

    /// Requests after the last one that was answered are not counted: the end cut them off.
    fn finish(self, event: &str) -> Result<Loss> {
        self.pings.finish()?;
        let text =
            fs::read_to_string(&self.answers).map_err(Error::io("read what ping has said"))?;
        let numbers = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once("icmp_seq=")?;
            // "64 bytes from": not an ICMP error, which has a number as well.
            line.contains("bytes from")
                .then(|| rest.split_whitespace().next()?.parse().ok())?
        });
        let answered: BTreeSet<usize> = numbers.collect();
        let sent = answered.last().copied().unwrap_or_default();
        assert!(sent > 0, "{event}: nothing came through");
        let lost = sent - answered.len();
        Ok(Loss { lost, sent })
    }
}
