//! Ports and links under routes that stay.

use super::*;
use NeighbourState::Reachable;

/// A gateway route and a neighbour behind port 1, both resolved.
fn with_traffic() -> Lab {
    let mut lab = Lab::new();
    lab.neighbour(1, "10.0.1.9", Reachable);
    lab.set("172.16.0.0/16", via(1, "10.0.1.9"));
    lab
}

const HOSTS: [&str; 2] = ["10.0.1.9", "172.16.0.1"];

#[test]
fn behind_an_interface_that_is_no_port_the_kernel_forwards() {
    let mut lab = Lab::new();
    lab.neighbour(3, "10.0.3.9", Reachable);
    lab.set("172.16.0.0/16", via(3, "10.0.3.9"));
    for host in ["10.0.3.9", "172.16.0.1"] {
        assert_eq!(lab.way(host), to(Adjacency::Foreign), "{host}");
    }
    assert_eq!(lab.answer("172.16.0.1").legs[0].ifindex, Some(3));
}

#[test]
fn a_port_that_comes_later_or_goes_is_followed_by_the_routes_that_stay() {
    let mut lab = with_traffic();
    let routes = lab.world.ipv4.routes();
    lab.remove_port(1);
    assert_eq!(lab.world.ipv4.routes(), routes - 1, "no host route is left");
    for host in HOSTS {
        assert_eq!(lab.way(host), to(Adjacency::Foreign), "{host}");
    }
    assert_eq!(lab.world.interfaces.get(port(1)), None);
    lab.add_port(1);
    for host in HOSTS {
        assert_eq!(lab.way(host), to(resolved(1)), "{host}");
    }
    assert!(lab.world.interfaces.get(port(1)).is_some());
}

#[test]
fn a_port_in_another_slot_leaves_nothing_in_the_old_one() {
    let mut lab = with_traffic();
    lab.resolver.set_port(port(5), facts(1), &lab.mirror);
    lab.world = lab.resolver.world().unwrap();
    let expected = Adjacency::Resolved(Rewrite {
        port: port(5),
        destination: THEIRS,
        source: link_mac(1),
        mtu: 1500,
    });
    for host in HOSTS {
        assert_eq!(lab.way(host), to(expected), "{host}");
    }
    assert_eq!(lab.world.interfaces.get(port(1)), None);
    assert!(lab.world.interfaces.get(port(5)).is_some());
}

#[test]
fn the_mac_and_mtu_of_a_link_are_what_is_written_and_allowed() {
    let mut lab = with_traffic();
    let ours = MacAddr([2, 5, 5, 5, 5, 5]);
    lab.event(Event::LinkSet(Link {
        mac: Some(ours),
        mtu: 9000,
        ..link(1)
    }));
    let expected = Adjacency::Resolved(Rewrite {
        port: port(1),
        destination: THEIRS,
        source: ours,
        mtu: 9000,
    });
    for host in HOSTS {
        assert_eq!(lab.way(host), to(expected), "{host}");
    }
    assert_eq!(lab.world.interfaces.get(port(1)).unwrap().mac, ours);

    lab.event(Event::LinkSet(Link {
        mtu: 70_000,
        ..link(1)
    }));
    let Way::To { legs, .. } = lab.way(HOSTS[0]) else {
        panic!("not forwarded");
    };
    assert!(matches!(
        legs[0].0,
        Adjacency::Resolved(Rewrite { mtu: u16::MAX, .. })
    ));
    // Without a MAC of our own there is nothing to write.
    lab.event(Event::LinkSet(Link {
        mac: None,
        ..link(1)
    }));
    for host in HOSTS {
        assert_eq!(lab.way(host), to(unresolved(1)), "{host}");
    }
}

#[test]
fn a_link_that_goes_down_stops_forwarding_and_comes_back() {
    let mut lab = with_traffic();
    let up = false;
    lab.event(Event::LinkSet(Link { up, ..link(1) }));
    for host in HOSTS {
        assert_eq!(lab.way(host), Way::Punt(PuntReason::NoRoute), "{host}");
    }
    assert!(!lab.world.interfaces.get(port(1)).unwrap().up);
    lab.event(Event::LinkSet(link(1)));
    lab.set("10.0.1.0/24", on_link(1));
    lab.set("172.16.0.0/16", via(1, "10.0.1.9"));
    for host in HOSTS {
        assert_eq!(lab.way(host), to(resolved(1)), "{host}");
    }
    assert!(lab.world.interfaces.get(port(1)).unwrap().up);
}

#[test]
fn a_deleted_link_takes_its_interface_and_neighbours_along() {
    let mut lab = with_traffic();
    lab.event(Event::LinkGone { index: 1 });
    for host in HOSTS {
        assert_eq!(lab.way(host), Way::Punt(PuntReason::NoRoute), "{host}");
    }
    assert_eq!(lab.world.interfaces.get(port(1)), None);
}

#[test]
fn what_the_kernel_says_of_a_port_is_what_workers_see() {
    let mut lab = Lab::new();
    let facts = PortFacts {
        ifindex: 1,
        forward_ipv4: false,
        forward_ipv6: true,
        reverse_path: ReversePath::Strict,
    };
    lab.resolver.set_port(port(1), facts, &lab.mirror);
    let interface = Interface {
        mac: link_mac(1),
        up: true,
        forward_ipv4: false,
        forward_ipv6: true,
        reverse_path: ReversePath::Strict,
    };
    assert_eq!(
        lab.resolver.world().unwrap().interfaces.get(port(1)),
        Some(&interface)
    );
}

#[test]
fn own_ipv4_addresses_are_the_sources_that_nobody_else_may_use() {
    let mut lab = Lab::new();
    let own = |ifindex, text: &str| Address {
        ifindex,
        address: text.parse().unwrap(),
        peer: None,
    };
    let holds = |lab: &Lab, a: [u8; 4]| lab.world.locals.contains(u32::from_be_bytes(a));
    lab.event(Event::AddressSet(own(1, "10.0.1.1/24")));
    lab.event(Event::AddressSet(own(3, "10.0.1.1/32")));
    lab.event(Event::AddressSet(own(1, "2001:db8:1::1/64")));
    assert!(holds(&lab, [10, 0, 1, 1]));
    assert!(!holds(&lab, [10, 0, 1, 0]) && !holds(&lab, [10, 0, 1, 2]));
    lab.event(Event::AddressGone(own(1, "10.0.1.1/24")));
    assert!(holds(&lab, [10, 0, 1, 1]), "another interface has it too");
    lab.event(Event::AddressGone(own(3, "10.0.1.1/32")));
    assert!(!holds(&lab, [10, 0, 1, 1]));
}

#[test]
fn the_hash_policy_is_news_once() {
    let mut lab = Lab::new();
    let policy = HashPolicy {
        ipv4: crate::shared::fib::HashFields::FiveTuple,
        ..HashPolicy::default()
    };
    assert!(lab.resolver.set_hash_policy(policy));
    assert!(!lab.resolver.set_hash_policy(policy));
    assert_eq!(lab.resolver.world().unwrap().hash, policy);
}
