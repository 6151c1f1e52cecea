//! What it costs to follow a kernel that is given the Internet's table, and rid of it: events into the
//! mirror, changes into the forwarding tables, and snapshots of those. No kernel and no I/O, routes in
//! the disorder that a routing daemon sets them in. `cargo bench --bench follow`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::hash::BuildHasher;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use foldhash::quality::FixedState;
use ipnet::IpNet;
use ixmap::control::mirror::{
    Changes, Event, Link, Mirror, Neighbour, NeighbourFlags, NeighbourState, Path, Placement,
    Route, RouteKey, RouteKind,
};
use ixmap::control::resolve::{PortFacts, Resolver};
use ixmap::shared::fib::{ReversePath, World};
use ixmap::shared::mac::MacAddr;
use ixmap::shared::port::PortId;
use ixmap_tables::{Address, SEED, data};
use smallvec::smallvec;

/// Each time is taken so often; the table has the medians.
const ROUNDS: usize = 5;
/// Events that the daemon hands on at once.
const BATCH: usize = 256;
/// Of batches to a snapshot: the daemon makes one every five milliseconds under a flood.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(5);
const TAP: u32 = 2;
/// Main table.
const MAIN: u32 = 254;
/// RTPROT_BIRD.
const BIRD: u8 = 12;

fn main() {
    println!("| what | all | mirror | forwarding tables | snapshots |\n|---|---|---|---|---|");
    let gateways = [
        IpAddr::from(Ipv4Addr::new(10, 0, 0, 2)),
        IpAddr::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2)),
    ];
    for (name, gateway, keys) in [
        ("IPv4", gateways[0], keys::<u32>()),
        ("IPv6", gateways[1], keys::<u128>()),
    ] {
        let rounds: Vec<[Spent; 2]> = (0..ROUNDS).map(|_| round(&keys, gateway)).collect();
        for (at, what) in ["set", "gone"].iter().enumerate() {
            let mut spent: Vec<Spent> = rounds.iter().map(|round| round[at]).collect();
            spent.sort_by_key(|spent| spent.all());
            println!(
                "| {name} route {what} | {} |",
                spent[ROUNDS / 2].row(keys.len())
            );
        }
    }
}

/// The table's prefixes in disorder.
fn keys<A: Address>() -> Vec<RouteKey> {
    let table = data::table::<A>().unwrap();
    let mut keys: Vec<RouteKey> = table
        .iter()
        .map(|route| RouteKey {
            table: MAIN,
            prefix: IpNet::new(route.prefix.to_ip(), route.len).unwrap(),
        })
        .collect();
    let disorder = FixedState::with_seed(SEED);
    keys.sort_by_cached_key(|key| disorder.hash_one(key));
    keys
}

/// All routes through a gateway set, and then removed.
fn round(keys: &[RouteKey], gateway: IpAddr) -> [Spent; 2] {
    let mut router = Router::new(gateway);
    let path = Path {
        ifindex: Some(TAP),
        via: Some(gateway),
        weight: 1,
        onlink: false,
        dead: false,
    };
    let route = Route {
        metric: 32,
        protocol: BIRD,
        ..Route::bare(RouteKind::Unicast, smallvec![path])
    };
    let set = |key: RouteKey| Event::RouteSet {
        key,
        route: route.clone(),
        place: Placement::default(),
    };
    let gone = |key: RouteKey| Event::RouteGone {
        key,
        route: route.clone(),
    };
    [router.follow(keys, set), router.follow(keys, gone)]
}

/// Where the time went.
#[derive(Clone, Copy, Default)]
struct Spent {
    mirror: Duration,
    tables: Duration,
    snapshots: Duration,
}

impl Spent {
    fn all(&self) -> Duration {
        self.mirror + self.tables + self.snapshots
    }

    /// Microseconds an event.
    fn row(&self, events: usize) -> String {
        let each = |time: Duration| format!("{:.2} us", time.as_secs_f64() * 1e6 / events as f64);
        let columns = [self.all(), self.mirror, self.tables, self.snapshots];
        columns.map(each).join(" | ")
    }
}

/// What the daemon has of the kernel, and makes of it.
struct Router {
    mirror: Mirror,
    resolver: Resolver,
    /// What workers forward by.
    world: World,
    published: Instant,
}

impl Router {
    /// With one port and a neighbour behind it.
    fn new(gateway: IpAddr) -> Router {
        let mut mirror = Mirror::default();
        let mut changes = Changes::default();
        let mac = Some(MacAddr([2, 0, 0, 0, 0, 2]));
        let link = Link {
            index: TAP,
            name: "port".to_owned(),
            mac,
            mtu: 1500,
            up: true,
            carrier: true,
            running: true,
        };
        let neighbour = Neighbour {
            ifindex: TAP,
            address: gateway,
            mac,
            state: NeighbourState::Reachable,
            flags: NeighbourFlags::default(),
        };
        mirror.apply(Event::LinkSet(link), &mut changes);
        mirror.apply(Event::NeighbourSet(neighbour), &mut changes);
        let mut resolver = Resolver::default();
        let facts = PortFacts {
            ifindex: TAP,
            forward_ipv4: true,
            forward_ipv6: true,
            reverse_path: ReversePath::Off,
        };
        resolver.set_port(PortId::new(0).unwrap(), facts, &mirror);
        resolver.apply(&mirror, &changes);
        let world = resolver.world().unwrap();
        Router {
            mirror,
            resolver,
            world,
            published: Instant::now(),
        }
    }

    fn follow(&mut self, keys: &[RouteKey], event: impl Fn(RouteKey) -> Event) -> Spent {
        let mut spent = Spent::default();
        for batch in keys.chunks(BATCH) {
            let events: Vec<Event> = batch.iter().map(|key| event(*key)).collect();
            let mut changes = Changes::default();
            spent.mirror += timed(|| {
                self.mirror.warm(&events);
                for event in events {
                    assert!(self.mirror.begin(event, &mut changes).is_none());
                }
                self.mirror.finish(&mut changes);
            });
            spent.tables += timed(|| self.resolver.apply(&self.mirror, &changes));
            if self.published.elapsed() >= PUBLISH_INTERVAL {
                spent.snapshots += timed(|| self.publish());
            }
        }
        spent.snapshots += timed(|| self.publish());
        spent
    }

    fn publish(&mut self) {
        self.world = black_box(self.resolver.world().unwrap());
        self.published = Instant::now();
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
