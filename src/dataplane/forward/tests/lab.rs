//! The router under test: one description for both the reference and the pipeline, and a harness
//! that runs frames through the pipeline.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::dataplane::forward::reference::{NextHop, Outcome, Route, Router, RpFilter};
use crate::dataplane::forward::{Arrival, Pipeline, Verdict, Verdicts};
use crate::dataplane::limit::PuntLimits;
use crate::dataplane::mem::{Frame, Pool};
use crate::dataplane::port::{BURST, Burst};
use crate::dataplane::testing::{address, filled, neighbour_mac, own_mac, pool, port};
use crate::shared::fib::{
    Action, Adjacency, AdjacencyId, Buckets, Fib, Group, GroupId, HashFields, HashPolicy,
    Interface, Interfaces, KernelOnly, Lpm, Path, ReversePath, Rewrite, Table, World,
};
use crate::shared::hits::{Hits, Taken};
use crate::shared::mac::MacAddr;
use crate::shared::port::PortId;
use crate::shared::reason::{DropReason, PuntReason};

/// Next hops of the lab, by number.
const BACK: usize = 0;
const NEAR: usize = 1;
const NARROW: usize = 2;
const SILENT: usize = 3;
const SILENT_HERE: usize = 4;
const ELSEWHERE: usize = 5;

/// Weights of 21.0.0.0/8 and its IPv6 twin, over ports 1 and 2.
pub(super) const WEIGHTS: [u16; 2] = [1, 3];

/// A router that receives on port 0 and has every kind of route. Its IPv4 routes are 10/8 (its own
/// links), 11/8 (behind port 0) and 20/8 to 29/8; those of IPv6 are 2001:db8::/32 and 2001:d14::/32
/// to 2001:d1d::/32 alike.
pub(super) fn router() -> Router {
    let known = |slot: u8, mtu| NextHop::Known {
        port: port(slot.into()),
        to: neighbour_mac(slot),
        from: own_mac(slot),
        mtu,
    };
    let via = |n| Route::Via {
        legs: vec![(n, 1)],
        mtu: u16::MAX,
    };
    let spread = |legs: &[(usize, u16)]| Route::Via {
        legs: legs.to_vec(),
        mtu: u16::MAX,
    };
    let kinds = [
        via(NEAR),
        spread(&[(NEAR, WEIGHTS[0]), (NARROW, WEIGHTS[1])]),
        spread(&[(NEAR, 1), (SILENT, 1), (ELSEWHERE, 1), (BACK, 1)]),
        Route::Blackhole,
        Route::Unreachable,
        Route::Prohibit,
        Route::Kernel,
        via(ELSEWHERE),
        via(SILENT),
        via(BACK),
    ];
    let v4 = |a, b, c, d| u32::from_be_bytes([a, b, c, d]);
    let mut routes_ipv4 = vec![
        (v4(10, 0, 0, 0), 24, via(SILENT_HERE)),
        (v4(10, 0, 0, 0), 32, Route::Local),
        (v4(10, 0, 0, 1), 32, Route::Local),
        (v4(10, 0, 0, 255), 32, Route::Local),
        (v4(10, 1, 0, 0), 24, via(SILENT)),
        (v4(10, 1, 0, 1), 32, Route::Local),
        (v4(10, 1, 0, 2), 32, via(NEAR)),
        (v4(11, 0, 0, 0), 8, via(BACK)),
        (v4(20, 1, 0, 0), 16, via(NARROW)),
        (
            v4(20, 2, 0, 0),
            16,
            Route::Via {
                legs: vec![(NEAR, 1)],
                mtu: 600,
            },
        ),
    ];
    let mut routes_ipv6 = vec![
        (address(0x2001_0db8, 0), 64, via(SILENT_HERE)),
        (address(0x2001_0db8, 0), 128, Route::Local),
        (address(0x2001_0db8, 1), 128, Route::Local),
        (address(0x2001_0db8, 2), 128, via(BACK)),
        (address(0x2001_0d14, 0) | 1 << 80, 48, via(NARROW)),
    ];
    for (n, route) in (20..).zip(kinds) {
        routes_ipv4.push((v4(n, 0, 0, 0), 8, route.clone()));
        routes_ipv6.push((address(0x2001_0d00 + u32::from(n), 0), 32, route));
    }
    Router {
        ingress: port(0),
        mac: own_mac(0),
        up: true,
        forward_ipv4: true,
        forward_ipv6: true,
        rp_filter: RpFilter::Off,
        kernel_only: KernelOnly::default(),
        own_ipv4: vec![v4(10, 0, 0, 1), v4(10, 1, 0, 1)],
        routes_ipv4,
        routes_ipv6,
        next_hops: vec![
            known(0, 1500),
            known(1, 1500),
            known(2, 1280),
            NextHop::Unknown(port(1)),
            NextHop::Unknown(port(0)),
            NextHop::Foreign,
        ],
    }
}

/// The lab for those who only need something to forward by.
pub(in crate::dataplane) fn world() -> World {
    router().world(HashFields::Addresses)
}

/// The same with links that carry jumbo frames.
pub(in crate::dataplane) fn jumbo_world() -> World {
    router().jumbo().world(HashFields::Addresses)
}

impl Router {
    /// With default routes through port 1.
    pub(super) fn with_default(mut self) -> Router {
        let near = Route::Via {
            legs: vec![(NEAR, 1)],
            mtu: u16::MAX,
        };
        self.routes_ipv4.push((0, 0, near.clone()));
        self.routes_ipv6.push((0, 0, near));
        self
    }

    /// With links that carry jumbo frames.
    pub(super) fn jumbo(mut self) -> Router {
        for next_hop in &mut self.next_hops {
            if let NextHop::Known { mtu, .. } = next_hop {
                *mtu = 9000;
            }
        }
        self
    }

    /// The same router as the pipeline sees it.
    pub(super) fn world(&self, hash: HashFields) -> World {
        let mut groups: Vec<Group> = World::default().groups.iter().cloned().collect();
        let interface = Interface {
            mac: MacAddr(self.mac),
            up: self.up,
            forward_ipv4: self.forward_ipv4,
            forward_ipv6: self.forward_ipv6,
            reverse_path: match self.rp_filter {
                RpFilter::Off => ReversePath::Off,
                RpFilter::Strict => ReversePath::Strict,
                RpFilter::Loose => ReversePath::Loose,
            },
        };
        let mut interfaces = Interfaces::default();
        interfaces.set(self.ingress, Some(interface));
        World {
            ipv4: fib(&self.routes_ipv4, &mut groups),
            ipv6: fib(&self.routes_ipv6, &mut groups),
            groups: Arc::new(groups.into_iter().collect()),
            adjacencies: Arc::new(self.next_hops.iter().map(adjacency).collect()),
            interfaces: Arc::new(interfaces),
            locals: Arc::new(self.own_ipv4.iter().copied().collect()),
            hash: HashPolicy {
                ipv4: hash,
                ipv6: hash,
                seed: 1,
            },
            kernel_only: self.kernel_only,
        }
    }
}

fn fib<A: Lpm>(routes: &[(A, u32, Route)], groups: &mut Vec<Group>) -> Fib<A> {
    let mut table = Table::default();
    for (prefix, len, route) in routes {
        let group = GroupId::new(u32::try_from(groups.len()).unwrap());
        groups.push(compile(route));
        table.insert(*prefix, u8::try_from(*len).unwrap(), group);
    }
    table.commit().unwrap()
}

fn compile(route: &Route) -> Group {
    let id = |n: usize| AdjacencyId::new(u32::try_from(n).unwrap());
    let mut route_mtu = u16::MAX;
    let action = match route {
        Route::Via { legs, mtu } => {
            route_mtu = *mtu;
            match legs.as_slice() {
                [(only, _)] => Action::Forward(id(*only)),
                legs => {
                    let legs: Vec<_> = legs.iter().map(|(n, weight)| (id(*n), *weight)).collect();
                    Action::Spread(Buckets::new(&legs).unwrap())
                }
            }
        }
        Route::Local => Action::Punt(PuntReason::Local),
        Route::Blackhole => Action::Drop(DropReason::Blackhole),
        Route::Unreachable => Action::Punt(PuntReason::Unreachable),
        Route::Prohibit => Action::Punt(PuntReason::Prohibit),
        Route::Kernel => Action::Punt(PuntReason::KernelRoute),
    };
    Group {
        action,
        mtu: route_mtu,
    }
}

fn adjacency(next_hop: &NextHop) -> Adjacency {
    match *next_hop {
        NextHop::Known {
            port,
            to,
            from,
            mtu,
        } => Adjacency::Resolved(Rewrite {
            port,
            destination: MacAddr(to),
            source: MacAddr(from),
            mtu,
        }),
        NextHop::Unknown(port) => Adjacency::Unresolved(port),
        NextHop::Foreign => Adjacency::Foreign,
    }
}

/// Limits under which no redirect is shown to the kernel any more.
pub(super) fn spent_redirects() -> PuntLimits {
    let mut limits = PuntLimits::default();
    while limits.admit_redirect(NOW) {}
    limits
}

/// The clock of every burst.
const NOW: Duration = Duration::from_secs(1);

/// A pipeline with its packet memory, by every path of this machine.
pub(super) struct Bench {
    /// One a path: what one left in its scratch space must not help another.
    pipelines: Vec<(Path, Pipeline)>,
    pool: Pool,
    hits: Hits,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::of(pool(64))
    }

    /// With packet memory for a burst.
    pub(super) fn of(pool: Pool) -> Bench {
        Bench {
            pipelines: Path::all()
                .map(|path| (path, Pipeline::default()))
                .collect(),
            pool,
            hits: Hits::default(),
        }
    }

    /// Runs one burst (with fresh limits) and says what became of each frame. Panics if a frame
    /// that is not forwarded was written to, if other next hops than those that frames left by are
    /// marked as hit, or if frames fare differently by another path.
    pub(super) fn run(&mut self, world: &World, frames: &[Vec<u8>]) -> Vec<Outcome> {
        self.run_limited(world, frames, &mut PuntLimits::default())
    }

    pub(super) fn run_limited(
        &mut self,
        world: &World,
        frames: &[Vec<u8>],
        limits: &mut PuntLimits,
    ) -> Vec<Outcome> {
        let before = limits.clone();
        let mut best: Option<Vec<Outcome>> = None;
        for at in 0..self.pipelines.len() {
            *limits = before.clone();
            let outcomes = self.run_by(at, world, frames, limits);
            let path = self.pipelines[at].0;
            for (outcome, best) in outcomes.iter().zip(best.iter().flatten()) {
                assert_eq!(outcome, best, "by {path}, not by the best path");
            }
            best.get_or_insert(outcomes);
        }
        best.expect("a path")
    }

    /// How many groups of sixteen slots were all plain IPv4, and all plain IPv6, in the burst that ran
    /// last.
    pub(super) fn whole_sixteens(&self) -> [usize; 2] {
        let heads = &self.pipelines[0].1.heads;
        [heads.ipv4, heads.ipv6].map(|mask| {
            let groups = (0..BURST).step_by(16).map(|first| mask >> first & 0xffff);
            groups.filter(|group| *group == 0xffff).count()
        })
    }

    /// By the path in this place.
    fn run_by(
        &mut self,
        at: usize,
        world: &World,
        frames: &[Vec<u8>],
        limits: &mut PuntLimits,
    ) -> Vec<Outcome> {
        assert!(frames.len() <= BURST);
        let (path, pipeline) = &mut self.pipelines[at];
        let pool = &mut self.pool;
        let mut burst: Burst = frames.iter().map(|bytes| filled(pool, bytes)).collect();
        // Frames that are of different kinds may change places.
        let start = |frame: &Frame, pool: &Pool| pool.bytes(frame).as_ptr();
        let starts: Vec<_> = burst.iter().map(|frame| start(frame, pool)).collect();
        let mut verdicts = Verdicts::default();
        let arrival = Arrival {
            world,
            ingress: port(0),
            limits,
            hits: &self.hits,
            now: NOW,
            fetched: false,
            ahead: &[],
        };
        pipeline.run_with(*path, arrival, pool, &mut burst, &mut verdicts);
        assert_eq!(verdicts.count(), frames.len(), "one verdict a frame");
        let mut outcomes = vec![None; frames.len()];
        for (frame, verdict) in burst.into_iter().zip(verdicts.iter()) {
            let left = pool.bytes(&frame);
            let is_it = |other: &*const u8| *other == start(&frame, pool);
            let came = starts.iter().position(is_it).expect("a frame that came");
            outcomes[came] = Some(match verdict {
                Verdict::Forward(port) => Outcome::Forward(port, left.to_vec()),
                Verdict::Punt(reason, _) => Outcome::Punt(reason),
                Verdict::Redirect => Outcome::Punt(PuntReason::Redirect),
                Verdict::Drop(reason) => Outcome::Drop(reason),
            });
            if !matches!(verdict, Verdict::Forward(_)) {
                assert_eq!(left, frames[came], "{verdict:?} wrote to the frame");
            }
            pool.give(frame);
        }
        let outcomes: Option<Vec<Outcome>> = outcomes.into_iter().collect();
        let outcomes = outcomes.expect("every frame is still there");
        assert_eq!(
            hit(&self.hits, world),
            left_by(&outcomes),
            "marked as hit by {path}"
        );
        outcomes
    }
}

/// Port and MAC of the next hops that are marked.
fn hit(hits: &Hits, world: &World) -> BTreeSet<(PortId, [u8; 6])> {
    let taken = Taken::from([hits]);
    let ids = (0..).map(AdjacencyId::new).zip(world.adjacencies.iter());
    let hit = ids.filter(|(id, _)| taken.has(*id));
    hit.map(|(_, adjacency)| match adjacency {
        Adjacency::Resolved(rewrite) => (rewrite.port, rewrite.destination.0),
        other => panic!("{other:?} was hit"),
    })
    .collect()
}

/// Port and destination MAC of the frames that were forwarded.
fn left_by(outcomes: &[Outcome]) -> BTreeSet<(PortId, [u8; 6])> {
    let forwarded = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Forward(port, frame) => Some((*port, frame[..6].try_into().unwrap())),
        Outcome::Punt(_) | Outcome::Drop(_) => None,
    });
    forwarded.collect()
}
