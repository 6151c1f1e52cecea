//! What random operations have found, and what deserves a name.

use crate::commands::Group;
use crate::lab::{Check, Objects, run};

/// ixmap and the kernel agree after every one of the commands.
fn agree(commands: &[&str]) {
    let script: Vec<Group> = commands
        .iter()
        .map(|line| vec![(*line).to_owned()])
        .collect();
    if let Err(failure) = run(&script, Objects::Told, Check::EachGroup) {
        panic!("after ip {}: {}", commands[failure.group], failure.what);
    }
}

#[test]
fn the_longest_prefix_wins_in_both_families() {
    agree(&[
        "route add 192.0.2.0/24 via 10.0.1.2",
        "route add 192.0.2.0/25 via 10.0.2.2",
        "route add blackhole 192.0.2.0/26",
        "-6 route add 2001:db8:f::/48 via 2001:db8:1::2",
        "-6 route add 2001:db8:f::/64 via 2001:db8:2::2",
        "-6 route add unreachable 2001:db8:f::1",
    ]);
}
