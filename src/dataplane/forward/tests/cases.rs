//! The table of who does what, row by row: one named frame each, and what becomes of it.

mod ipv4;
mod ipv6;

use self::ipv6::FAR6;
use super::lab::{Bench, router};
use crate::dataplane::forward::reference::{Outcome, Router};
use crate::dataplane::limit::PuntLimits;
use crate::dataplane::testing::{address, ethernet, own_mac, port, v4, v6};
use crate::shared::fib::{HashFields, KernelOnly};
use crate::shared::reason::{DropReason, PuntReason};

enum Fate {
    /// Forwarded by the port in this slot.
    Out(usize),
    To(PuntReason),
    Lost(DropReason),
}
use Fate::{Lost, Out, To};

type Case = (&'static str, Vec<u8>, Fate);

/// Runs each case, and asks the reference as well, so that table and reference agree.
fn check(router: &Router, cases: Vec<Case>) {
    let world = router.world(HashFields::Addresses);
    let mut bench = Bench::new();
    for (name, frame, fate) in cases {
        let outcome = bench.run(&world, std::slice::from_ref(&frame)).remove(0);
        match (&outcome, fate) {
            (Outcome::Forward(port, _), Out(slot)) => assert_eq!(port.index(), slot, "{name}"),
            (Outcome::Punt(reason), To(expected)) => assert_eq!(*reason, expected, "{name}"),
            (Outcome::Drop(reason), Lost(expected)) => assert_eq!(*reason, expected, "{name}"),
            (other, _) => panic!("{name}: {other:?}"),
        }
        assert!(
            router.judge(&frame).contains(&outcome),
            "{name}: the reference differs"
        );
    }
}

const FAR: [u8; 4] = [20, 0, 0, 1];
const BROADCAST: [u8; 6] = [0xff; 6];

#[test]
fn what_is_not_ip_or_not_for_the_router() {
    let stranger = [2, 0, 0, 0, 7, 7];
    let cases = vec![
        (
            "thirteen bytes",
            vec![0xff; 13],
            Lost(DropReason::FrameTooShort),
        ),
        (
            "arp request",
            ethernet(BROADCAST, 0x0806, &[0; 28]),
            To(PuntReason::Arp),
        ),
        (
            "arp to someone else",
            ethernet(stranger, 0x0806, &[0; 28]),
            Lost(DropReason::OtherHost),
        ),
        (
            "ipv4 to someone else",
            v4(FAR).frame_to(stranger),
            Lost(DropReason::OtherHost),
        ),
        (
            "tagged",
            ethernet(own_mac(0), 0x8100, &[0; 60]),
            To(PuntReason::Vlan),
        ),
        (
            "service tag",
            ethernet(own_mac(0), 0x88a8, &[0; 60]),
            To(PuntReason::Vlan),
        ),
        (
            "lldp",
            ethernet(own_mac(0), 0x88cc, &[0; 60]),
            To(PuntReason::UnknownEthertype),
        ),
        (
            "is-is in llc",
            ethernet([1, 0x80, 0xc2, 0, 0, 0x14], 1497, &[0xfe; 60]),
            To(PuntReason::Routing),
        ),
    ];
    check(&router(), cases);
}

#[test]
fn forwarding_off_and_port_down() {
    let off = Router {
        forward_ipv4: false,
        forward_ipv6: false,
        ..router()
    };
    let cases = vec![
        ("ipv4", v4(FAR).frame(), Lost(DropReason::ForwardingOff)),
        (
            "ipv4 without a route",
            v4([99, 0, 0, 1]).frame(),
            Lost(DropReason::ForwardingOff),
        ),
        (
            "ipv4 to the router",
            v4([10, 0, 0, 1]).frame(),
            To(PuntReason::Local),
        ),
        ("ipv6", v6(FAR6).frame(), Lost(DropReason::ForwardingOff)),
        (
            "ipv6 without a route",
            v6(address(0x2001_0dff, 1)).frame(),
            To(PuntReason::NoRoute),
        ),
    ];
    check(&off, cases);
    let down = Router {
        up: false,
        ..router()
    };
    check(
        &down,
        vec![("down", v4(FAR).frame(), Lost(DropReason::PortDown))],
    );
}

#[test]
fn of_a_family_that_is_the_kernels_only_what_is_for_the_router_is_told_apart() {
    let ipv4 = Router {
        kernel_only: KernelOnly {
            ipv4: true,
            ipv6: false,
        },
        ..router()
    };
    let ours = || To(PuntReason::KernelRoute);
    let cases = vec![
        ("ipv4", v4(FAR).frame(), ours()),
        ("ipv4 to a blackhole", v4([23, 0, 0, 1]).frame(), ours()),
        ("ipv4 without a route", v4([99, 0, 0, 1]).frame(), ours()),
        (
            "ipv4 to the router",
            v4([10, 0, 0, 1]).frame(),
            To(PuntReason::Local),
        ),
        ("ipv6", v6(FAR6).frame(), Out(1)),
    ];
    check(&ipv4, cases);
    let ipv6 = Router {
        kernel_only: KernelOnly {
            ipv4: false,
            ipv6: true,
        },
        ..router()
    };
    let nowhere = v6(address(0x2001_0dff, 1)).frame();
    let cases = vec![
        ("ipv4", v4(FAR).frame(), Out(1)),
        ("ipv6", v6(FAR6).frame(), ours()),
        ("ipv6 without a route", nowhere, ours()),
    ];
    check(&ipv6, cases);
}

#[test]
fn padding_is_trimmed_and_the_rest_kept() {
    let world = router().world(HashFields::Addresses);
    for mut frame in [v4(FAR).frame(), v6(FAR6).frame()] {
        let len = frame.len();
        frame.extend([0xee; 18]);
        match Bench::new().run(&world, &[frame]).remove(0) {
            Outcome::Forward(_, sent) => assert_eq!(sent.len(), len),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_turns_back_is_forwarded_once_the_kernel_has_seen_enough_redirects() {
    let world = router().world(HashFields::Addresses);
    let mut limits = PuntLimits::default();
    let (mut bench, burst) = (Bench::new(), vec![v4([29, 0, 0, 1]).frame(); 64]);
    let outcomes: Vec<Outcome> = (0..4)
        .flat_map(|_| bench.run_limited(&world, &burst, &mut limits))
        .collect();
    let shown = outcomes
        .iter()
        .take_while(|outcome| **outcome == Outcome::Punt(PuntReason::Redirect))
        .count();
    assert!((1..256).contains(&shown), "{shown} shown");
    for outcome in &outcomes[shown..] {
        assert!(matches!(outcome, Outcome::Forward(out, _) if *out == port(0)));
    }
}
