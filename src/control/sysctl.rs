//! The kernel's settings that forwarding depends on and of which it sends no word: read from
//! /proc/sys/net once a second.

use std::hash::BuildHasher;
use std::path::PathBuf;
use std::sync::LazyLock;

use foldhash::quality::FixedState;

use crate::shared::fib::{HashFields, HashPolicy, ReversePath};

/// Per-interface settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceSettings {
    pub forward_ipv4: bool,
    pub forward_ipv6: bool,
    pub reverse_path: ReversePath,
}

/// Reads the settings of an interface. What cannot be read (no IPv6 in the kernel) counts as off.
pub fn interface(name: &str) -> InterfaceSettings {
    // IPv6: the interface's own flag is about router advertisements, not about forwarding; only
    // force_forwarding (Linux 6.17) is.
    // rp_filter: the kernel uses the larger of the interface's and all's (ip-sysctl).
    let check = number(&["ipv4", "conf", name, "rp_filter"]).max(number(&[
        "ipv4",
        "conf",
        "all",
        "rp_filter",
    ]));
    InterfaceSettings {
        forward_ipv4: number(&["ipv4", "conf", name, "forwarding"]) != 0,
        forward_ipv6: number(&["ipv6", "conf", "all", "forwarding"]) != 0
            || number(&["ipv6", "conf", name, "force_forwarding"]) != 0,
        reverse_path: match check {
            0 => ReversePath::Off,
            1 => ReversePath::Strict,
            _ => ReversePath::Loose,
        },
    }
}

/// Reads what the flow hash covers, and its seed. Policies 2 and 3 (inner headers, custom fields) fall
/// back to the 5-tuple.
pub fn hash_policy() -> HashPolicy {
    static OWN: LazyLock<u32> = LazyLock::new(own_seed);
    let fields = |family| match number(&[family, "fib_multipath_hash_policy"]) {
        0 => HashFields::Addresses,
        _ => HashFields::FiveTuple,
    };
    HashPolicy {
        ipv4: fields("ipv4"),
        ipv6: fields("ipv6"),
        seed: match number(&["ipv4", "fib_multipath_hash_seed"]) {
            0 => *OWN,
            seed => seed,
        },
    }
}

/// A seed for this router where the kernel is given none: of this boot and network namespace, so that a
/// restart of ixmapd moves no flow.
fn own_seed() -> u32 {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    let number = FixedState::default().hash_one((boot, namespace));
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn number(parts: &[&str]) -> u32 {
    let path: PathBuf = ["/proc/sys/net"].iter().chain(parts).collect();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routers_own_seed_stays() {
        assert_eq!(own_seed(), own_seed());
        assert_eq!(hash_policy().seed, hash_policy().seed);
    }

    #[test]
    fn what_the_kernel_has_not_is_off() {
        let settings = interface("no such interface");
        assert!(!settings.forward_ipv4 && !settings.forward_ipv6);
    }
}
