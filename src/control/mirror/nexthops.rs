//! Next-hop objects, and what ends with them: groups without a member left, and routes
//! (remove_nexthop in net/ipv4/nexthop.c).

use super::Mirror;
use super::types::{Changes, Event, NextHopObject, Route};

impl Mirror {
    pub(super) fn nexthop_set(&mut self, id: u32, object: NextHopObject, changes: &mut Changes) {
        if self.nexthops.get(&id) == Some(&object) {
            return;
        }
        let members = object.members().to_vec();
        let before = self.nexthops.insert(id, object);
        for (member, _) in before.iter().flat_map(NextHopObject::members) {
            self.memberships.remove(&(*member, id));
        }
        let members = members.iter().map(|(member, _)| (*member, id));
        self.memberships.extend(members);
        self.note_nexthop(id, changes);
    }

    /// Notes a changed object and the groups that it is in.
    pub(super) fn note_nexthop(&self, id: u32, changes: &mut Changes) {
        changes.nexthops.insert(id);
        changes.nexthops.extend(self.groups_of(id));
    }

    fn groups_of(&self, member: u32) -> impl Iterator<Item = u32> {
        let groups = self.memberships.range((member, 0)..=(member, u32::MAX));
        groups.map(|(_, group)| *group)
    }

    /// An object that is gone leaves its groups; emptied groups are gone as well, and the routes
    /// through any of them, of which [`Mirror::sweep`] rids the tables. The kernel says so for IPv6
    /// routes at best.
    pub(super) fn nexthop_gone(&mut self, id: u32, changes: &mut Changes) {
        let groups: Vec<u32> = self.groups_of(id).collect();
        for group in groups {
            self.memberships.remove(&(id, group));
            let Some(NextHopObject::Group(members)) = self.nexthops.get_mut(&group) else {
                continue;
            };
            members.retain(|(member, _)| *member != id);
            let is_empty = members.is_empty();
            changes.nexthops.insert(group);
            if is_empty {
                self.forget_nexthop(group, changes);
            }
        }
        self.forget_nexthop(id, changes);
    }

    fn forget_nexthop(&mut self, id: u32, changes: &mut Changes) {
        let Some(object) = self.nexthops.remove(&id) else {
            return;
        };
        for (member, _) in object.members() {
            self.memberships.remove(&(*member, id));
        }
        changes.nexthops.insert(id);
        self.ended.insert(id);
    }

    /// Takes the routes through objects that are gone out of the tables. One look at all routes
    /// serves many objects, so that the end of thousands does not take as many looks.
    pub(super) fn sweep(&mut self, changes: &mut Changes) {
        let ended = std::mem::take(&mut self.ended);
        if ended.is_empty() {
            return;
        }
        let through = |route: &Route| route.nexthop_id.is_some_and(|id| ended.contains(&id));
        changes.add_prefixes(self.routes.remove(through));
    }

    /// Before routes or objects are added: nothing new may go through an object that is gone, or
    /// find its place among routes that are.
    pub(super) fn sweep_before(&mut self, event: &Event, changes: &mut Changes) {
        if self.ended.is_empty() {
            return;
        }
        let waits = match event {
            Event::NextHopSet { id, .. } => self.ended.contains(id),
            Event::RouteSet { key, route, .. } => {
                let mut routes = self.routes.get(key).iter().chain([route]);
                let ended = |id| self.ended.contains(&id);
                routes.any(|route| route.nexthop_id.is_some_and(ended))
            }
            _ => false,
        };
        if waits {
            self.sweep(changes);
        }
    }

    /// The kernel drops the objects behind an interface that ends or goes down, silently.
    pub(super) fn lose_nexthops(&mut self, ifindex: u32, changes: &mut Changes) {
        let behind = self.nexthops.iter().filter(|(_, object)| {
            matches!(object, NextHopObject::Leg(path) if path.ifindex == Some(ifindex))
        });
        let behind: Vec<u32> = behind.map(|(id, _)| *id).collect();
        for id in behind {
            self.nexthop_gone(id, changes);
        }
    }
}

impl NextHopObject {
    fn members(&self) -> &[(u32, u16)] {
        match self {
            NextHopObject::Group(members) => members,
            NextHopObject::Leg(_) | NextHopObject::Blackhole | NextHopObject::Foreign => &[],
        }
    }
}
