//! What the kernel tells of a route's type: its own, but `blackhole` of every route through a next-hop
//! object that is one (fib_dump_info, rt6_fill_node). The object decides then, and when it is no
//! blackhole any more, the routes are again what they were, of which there may be no word
//! (nexthop_compat_mode=0).

use std::collections::BTreeSet;

use super::Mirror;
use super::apply::Doubt;
use super::types::{Changes, NextHopObject, Route, RouteKind};

impl Mirror {
    /// A new or changed next-hop object, and what the kernel tells of routes through it from now on.
    pub(super) fn object_set(
        &mut self,
        id: u32,
        object: NextHopObject,
        changes: &mut Changes,
    ) -> Option<Doubt> {
        let before = self.nexthops.get(&id).map(|_| self.is_blackhole(id));
        self.nexthop_set(id, object, changes);
        let now = self.is_blackhole(id);
        // No route goes through what was not there.
        if before.is_none_or(|before| before == now) {
            return None;
        }
        let groups = self.nexthops.iter();
        let groups = groups.filter(|(_, object)| object.only_member() == Some(id));
        let mut ids: BTreeSet<u32> = groups.map(|(group, _)| *group).collect();
        ids.insert(id);
        let through = |id: Option<u32>| id.is_some_and(|id| ids.contains(&id));
        if now {
            let is_meant = |route: &Route| through(route.nexthop_id);
            let edit = |list: &mut Vec<Route>, _| {
                let mut touched = false;
                for route in list.iter_mut().filter(|route| is_meant(route)) {
                    touched |= route.kind != RouteKind::Blackhole;
                    route.kind = RouteKind::Blackhole;
                }
                touched
            };
            changes.add_prefixes(self.routes.edit_all(is_meant, edit));
            return None;
        }
        let mut untold = self.routes.with(&|route| through(route.nexthop_id));
        untold.next().map(|_| Doubt::Kinds(id))
    }

    /// Itself, or as the only member of a group.
    fn is_blackhole(&self, id: u32) -> bool {
        let object = self.nexthops.get(&id);
        let only = object.and_then(NextHopObject::only_member);
        let object = only.map_or(object, |only| self.nexthops.get(&only));
        object == Some(&NextHopObject::Blackhole)
    }
}
