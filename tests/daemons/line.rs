//! The smallest network with a way through a router of ixmapd's, a neighbour that routes, and a
//! host at either end.
//!
//! `h1 ── r1 (ixmapd) ── n1 (kernel) ── h2`

use std::net::IpAddr;

use ixmap_lab::{Family, Result};

use crate::node::{Network, Node, address, cable};

pub(crate) struct Line {
    pub(crate) r1: Node,
    pub(crate) h1: Node,
    pub(crate) n1: Node,
    _h2: Node,
}

impl Line {
    /// Cabled, and everybody but r1 started: who gives r1 its addresses is the test's choice.
    pub(crate) fn new() -> Result<Line> {
        let network = Network::new();
        let mut h1 = network.plain("h1")?;
        let mut r1 = network.router("r1")?;
        let mut n1 = network.plain("n1")?;
        let mut h2 = network.plain("h2")?;
        cable(1, &mut h1, &mut r1)?;
        cable(2, &mut r1, &mut n1)?;
        cable(3, &mut n1, &mut h2)?;
        for node in [&mut h1, &mut n1, &mut h2] {
            node.start()?;
        }
        h1.default_route(1, 2)?;
        h2.default_route(3, 1)?;
        Ok(Line {
            r1,
            h1,
            n1,
            _h2: h2,
        })
    }

    /// h2's address, at the far end for h1.
    pub(crate) fn far(family: Family) -> IpAddr {
        address(family, 3, 2)
    }

    /// Waits until ixmapd on r1 has the routes to h2, and h1 its answers, by either family.
    pub(crate) fn wait_through(&self) -> Result<()> {
        for far in Family::BOTH.map(Line::far) {
            self.r1.wait_route(far, "n1")?;
            self.h1.wait_answers(far)?;
        }
        Ok(())
    }
}
