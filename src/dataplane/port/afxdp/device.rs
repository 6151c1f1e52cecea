//! Control's side of an AF_XDP port: claims a netdev, prepares it, and gives it back.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::bpf::{Mode, Program};
use super::error::OpenError;
use super::frame::{Layout, max_mtu};
use super::netdev::Netdev;
use super::queue::Queue;
use super::settings::Settings;
use super::socket::{Counted, Sockets, Statistics};
use super::sys;
use crate::dataplane::mem::{Arena, Holder};
use crate::shared::config::PortConfig;
use crate::shared::mac::MacAddr;
use crate::shared::port::PortId;

/// The MTU and receive queues that a netdev has now, for whoever must lay out packet memory before
/// opening it.
pub fn survey(device: &str) -> Result<(u32, u32), OpenError> {
    let netdev = Netdev::open(device)?;
    let failed = |what| move |source| OpenError::system(device, what, source);
    let mac = netdev.mac().map_err(failed("read its address"))?;
    mac.ok_or_else(|| OpenError::NotEthernet(device.to_owned()))?;
    let mtu = netdev.mtu().map_err(failed("read its mtu"))?;
    Ok((mtu, netdev.rx_queues()))
}

/// What is known of a netdev since it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    pub ifindex: u32,
    pub mac: MacAddr,
    pub mtu: u32,
    /// Receive queues: attach every one of `0..queues` to a worker, or its frames are dropped.
    pub queues: u32,
    /// Name of the kernel's driver; empty when it has none to tell.
    pub driver: String,
    /// No wire behind it: veth, macvlan, bridge, tap.
    pub is_virtual: bool,
    pub mode: Mode,
}

/// A netdev in ixmap's hands. Dropping it takes the program off and puts back what was changed;
/// [`Self::restore`] does the same and tells what failed.
#[derive(Debug)]
pub struct Device {
    netdev: Netdev,
    facts: Facts,
    layout: Layout,
    program: Option<Program>,
    /// Membership that lets the netdev receive what its address filter would drop.
    filter: Option<OwnedFd>,
    settings: Settings,
    /// The queues' sockets, for their statistics.
    attached: Vec<Counted>,
}

impl Device {
    /// Claims the netdev of `config` for workers with frames of `frame_size` bytes: sets queues and
    /// MTU as configured, attaches the program (in the driver if it can, else in the stack), keeps
    /// the kernel from speaking IPv6 on the netdev, and sets it up. Until queues are attached,
    /// whatever arrives is dropped.
    pub fn open(config: &PortConfig, frame_size: u32) -> Result<Device, OpenError> {
        let name = config.device.as_str();
        let netdev = Netdev::open(name)?;
        let failed = |what| move |source| OpenError::system(name, what, source);
        let mac = netdev.mac().map_err(failed("read its address"))?;
        let mac = mac.ok_or_else(|| OpenError::NotEthernet(name.to_owned()))?;
        let mtu = match config.mtu {
            Some(mtu) => u32::from(mtu),
            None => netdev.mtu().map_err(failed("read its mtu"))?,
        };
        let max = max_mtu(frame_size);
        if mtu > max {
            let device = name.to_owned();
            return Err(OpenError::MtuTooLarge { device, mtu, max });
        }
        // A netdev whose driver doesn't tell is treated as a virtual one: checksums are looked at.
        let driver = netdev.driver().unwrap_or_default();
        let facts = Facts {
            ifindex: netdev.ifindex(),
            mac,
            mtu,
            queues: netdev.rx_queues(),
            is_virtual: driver.is_virtual(),
            driver: driver.name,
            mode: Mode::Native,
        };
        let mut device = Device {
            netdev,
            facts,
            layout: Layout::new(frame_size),
            program: None,
            filter: None,
            settings: Settings::default(),
            attached: Vec::new(),
        };
        // When this fails, dropping the device puts back what was changed so far.
        device.prepare(config)?;
        Ok(device)
    }

    fn prepare(&mut self, config: &PortConfig) -> Result<(), OpenError> {
        let netdev = &self.netdev;
        if let Some(queues) = config.queues {
            self.settings.queues(netdev, u32::from(queues))?;
            self.facts.queues = u32::from(queues);
        }
        self.settings.mtu(netdev, self.facts.mtu)?;
        // From here on the netdev is ours: a second daemon is refused.
        let program = Program::attach(
            netdev.name(),
            netdev.ifindex(),
            self.facts.queues,
            self.layout.is_multi_buffer(),
        )?;
        self.facts.mode = program.mode();
        self.program = Some(program);
        self.settings.no_ipv6(netdev)?;
        self.settings.whole_frames(netdev);
        if self.facts.mode == Mode::Generic {
            self.settings.no_gro(netdev);
        }
        let filter = sys::open_filter(netdev.ifindex(), config.promiscuous)
            .map_err(|source| OpenError::system(netdev.name(), "open its filter", source))?;
        self.filter = Some(filter);
        self.settings.up(netdev)
    }

    /// The netdev's name.
    pub fn name(&self) -> &str {
        self.netdev.name()
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// True when the netdev is there, is up and has a carrier. Another one that was given its name
    /// is not it.
    pub fn link_up(&mut self) -> bool {
        self.netdev.find_again() && self.netdev.is_running().unwrap_or(false)
    }

    /// Speed in Mbit/s, where the driver says one.
    pub fn speed(&self) -> Option<u32> {
        self.netdev.speed()
    }

    /// What an operator should know about this netdev, a line each; for the log, once.
    pub fn warnings(&self) -> Vec<String> {
        let name = self.netdev.name();
        let mut warnings = Vec::new();
        if let Some(refusal) = self.program.as_ref().and_then(Program::refusal) {
            warnings.push(format!(
                "{name}: its driver takes no XDP program ({refusal}), so it runs in generic mode: \
                 slower, and what the netdev below or a virtual peer leaves merged is dropped \
                 (there: `ethtool -K DEV tso off gso off gro off`)"
            ));
        }
        if Settings::hides_tags(&self.netdev) {
            warnings.push(format!(
                "{name}: takes VLAN tags off received frames and cannot be told not to: tagged \
                 frames look untagged"
            ));
        }
        warnings
    }

    /// Makes the queue of one worker: sockets for each of these hardware `queues` (at least one), over
    /// the frames of `arena`. Called by control while the worker runs; the worker that has the
    /// arena's pool then gets the queue.
    pub fn attach_queue(
        &mut self,
        arena: &Arc<Arena>,
        port: PortId,
        queues: &[u32],
    ) -> Result<Queue, OpenError> {
        let name = self.netdev.name();
        let failed = |what| move |source| OpenError::system(name, what, source);
        let missing = |queue| OpenError::NoSuchQueue {
            device: name.to_owned(),
            queue,
            queues: self.facts.queues,
        };
        let Some(program) = &self.program else {
            return Err(OpenError::NoDevice(name.to_owned()));
        };
        if let Some(&queue) = queues.iter().find(|&&queue| queue >= self.facts.queues) {
            return Err(missing(queue));
        }
        if queues.is_empty() {
            return Err(missing(0));
        }
        let native = self.facts.mode == Mode::Native;
        let mut sockets = Vec::with_capacity(queues.len());
        for &queue in queues {
            let of_queue = Sockets::bind(arena, self.layout, self.facts.ifindex, queue, native)
                .map_err(|source| OpenError::bind(name, self.layout, source))?;
            program
                .insert(queue, of_queue.fds())
                .map_err(failed("enter an AF_XDP socket in the map"))?;
            sockets.push(of_queue);
        }
        let completes_checksums = self.facts.is_virtual || !native;
        let arena = Arc::clone(arena);
        let holder = Holder::port(port);
        let queue = Queue::new(sockets, arena, self.layout, holder, completes_checksums);
        self.attached.retain(Counted::is_open);
        self.attached.extend(queue.counted());
        Ok(queue)
    }

    /// What the kernel counted at the sockets that are attached now.
    pub fn statistics(&self) -> Statistics {
        let mut total = Statistics::default();
        for one in self.attached.iter().filter_map(Counted::read) {
            total.add(&one);
        }
        total
    }

    /// Takes the program off and puts back what was changed; returns a line for everything that
    /// could not be. The port's queues receive nothing from then on.
    pub fn restore(&mut self) -> Vec<String> {
        self.program = None;
        self.filter = None;
        if !self.netdev.find_again() {
            // Nothing to be put back; a netdev that has its name now has its own settings.
            self.settings = Settings::default();
        }
        self.settings.restore(&self.netdev)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Nobody is left to tell; `restore` tells.
        let _ = self.restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::config::Driver;

    #[test]
    fn a_device_that_is_not_there_or_not_ethernet_is_refused_by_name() {
        let config = |device: &str| PortConfig {
            name: "p0".into(),
            driver: Driver::Afxdp,
            device: device.into(),
            bind: None,
            mtu: None,
            queues: None,
            promiscuous: false,
        };
        let refused = |device| Device::open(&config(device), 2048).unwrap_err().to_string();
        assert_eq!(
            refused("nosuchdev0"),
            "no netdev nosuchdev0: `ip link` shows what there is"
        );
        assert!(refused("lo").starts_with("lo is not an Ethernet device"));
    }
}
