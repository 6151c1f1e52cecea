//! Two ways of equal cost between r0 and n1, by BGP of both families, for either daemon on r0.
//!
//! ```text
//!           ┌─ s1 ── r1 ─┐
//!  h1 ── r0 ┤            ├ n1 (kernel, BIRD) ── h2     r0, r1, r2: ixmapd; s1: a switch
//!           └─────── r2 ─┘
//! ```
//!
//! Behind a switch a link is lost without a loss of carrier: BFD notices before BGP's own timers.

use std::time::Instant;

use ixmap_lab::{Family, Result, wait_until};

use crate::bird::Bird;
use crate::frr::{self, Frr, Neighbour};
use crate::node::{Network, Node, address, cable, cable_by_switch};

const N1: &str = r#"
router id 192.0.2.104;
protocol device { }
protocol direct { ipv4; ipv6; interface "h2"; }
protocol kernel { ipv4 { export all; }; }
protocol kernel { ipv6 { export all; }; }
template bgp edge { local as 65004; connect retry time 1; }
protocol bgp from edge { neighbor 10.0.4.1 as 65001; ipv4 { import all; export all; }; }
protocol bgp from edge { neighbor 10.0.5.1 as 65002; ipv4 { import all; export all; }; }
protocol bgp from edge { neighbor fd00:0:0:4::1 as 65001; ipv6 { import all; export all; }; }
protocol bgp from edge { neighbor fd00:0:0:5::1 as 65002; ipv6 { import all; export all; }; }
"#;

/// A transit router between r0 and n1.
fn transit(number: u8, to_r0: u8, to_n1: u8) -> String {
    let neighbour = |cable, end, system, bfd| Neighbour {
        cable,
        end,
        system,
        bfd,
    };
    let neighbours = [
        neighbour(to_r0, 1, 65000, true),
        neighbour(to_n1, 2, 65004, false),
    ];
    frr::bgp(number, &neighbours, None)
}

/// h2's addresses, apart enough for a hash.
const TARGETS: u8 = 32;

pub(crate) struct Multipath {
    // Ended before the nodes that they run in.
    _transits: [Frr; 2],
    _far: Bird,
    pub(crate) r0: Node,
    r1: Node,
    r2: Node,
    s1: Node,
    h1: Node,
    _n1: Node,
    _h2: Node,
}

impl Multipath {
    /// All but r0's daemon runs.
    pub(crate) fn new() -> Result<Multipath> {
        let network = Network::new();
        let [mut r0, mut r1, mut r2] = [
            network.router("r0")?,
            network.router("r1")?,
            network.router("r2")?,
        ];
        let [mut h1, mut n1, mut h2, s1] = [
            network.plain("h1")?,
            network.plain("n1")?,
            network.plain("h2")?,
            network.plain("s1")?,
        ];
        cable(1, &mut h1, &mut r0)?;
        cable_by_switch(2, &mut r0, &s1, &mut r1)?;
        cable(3, &mut r0, &mut r2)?;
        cable(4, &mut r1, &mut n1)?;
        cable(5, &mut r2, &mut n1)?;
        cable(6, &mut n1, &mut h2)?;
        for node in [&mut r0, &mut r1, &mut r2, &mut h1, &mut n1, &mut h2] {
            node.start()?;
        }
        h1.default_route(1, 2)?;
        h2.default_route(6, 1)?;
        let targets = (0..TARGETS).flat_map(|n| {
            let target = |family| address(family, 6, target(n));
            let [ipv4, ipv6] = Family::BOTH.map(target);
            [
                format!("addr add {ipv4}/24 dev n1"),
                format!("addr add {ipv6}/64 dev n1"),
            ]
        });
        h2.namespace.ip_batch(&targets.collect::<Vec<_>>())?;
        let daemons = ["bgpd", "bfdd"];
        let transits = [
            Frr::start(&r1.namespace, &daemons, &transit(1, 2, 4))?,
            Frr::start(&r2.namespace, &daemons, &transit(2, 3, 5))?,
        ];
        let far = Bird::start(&n1.namespace, N1)?;
        Ok(Multipath {
            _transits: transits,
            _far: far,
            r0,
            r1,
            r2,
            s1,
            h1,
            _n1: n1,
            _h2: h2,
        })
    }

    /// Waits until r0's routes to h2 have this many legs.
    pub(crate) fn wait_legs(&self, count: usize) -> Result<()> {
        for family in Family::BOTH {
            let to = address(family, 6, 2).to_string();
            wait_until(&format!("the route to {to} has {count} legs"), || {
                let route = self.r0.ctl(&["route", &to])?;
                let legs = route["group"]["legs"].as_array().map(Vec::len);
                Ok(legs == Some(count))
            })?;
        }
        Ok(())
    }

    /// Pings all of h2's addresses by both routers. The replies take one way, whichever BIRD on n1
    /// found best: so that router forwards more than the replies, and the other one something.
    pub(crate) fn both_forward(&self) -> Result<()> {
        for family in Family::BOTH {
            self.h1.wait_answers(address(family, 6, 2))?;
            let before = [self.r1.forwarded(family)?, self.r2.forwarded(family)?];
            for n in 0..TARGETS {
                let target = address(family, 6, target(n));
                assert_eq!(self.h1.ping(target, 1)?, 1, "{target}");
            }
            let grown = [
                self.r1.forwarded(family)? - before[0],
                self.r2.forwarded(family)? - before[1],
            ];
            println!("forwarded by r1 and r2, replies included: {grown:?}");
            let (less, more) = (grown[0].min(grown[1]), grown[0].max(grown[1]));
            assert!(less > 0.0 && more > f64::from(TARGETS), "{grown:?}");
        }
        Ok(())
    }

    /// Cuts the way to r1 behind the switch: nobody on r0's side loses its carrier.
    pub(crate) fn cut(&self) -> Result<()> {
        self.s1.namespace.ip("link set r1 down").map(drop)
    }

    /// Mends what was cut.
    pub(crate) fn mend(&self) -> Result<()> {
        self.s1.namespace.ip("link set r1 up").map(drop)
    }

    /// Cuts the way to r1 and waits until ixmapd on r0 uses the other one alone.
    pub(crate) fn lose_a_leg(&self) -> Result<()> {
        self.cut()?;
        let start = Instant::now();
        self.wait_legs(1)?;
        println!("down {:.2} s after the cut", start.elapsed().as_secs_f64());
        for family in Family::BOTH {
            let far = address(family, 6, 2);
            self.r0.wait_route(far, "r2")?;
            self.h1.wait_answers(far)?;
        }
        Ok(())
    }
}

/// The end of the cable that h2's address of this number is.
fn target(n: u8) -> u8 {
    100 + n
}
