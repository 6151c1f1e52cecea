//! What the device is made of: the register file and the state behind it. The engines and the
//! register hooks are functions over this.

use crate::eeprom::Eeprom;
use crate::host::{DmaFault, DmaFaultKind, Host};
use crate::interrupts::Interrupts;
use crate::link::Link;
use crate::nic::Settings;
use crate::phy::Module;
use crate::receive::{self, filter_words};
use crate::registers::{CTRL, CTRL_GIO_DIS, RAH, RAL, Reg, Registers};
use crate::rings::Rings;
use crate::transmit;
use crate::violation::{Violations, Why};
use std::time::Duration;

pub(crate) struct State {
    pub(crate) regs: Registers,
    pub(crate) rings: Rings,
    pub(crate) interrupts: Interrupts,
    pub(crate) link: Link,
    pub(crate) eeprom: Eeprom,
    pub(crate) module: Module,
    pub(crate) violations: Violations,
    /// The time of the last tick, since the start.
    pub(crate) now: Duration,
    /// What the engines keep between frames.
    pub(crate) receive: receive::Engine,
    pub(crate) transmit: transmit::Engine,
    settings: Settings,
}

impl State {
    pub(crate) fn new(settings: Settings) -> State {
        let mut state = State {
            regs: Registers::new(),
            rings: Rings::default(),
            interrupts: Interrupts::default(),
            link: Link::default(),
            eeprom: Eeprom::new(),
            module: Module::new(),
            violations: Violations::default(),
            now: Duration::ZERO,
            receive: receive::Engine::default(),
            transmit: transmit::Engine::default(),
            settings,
        };
        state.load_address();
        state
    }

    /// Everything but the EEPROM, the wire and the judge's record, as after power-up.
    pub(crate) fn reset(&mut self) {
        self.regs.reset();
        self.rings = Rings::default();
        self.interrupts.reset();
        self.link.retrain(self.now);
        self.module = Module::new();
        self.receive = receive::Engine::default();
        self.transmit.reset();
        self.load_address();
    }

    /// The first address filter holds the address of the EEPROM.
    fn load_address(&mut self) {
        let (low, high) = filter_words(&self.settings.mac);
        self.regs[RAL.at(0)] = low;
        self.regs[RAH.at(0)] = high;
    }

    /// Writes down what the driver did wrong.
    #[cold]
    pub(crate) fn violate(&mut self, register: Reg, value: u32, why: Why) {
        self.violations.record(register, value, why);
    }

    /// Whether the device may read and write memory.
    pub(crate) fn is_bus_master(&self) -> bool {
        self.regs[CTRL] & CTRL_GIO_DIS == 0
    }

    /// Reads memory for a ring, named by one of its registers. False when the host refused.
    pub(crate) fn dma_read(
        &mut self,
        host: &mut dyn Host,
        ring: Reg,
        address: u64,
        bytes: &mut [u8],
    ) -> bool {
        self.is_granted(ring, host.dma_read(address, bytes))
    }

    /// Writes memory for a ring, named by one of its registers. False when the host refused.
    pub(crate) fn dma_write(
        &mut self,
        host: &mut dyn Host,
        ring: Reg,
        address: u64,
        bytes: &[u8],
    ) -> bool {
        self.is_granted(ring, host.dma_write(address, bytes))
    }

    /// Whether the host let the ring at its memory; a refusal is the driver's fault, unless it was
    /// injected.
    fn is_granted(&mut self, ring: Reg, access: Result<(), DmaFault>) -> bool {
        if let Err(fault) = access
            && fault.why != DmaFaultKind::Stuck
        {
            self.violate(ring, self.regs[ring], Why::Dma(fault));
        }
        access.is_ok()
    }
}
