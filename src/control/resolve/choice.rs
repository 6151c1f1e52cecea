//! Which route a prefix has, between the tables that the kernel asks one after the other.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixSet;

use super::Resolver;
use super::route::{self, Meaning};
use crate::control::mirror::{Mirror, Route, RouteKind};

/// Prefixes at which a table got or lost a route that matters to what others have within: the local
/// table, which hides the main one's, and IPv4's default table, to which `throw` leads.
#[derive(Default)]
pub(super) struct Hidden {
    by_local: Prefixes,
    by_last: Prefixes,
}

/// Prefixes of both families.
#[derive(Default, Debug)]
pub(super) struct Prefixes {
    ipv4: PrefixSet<Ipv4Net>,
    ipv6: PrefixSet<Ipv6Net>,
}

impl Prefixes {
    /// True when that is news.
    fn insert(&mut self, prefix: IpNet) -> bool {
        match prefix {
            IpNet::V4(net) => self.ipv4.insert(net),
            IpNet::V6(net) => self.ipv6.insert(net),
        }
    }

    /// True when that is news.
    fn remove(&mut self, prefix: IpNet) -> bool {
        match prefix {
            IpNet::V4(net) => self.ipv4.remove(&net),
            IpNet::V6(net) => self.ipv6.remove(&net),
        }
    }

    fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty()
    }

    /// How long the longest is that holds this one.
    fn around(&self, prefix: IpNet) -> Option<u8> {
        match prefix {
            IpNet::V4(net) => Some(self.ipv4.get_lpm(&net)?.prefix_len()),
            IpNet::V6(net) => Some(self.ipv6.get_lpm(&net)?.prefix_len()),
        }
    }
}

impl Resolver {
    /// The route of a prefix that the kernel would use.
    pub(super) fn best<'a>(&self, prefix: IpNet, mirror: &'a Mirror) -> Option<&'a Route> {
        let first = self.asked_first(prefix, mirror);
        first.or_else(|| self.asked_last(prefix, mirror))
    }

    /// The local table's or the main one's route. The kernel asks all of the local table first: what
    /// that has by a shorter prefix hides the main table's routes.
    fn asked_first<'a>(&self, prefix: IpNet, mirror: &'a Mirror) -> Option<&'a Route> {
        match self.local_around(prefix) {
            Some(length) if length == prefix.prefix_len() => {
                route::usable(mirror, route::LOCAL, prefix)
            }
            Some(_) if matches!(prefix, IpNet::V6(_)) => None,
            Some(_) | None => route::usable(mirror, route::MAIN, prefix),
        }
    }

    /// The route of IPv4's default table, which counts where the two before it have none, not by a
    /// shorter prefix either, or none but `throw`.
    fn asked_last<'a>(&self, prefix: IpNet, mirror: &'a Mirror) -> Option<&'a Route> {
        let IpNet::V4(net) = prefix else {
            return None;
        };
        if !self.last4.contains(&net) {
            return None;
        }
        let mut around = mirror
            .prefixes_around(prefix.network())
            .filter(|outer| outer.prefix_len() < net.prefix_len());
        let hides = around.find_map(|outer| self.asked_first(outer, mirror));
        let hidden = hides.is_some_and(|route| route.kind != RouteKind::Throw);
        route::usable(mirror, route::DEFAULT, prefix).filter(|_| !hidden)
    }

    /// What the route of a prefix means. IPv4's local and main table are one until somebody adds a
    /// rule, and two from then on, which the kernel does not tell (fib_unmerge in
    /// net/ipv4/fib_frontend.c): where that matters, it is the kernel's to choose.
    fn meaning(&self, prefix: IpNet, route: &Route, mirror: &Mirror) -> Meaning {
        let hidden = |length| length < prefix.prefix_len();
        let route = match prefix {
            IpNet::V4(_) if self.local_around(prefix).is_some_and(hidden) => &route::KERNELS_CHOICE,
            _ if self.passes_on(prefix, route) => &route::KERNELS_CHOICE,
            route::ALL_IPV4 if route::neighbours_choose(mirror) => &route::KERNELS_CHOICE,
            _ => route,
        };
        route::meaning(route, mirror)
    }

    /// A route that sends the kernel on to a table which has more to say: from local to main (or, while
    /// IPv4 has them as one, beyond both), from main to IPv4's default table.
    fn passes_on(&self, prefix: IpNet, route: &Route) -> bool {
        let is_local = self.local_around(prefix) == Some(prefix.prefix_len());
        let beyond = || match prefix {
            IpNet::V4(net) => self.last4.get_lpm(&net).is_some(),
            IpNet::V6(_) => false,
        };
        route.kind == RouteKind::Throw && (is_local || beyond())
    }

    /// How long the longest prefix of the local table is that holds this one.
    fn local_around(&self, prefix: IpNet) -> Option<u8> {
        self.local.around(prefix)
    }

    /// Keeps up with which prefixes IPv4's default table has; true when that is news.
    pub(super) fn follow_last(&mut self, prefix: IpNet, mirror: &Mirror) -> bool {
        let IpNet::V4(net) = prefix else {
            return false;
        };
        match route::usable(mirror, route::DEFAULT, prefix).is_some() {
            true => self.last4.insert(net),
            false => self.last4.remove(&net),
        }
    }

    /// Keeps up with which prefixes the local table takes; true when that is news.
    pub(super) fn follow_local(&mut self, prefix: IpNet, mirror: &Mirror) -> bool {
        match route::usable(mirror, route::LOCAL, prefix).is_some() {
            true => self.local.insert(prefix),
            false => self.local.remove(prefix),
        }
    }

    /// Resolves one prefix anew, and neighbours within when it matters to them; what else it may matter
    /// to is noted in `hidden`.
    pub(super) fn follow_prefix(&mut self, prefix: IpNet, mirror: &Mirror, hidden: &mut Hidden) {
        let is_local_news = self.follow_local(prefix, mirror);
        let is_last_news = self.follow_last(prefix, mirror);
        // Only itself is within an address, and that is looked at anyway.
        if prefix.prefix_len() < prefix.max_prefix_len() {
            if is_local_news {
                hidden.by_local.insert(prefix);
            }
            if is_last_news {
                hidden.by_last.insert(prefix);
            }
        }
        self.choose(prefix, mirror);
        // What it hides of the table that is asked last, or hid.
        if let IpNet::V4(outer) = prefix
            && !self.last4.is_empty()
        {
            let within = self.last4.children(&outer).map(IpNet::from);
            let inner: Vec<IpNet> = within.filter(|inner| *inner != prefix).collect();
            inner
                .into_iter()
                .for_each(|inner| self.choose(inner, mirror));
        }
    }

    /// Chooses again where other tables' news matter. One look at all prefixes serves all news: that many
    /// come at once, when an interface comes or goes, is usual.
    pub(super) fn choose_hidden(&mut self, hidden: &Hidden, mirror: &Mirror) {
        if !hidden.by_local.is_empty() {
            let main = mirror.prefixes(route::MAIN);
            main.filter(|prefix| hidden.by_local.around(*prefix).is_some())
                .for_each(|prefix| self.choose(prefix, mirror));
        }
        if !hidden.by_last.is_empty() {
            let throws = mirror.routes_with(&|route| route.kind == RouteKind::Throw);
            throws
                .filter(|key| hidden.by_last.around(key.prefix).is_some())
                .for_each(|key| self.choose(key.prefix, mirror));
        }
    }

    /// Chooses the route of one prefix, and looks again at the neighbours within when it matters to
    /// them.
    pub(super) fn choose(&mut self, prefix: IpNet, mirror: &Mirror) {
        let meaning = match self.asked_first(prefix, mirror) {
            Some(route) => Some(self.meaning(prefix, route, mirror)),
            // Rare enough to be left to the kernel.
            None => self
                .asked_last(prefix, mirror)
                .map(|_| route::meaning(&route::KERNELS_CHOICE, mirror)),
        };
        let (group, on_link) = match meaning {
            Some(Meaning { spec, on_link }) => (Some(self.acquire(spec, mirror)), on_link),
            None => (None, None),
        };
        let old = match prefix {
            IpNet::V4(net) => {
                let bits = u32::from(net.network());
                self.fib4.set_route(bits, net.prefix_len(), group)
            }
            IpNet::V6(net) => {
                let bits = u128::from(net.network());
                self.fib6.set_route(bits, net.prefix_len(), group)
            }
        };
        let was_on_link = match on_link {
            Some(on_link) => self.connected.insert(prefix, on_link),
            None => self.connected.remove(&prefix),
        };
        if old.is_some() != group.is_some() || was_on_link != on_link {
            let within: BTreeSet<IpAddr> = mirror
                .neighbours_within(prefix)
                .map(|neighbour| neighbour.address)
                .collect();
            within
                .into_iter()
                .for_each(|address| self.place_host(address, mirror));
        }
        if let Some(old) = old {
            self.release(old);
        }
    }
}
