//! The settings of which the kernel sends word (RTM_NEWNETCONF): of each interface, and of all.

use super::Mirror;
use super::apply::Doubt;
use super::types::Changes;

/// NETCONFA_IFINDEX_ALL: net.*.conf.all
const ALL: i32 = -1;
/// NETCONFA_IFINDEX_DEFAULT: net.*.conf.default, what new interfaces begin with.
const DEFAULT: i32 = -2;

/// Settings of an interface in one family; absent where the kernel has not told, or has none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Netconf {
    pub forwarding: Option<i32>,
    pub rp_filter: Option<i32>,
    pub ignore_routes_with_linkdown: Option<i32>,
}

impl Netconf {
    /// Takes over what a message tells, which may be one value of several.
    fn merge(&mut self, news: Netconf) {
        self.forwarding = news.forwarding.or(self.forwarding);
        self.rp_filter = news.rp_filter.or(self.rp_filter);
        self.ignore_routes_with_linkdown = news
            .ignore_routes_with_linkdown
            .or(self.ignore_routes_with_linkdown);
    }
}

impl Mirror {
    /// The settings of an interface, or of -1 (all).
    pub fn netconf(&self, ipv6: bool, ifindex: i32) -> Option<&Netconf> {
        self.netconf.get(&(ipv6, ifindex))
    }

    /// Whether the kernel does without an interface's routes while that has no carrier. IPv4 takes
    /// the word of `all` as well; IPv6 writes it into every interface.
    pub(super) fn ignores_linkdown(&self, ipv6: bool, ifindex: u32) -> bool {
        let on = |ifindex| {
            let netconf = self.netconf(ipv6, ifindex);
            netconf.and_then(|netconf| netconf.ignore_routes_with_linkdown) > Some(0)
        };
        i32::try_from(ifindex).is_ok_and(on) || !ipv6 && on(ALL)
    }

    pub(super) fn netconf_set(
        &mut self,
        ipv6: bool,
        ifindex: i32,
        values: Netconf,
        changes: &mut Changes,
    ) -> Option<Doubt> {
        // Also for values that are not kept: whoever reads them is to look now.
        changes.settings = true;
        // IPv4 copies it into interfaces that never had an address or a value, and tells of none
        // (devinet_copy_dflt_conf); nor does IPv6 tell when `all` changes it.
        if ifindex == DEFAULT {
            return Some(Doubt::Settings);
        }
        // Routes by them change silently when it is about them.
        let silent: Vec<u32> = self
            .links
            .values()
            .filter(|link| link.up && !link.carrier)
            .map(|link| link.index)
            .collect();
        let ignored = |mirror: &Mirror| -> Vec<bool> {
            let links = silent.iter();
            links
                .map(|index| mirror.ignores_linkdown(ipv6, *index))
                .collect()
        };
        let before = ignored(self);
        let entry = self.netconf.entry((ipv6, ifindex));
        entry.or_default().merge(values);
        let after = ignored(self);
        let changed = before.iter().zip(&after).position(|(old, new)| old != new);
        changed.map(|at| Doubt::Interface(silent[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::mirror::{Event, Link};

    /// An interface that is up and has no carrier.
    fn dark() -> Mirror {
        let mut mirror = Mirror::default();
        mirror.load(Event::LinkSet(Link {
            index: 7,
            name: "lan".to_owned(),
            mac: None,
            mtu: 1500,
            up: true,
            carrier: false,
            running: false,
        }));
        mirror
    }

    fn ignore(mirror: &mut Mirror, ipv6: bool, ifindex: i32, value: i32) -> Option<Doubt> {
        let values = Netconf {
            ignore_routes_with_linkdown: Some(value),
            ..Netconf::default()
        };
        let mut changes = Changes::default();
        let doubt = mirror.netconf_set(ipv6, ifindex, values, &mut changes);
        assert!(changes.settings);
        doubt
    }

    #[test]
    fn ipv4_heeds_all_and_ipv6_the_interface_alone() {
        let mut mirror = dark();
        ignore(&mut mirror, false, ALL, 1);
        ignore(&mut mirror, true, ALL, 1);
        assert!(mirror.ignores_linkdown(false, 7) && !mirror.ignores_linkdown(true, 7));
        ignore(&mut mirror, true, 7, 1);
        assert!(mirror.ignores_linkdown(true, 7));
    }

    #[test]
    fn a_setting_that_changes_routes_silently_is_a_doubt_and_no_other_is() {
        let mut mirror = dark();
        assert_eq!(ignore(&mut mirror, true, 8, 1), None, "another interface");
        let doubt = Some(Doubt::Interface(7));
        assert_eq!(ignore(&mut mirror, true, 7, 1), doubt);
        assert_eq!(ignore(&mut mirror, true, 7, 1), None, "said twice");
        assert_eq!(ignore(&mut mirror, true, 7, 0), doubt);
        assert_eq!(
            ignore(&mut mirror, false, DEFAULT, 1),
            Some(Doubt::Settings)
        );
        assert_eq!(mirror.netconf(false, DEFAULT), None);
    }
}
