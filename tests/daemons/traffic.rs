//! Steady traffic while something happens: how much of it was lost, to the packet.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use ixmap_lab::{Background, Error, Result};
use tempfile::NamedTempFile;

use crate::node::Node;

/// Echo requests 10 ms apart.
pub(crate) struct Traffic {
    pings: Background,
    answers: NamedTempFile,
}

/// What became of them.
pub(crate) struct Loss {
    pub(crate) lost: usize,
    pub(crate) sent: usize,
}

impl Traffic {
    pub(crate) fn start(from: &Node, to: IpAddr) -> Result<Traffic> {
        let answers = NamedTempFile::new().map_err(Error::io("make a temporary file"))?;
        let file = answers.path().display();
        let ping = format!("exec ping -n -i 0.01 {to} > {file}");
        let pings = from.namespace.spawn(&["sh", "-c", &ping])?;
        Ok(Traffic { pings, answers })
    }

    /// Ends the traffic, once it flows again. Requests after the last one that was answered are
    /// not counted: the end cut them off.
    pub(crate) fn finish(self, event: &str) -> Result<Loss> {
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
        println!("{event}: {lost} of {sent} packets lost, 10 ms apart");
        Ok(Loss { lost, sent })
    }
}
