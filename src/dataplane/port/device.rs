//! Control's side of a port, whichever driver runs it: what it needs of packet memory, its opening
//! and closing, its state.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::pci::bind::{self, BindError, Bound};
use super::pci::{Sysfs, lender};
use super::{PortQueue, afxdp, ixgbe};
use crate::dataplane::mem::{Arena, node_of_netdev};
use crate::shared::api::Interrupt;
use crate::shared::config::{Driver, PortConfig};
use crate::shared::mac::MacAddr;
use crate::shared::pci::PciAddress;
use crate::shared::port::PortId;

/// Why a device could not become a port: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Afxdp(#[from] afxdp::OpenError),
    #[error(transparent)]
    Ixgbe(#[from] ixgbe::OpenError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("mtu {mtu} is too large, at most {max} fits a frame: set mtu of the port{way}")]
    MtuTooLarge { mtu: u32, max: u32, way: String },
}

/// What a port needs of each worker's packet memory, found without touching the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needs {
    /// Frames that its rings hold.
    pub frames: u32,
    /// Bytes of a frame, at least.
    pub frame_size: u32,
    /// The rings of a card that works in hugepages only: their bytes, and the NUMA node to have them on.
    pub huge_rings: Option<(usize, Option<u32>)>,
}

impl Needs {
    /// Looks at the device of a port that so many workers are to serve.
    pub fn survey(config: &PortConfig, workers: u32) -> Result<Needs, OpenError> {
        match config.driver {
            Driver::Afxdp => Needs::of_netdev(config, workers),
            Driver::Ixgbe => Needs::of_card(config, workers),
        }
    }

    /// A card is looked for, and not touched: what it has is known.
    fn of_card(config: &PortConfig, workers: u32) -> Result<Needs, OpenError> {
        let address = config.device.parse().map_err(ixgbe::OpenError::from)?;
        ixgbe::check_ids(address)?;
        let sysfs = Sysfs::default();
        if config.bind.is_none() {
            lender(&sysfs, address).map_err(ixgbe::OpenError::from)?;
        }
        let mtu = config.mtu.map_or(ixgbe::DEFAULT_MTU, u32::from);
        let frame_size = ixgbe::frame_size_for(mtu).ok_or_else(|| OpenError::MtuTooLarge {
            mtu,
            max: ixgbe::MAX_MTU,
            way: String::new(),
        })?;
        let queues = config.queues.map_or(workers, u32::from);
        Ok(Needs {
            frames: ixgbe::frames(queues.div_ceil(workers)),
            frame_size,
            huge_rings: Some((ixgbe::ring_bytes(queues), sysfs.numa_node(address))),
        })
    }

    fn of_netdev(config: &PortConfig, workers: u32) -> Result<Needs, OpenError> {
        let (device_mtu, queues) = afxdp::survey(&config.device)?;
        let mtu = config.mtu.map_or(device_mtu, u32::from);
        let frame_size = afxdp::frame_size_for(mtu).ok_or_else(|| {
            let max = afxdp::MAX_MTU;
            let way = format!(", or `ip link set {} mtu {max}`", config.device);
            OpenError::MtuTooLarge { mtu, max, way }
        })?;
        let queues = config.queues.map_or(queues, u32::from).div_ceil(workers);
        Ok(Needs {
            frames: queues.saturating_mul(afxdp::FRAMES_PER_QUEUE),
            frame_size,
            huge_rings: None,
        })
    }
}

/// The NUMA node that the device of a port is attached to; `None` where there is but one.
pub fn numa_node(config: &PortConfig) -> Option<u32> {
    match config.driver {
        Driver::Afxdp => node_of_netdev(&config.device),
        Driver::Ixgbe => Sysfs::default().numa_node(config.device.parse().ok()?),
    }
}

/// Binds a card to a driver of the kernel: only one that ixmap has a driver for to those that lend.
/// Unless `force` says so, its netdev must not be in use.
pub fn bind_card(address: PciAddress, driver: &str, force: bool) -> Result<Bound, OpenError> {
    if bind::lends(driver) {
        ixgbe::check_ids(address)?;
    }
    Ok(bind::to(&Sysfs::default(), address, driver, force)?)
}

/// What is known of a device since it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The netdev's, for a driver on top of one.
    pub ifindex: Option<u32>,
    pub mac: MacAddr,
    pub mtu: u32,
    /// Receive queues: attach every one of `0..queues` to a worker, or its frames are dropped.
    pub queues: u32,
    /// How the device is reached: where the XDP program runs, or what lends the card.
    pub mode: String,
}

/// A device in ixmap's hands. Dropping it gives it back; [`Self::restore`] does the same and tells
/// what failed.
#[derive(Debug)]
pub enum Device {
    Afxdp(afxdp::Device),
    Ixgbe(Card),
}

/// A card, and how it was bound before it was opened.
#[derive(Debug)]
pub struct Card {
    // Fields drop in this order: nothing holds a card that is bound anew.
    device: Box<ixgbe::Device>,
    lease: Lease,
}

/// A function that was bound for this process; dropping it binds it back.
#[derive(Debug, Default)]
struct Lease(Option<Bound>);

impl Lease {
    /// Binds the card of `config`, if it says so.
    fn take(config: &PortConfig) -> Result<Lease, OpenError> {
        let Some(driver) = config.bind else {
            return Ok(Lease::default());
        };
        let address = config.device.parse().map_err(ixgbe::OpenError::from)?;
        Ok(Lease(Some(bind_card(address, driver.name(), false)?)))
    }

    fn end(&mut self) -> Result<(), BindError> {
        self.0
            .take()
            .map_or(Ok(()), |bound| bound.back(&Sysfs::default()))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Nobody is left to tell; `Device::restore` tells.
        let _ = self.end();
    }
}

impl Device {
    /// Claims the device of `config` for so many workers with frames of `frame_size` bytes.
    pub fn open(config: &PortConfig, frame_size: u32, workers: usize) -> Result<Device, OpenError> {
        match config.driver {
            Driver::Afxdp => Ok(Device::Afxdp(afxdp::Device::open(config, frame_size)?)),
            Driver::Ixgbe => {
                let lease = Lease::take(config)?;
                let device = Box::new(ixgbe::Device::open(config, frame_size, workers)?);
                Ok(Device::Ixgbe(Card { device, lease }))
            }
        }
    }

    pub fn facts(&self) -> Facts {
        match self {
            Device::Afxdp(device) => {
                let facts = device.facts();
                Facts {
                    ifindex: Some(facts.ifindex),
                    mac: facts.mac,
                    mtu: facts.mtu,
                    queues: facts.queues,
                    mode: facts.mode.to_string(),
                }
            }
            Device::Ixgbe(card) => {
                let facts = card.device.facts();
                Facts {
                    ifindex: None,
                    mac: facts.mac,
                    mtu: facts.mtu,
                    queues: facts.queues,
                    mode: facts.driver.name().to_owned(),
                }
            }
        }
    }

    /// Frames that a worker's rings hold which serves so many of the queues.
    pub fn frames(&self, queues: usize) -> u32 {
        let queues = u32::try_from(queues).unwrap_or(u32::MAX);
        match self {
            Device::Afxdp(_) => queues.saturating_mul(afxdp::FRAMES_PER_QUEUE),
            Device::Ixgbe(_) => ixgbe::frames(queues),
        }
    }

    /// True when the device is there, is up and has a carrier.
    pub fn link_up(&mut self) -> bool {
        match self {
            Device::Afxdp(device) => device.link_up(),
            Device::Ixgbe(card) => {
                // Asked every second: soon enough for counters of 32 bits.
                card.device.sample();
                card.device.link().up
            }
        }
    }

    /// Speed in Mbit/s, where the device tells one.
    pub fn speed(&self) -> Option<u32> {
        match self {
            Device::Afxdp(device) => device.speed(),
            Device::Ixgbe(card) => card.device.link().speed_mbps,
        }
    }

    /// What is plugged into the device, where it tells.
    pub fn module(&self) -> Option<String> {
        match self {
            Device::Afxdp(_) => None,
            Device::Ixgbe(card) => card.device.module().map(ToString::to_string),
        }
    }

    /// What an operator should know about this device, a line each; for the log, once.
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Device::Afxdp(device) => device.warnings(),
            Device::Ixgbe(card) => card.device.warnings(),
        }
    }

    /// A descriptor that becomes readable when [`Self::events`] has something to say.
    pub fn event_fd(&self) -> Option<OwnedFd> {
        match self {
            Device::Afxdp(_) => None,
            Device::Ixgbe(card) => card.device.event_fd(),
        }
    }

    /// A descriptor that becomes readable when the kernel wants the device back and waits for it.
    pub fn wanted_fd(&self) -> Option<OwnedFd> {
        match self {
            Device::Afxdp(_) => None,
            Device::Ixgbe(card) => card.device.wanted_fd(),
        }
    }

    /// Leaves the device to whoever binds it next, instead of binding it back.
    pub fn surrender(&mut self) {
        if let Device::Ixgbe(card) = self {
            card.lease.0 = None;
        }
    }

    /// What happened to the device since the last look, a line each for an operator. That the link
    /// changed is not among it: [`Self::link_up`] tells.
    pub fn events(&mut self) -> Vec<String> {
        match self {
            Device::Afxdp(_) => Vec::new(),
            Device::Ixgbe(card) => {
                let events = card.device.events().into_iter();
                let told = events.filter(|event| *event != ixgbe::Event::LinkChanged);
                told.map(|event| event.to_string()).collect()
            }
        }
    }

    /// Where the queues' interrupts go, of a driver that sees to it.
    pub fn interrupts(&self) -> Vec<Interrupt> {
        match self {
            Device::Afxdp(_) => Vec::new(),
            Device::Ixgbe(card) => card.device.interrupts(),
        }
    }

    /// Has the device take frames for another MAC too: its TAP's, which an operator may change.
    pub fn set_mac(&mut self, mac: MacAddr) {
        match self {
            // The netdev takes every frame.
            Device::Afxdp(_) => {}
            Device::Ixgbe(card) => card.device.set_mac(mac),
        }
    }

    /// Makes what the worker on `core` has of the port: these hardware `queues` (at least one), over
    /// the frames of `arena`. Also says whether packets pass without a copy.
    pub fn attach_queue(
        &mut self,
        arena: &Arc<Arena>,
        port: PortId,
        queues: &[u32],
        core: usize,
    ) -> Result<(PortQueue, bool), OpenError> {
        match self {
            Device::Afxdp(device) => {
                let queue = device.attach_queue(arena, port, queues)?;
                let zero_copy = queue.zero_copy();
                Ok((PortQueue::Afxdp(queue), zero_copy))
            }
            Device::Ixgbe(card) => {
                let queue = card.device.attach_queue(arena, queues, core)?;
                Ok((PortQueue::Ixgbe(queue), true))
            }
        }
    }

    /// What was lost before the workers had it, or after, by the driver's own names.
    pub fn lost(&self) -> Vec<(&'static str, u64)> {
        match self {
            Device::Afxdp(device) => {
                let statistics = device.statistics();
                vec![
                    ("rx_dropped", statistics.rx_dropped),
                    ("rx_ring_full", statistics.rx_ring_full),
                    ("rx_neighbour_ring_full", statistics.rx_neighbour_ring_full),
                    ("rx_routing_ring_full", statistics.rx_routing_ring_full),
                    ("rx_fill_ring_empty", statistics.rx_fill_ring_empty),
                    ("rx_invalid", statistics.rx_invalid),
                    ("tx_invalid", statistics.tx_invalid),
                    ("bad_descriptors", statistics.bad_descriptors),
                ]
            }
            Device::Ixgbe(card) => card.device.losses(),
        }
    }

    /// Gives the device back as it was; returns a line for everything that could not be put back.
    pub fn restore(self) -> Vec<String> {
        match self {
            Device::Afxdp(mut device) => device.restore(),
            Device::Ixgbe(card) => {
                let Card {
                    mut device,
                    mut lease,
                } = card;
                let mut failures = device.restore();
                drop(device);
                failures.extend(lease.end().err().map(|error| error.to_string()));
                failures
            }
        }
    }
}
