use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::control::mirror::{Changes, Event, Link, NeighbourFlags};
use crate::shared::fib::AdjacencyId;
use crate::shared::hits::Hits;
use crate::shared::mac::MacAddr;
use NeighbourState::{Failed, NoArp, Permanent, Probe, Reachable, Stale};

/// A plan with the mirror that it reads. Port 1 has carrier, port 2 has none.
struct Lab {
    mirror: Mirror,
    used: Vec<UsedNeighbour>,
    plan: Plan,
    start: Instant,
}

impl Lab {
    fn new() -> Lab {
        let mut lab = Lab {
            mirror: Mirror::default(),
            used: Vec::new(),
            plan: Plan::default(),
            start: Instant::now(),
        };
        for index in [1, 2] {
            lab.event(Event::LinkSet(Link {
                index,
                name: format!("p{index}"),
                mac: Some(MacAddr([2; 6])),
                mtu: 1500,
                up: true,
                carrier: index == 1,
                running: true,
            }));
        }
        lab
    }

    fn event(&mut self, event: Event) {
        self.mirror.apply(event, &mut Changes::default());
    }

    fn set(&mut self, address: &str, state: NeighbourState, flags: NeighbourFlags) {
        self.event(Event::NeighbourSet(Neighbour {
            ifindex: 1,
            address: ip(address),
            mac: state.is_valid().then_some(MacAddr([2; 6])),
            state,
            flags,
        }));
    }

    fn neighbour(&mut self, address: &str, state: NeighbourState) {
        self.set(address, state, NeighbourFlags::default());
    }

    fn host(&mut self, address: &str) {
        self.uses(1, address, false);
    }

    fn gateway(&mut self, address: &str) {
        self.uses(1, address, true);
    }

    fn uses(&mut self, ifindex: u32, address: &str, gateway: bool) {
        let slot = u32::try_from(self.used.len()).unwrap();
        self.used.push(UsedNeighbour {
            adjacency: AdjacencyId::new(slot),
            ifindex,
            address: ip(address),
            gateway,
        });
    }

    /// What is asked for after so many seconds, when packets went to these addresses.
    fn look(&mut self, seconds: u64, hit: &[&str]) -> Vec<NeighbourRequest> {
        let hit: BTreeSet<IpAddr> = hit.iter().map(|address| ip(address)).collect();
        let worker = Hits::default();
        for neighbour in &self.used {
            if hit.contains(&neighbour.address) {
                worker.mark(neighbour.adjacency);
            }
        }
        let now = self.start + Duration::from_secs(seconds);
        let hits = Taken::from([&worker]);
        self.plan.requests(&self.used, &hits, &self.mirror, now)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Asks for a probe, and for nothing else.
fn probe(address: &str) -> NeighbourRequest {
    NeighbourRequest {
        ifindex: 1,
        address: ip(address),
        managed: false,
        learned: false,
        create: false,
    }
}

fn manage(address: &str) -> NeighbourRequest {
    NeighbourRequest {
        managed: true,
        create: true,
        ..probe(address)
    }
}

const MANAGED: NeighbourFlags = NeighbourFlags {
    learned: false,
    managed: true,
    validated: false,
};

#[test]
fn a_stale_neighbour_is_probed_only_when_packets_go_to_it() {
    for address in ["10.0.1.9", "2001:db8::9"] {
        let mut lab = Lab::new();
        lab.host(address);
        lab.neighbour(address, Stale);
        assert_eq!(lab.look(0, &[]), []);
        assert_eq!(lab.look(1, &[address]), [probe(address)]);
    }
}

#[test]
fn a_neighbour_in_any_other_state_is_the_kernels_business() {
    let mut lab = Lab::new();
    lab.host("10.0.1.9");
    assert_eq!(lab.look(0, &["10.0.1.9"]), [], "no entry");
    for state in [Reachable, Probe, Failed, Permanent, NoArp] {
        lab.neighbour("10.0.1.9", state);
        assert_eq!(lab.look(0, &["10.0.1.9"]), [], "{state:?}");
    }
}

#[test]
fn a_probe_is_repeated_once_there_has_been_time_for_an_answer() {
    let mut lab = Lab::new();
    lab.host("10.0.1.9");
    lab.neighbour("10.0.1.9", Stale);
    let asked = (0..14).filter(|second| !lab.look(*second, &["10.0.1.9"]).is_empty());
    assert_eq!(asked.collect::<Vec<_>>(), [0, 6, 12]);
}

#[test]
fn what_a_control_plane_said_of_a_neighbour_stays() {
    let mut lab = Lab::new();
    lab.host("10.0.1.9");
    let learned = NeighbourFlags {
        learned: true,
        ..NeighbourFlags::default()
    };
    lab.set("10.0.1.9", Stale, learned);
    let kept = NeighbourRequest {
        learned: true,
        ..probe("10.0.1.9")
    };
    assert_eq!(lab.look(0, &["10.0.1.9"]), [kept]);
    let validated = NeighbourFlags {
        validated: true,
        ..NeighbourFlags::default()
    };
    for flags in [validated, MANAGED] {
        lab.set("10.0.1.9", Stale, flags);
        assert_eq!(lab.look(9, &["10.0.1.9"]), [], "{flags:?}");
    }
}

#[test]
fn a_gateway_is_managed_from_the_first_look_on_until_no_route_needs_it() {
    let mut lab = Lab::new();
    lab.gateway("fe80::1");
    assert_eq!(lab.look(0, &[]), [manage("fe80::1")]);
    lab.set("fe80::1", Reachable, MANAGED);
    assert_eq!(lab.look(1, &[]), []);
    lab.set("fe80::1", Stale, MANAGED);
    assert_eq!(lab.look(2, &["fe80::1"]), [], "the kernel probes it itself");
    lab.used.clear();
    assert_eq!(lab.look(3, &[]), [probe("fe80::1")]);
    lab.neighbour("fe80::1", Stale);
    assert_eq!(lab.look(4, &[]), []);
    assert_eq!(lab.plan.managed(), 0);
}

#[test]
fn a_gateway_that_is_a_host_as_well_is_asked_about_once() {
    let mut lab = Lab::new();
    lab.host("10.0.1.9");
    lab.gateway("10.0.1.9");
    lab.neighbour("10.0.1.9", Stale);
    assert_eq!(lab.look(0, &["10.0.1.9"]), [manage("10.0.1.9")]);
}

#[test]
fn a_gateway_whose_route_goes_before_the_kernels_answer_comes_is_not_forgotten() {
    let mut lab = Lab::new();
    lab.gateway("10.0.1.9");
    assert_eq!(lab.look(0, &[]), [manage("10.0.1.9")]);
    lab.used.clear();
    assert_eq!(lab.look(1, &[]), []);
    lab.set("10.0.1.9", Reachable, MANAGED);
    assert_eq!(lab.look(2, &[]), [probe("10.0.1.9")]);
    assert_eq!(lab.look(3, &[]), [], "asked");
    lab.neighbour("10.0.1.9", Reachable);
    assert_eq!(lab.look(4, &[]), []);
    assert_eq!(lab.plan.managed(), 0);
}

#[test]
fn a_gateway_that_the_kernel_has_lost_is_managed_again_at_once() {
    let mut lab = Lab::new();
    lab.gateway("10.0.1.9");
    lab.look(0, &[]);
    lab.set("10.0.1.9", Reachable, MANAGED);
    assert_eq!(lab.look(1, &[]), []);
    lab.event(Event::NeighbourGone {
        ifindex: 1,
        address: ip("10.0.1.9"),
    });
    assert_eq!(lab.look(2, &[]), [manage("10.0.1.9")]);
}

#[test]
fn gateways_of_others_and_those_behind_a_dead_link_are_left_alone() {
    let mut lab = Lab::new();
    lab.uses(2, "10.0.2.9", true);
    assert_eq!(lab.look(0, &[]), [], "no carrier");
    lab.gateway("10.0.1.9");
    for state in [Permanent, NoArp] {
        lab.neighbour("10.0.1.9", state);
        assert_eq!(lab.look(0, &["10.0.1.9"]), [], "{state:?}");
    }
    lab.set("10.0.1.9", Reachable, MANAGED);
    assert_eq!(lab.look(0, &[]), [], "managed by the operator");
    lab.used.clear();
    assert_eq!(lab.look(1, &[]), [], "still the operator's");
}

#[test]
fn a_gateway_made_permanent_is_the_operators_from_then_on() {
    let mut lab = Lab::new();
    lab.gateway("10.0.1.9");
    lab.look(0, &[]);
    lab.set("10.0.1.9", Reachable, MANAGED);
    lab.look(1, &[]);
    lab.neighbour("10.0.1.9", Permanent);
    for second in [2, 30] {
        assert_eq!(lab.look(second, &["10.0.1.9"]), []);
    }
    assert_eq!(lab.plan.managed(), 0);
}

#[test]
fn a_kernel_that_knows_no_managed_gateways_probes_them_when_asked() {
    let mut lab = Lab::new();
    lab.gateway("10.0.1.9");
    let asked = (0..13).filter(|second| {
        let asked = lab.look(*second, &[]);
        lab.neighbour("10.0.1.9", Reachable);
        !asked.is_empty()
    });
    assert_eq!(asked.collect::<Vec<_>>(), [0, 6, 12]);
}

#[test]
fn requests_and_gateways_are_bounded_and_all_have_their_turn() {
    let mut lab = Lab::new();
    let hosts: Vec<String> = (0..MAX_REQUESTS + 500)
        .map(|n| format!("2001:db8::{n:x}"))
        .collect();
    for host in &hosts {
        lab.host(host);
        lab.neighbour(host, Stale);
    }
    let hit: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let first = lab.look(0, &hit);
    let second = lab.look(1, &hit);
    assert_eq!((first.len(), second.len()), (MAX_REQUESTS, 500));

    let mut lab = Lab::new();
    for n in 0..MAX_MANAGED + 100 {
        lab.gateway(&format!("2001:db8::{n:x}"));
    }
    let asked: usize = (0..6).map(|second| lab.look(second, &[]).len()).sum();
    assert_eq!(asked, MAX_MANAGED);
    assert_eq!(lab.plan.managed(), MAX_MANAGED);
    assert_eq!(lab.plan.unmanaged(), 100);
    let warning = lab.plan.news().unwrap();
    assert!(
        warning.contains("1024 is the most: 100 others"),
        "{warning}"
    );
    lab.look(7, &[]);
    assert_eq!(lab.plan.news(), None, "said already");
    assert_eq!(lab.plan.warning(), Some(warning), "and it lasts");
    lab.used.truncate(MAX_MANAGED);
    lab.look(8, &[]);
    assert_eq!((lab.plan.unmanaged(), lab.plan.news()), (0, None));
    lab.gateway("2001:db8:1::1");
    lab.look(9, &[]);
    assert!(lab.plan.news().is_some());
}

/// One thing that happens between two looks.
#[derive(Clone, Debug)]
enum Step {
    Hit(usize),
    Gateway(usize, bool),
    State(usize, NeighbourState),
    Gone(usize),
    /// The operator's `managed`.
    Managed(usize),
    Carrier(bool),
}

const ADDRESSES: [&str; 4] = ["10.0.1.1", "10.0.1.2", "2001:db8::1", "fe80::1"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..ADDRESSES.len();
    let states = prop::sample::select(vec![Stale, Reachable, Failed, Permanent, Probe]);
    let step = prop_oneof![
        3 => n.clone().prop_map(Step::Hit),
        2 => (n.clone(), any::<bool>()).prop_map(|(n, on)| Step::Gateway(n, on)),
        3 => (n.clone(), states).prop_map(|(n, state)| Step::State(n, state)),
        1 => n.clone().prop_map(Step::Gone),
        1 => n.prop_map(Step::Managed),
        1 => any::<bool>().prop_map(Step::Carrier),
    ];
    prop::collection::vec(step, 1..60)
}

/// The kernel as far as requests go: entries with their flags, told to the mirror as they change.
#[derive(Default)]
struct Kernel {
    entries: BTreeMap<&'static str, (NeighbourState, NeighbourFlags)>,
    /// Those that an operator manages.
    operators: BTreeSet<&'static str>,
}

impl Kernel {
    /// Does as asked, and announces where it ends.
    fn grant(&mut self, lab: &mut Lab, request: &NeighbourRequest) {
        let address = ADDRESSES.iter().find(|text| ip(text) == request.address);
        let address = *address.unwrap();
        let old = self.entries.get(address).copied();
        if old.is_none() && !request.create {
            return;
        }
        let (state, flags) = old.unwrap_or((Failed, NeighbourFlags::default()));
        assert!(state != Permanent, "it would be PERMANENT no more");
        let managed = request.managed;
        let now = (Reachable, NeighbourFlags { managed, ..flags });
        self.entries.insert(address, now);
        lab.set(address, now.0, now.1);
    }

    fn announce(&mut self, lab: &mut Lab, address: &'static str) {
        match self.entries.get(address) {
            Some((state, flags)) => lab.set(address, *state, *flags),
            None => lab.event(Event::NeighbourGone {
                ifindex: 1,
                address: ip(address),
            }),
        }
    }

    /// What an operator or time does. An operator's command takes flags away that it does not name.
    fn step(&mut self, lab: &mut Lab, step: &Step) {
        let address = match step {
            Step::State(n, state) => {
                let address = ADDRESSES[*n];
                let old = self.entries.get(address).map(|(_, flags)| *flags);
                let flags = old.filter(|_| *state != Permanent).unwrap_or_default();
                if *state == Permanent {
                    self.operators.remove(address);
                }
                self.entries.insert(address, (*state, flags));
                address
            }
            Step::Gone(n) => {
                self.operators.remove(ADDRESSES[*n]);
                self.entries.remove(ADDRESSES[*n]);
                ADDRESSES[*n]
            }
            Step::Managed(n) => {
                let address = ADDRESSES[*n];
                let ours = lab.plan.managed.contains(&(1, ip(address)));
                if !ours && !self.entries.contains_key(address) {
                    self.operators.insert(address);
                    self.entries.insert(address, (Reachable, MANAGED));
                }
                address
            }
            Step::Hit(_) | Step::Gateway(..) | Step::Carrier(_) => return,
        };
        self.announce(lab, address);
    }
}

proptest! {
    // Each look reads all marks: a slow thing without optimisation.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens: the kernel manages in the end exactly the gateways that nobody else has
    /// claimed, and no request ever touches what is not ixmap's business.
    #[test]
    fn the_kernel_manages_exactly_the_gateways_in_use(steps in steps()) {
        let mut lab = Lab::new();
        let mut kernel = Kernel::default();
        for address in ADDRESSES {
            lab.host(address);
        }
        let mut gateways = BTreeSet::new();
        let mut carrier = true;
        for (second, step) in (0..).zip(&steps) {
            kernel.step(&mut lab, step);
            match step {
                Step::Gateway(n, true) => drop(gateways.insert(ADDRESSES[*n])),
                Step::Gateway(n, false) => drop(gateways.remove(ADDRESSES[*n])),
                Step::Carrier(up) => {
                    carrier = *up;
                    let mut link = lab.mirror.link(1).unwrap().clone();
                    link.carrier = carrier;
                    lab.event(Event::LinkSet(link));
                }
                _ => {}
            }
            lab.used.truncate(ADDRESSES.len());
            gateways.iter().for_each(|address| lab.gateway(address));
            let hit: Vec<&str> = match step {
                Step::Hit(n) => vec![ADDRESSES[*n]],
                _ => Vec::new(),
            };
            let stale: Vec<bool> = hit.iter().map(|address| {
                let entry = lab.mirror.neighbour(1, ip(address));
                entry.is_some_and(|entry| entry.state == Stale && !entry.flags.managed)
            }).collect();
            let requests = lab.look(second, &hit);
            for (address, stale) in hit.iter().zip(stale) {
                let key = (1, ip(address));
                prop_assert!(!stale || lab.plan.asked.contains_key(&key), "a hit was missed");
            }
            for request in &requests {
                kernel.grant(&mut lab, request);
            }
        }
        // At rest.
        let end = u64::try_from(steps.len()).unwrap();
        for second in [10, 20, 30] {
            for request in lab.look(end + second, &[]) {
                kernel.grant(&mut lab, &request);
            }
        }
        prop_assert_eq!(lab.look(end + 40, &[]), []);
        for address in ADDRESSES {
            let (state, flags) = match kernel.entries.get(address) {
                Some(entry) => *entry,
                None => {
                    prop_assert!(!carrier || !gateways.contains(address), "{} is missing", address);
                    continue;
                }
            };
            let wanted = carrier && gateways.contains(address) && state != Permanent;
            let operators = kernel.operators.contains(address);
            prop_assert_eq!(flags.managed, wanted || operators, "{}", address);
        }
    }
}
