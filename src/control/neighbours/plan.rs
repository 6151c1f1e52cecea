//! Which neighbours to ask the kernel about: decided from what the workers hit, what the resolver
//! uses and what the mirror knows. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::control::mirror::{Mirror, Neighbour, NeighbourState};
use crate::control::netlink::NeighbourRequest;
use crate::control::resolve::UsedNeighbour;
use crate::shared::hits::Taken;

/// The most requests of one look, which comes once a second. Those who find no room are hit again.
pub(super) const MAX_REQUESTS: usize = 1000;
/// The most gateways that the kernel is to keep resolved: it probes all of them every few seconds.
pub(super) const MAX_MANAGED: usize = 1024;
/// How long a request is given to show: the kernel says nothing of DELAY (5 s), of which PROBE is
/// the end.
const REPEAT: Duration = Duration::from_secs(6);

/// An interface and a neighbour's address.
type Key = (u32, IpAddr);

/// What was asked of the kernel.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// A moment ago, and with no answer yet.
    asked: BTreeMap<Key, Asked>,
    /// Gateways that the kernel manages because it was asked to.
    managed: BTreeSet<Key>,
    /// Gateways for which there was no room among those when it was last looked.
    unmanaged: usize,
    /// The log has said so.
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    when: Instant,
    /// To be managed from then on, or not.
    managed: bool,
}

impl Plan {
    /// Gateways that the kernel is to keep resolved.
    pub(super) fn managed(&self) -> usize {
        self.managed.len()
    }

    /// Gateways beyond the most that the kernel is to keep resolved.
    pub(super) fn unmanaged(&self) -> usize {
        self.unmanaged
    }

    /// What gateways beyond that limit mean.
    pub(super) fn warning(&self) -> Option<String> {
        (self.unmanaged > 0).then(|| {
            format!(
                "routes go through more gateways than the kernel is asked to keep resolved, of which \
                 {MAX_MANAGED} is the most: {} others are probed as hosts are, while packets go to them",
                self.unmanaged
            )
        })
    }

    /// The warning, once until all gateways found room again.
    pub(super) fn news(&mut self) -> Option<String> {
        let warning = self.warning();
        let told = std::mem::replace(&mut self.told, warning.is_some());
        warning.filter(|_| !told)
    }

    /// What to ask for now. Gateways first, whether hit or not; then neighbours that packets went to
    /// while the kernel is no longer sure of them (STALE, RFC 4861 section 7.3.2).
    pub(super) fn requests(
        &mut self,
        used: &[UsedNeighbour],
        hits: &Taken,
        mirror: &Mirror,
        now: Instant,
    ) -> Vec<NeighbourRequest> {
        self.asked.retain(|_, asked| now < asked.when + REPEAT);
        let gateways = gateways(used, mirror);
        let mut requests = Vec::new();
        self.manage(&gateways, mirror, &mut requests);
        self.release(&gateways, mirror, &mut requests);
        let hit = used
            .iter()
            .filter(|neighbour| hits.has(neighbour.adjacency));
        for neighbour in hit {
            let key = (neighbour.ifindex, neighbour.address);
            if let Some(entry) = mirror.neighbour(key.0, key.1)
                && is_doubtful(entry)
                && !self.asked.contains_key(&key)
            {
                requests.push(request(key, Some(entry), false));
            }
        }
        // A gateway may be there as a host as well.
        let mut seen = BTreeSet::new();
        requests.retain(|request| seen.insert((request.ifindex, request.address)));
        requests.truncate(MAX_REQUESTS);
        for request in &requests {
            let key = (request.ifindex, request.address);
            let managed = request.managed;
            self.asked.insert(key, Asked { when: now, managed });
            if managed {
                self.managed.insert(key);
            }
        }
        requests
    }

    /// Gateways that the kernel does not manage yet, or no longer.
    fn manage(
        &mut self,
        gateways: &BTreeSet<Key>,
        mirror: &Mirror,
        requests: &mut Vec<NeighbourRequest>,
    ) {
        let mut room = MAX_MANAGED.saturating_sub(self.managed.len());
        self.unmanaged = 0;
        for key in gateways {
            let entry = mirror.neighbour(key.0, key.1);
            if entry.is_some_and(|entry| entry.flags.managed) {
                // Granted: should it be lost again, there is nothing to wait for.
                self.asked.remove(key);
            } else if !self.asked.contains_key(key) {
                if !self.managed.contains(key) {
                    if room == 0 {
                        self.unmanaged += 1;
                        continue;
                    }
                    room -= 1;
                }
                requests.push(request(*key, entry, true));
            }
        }
    }

    /// What is no gateway any more is the kernel's like any other neighbour.
    fn release(
        &mut self,
        gateways: &BTreeSet<Key>,
        mirror: &Mirror,
        requests: &mut Vec<NeighbourRequest>,
    ) {
        let asked = &self.asked;
        self.managed.retain(|key| {
            if gateways.contains(key) {
                return true;
            }
            let entry = mirror.neighbour(key.0, key.1);
            let is_managed = entry.is_some_and(|entry| entry.flags.managed);
            let asked = asked.get(key);
            if is_managed && asked.is_none_or(|asked| asked.managed) {
                requests.push(request(*key, entry, false));
            }
            // Not forgotten while the answer to a request may be on its way.
            is_managed || asked.is_some_and(|asked| asked.managed)
        });
    }
}

/// The gateways that the kernel should keep resolved: behind a link that works, and nobody else's
/// business.
fn gateways(used: &[UsedNeighbour], mirror: &Mirror) -> BTreeSet<Key> {
    let works = |ifindex| {
        let link = mirror.link(ifindex);
        link.is_some_and(|link| link.up && link.carrier)
    };
    let gateways = used.iter().filter(|neighbour| neighbour.gateway);
    gateways
        .map(|neighbour| (neighbour.ifindex, neighbour.address))
        .filter(|key| works(key.0) && mirror.neighbour(key.0, key.1).is_none_or(is_free))
        .collect()
}

/// Neither an operator nor a control plane has said what the entry is.
fn is_free(entry: &Neighbour) -> bool {
    let said = matches!(
        entry.state,
        NeighbourState::Permanent | NeighbourState::NoArp
    );
    !said && !entry.flags.learned && !entry.flags.validated
}

/// Valid, but it was a while ago that the neighbour was heard of. What is managed, the kernel probes
/// by itself.
fn is_doubtful(entry: &Neighbour) -> bool {
    entry.state == NeighbourState::Stale && !entry.flags.managed && !entry.flags.validated
}

/// A request that leaves what others have said about an entry as it is.
fn request(key: Key, entry: Option<&Neighbour>, managed: bool) -> NeighbourRequest {
    let flags = entry.map(|entry| entry.flags).unwrap_or_default();
    NeighbourRequest {
        ifindex: key.0,
        address: key.1,
        managed,
        learned: flags.learned,
        create: managed,
    }
}

#[cfg(test)]
mod tests;
