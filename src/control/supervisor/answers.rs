//! Answers to operators, from the state as it is.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::ports::Port;
use super::{Daemon, PortError};
use crate::control::config::port_spec;
use crate::control::ctl::{Answer, Call};
use crate::control::mirror::RouteKind;
use crate::control::resolve::{self, AnswerLeg};
use crate::dataplane::forward::{Verdict, settled};
use crate::shared::api;
use crate::shared::api::{
    Action, Counters, Family, FamilyCounts, Group, Leg, Mirror, Neighbour, NextHopCounts,
    PortDrops, PortTraffic, PortWithCounters, Request, Route, RouteType, Status, Traffic, Worker,
    WorkerTraffic,
};
use crate::shared::config::PortConfig;
use crate::shared::fib::{self, Adjacency, World};
use crate::shared::reason::PuntReason;

impl Daemon {
    /// Answers one call. Adding and removing ports happens here, between two steps of the mirror.
    pub(super) async fn answer(&mut self, call: Call) {
        // Answers speak of worlds as workers have them: let none be pending, but for one that waits
        // for memory.
        if self.publish_at.is_some() {
            self.publish();
        }
        let answer = match call.request {
            Request::Status => Answer::Status(Box::new(self.status())),
            Request::Ports => Answer::Ports(self.port_list()),
            Request::Workers => Answer::Workers(self.worker_list()),
            Request::Counters => Answer::Counters(self.counters()),
            Request::Drops => Answer::Drops(self.drops()),
            Request::Route { address } => Answer::Route(Box::new(self.route(address))),
            Request::Routes { family, prefix } => self.routes(family, prefix),
            Request::Neighbours => self.neighbours(),
            Request::Reload => done(self.reload().await),
            Request::PortAdd { port } => match port_spec(&port) {
                Ok(config) => done(self.port_add(&config).await),
                Err(fault) => Answer::Refused(fault.to_string()),
            },
            Request::PortDel { name } => done(self.port_del(&name).await),
            Request::Log { level } => done(self.options.log.set(&level)),
        };
        // A client that has gone needs no answer.
        let _ = call.reply.send(answer);
    }

    async fn port_add(&mut self, config: &PortConfig) -> Result<(), PortError> {
        for port in self.ports.iter().flatten() {
            if port.config.name == config.name {
                return Err(PortError::NameTaken(config.name.clone()));
            }
            if port.config.name == config.device {
                return Err(PortError::OwnTap(config.device.clone()));
            }
            if port.config.device == config.device {
                let (device, name) = (config.device.clone(), port.config.name.clone());
                return Err(PortError::DeviceTaken { device, name });
            }
        }
        self.add_port(config).await
    }

    async fn port_del(&mut self, name: &str) -> Result<(), PortError> {
        let found = self
            .ports
            .iter()
            .flatten()
            .find(|port| port.config.name == name);
        let id = found
            .map(|port| port.id)
            .ok_or_else(|| PortError::NoSuchPort(name.to_owned()))?;
        self.close_port(id).await;
        Ok(())
    }

    fn status(&self) -> Status {
        let (ipv4, ipv6) = self.resolver.route_counts();
        let (groups, adjacencies) = self.resolver.next_hop_counts();
        let netlink = self.keeper.counters();
        let ports = self.ports.iter().flatten();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            ports: ports.map(|port| self.port(port)).collect(),
            workers: self.worker_list(),
            routes: FamilyCounts {
                ipv4: count(ipv4),
                ipv6: count(ipv6),
            },
            neighbours: self.neighbour_counts(),
            neighbour_care: self.neighbours.report(),
            next_hops: NextHopCounts {
                groups: count(groups),
                adjacencies: count(adjacencies),
                oversized_groups: count(self.resolver.oversized_groups()),
                warning: self.legs_warning(),
            },
            mirror: Mirror {
                in_sync: self.in_sync && self.exhausted.is_none(),
                fault: self.exhausted.as_ref().map(ToString::to_string),
                resyncs: netlink.resyncs,
                overruns: netlink.overruns,
                lag_seconds: self.lag().as_secs_f64(),
                rules: self.odd_rules(),
                audits: netlink.audits,
                drift: netlink.drift,
                unknown_messages: netlink.unknown.messages,
                unknown_attributes: netlink.unknown.attributes,
                unread_entries: netlink.unread,
            },
        }
    }

    fn port(&self, port: &Port) -> api::Port {
        let facts = port.device.facts();
        let link = self.keeper.mirror().link(port.tap.ifindex());
        let mac = link.and_then(|link| link.mac).unwrap_or(facts.mac);
        api::Port {
            name: port.config.name.clone(),
            driver: port.config.driver.name().to_owned(),
            device: port.config.device.clone(),
            link_up: port.carrier_up,
            speed_mbps: port.device.speed().map(u64::from),
            mac: mac.to_string(),
            mtu: link.map_or(facts.mtu, |link| link.mtu),
            queues: u16::try_from(facts.queues).unwrap_or(u16::MAX),
            mode: Some(facts.mode),
            zero_copy: port.zero_copy,
            interrupts: port.device.interrupts(),
        }
    }

    fn port_list(&self) -> Vec<PortWithCounters> {
        let ports = self.ports.iter().flatten();
        ports
            .map(|port| PortWithCounters {
                port: self.port(port),
                traffic: Traffic::from(&port.totals()),
            })
            .collect()
    }

    fn worker_list(&self) -> Vec<Worker> {
        let workers = self.workers.iter();
        workers
            .map(|worker| Worker {
                name: worker.name.clone(),
                core: worker.core,
                state: worker.state(),
                idle: worker.idle,
                busy_ratio: worker.busy_ratio(),
                sleeps: worker.counters.sleeps.get(),
            })
            .collect()
    }

    fn counters(&self) -> Counters {
        let ports = self.ports.iter().flatten().map(|port| PortTraffic {
            port: port.config.name.clone(),
            traffic: Traffic::from(&port.totals()),
        });
        let workers = self.workers.iter().map(|worker| WorkerTraffic {
            worker: worker.name.clone(),
            forwarded_ipv4: worker.counters.forwarded_ipv4.get(),
            forwarded_ipv6: worker.counters.forwarded_ipv6.get(),
        });
        Counters {
            ports: ports.collect(),
            workers: workers.collect(),
        }
    }

    fn drops(&self) -> Vec<PortDrops> {
        let ports = self.ports.iter().flatten();
        ports
            .map(|port| PortDrops::new(&port.config.name, &port.totals(), &port.device.lost()))
            .collect()
    }

    fn neighbour_counts(&self) -> FamilyCounts {
        let mut counts = FamilyCounts::default();
        for neighbour in self.keeper.mirror().neighbours() {
            let is_port = self.port_by_ifindex(neighbour.ifindex).is_some();
            if is_port && neighbour.state.is_valid() && neighbour.mac.is_some() {
                match neighbour.address {
                    IpAddr::V4(_) => counts.ipv4 += 1,
                    IpAddr::V6(_) => counts.ipv6 += 1,
                }
            }
        }
        counts
    }

    fn neighbours(&self) -> Answer {
        let mirror = self.keeper.mirror();
        let list: Vec<Neighbour> = mirror
            .neighbours()
            .filter_map(|neighbour| {
                let port = self.port_by_ifindex(neighbour.ifindex)?;
                Some(Neighbour {
                    address: neighbour.address,
                    port: port.config.name.clone(),
                    mac: neighbour.mac.map(|mac| mac.to_string()),
                    state: neighbour.state.name().to_owned(),
                })
            })
            .collect();
        Answer::Neighbours(Box::new(list.into_iter()))
    }

    fn route(&self, address: IpAddr) -> Route {
        let world = self.world();
        let mut found = match self.resolver.route(address, &world, self.keeper.mirror()) {
            Some(answer) => {
                let state = |leg: &AnswerLeg| self.neighbour_state(leg, address);
                route(&answer, &self.port_names(), state)
            }
            None => no_route(address, &world),
        };
        let verdict = match settled(address) {
            Some(Verdict::Punt(reason, _)) => (Action::Punt, reason.name()),
            Some(Verdict::Drop(reason)) => (Action::Drop, reason.name()),
            Some(Verdict::Forward { .. } | Verdict::Redirect) | None => return found,
        };
        found.action = verdict.0;
        found.reason = Some(verdict.1.to_owned());
        (found.port, found.via, found.group) = (None, None, None);
        found
    }

    fn routes(&self, family: Option<Family>, within: Option<IpNet>) -> Answer {
        let names = self.port_names();
        let wanted = move |prefix: &Option<IpNet>| match family {
            None => true,
            Some(Family::Ipv4) => matches!(prefix, Some(IpNet::V4(_))),
            Some(Family::Ipv6) => matches!(prefix, Some(IpNet::V6(_))),
        };
        let list = self
            .resolver
            .routes(within, self.world(), self.keeper.mirror())
            .filter(move |answer| wanted(&answer.prefix));
        // A full table takes a second to describe: that is done as the client reads, not here.
        Answer::Routes(Box::new(
            list.map(move |answer| route(&answer, &names, |_| None)),
        ))
    }

    fn port_by_ifindex(&self, ifindex: u32) -> Option<&Port> {
        self.ports
            .iter()
            .flatten()
            .find(|port| port.tap.ifindex() == ifindex)
    }

    /// Names of the ports' TAPs by ifindex.
    fn port_names(&self) -> HashMap<u32, String> {
        let ports = self.ports.iter().flatten();
        ports
            .map(|port| (port.tap.ifindex(), port.config.name.clone()))
            .collect()
    }

    fn neighbour_state(&self, leg: &AnswerLeg, destination: IpAddr) -> Option<String> {
        let address = leg.via.unwrap_or(destination);
        let neighbour = self.keeper.mirror().neighbour(leg.ifindex?, address)?;
        Some(neighbour.state.name().to_owned())
    }

    fn world(&self) -> std::sync::Arc<World> {
        self.publisher.current().load_full()
    }
}

fn done<E: std::fmt::Display>(result: Result<(), E>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(reason) => Answer::Refused(reason.to_string()),
    }
}

/// Table sizes, as the API counts them.
fn count(n: usize) -> u64 {
    n as u64
}

fn no_route(address: IpAddr, world: &World) -> Route {
    let kernel_only = match address {
        IpAddr::V4(_) => world.kernel_only.ipv4,
        IpAddr::V6(_) => world.kernel_only.ipv6,
    };
    let reason = match kernel_only {
        true => PuntReason::KernelRoute,
        false => PuntReason::NoRoute,
    };
    Route {
        prefix: None,
        kind: None,
        action: Action::Punt,
        reason: Some(reason.name().to_owned()),
        port: None,
        via: None,
        group: None,
    }
}

/// An answer in the API's words; `state` tells the neighbour behind a leg.
fn route(
    answer: &resolve::Answer,
    names: &HashMap<u32, String>,
    state: impl Fn(&AnswerLeg) -> Option<String>,
) -> Route {
    let foreign = |leg: &AnswerLeg| leg.adjacency == Adjacency::Foreign;
    let (action, reason) = match &answer.action {
        // The kernel has all of it, leg by leg.
        fib::Action::Forward(_) | fib::Action::Spread(_) if answer.legs.iter().all(foreign) => {
            let reason = PuntReason::ForeignInterface;
            (Action::Punt, Some(reason.name()))
        }
        fib::Action::Forward(_) | fib::Action::Spread(_) => (Action::Forward, None),
        fib::Action::Punt(reason) => (Action::Punt, Some(reason.name())),
        fib::Action::Drop(reason) => (Action::Drop, Some(reason.name())),
    };
    let port = |leg: &AnswerLeg| leg.ifindex.and_then(|ifindex| names.get(&ifindex).cloned());
    let legs = answer.legs.iter().map(|leg| Leg {
        port: port(leg),
        via: leg.via,
        weight: u32::try_from(leg.weight).unwrap_or(u32::MAX),
        mac: match leg.adjacency {
            Adjacency::Resolved(rewrite) => Some(rewrite.destination.to_string()),
            Adjacency::Unresolved(_) | Adjacency::Connected(_) | Adjacency::Foreign => None,
        },
        state: state(leg),
    });
    let group = Group {
        id: u32::try_from(answer.group).unwrap_or(u32::MAX),
        legs: legs.collect(),
    };
    Route {
        prefix: answer.prefix,
        kind: answer.kind.map(kind),
        action,
        reason: reason.map(str::to_owned),
        port: answer.legs.first().and_then(port),
        via: answer.legs.first().and_then(|leg| leg.via),
        group: Some(group),
    }
}

fn kind(kind: RouteKind) -> RouteType {
    match kind {
        RouteKind::Unicast | RouteKind::Other(_) => RouteType::Unicast,
        RouteKind::Local => RouteType::Local,
        RouteKind::Broadcast => RouteType::Broadcast,
        RouteKind::Anycast => RouteType::Anycast,
        RouteKind::Multicast => RouteType::Multicast,
        RouteKind::Blackhole => RouteType::Blackhole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Throw => RouteType::Throw,
        RouteKind::Prohibit => RouteType::Prohibit,
    }
}
