//! Control's side of a port on an 82599: opens a card, hands out its queues, and gives it back.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::controller::{Controller, Event, Link};
use super::error::{CardError, OpenError};
use super::frame::{DEFAULT_MTU, max_mtu};
use super::module::Module;
use super::queue::{Counters, LastResort, Queue, Setup, Vector};
use super::receive::{RECEIVE_ENTRIES, ReceiveSetup};
use super::ring::Ring;
use super::setup::{MAX_QUEUES, Settings};
use super::transmit::{TRANSMIT_ENTRIES, TransmitSetup};
use crate::dataplane::mem::{Arena, DmaMap, Region};
use crate::dataplane::port::pci::{Bar, Function, Interrupt, PciError, Sysfs};
use crate::shared::api;
use crate::shared::config::{KernelDriver, PortConfig};
use crate::shared::mac::MacAddr;
use crate::shared::pci::PciAddress;

/// Intel.
const VENDOR: u16 = 0x8086;
/// 82599 controllers with an SFP+ cage (SFI): docs/hardware.md has their names.
const SUPPORTED: [u16; 7] = [0x10FB, 0x1507, 0x1529, 0x154A, 0x154D, 0x1557, 0x1558];
/// X540 and X550: the same rings, another PHY.
const COPPER: [u16; 4] = [0x1528, 0x1560, 0x1563, 0x15D1];

/// What is known of a card since it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    pub mac: MacAddr,
    pub mtu: u32,
    /// Receive queues: attach every one of `0..queues` to a worker, or its frames are dropped.
    pub queues: u32,
    /// What lends the card.
    pub driver: KernelDriver,
    /// The NUMA node that it is attached to, where there are several.
    pub numa_node: Option<u32>,
}

/// Rings of a queue that no worker has had yet.
#[derive(Debug)]
struct Spare {
    receive: Option<Ring>,
    transmit: Option<Ring>,
}

/// A card in ixmap's hands. Dropping it, after its queues, stops and resets it.
#[derive(Debug)]
pub struct Device {
    // Fields drop in this order: interrupts go back where they went, then the function.
    interrupts: Vec<Interrupt>,
    controller: Controller<Bar>,
    rings_map: DmaMap,
    spare: Vec<Spare>,
    counters: Vec<Arc<Counters>>,
    facts: Facts,
    function: Arc<Function>,
}

impl Device {
    /// Opens the card of `config` for so many workers with frames of `frame_size` bytes: resets it and
    /// sets it up. Until queues are attached, whatever arrives is dropped.
    pub fn open(config: &PortConfig, frame_size: u32, workers: usize) -> Result<Device, OpenError> {
        let address: PciAddress = config.device.parse()?;
        let mtu = config.mtu.map_or(DEFAULT_MTU, u32::from);
        let max = max_mtu(frame_size);
        if mtu > max {
            return Err(OpenError::MtuTooLarge { address, mtu, max });
        }
        let queues = queues(config, address, workers)?;
        check_ids(address)?;
        let function = Arc::new(Function::open(address)?);
        let settings = Settings {
            queues,
            mtu,
            promiscuous: config.promiscuous,
        };
        let card = |source| OpenError::Card { address, source };
        let mut controller = Controller::start(function.bar(), &settings).map_err(card)?;
        let (spare, rings_map) = make_rings(&function, queues)?;
        // One for each queue, and one for all that is no queue's.
        let vectors = u16::try_from(queues + 1).unwrap_or(u16::MAX);
        let interrupts = function.interrupts(vectors)?;
        function.set_bus_master(true)?;
        controller.listen();
        // What happened before interrupts got through is not lost: the link is asked, and causes that
        // are left would keep new ones from interrupting.
        controller.events();
        let facts = Facts {
            mac: controller.mac(),
            mtu,
            queues,
            driver: function.driver(),
            numa_node: function.numa_node(),
        };
        Ok(Device {
            interrupts,
            controller,
            rings_map,
            spare,
            counters: Vec::new(),
            facts,
            function,
        })
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The link as it is now.
    pub fn link(&self) -> Link {
        self.controller.link()
    }

    /// The SFP+ module in the cage.
    pub fn module(&self) -> Option<&Module> {
        self.controller.module()
    }

    /// Has frames for this address received, in place of the card's own.
    pub fn set_mac(&mut self, mac: MacAddr) {
        self.controller.set_mac(mac);
    }

    /// What an operator should know about this card, a line each; for the log, once.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> = self.controller.module_warning().into_iter().collect();
        for interrupt in self.interrupts.iter().take(self.counters.len()) {
            if interrupt.core().is_none() {
                warnings.push(format!(
                    "the kernel does not steer interrupt {} to its worker's core: is irqbalance running?",
                    interrupt.irq().map_or("?".to_owned(), |irq| irq.to_string()),
                ));
            }
        }
        warnings
    }

    /// Readable when [`Self::events`] has something to say.
    pub fn event_fd(&self) -> Option<OwnedFd> {
        self.interrupts.last()?.another().ok()
    }

    /// Readable when the kernel wants the card back and waits for it; `None` where it does not ask.
    pub fn wanted_fd(&self) -> Option<OwnedFd> {
        self.function.wanted()
    }

    /// What happened to the card since the last look.
    pub fn events(&mut self) -> Vec<Event> {
        if let Some(interrupt) = self.interrupts.last() {
            interrupt.clear();
        }
        self.controller.events()
    }

    /// Where the queues' interrupts go.
    pub fn interrupts(&self) -> Vec<api::Interrupt> {
        let queues = (0..self.facts.queues).zip(&self.interrupts);
        let told = queues.map(|(queue, interrupt)| api::Interrupt {
            queue,
            irq: interrupt.irq(),
            core: interrupt.goes_to(),
        });
        told.collect()
    }

    /// Adds up the card's counters, which wrap within minutes at the worst.
    pub fn sample(&mut self) {
        self.controller.sample();
    }

    /// What the card lost or its driver dropped, by name.
    pub fn losses(&self) -> Vec<(&'static str, u64)> {
        let mut losses: Vec<_> = self.controller.losses().collect();
        let sum = |of: fn(&Counters) -> u64| self.counters.iter().map(|set| of(set)).sum();
        losses.extend([
            ("rx_ip_checksum", sum(|set| set.rx_ip_checksum.get())),
            ("rx_damaged", sum(|set| set.rx_errors.get())),
            ("rx_split", sum(|set| set.rx_split.get())),
            ("rx_starved", sum(|set| set.rx_starved.get())),
            ("tx_unsendable", sum(|set| set.tx_unsendable.get())),
        ]);
        losses
    }

    /// Makes what the worker on `core` has of the port: these receive `queues` (at least one) and a
    /// transmit queue, over the frames of `arena`. A queue is attached once.
    pub fn attach_queue(
        &mut self,
        arena: &Arc<Arena>,
        queues: &[u32],
        core: usize,
    ) -> Result<Box<Queue>, OpenError> {
        let address = self.function.address();
        if let Some(shortfall) = arena.shortfall() {
            // Without an IOMMU the pieces of normal pages are nowhere contiguous.
            return Err(OpenError::NoHugePages { address, shortfall });
        }
        let arena_map = self.function.map_dma(arena.region())?;
        let mut receive = Vec::with_capacity(queues.len());
        let mut transmit = None;
        for &queue in queues {
            let (ring, sending) = self.take_rings(queue)?;
            transmit = transmit.or(Some(sending));
            receive.push(ReceiveSetup {
                queue: number(queue),
                ring,
                vector: Some(self.vector(queue, core)?),
                drops_when_empty: true,
            });
        }
        let transmit = transmit.ok_or(OpenError::NoSuchQueue {
            address,
            queue: 0,
            queues: 0,
        })?;
        let function = Arc::clone(&self.function);
        let counters = Arc::new(Counters::default());
        self.counters.push(Arc::clone(&counters));
        let card = |source| OpenError::Card { address, source };
        let queue = Queue::start(Setup {
            registers: self.controller.registers().clone(),
            receive,
            transmit,
            rings_map: self.rings_map.clone(),
            arena: Arc::clone(arena),
            arena_map,
            counters,
            last_resort: LastResort::new(move || {
                // Fails for a device that is gone, and reaches nothing.
                let _ = function.set_bus_master(false);
            }),
        });
        let queue = queue.map_err(|error| card(CardError::from(error)))?;
        self.controller.receive().map_err(card)?;
        Ok(Box::new(queue))
    }

    /// A receive queue's ring, and the transmit queue of the same number with its.
    fn take_rings(&mut self, queue: u32) -> Result<(Ring, TransmitSetup), OpenError> {
        let missing = OpenError::NoSuchQueue {
            address: self.function.address(),
            queue,
            queues: self.facts.queues,
        };
        let spare = usize::try_from(queue)
            .ok()
            .and_then(|at| self.spare.get_mut(at));
        let rings = spare.and_then(|spare| Some((spare.receive.take()?, spare.transmit.take()?)));
        let (receive, transmit) = rings.ok_or(missing)?;
        let transmit = TransmitSetup {
            queue: number(queue),
            ring: transmit,
        };
        Ok((receive, transmit))
    }

    /// The interrupt of a queue, steered to its worker.
    fn vector(&mut self, queue: u32, core: usize) -> Result<Vector, OpenError> {
        let address = self.function.address();
        let interrupt = usize::try_from(queue)
            .ok()
            .and_then(|at| self.interrupts.get_mut(at));
        let interrupt = interrupt.ok_or(OpenError::NoSuchQueue {
            address,
            queue,
            queues: self.facts.queues,
        })?;
        // Where it goes otherwise costs a wake-up some time, and `warnings` tells.
        let _ = interrupt.steer(core);
        let event = interrupt.another().map_err(|source| OpenError::System {
            address,
            what: "copy an eventfd",
            source,
        })?;
        Ok(Vector {
            number: number(queue),
            event,
        })
    }

    /// Stops the card; its queues have been dropped. Returns a line for everything that failed.
    pub fn restore(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        let address = self.function.address();
        if !self.controller.stop() {
            failures.push(format!(
                "{address} does not end its DMA: bus mastering is off"
            ));
        }
        match self.function.set_bus_master(false) {
            Ok(()) | Err(PciError::Gone(_)) => {}
            Err(error) => failures.push(error.to_string()),
        }
        failures
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Nobody is left to tell; `restore` tells. The function is reset when it goes.
        self.restore();
    }
}

/// As many queues as configured, or one a worker.
fn queues(config: &PortConfig, address: PciAddress, workers: usize) -> Result<u32, OpenError> {
    let wanted = config.queues.map_or(workers, usize::from);
    let fits = u32::try_from(wanted)
        .ok()
        .filter(|queues| (1..=MAX_QUEUES).contains(queues));
    fits.ok_or(OpenError::TooManyQueues {
        address,
        wanted,
        max: MAX_QUEUES,
    })
}

/// Refuses a card that this driver is not for, or that is not there.
pub(crate) fn check_ids(address: PciAddress) -> Result<(), OpenError> {
    let ids = Sysfs::default().ids(address);
    let ids = ids.ok_or(PciError::NoFunction(address))?;
    let advice = match (ids.vendor, ids.device) {
        (VENDOR, device) if SUPPORTED.contains(&device) => return Ok(()),
        (VENDOR, device) if COPPER.contains(&device) => {
            "X540 and X550 are not driven yet: use its netdev with driver afxdp"
        }
        _ => "use its netdev with driver afxdp",
    };
    Err(OpenError::Unsupported {
        address,
        vendor: ids.vendor,
        device: ids.device,
        advice,
    })
}

/// Entries of the rings of so many queues: receiving, transmitting, and so on.
fn ring_sizes(queues: u32) -> Vec<u32> {
    let pairs = (0..queues).flat_map(|_| [RECEIVE_ENTRIES, TRANSMIT_ENTRIES]);
    pairs.collect()
}

/// Bytes of the rings of so many queues.
pub fn ring_bytes(queues: u32) -> usize {
    Ring::bytes(&ring_sizes(queues))
}

/// Memory for the rings of all queues, and where the card sees it.
fn make_rings(function: &Function, queues: u32) -> Result<(Vec<Spare>, DmaMap), OpenError> {
    let address = function.address();
    let system = |what| {
        move |source| OpenError::System {
            address,
            what,
            source,
        }
    };
    let sizes = ring_sizes(queues);
    let (region, shortfall) = Region::on_node(Ring::bytes(&sizes), function.numa_node())
        .map_err(system("map memory for its rings"))?;
    if let Some(shortfall) = shortfall {
        return Err(OpenError::NoHugePages { address, shortfall });
    }
    let carved = Ring::carve(region, &sizes);
    let failed = || system("lay out its rings")(std::io::ErrorKind::OutOfMemory.into());
    let (region, rings) = carved.ok_or_else(failed)?;
    let map = function.map_dma(&region)?;
    let mut rings = rings.into_iter();
    let spare = (0..queues).map(|_| Spare {
        receive: rings.next(),
        transmit: rings.next(),
    });
    Ok((spare.collect(), map))
}

/// Queues and vectors are fewer than 17.
fn number(queue: u32) -> u16 {
    u16::try_from(queue).unwrap_or(u16::MAX)
}
