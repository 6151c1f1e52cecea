//! Looking around: the settings of ports, and what is to be seen to once a second.

use super::{Daemon, StartError};
use crate::control::resolve::PortFacts;
use crate::control::sysctl;
use crate::shared::port::{MAX_PORTS, PortId};

impl Daemon {
    /// Tells the resolver what the kernel's settings say about a port; true when that was news.
    pub(super) fn refresh_facts(&mut self, id: PortId) -> bool {
        let Some(port) = &mut self.ports[id.index()] else {
            return false;
        };
        // By its present name: an operator may rename a TAP.
        let link = self.keeper.mirror().link(port.tap.ifindex());
        let name = link.map_or(port.config.name.as_str(), |link| link.name.as_str());
        let settings = sysctl::interface(name);
        let facts = PortFacts {
            ifindex: port.tap.ifindex(),
            forward_ipv4: settings.forward_ipv4,
            forward_ipv6: settings.forward_ipv6,
            reverse_path: settings.reverse_path,
        };
        if port.facts == Some(facts) {
            return false;
        }
        port.facts = Some(facts);
        self.resolver.set_port(id, facts, self.keeper.mirror());
        true
    }

    /// The same for every port.
    pub(super) fn refresh_all_facts(&mut self) -> bool {
        let mut news = false;
        for id in (0..MAX_PORTS).filter_map(PortId::new) {
            news |= self.refresh_facts(id);
        }
        news
    }

    /// Once a second: what the kernel says nothing about, whom it should look after, and how the
    /// workers are.
    pub(super) async fn look_around(&mut self) -> Result<(), StartError> {
        let mut news = self.resolver.set_hash_policy(sysctl::hash_policy());
        news |= self.refresh_all_facts();
        if news {
            self.publish();
        } else if self.exhausted.is_some() {
            // Memory may have come back, of which nobody tells.
            self.publish_soon();
        }
        let hits = self.workers.iter().map(|worker| &*worker.hits);
        self.neighbours
            .look(hits, &self.resolver, self.keeper.mirror())
            .await;
        self.publisher.sweep();
        for id in (0..MAX_PORTS).filter_map(PortId::new) {
            self.follow_carrier(id).await;
        }
        for worker in &mut self.workers {
            worker.check();
            if worker.is_dead() {
                return Err(StartError::WorkerDied(worker.core));
            }
        }
        Ok(())
    }
}
