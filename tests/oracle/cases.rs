//! What random operations have found, and the traps that are known by name.

use crate::commands::Group;
use crate::lab::{Check, Objects, run};

/// ixmap and the kernel agree after every one of the commands.
fn agree(commands: &[&str]) {
    agree_with(Objects::Told, commands);
}

fn agree_with(objects: Objects, commands: &[&str]) {
    let script: Vec<Group> = commands
        .iter()
        .map(|line| vec![(*line).to_owned()])
        .collect();
    if let Err(failure) = run(&script, objects, Check::EachGroup) {
        panic!("after ip {}: {}", commands[failure.group], failure.what);
    }
}

/// Found with seed 11, episode 6.
#[test]
fn the_first_ipv4_address_of_an_interface_revives_its_legs() {
    agree(&[
        "route add 192.0.0.0/16 nexthop via 10.0.2.4 dev e2 nexthop via 10.0.4.3 dev f1",
        "addr del 10.0.2.1/24 dev e2",
        "addr add 10.0.2.1/24 dev e2",
    ]);
}

/// Found with seed 1, episode 0: ixmap's answer names no gateway then.
#[test]
fn a_gateway_may_be_the_destination() {
    agree(&[
        "route add 10.0.1.2 nexthop via 10.0.4.3 dev f1 weight 3 nexthop via 10.0.1.2 dev e1",
        "neigh replace 10.0.1.2 lladdr 02:00:00:00:00:16 dev e1",
    ]);
}

/// Found with seed 15, episode 3: flows of such a leg are left to the kernel.
#[test]
fn a_leg_without_gateway_may_be_one_of_several() {
    agree(&[
        "route replace 10.0.1.0/25 nexthop dev e1 weight 200 nexthop via 172.16.0.9 dev e2 onlink",
        "neigh replace 10.0.1.2 lladdr 02:00:00:00:00:16 dev e1",
    ]);
}

/// Found with seeds 22, 24 and 25: only the router's own addresses outlive a carrier.
#[test]
fn legs_without_carrier_that_do_not_count_take_every_kind_of_route_along() {
    agree(&[
        "route append anycast 198.51.100.0/31 dev f1",
        "-6 route add multicast default dev t1",
        "sysctl net/ipv4/conf/all/ignore_routes_with_linkdown=1",
        "sysctl net/ipv6/conf/all/ignore_routes_with_linkdown=1",
        "link set q1 down",
        "link set p2 down",
        "link set q1 up",
        "link set p2 up",
        "sysctl net/ipv4/conf/all/ignore_routes_with_linkdown=0",
    ]);
}

/// Found with seed 23: the bridge loses its carrier some time after its last port has gone.
#[test]
fn a_bridge_without_ports_is_without_carrier() {
    agree(&[
        "sysctl net/ipv4/conf/b1/ignore_routes_with_linkdown=1",
        "link set f1 master b1",
        "route add 192.0.2.0/24 via 10.0.7.2 dev b1",
        "link del f1",
    ]);
}

#[test]
fn a_device_that_leaves_or_changes_its_name_takes_its_routes_along() {
    agree(&[
        "route add 192.0.2.0/24 via 10.0.2.2 dev e2",
        "link set e2 name xe2",
        "link set xe2 name e2",
        "netns add ixmap-oracle-case",
        "link set e2 netns ixmap-oracle-case",
        "netns del ixmap-oracle-case",
    ]);
}

#[test]
fn the_longest_prefix_wins_in_both_families() {
    agree(&[
        "route add 192.0.2.0/24 via 10.0.1.2",
        "route add 192.0.2.0/25 via 10.0.2.2",
        "route add blackhole 192.0.2.0/26",
        "route add throw 192.0.2.1",
        "-6 route add 2001:db8:f::/48 via 2001:db8:1::2",
        "-6 route add 2001:db8:f::/64 via 2001:db8:2::2",
        "-6 route add unreachable 2001:db8:f::1",
        "-6 route add throw 2001:db8:f::/65",
    ]);
}

#[test]
fn metric_and_order_choose_among_ipv4_routes() {
    agree(&[
        "route add 192.0.2.0/24 via 10.0.1.2 metric 50",
        "route add 192.0.2.0/24 via 10.0.2.2 metric 5",
        "route prepend 192.0.2.0/24 via 10.0.3.2 metric 5",
        "route append prohibit 192.0.2.0/24 metric 5",
        "route add 192.0.2.0/24 via 10.0.3.4 tos 0x10",
        "route del 192.0.2.0/24 tos 0x10",
        "route replace 192.0.2.0/24 via 10.0.1.4 metric 5",
        "link set e1 down",
        "route del 192.0.2.0/24 via 10.0.2.2",
    ]);
}

#[test]
fn ipv6_routes_of_another_class_are_not_replaced() {
    agree(&[
        "-6 route add 2001:db8:f::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2",
        "-6 route replace blackhole 2001:db8:f::/48",
        "-6 route append 2001:db8:f::/48 dev e1",
        "-6 route replace 2001:db8:f::/48 dev e2",
        "-6 route add 2001:db8:f::/48 from 2001:db8:1::/48 via 2001:db8:3::2",
        "-6 route flush 2001:db8:f::/48",
    ]);
}

#[test]
fn what_is_local_by_a_shorter_prefix_is_local_in_ipv6_only() {
    agree(&[
        "route add local 192.0.2.0/24 dev lo",
        "route add 192.0.2.0/25 via 10.0.1.2",
        "-6 route add local 2001:db8:f::/48 dev lo",
        "-6 route add 2001:db8:f::/64 via 2001:db8:1::2",
        "-6 route del local 2001:db8:f::/48 dev lo",
    ]);
}

/// A rule that comes and goes parts IPv4's tables for good, and the kernel does not tell.
#[test]
fn what_is_local_by_a_shorter_prefix_is_the_kernels_once_there_was_a_rule() {
    agree(&[
        "route add local 192.0.2.0/24 dev lo",
        "route add 192.0.2.0/25 via 10.0.1.2",
        "rule add pref 100 from 1.2.3.4 lookup 100",
        "rule del pref 100 from 1.2.3.4 lookup 100",
    ]);
}

/// The kernel tells rules of equal words apart by who added them.
#[test]
fn two_rules_of_the_same_words_go_one_by_one() {
    agree(&[
        "route add blackhole default table 100",
        "rule add from 10.0.0.0/8 lookup 100 priority 100 protocol 98",
        "rule add from 10.0.0.0/8 lookup 100 priority 100 protocol 99",
        "rule del from 10.0.0.0/8 lookup 100 priority 100 protocol 99",
        "rule del from 10.0.0.0/8 lookup 100 priority 100 protocol 98",
        "rule add from all lookup main priority 32766 protocol 99",
        "rule del from all lookup main priority 32766 protocol 99",
    ]);
}

#[test]
fn of_ipv6_routes_of_equal_metric_the_preferred_one_is_used() {
    agree(&[
        "nexthop add id 71 via 2001:db8:1::2 dev e1",
        "nexthop add id 72 via 2001:db8:2::2 dev e2",
        "-6 route add 2001:db8:f::/48 nhid 71 metric 50 pref low",
        "-6 route append 2001:db8:f::/48 nhid 72 metric 50 pref high",
        "-6 route add 2001:db8:f:1::/64 dev e1 metric 50 pref low",
        "-6 route append 2001:db8:f:1::/64 via 2001:db8:2::2 dev e2 metric 50 pref high",
    ]);
}

#[test]
fn a_route_for_some_sources_goes_before_those_for_all() {
    agree(&[
        "-6 route add 2001:db8:f::/48 via 2001:db8:1::2 metric 10",
        "-6 route add 2001:db8:f::/48 from 2001:db8:f:f::/64 via 2001:db8:2::2 metric 5000",
        "-6 route del 2001:db8:f::/48 from 2001:db8:f:f::/64 via 2001:db8:2::2 metric 5000",
    ]);
}

#[test]
fn legs_die_and_rise_with_their_link() {
    agree(&[
        "route add 192.0.2.0/24 nexthop via 10.0.1.2 dev e1 weight 3 nexthop via 10.0.2.2 dev e2",
        "route add 192.0.2.0/25 via inet6 fe80::2 dev e2",
        "-6 route add 2001:db8:f::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2 weight 3",
        "link set p2 down",
        "link set p2 up",
        "link set e2 down",
        "link set e1 down",
        "link set e1 up",
        "link set e2 up",
        "link del e1",
        "link add e1 type veth peer name p1",
        "link set e1 up",
    ]);
}

#[test]
fn objects_lead_where_they_lead_now() {
    for objects in [Objects::Told, Objects::Silent] {
        agree_with(
            objects,
            &[
                "nexthop add id 1 via 10.0.1.2 dev e1",
                "nexthop add id 2 via 10.0.2.2 dev e2",
                "nexthop add id 5 via 2001:db8:1::2 dev e1",
                "nexthop add id 21 group 1/2,3/5",
                "route add 192.0.2.0/24 nhid 21",
                "-6 route add 2001:db8:f::/48 nhid 5",
                "nexthop replace id 1 via 10.0.3.3 dev e3",
                "nexthop replace id 5 via 2001:db8:3::3 dev e3",
                "nexthop del id 2",
                "nexthop replace id 21 group 1",
                "nexthop add id 9 blackhole",
                "route add 192.0.2.0/25 nhid 9",
                "link set e3 down",
            ],
        );
    }
}

#[test]
fn neighbours_and_macs_are_followed() {
    agree(&[
        "route add 192.0.2.0/24 via 10.0.1.2",
        "neigh add 10.0.1.2 lladdr 02:00:00:00:00:10 dev e1",
        "neigh add 2001:db8:1::3 lladdr 02:00:00:00:00:11 dev e1",
        "neigh replace 10.0.1.2 lladdr 02:00:00:00:00:12 dev e1",
        "link set e1 address 02:00:00:00:00:20",
        "neigh del 10.0.1.2 dev e1",
    ]);
}

/// By hand: `blackhole ... nhid 1` refuses though object 1 leads somewhere. Of routes through a
/// blackhole the kernel tells no type of their own.
#[test]
fn a_routes_type_counts_whatever_object_it_names() {
    for objects in [Objects::Told, Objects::Silent] {
        agree_with(
            objects,
            &[
                "nexthop add id 1 via 10.0.1.2 dev e1",
                "nexthop add id 9 blackhole",
                "nexthop add id 21 group 9",
                "route add blackhole 192.0.2.0/24 nhid 1",
                "route add prohibit 192.0.3.0/24 nhid 1",
                "route add unreachable 192.0.4.0/24 nhid 1",
                "route add throw 192.0.5.0/24 nhid 1",
                // These types the kernel keeps with the object that a route of them was looked up through,
                // for all of its routes; and so does IPv6 with each type.
                "nexthop add id 2 via 10.0.1.2 dev e1",
                "nexthop add id 3 via 10.0.1.2 dev e1",
                "nexthop add id 4 via 10.0.1.2 dev e1",
                "route add broadcast 192.0.6.0/24 nhid 2",
                "route add multicast 192.0.7.0/24 nhid 3",
                "route add anycast 192.0.8.0/24 nhid 4",
                "route add 192.0.9.0/24 nhid 21",
                "nexthop add id 51 via 2001:db8:1::2 dev e1",
                "-6 route add blackhole 2001:db8:f1::/48 nhid 51",
                "nexthop add id 52 via 2001:db8:1::2 dev e1",
                "-6 route add prohibit 2001:db8:f2::/48 nhid 52",
                "nexthop add id 53 via 2001:db8:1::2 dev e1",
                "-6 route add throw 2001:db8:f3::/48 nhid 53",
                "nexthop add id 54 via 2001:db8:1::2 dev e1",
                "-6 route add local 2001:db8:f4::/48 nhid 54",
                "nexthop add id 55 via 2001:db8:1::2 dev e1",
                "-6 route add multicast 2001:db8:f5::/48 nhid 55",
                "nexthop replace id 1 via 10.0.2.2 dev e2",
                "nexthop replace id 9 via 10.0.1.2 dev e1",
                "route replace 192.0.2.0/24 nhid 9",
                "nexthop replace id 9 blackhole",
                "nexthop replace id 9 via 10.0.2.2 dev e2",
            ],
        );
    }
}

/// By hand: after `throw` the kernel asks the next table; which one that is after IPv4's local table, it
/// does not tell.
#[test]
fn a_throw_route_leads_to_the_next_table() {
    agree(&[
        "route add throw 192.0.2.0/24",
        "route add blackhole 192.0.3.0/24",
        "route add 192.0.2.0/25 via 10.0.1.2 table 253",
        "route add 192.0.3.0/25 via 10.0.1.2 table 253",
        "route add throw 192.0.4.0/24 table local",
        "route add 192.0.4.0/24 via 10.0.1.2",
        "-6 route add throw 2001:db8:f::/48 table local",
        "-6 route add 2001:db8:f:1::/64 via 2001:db8:1::2",
        "rule add pref 100 from 1.2.3.4 lookup 100",
        "rule del pref 100 from 1.2.3.4 lookup 100",
        "route del 192.0.2.0/25 via 10.0.1.2 table 253",
    ]);
}

/// By hand: the kernel takes the one whose gateway answers.
#[test]
fn of_ipv4_default_routes_of_equal_metric_the_kernel_takes_one() {
    agree(&[
        "route add default via 10.0.1.2",
        "route append default via 10.0.2.2",
        "neigh replace 10.0.2.2 lladdr 02:00:00:00:00:16 dev e2",
        "neigh replace 10.0.1.2 dev e1 nud failed",
        "route del default via 10.0.1.2",
        "route append default via 10.0.1.2 metric 5",
    ]);
}

/// What a resilient group does with its buckets is silent; its members are not.
#[test]
fn a_resilient_group_has_the_legs_of_a_plain_one() {
    for objects in [Objects::Told, Objects::Silent] {
        agree_with(
            objects,
            &[
                "nexthop add id 1 via 10.0.1.2 dev e1",
                "nexthop add id 2 via 10.0.2.2 dev e2",
                "nexthop add id 21 group 1,3/2 type resilient buckets 32",
                "route add 192.0.2.0/24 nhid 21",
                "nexthop replace id 21 group 1/2,3 type resilient buckets 32",
                "nexthop replace id 2 via 10.0.3.2 dev e3",
                "nexthop del id 1",
                "link set e3 down",
            ],
        );
    }
}

#[test]
fn ipv6_addresses_that_are_kept_come_back_with_their_link() {
    agree(&[
        "sysctl net/ipv6/conf/e1/keep_addr_on_down=1",
        "-6 route add 2001:db8:f::/48 nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2",
        "link set e1 down",
        "link set e1 up",
        "sysctl net/ipv6/conf/e1/keep_addr_on_down=0",
        "link set e1 down",
        "link set e1 up",
    ]);
}

/// Routes with a source address go with its last interface.
#[test]
fn an_address_of_two_interfaces_is_local_until_both_have_lost_it() {
    agree(&[
        "addr add 10.0.1.1/32 dev e2",
        "route add 192.0.2.0/24 via 10.0.3.2 src 10.0.1.1",
        "addr del 10.0.1.1/24 dev e1",
        "addr del 10.0.1.1/32 dev e2",
    ]);
}
