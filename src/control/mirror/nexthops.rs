//! Next-hop objects, and what ends with them: groups without a member left, and routes
//! (remove_nexthop in net/ipv4/nexthop.c).

use std::collections::BTreeSet;

use super::Mirror;
use super::types::{Changes, NextHopObject};

impl Mirror {
    pub(super) fn nexthop_set(&mut self, id: u32, object: NextHopObject, changes: &mut Changes) {
        if self.nexthops.get(&id) == Some(&object) {
            return;
        }
        self.nexthops.insert(id, object);
        self.note_nexthop(id, changes);
    }

    /// Notes a changed object and the groups that it is in.
    pub(super) fn note_nexthop(&self, id: u32, changes: &mut Changes) {
        changes.nexthops.insert(id);
        for (group, object) in &self.nexthops {
            if object.has_member(id) {
                changes.nexthops.insert(*group);
            }
        }
    }

    /// Objects that are gone leave their groups; emptied groups are gone as well, and the routes
    /// through any of them. The kernel says so for IPv6 routes at best.
    pub(super) fn nexthops_gone(&mut self, mut gone: BTreeSet<u32>, changes: &mut Changes) {
        let mut emptied = Vec::new();
        for (group, object) in &mut self.nexthops {
            if let NextHopObject::Group(members) = object {
                let before = members.len();
                members.retain(|(member, _)| !gone.contains(member));
                if members.len() != before {
                    changes.nexthops.insert(*group);
                }
                if members.is_empty() {
                    emptied.push(*group);
                }
            }
        }
        gone.extend(emptied);
        let before = self.nexthops.len();
        self.nexthops.retain(|id, _| !gone.contains(id));
        if self.nexthops.len() == before {
            return;
        }
        let through = |id: Option<u32>| id.is_some_and(|id| gone.contains(&id));
        self.routes.edit_all(
            |list, _| {
                let before = list.len();
                list.retain(|route| !through(route.nexthop_id));
                list.len() != before
            },
            |prefix| {
                changes.prefixes.insert(prefix);
            },
        );
        changes.nexthops.extend(gone);
    }

    /// The kernel drops the objects behind an interface that ends or goes down, silently.
    pub(super) fn lose_nexthops(&mut self, ifindex: u32, changes: &mut Changes) {
        let behind = self.nexthops.iter().filter(|(_, object)| {
            matches!(object, NextHopObject::Leg(path) if path.ifindex == Some(ifindex))
        });
        let behind = behind.map(|(id, _)| *id).collect();
        self.nexthops_gone(behind, changes);
    }
}

impl NextHopObject {
    fn has_member(&self, id: u32) -> bool {
        match self {
            NextHopObject::Group(members) => members.iter().any(|(member, _)| *member == id),
            NextHopObject::Leg(_) | NextHopObject::Blackhole | NextHopObject::Foreign => false,
        }
    }
}
