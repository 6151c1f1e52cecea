//! The controller as control has it, whatever its registers are reached by.

use std::fmt;

use super::error::CardError;
use super::link::{Cage, start_link};
use super::module::{Kind, Module, identify};
use super::registers::Registers;
use super::registers::general::{CTRL_EXT, CTRL_EXT_DRIVER_LOADED};
use super::registers::interrupt::{ECC, EICR, EICS, LINK_CHANGE, MODULE_CHANGE, OTHER_CAUSES};
use super::registers::link::{LINKS, LINKS_1G, LINKS_10G, LINKS_SPEED, LINKS_UP};
use super::registers::receive::{RXCTRL, RXCTRL_ENABLE};
use super::registers::statistics::LOSSES;
use super::registers::transmit::{DMATXCTL, DMATXCTL_ENABLE};
use super::reset::{disable_master, mask_interrupts, reset};
use super::setup::{self, Settings};
use crate::shared::mac::MacAddr;

/// What the card says of its link.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Link {
    pub up: bool,
    /// While it is up.
    pub speed_mbps: Option<u32>,
}

/// What happened to a card.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    LinkChanged,
    /// The SFP+ module was plugged, or pulled.
    Module(Option<Module>),
    /// Why the link may not come up with that module.
    Warning(String),
    /// What kept the link from being started with it.
    Failed(CardError),
    MemoryError,
    Gone,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Event::LinkChanged => "the link changed",
            Event::Module(Some(module)) => return write!(f, "in the cage is now a {module}"),
            Event::Module(None) => "the module was pulled out of the cage",
            Event::Warning(warning) => warning,
            Event::Failed(error) => return write!(f, "the link is not started: {error}"),
            Event::MemoryError => {
                "the card found an error in its own memory (ECC): remove and add the port, and replace the \
                 card if it comes back"
            }
            Event::Gone => "the card is gone: look at its slot, then remove the port and add it again",
        })
    }
}

/// A controller that is set up.
#[derive(Debug)]
pub(super) struct Controller<R> {
    registers: R,
    mac: MacAddr,
    cage: Cage,
    losses: [u64; LOSSES.len()],
    /// What happened without an interrupt of its own.
    untold: Vec<Event>,
    receives: bool,
    gone: bool,
}

impl<R: Registers> Controller<R> {
    /// Resets a controller and sets it up. Nothing is received yet, and nothing interrupts before
    /// [`Self::listen`].
    pub(super) fn start(registers: R, settings: &Settings) -> Result<Controller<R>, CardError> {
        let mac = reset(&registers)?;
        setup::set_up(&registers, settings);
        let cage = start_link(&registers)?;
        setup::set_mac(&registers, mac);
        let mut controller = Controller {
            registers,
            mac,
            cage,
            losses: [0; LOSSES.len()],
            untold: Vec::new(),
            receives: false,
            gone: false,
        };
        // What was counted before was another's.
        controller.sample();
        controller.losses = [0; LOSSES.len()];
        match controller.registers.is_gone() {
            true => Err(CardError::Gone),
            false => Ok(controller),
        }
    }

    /// Has what happens to the card interrupt. There are vectors by now: without, it would pull a line
    /// that nobody answers.
    pub(super) fn listen(&self) {
        setup::listen(&self.registers);
    }

    pub(super) fn registers(&self) -> &R {
        &self.registers
    }

    /// The address in its EEPROM.
    pub(super) fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Lets frames in, once; queues are started before.
    pub(super) fn receive(&mut self) -> Result<(), CardError> {
        if !self.receives {
            setup::enable_receive(&self.registers)?;
            self.receives = true;
        }
        Ok(())
    }

    pub(super) fn set_mac(&mut self, mac: MacAddr) {
        setup::set_mac(&self.registers, mac);
    }

    /// The SFP+ module in the cage.
    pub(super) fn module(&self) -> Option<&Module> {
        self.cage.module.as_ref()
    }

    /// Why the link may not come up with what is in the cage.
    pub(super) fn module_warning(&self) -> Option<String> {
        self.cage.warning()
    }

    /// Looks into the cage, and starts the link anew with what is there. After a failure the cage counts
    /// as empty until the next plug.
    fn look_into_cage(&mut self) -> Vec<Event> {
        let looked = start_link(&self.registers);
        let failed = looked.as_ref().err().copied();
        self.cage = looked.unwrap_or_default();
        if let Some(error) = failed {
            return vec![Event::Failed(error)];
        }
        let warning = self.module().and_then(|_| self.module_warning());
        let module = Event::Module(self.module().cloned());
        [module]
            .into_iter()
            .chain(warning.map(Event::Warning))
            .collect()
    }

    /// Asks a module again that did not answer: it may have needed time to start.
    fn ask_again(&mut self) {
        if self
            .module()
            .is_none_or(|module| module.kind != Kind::Silent)
        {
            return;
        }
        match identify(&self.registers) {
            Ok(Some(module)) if module.kind == Kind::Silent => {}
            Ok(_) => self.untold = self.look_into_cage(),
            Err(error) => {
                self.cage = Cage::default();
                self.untold = vec![Event::Failed(error)];
            }
        }
    }

    pub(super) fn link(&self) -> Link {
        let links = self.registers.read(LINKS);
        // Before LINKS is believed: a card that is gone has no link.
        let up = links & LINKS_UP != 0 && !self.registers.is_gone();
        let speed = match links & LINKS_SPEED {
            LINKS_10G => Some(10_000),
            LINKS_1G => Some(1_000),
            _ => Some(100),
        };
        Link {
            up,
            speed_mbps: speed.filter(|_| up),
        }
    }

    /// What the last interrupts were about.
    pub(super) fn events(&mut self) -> Vec<Event> {
        if self.registers.is_gone() {
            let first = !std::mem::replace(&mut self.gone, true);
            return if first { vec![Event::Gone] } else { Vec::new() };
        }
        let causes = self.registers.read(EICS) & OTHER_CAUSES;
        self.registers.write(EICR, causes);
        let mut happened = std::mem::take(&mut self.untold);
        let events = [(LINK_CHANGE, Event::LinkChanged), (ECC, Event::MemoryError)];
        let events = events.into_iter().filter(|(cause, _)| causes & cause != 0);
        happened.extend(events.map(|(_, event)| event));
        if causes & MODULE_CHANGE != 0 {
            happened.extend(self.look_into_cage());
        }
        setup::listen(&self.registers);
        happened
    }

    /// Adds up what the card counted since the last time: its counters are of 32 bits, and cleared by
    /// reading. Called every second or so, it is the time to see whether a module has woken up, too.
    pub(super) fn sample(&mut self) {
        if self.registers.is_gone() {
            return;
        }
        self.ask_again();
        for (total, (_, register)) in self.losses.iter_mut().zip(LOSSES) {
            *total += u64::from(self.registers.read(register));
        }
    }

    /// What was lost or damaged before a queue had it.
    pub(super) fn losses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LOSSES.iter().map(|(name, _)| *name).zip(self.losses)
    }

    /// At rest: nothing is received, sent, or interrupts. True unless DMA goes on.
    pub(super) fn stop(&mut self) -> bool {
        mask_interrupts(&self.registers);
        self.registers.modify(RXCTRL, RXCTRL_ENABLE, 0);
        self.registers.modify(DMATXCTL, DMATXCTL_ENABLE, 0);
        self.registers.modify(CTRL_EXT, CTRL_EXT_DRIVER_LOADED, 0);
        self.receives = false;
        !matches!(disable_master(&self.registers), Err(CardError::Late(_)))
    }
}
