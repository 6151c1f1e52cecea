//! A network namespace with ports, ixmap's mirror and resolver that follow it, and the kernel to ask.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use ixmap::control::mirror::Mirror;
use ixmap::control::netlink::{Keeper, Settings, dump};
use ixmap::control::resolve::{Answer, PortFacts, Resolver};
use ixmap::shared::fib::{Action, ReversePath, World};
use ixmap::shared::port::PortId;
use nix::sched::{CloneFlags, unshare};

use crate::commands::{self, Group, SYSCTL};
use crate::compare::{Relation, addresses_around, adjacency_is_right, difference, relation};
use crate::kernel::{Kernel, Verdict, has_first_rules};
use crate::random::Random;

/// Silence on the event socket that ends a group.
const QUIET: Duration = Duration::from_millis(10);
/// What still differs after this long stays so. The kernel may tell of a carrier a second late.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a line begins with whose family is IPv6, whatever its words say.
const IPV6: &str = "-6 ";

/// ixmap's ports; other interfaces are foreign.
const PORTS: [&str; 4] = ["e1", "e2", "e3", "t1"];

/// How the kernel tells of routes through next-hop objects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Objects {
    /// Each change of an object is one of its routes as well, which carry its legs.
    Told,
    /// Neither (net.ipv4.nexthop_compat_mode=0).
    Silent,
}

impl Objects {
    fn set(self) {
        let value = match self {
            Objects::Told => "1",
            Objects::Silent => "0",
        };
        std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", value).unwrap();
    }
}

/// When a script's outcome is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    EachGroup,
    AtTheEnd,
}

/// What was seen while ixmap and the kernel agreed.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    /// Addresses asked about.
    pub(crate) asked: u64,
    /// Of those, left to the kernel.
    pub(crate) left: u64,
    /// Of those, with next hops.
    pub(crate) forwarded: u64,
    /// Comparisons that had to be repeated.
    pub(crate) late: u64,
}

/// The first disagreement.
#[derive(Debug)]
pub(crate) struct Failure {
    /// After this group.
    pub(crate) group: usize,
    pub(crate) what: String,
}

/// Runs a script in a namespace of its own and compares.
pub(crate) fn run(script: &[Group], objects: Objects, check: Check) -> Result<Tally, Failure> {
    let script = script.to_vec();
    let lab = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
        set_up();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { Lab::start(objects).play(&script, check).await })
    };
    std::thread::spawn(lab).join().unwrap()
}

/// A router, whose addresses and their routes are there at once.
fn set_up() {
    for (name, value) in [
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
        ("ipv6/conf/default/router_solicitations", "0"),
    ] {
        std::fs::write(format!("/proc/sys/net/{name}"), value).unwrap();
    }
    ip_batch(&commands::set_up());
}

/// What the kernel refuses is part of the game; what `ip` does not understand is not.
fn ip_batch(group: &Group) {
    // A batch takes its family from the command line, not from its lines.
    let prefix = |line: &String| {
        [IPV6, SYSCTL]
            .into_iter()
            .find(|prefix| line.starts_with(*prefix))
    };
    for lines in group.chunk_by(|one, next| prefix(one) == prefix(next)) {
        let prefix = prefix(&lines[0]).unwrap_or_default();
        let lines: Vec<&str> = lines.iter().map(|line| &line[prefix.len()..]).collect();
        match prefix {
            SYSCTL => lines.iter().for_each(|line| set(line)),
            IPV6 => ip_lines(&["-6"], &lines),
            _ => ip_lines(&[], &lines),
        }
    }
}

/// Devices come and go, and their settings with them.
fn set(line: &str) {
    let (path, value) = line.split_once('=').unwrap();
    if let Err(error) = std::fs::write(format!("/proc/sys/{path}"), value) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{line}");
    }
}

fn ip_lines(family: &[&str], lines: &[&str]) {
    let mut child = Command::new("ip")
        .args(family)
        .args(["-force", "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = lines.join("\n") + "\n";
    let mut input = child.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let said = child.wait_with_output().unwrap().stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(!said.contains("is unknown"), "{lines:?}: {said}");
}

struct Lab {
    keeper: Keeper,
    resolver: Resolver,
    world: World,
    in_sync: bool,
    /// The ports' ifindexes at the moment.
    ports: [Option<u32>; PORTS.len()],
    kernel: Kernel,
    objects: Objects,
    random: Random,
    tally: Tally,
}

impl Lab {
    fn start(objects: Objects) -> Lab {
        let mut resolver = Resolver::default();
        Lab {
            keeper: Keeper::start(&Settings::default()).unwrap(),
            world: resolver.world().unwrap(),
            resolver,
            in_sync: false,
            ports: [None; PORTS.len()],
            kernel: Kernel::open(),
            objects,
            random: Random::new(0),
            tally: Tally::default(),
        }
    }

    async fn play(mut self, script: &[Group], check: Check) -> Result<Tally, Failure> {
        self.objects.set();
        self.settle(QUIET).await;
        for (group, commands) in script.iter().enumerate() {
            ip_batch(commands);
            self.settle(QUIET).await;
            if check == Check::EachGroup || group + 1 == script.len() {
                let compared = self.compare_patiently().await;
                compared.map_err(|what| Failure { group, what })?;
            }
        }
        Ok(self.tally)
    }

    /// Follows the kernel until it rests and the mirror claims to be in sync.
    async fn settle(&mut self, quiet: Duration) {
        let began = Instant::now();
        while began.elapsed() < 2 * PATIENCE {
            match tokio::time::timeout(quiet, self.keeper.next()).await {
                Ok(update) => {
                    let update = update.unwrap();
                    self.in_sync = update.in_sync;
                    self.resolver.apply(self.keeper.mirror(), &update.changes);
                    self.follow_ports();
                    self.world = self.resolver.world().unwrap();
                }
                Err(_) if self.in_sync => return,
                Err(_) => {}
            }
        }
        panic!("the mirror is never in sync");
    }

    /// A port that was deleted and added again has another ifindex.
    fn follow_ports(&mut self) {
        let mirror = self.keeper.mirror();
        for (slot, name) in PORTS.iter().enumerate() {
            let link = mirror.links().find(|link| link.name == *name);
            let now = link.map(|link| link.index);
            let before = std::mem::replace(&mut self.ports[slot], now);
            if before == now {
                continue;
            }
            if let Some(ifindex) = before {
                self.resolver.remove_port(ifindex, mirror);
            }
            if let Some(ifindex) = now {
                let facts = PortFacts {
                    ifindex,
                    forward_ipv4: true,
                    forward_ipv6: true,
                    reverse_path: ReversePath::Off,
                };
                let port = PortId::new(slot).unwrap();
                self.resolver.set_port(port, facts, mirror);
            }
        }
    }

    /// A disagreement counts if it stays.
    async fn compare_patiently(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            // The kernel's answers name the legs only so.
            Objects::Told.set();
            let compared = self.compare();
            self.objects.set();
            self.tally.late += u64::from(compared.is_err());
            if compared.is_ok() || began.elapsed() > PATIENCE {
                return compared;
            }
            self.settle(20 * QUIET).await;
        }
    }

    fn compare(&mut self) -> Result<(), String> {
        let fresh = dump().unwrap();
        if let Some(difference) = difference(self.keeper.mirror(), &fresh) {
            return Err(format!("the mirror differs from a dump:\n{difference}"));
        }
        let only = [self.world.kernel_only.ipv4, self.world.kernel_only.ipv6];
        for (ipv6, only) in [false, true].into_iter().zip(only) {
            if only == has_first_rules(ipv6) {
                return Err(format!("rules of IPv6: {ipv6}, the kernel alone: {only}"));
            }
        }
        let tally = self.tally;
        let questions = self.questions(&fresh);
        let is_followed = |address: &&IpAddr| !only[usize::from(address.is_ipv6())];
        for address in questions.iter().filter(is_followed).copied() {
            if let Err(what) = self.compare_route(address, &fresh) {
                self.tally = tally;
                return Err(what);
            }
        }
        Ok(())
    }

    /// Addresses around every prefix that the kernel has in any table, and random ones within.
    fn questions(&mut self, mirror: &Mirror) -> BTreeSet<IpAddr> {
        let routes = mirror.all_routes().map(|(key, _)| key.prefix);
        let neighbours = mirror.neighbours().map(|entry| entry.address.into());
        let prefixes: BTreeSet<IpNet> = routes.chain(neighbours).collect();
        let around = prefixes
            .into_iter()
            .flat_map(|prefix| addresses_around(prefix, self.random.next()));
        around.collect()
    }

    fn compare_route(&mut self, address: IpAddr, fresh: &Mirror) -> Result<(), String> {
        let mirror = self.keeper.mirror();
        let answer = self.resolver.route(address, &self.world, mirror);
        let kernel = self.kernel.route(address);
        self.tally.asked += 1;
        match relation(address, answer.as_ref(), &kernel) {
            Relation::Wrong => {
                let own = answer.as_ref().map(in_short);
                return Err(format!("{address}: {own:?}, but the kernel: {kernel:?}"));
            }
            Relation::Left => self.tally.left += 1,
            Relation::Same => {}
        }
        // Legs that an IPv6 route got one by one may have MTUs of their own, of which ixmap has the
        // first's.
        let is_one = |answer: &Answer| {
            let routes = fresh.all_routes();
            let mut routes = routes.filter(|(key, _)| Some(key.prefix) == answer.prefix);
            address.is_ipv4()
                || routes.all(|(_, routes)| routes.iter().all(|route| route.paths.len() < 2))
        };
        if let (Some(answer), Verdict::Route { mtu, .. }) = (&answer, &kernel)
            && !answer.legs.is_empty()
            && is_one(answer)
        {
            let own = self.world.groups.get(answer.group).unwrap().mtu;
            let limit = mtu.map_or(u16::MAX, |mtu| u16::try_from(mtu).unwrap_or(u16::MAX));
            if own != limit {
                return Err(format!("{address}: mtu {own}, but the kernel: {kernel:?}"));
            }
        }
        for leg in answer.iter().flat_map(|answer| &answer.legs) {
            self.tally.forwarded += 1;
            let is_port = leg.ifindex.is_some() && self.ports.contains(&leg.ifindex);
            if !adjacency_is_right(leg, address, is_port, fresh) {
                return Err(format!(
                    "{address}: the next hop is not the kernel's: {leg:?}"
                ));
            }
        }
        Ok(())
    }
}

/// An answer without its 256 buckets.
fn in_short(answer: &Answer) -> String {
    let legs = answer
        .legs
        .iter()
        .map(|leg| (leg.ifindex, leg.via, leg.weight));
    let legs: Vec<_> = legs.collect();
    match &answer.action {
        Action::Spread(_) => format!("{:?} {:?} by {legs:?}", answer.prefix, answer.kind),
        action => format!(
            "{:?} {:?} {action:?} by {legs:?}",
            answer.prefix, answer.kind
        ),
    }
}
