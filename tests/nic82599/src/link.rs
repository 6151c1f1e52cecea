//! The link: what LINKS, STATUS and the SFP+ pins say, and the interrupt when it changes.
//!
//! The link is up when the cable is in and training is over. A reset or a restart of
//! auto-negotiation (AUTOC) trains it anew.

use crate::host::Host;
use crate::interrupts::CAUSE_LINK;
use crate::registers::{AUTOC_RESTART, CTRL, CTRL_GIO_DIS, ESDP, LINKS_UP_10G, STATUS_GIO};
use crate::state::State;
use std::time::Duration;

/// How long the link takes to come up.
const TRAINING: Duration = Duration::from_millis(1);

/// ESDP: the pin that says a module is plugged, and the bit that makes that pin an output.
const MODULE_PRESENT: u32 = 1 << 2;
const MODULE_PRESENT_IS_OUTPUT: u32 = 1 << 10;
/// STATUS.LinkUp.
const STATUS_LINK_UP: u32 = 1 << 7;

pub(crate) struct Link {
    cable: bool,
    up: bool,
    /// When training is over, while the cable is in and the link is down.
    trained_at: Duration,
}

impl Default for Link {
    fn default() -> Link {
        Link {
            cable: true,
            up: false,
            trained_at: TRAINING,
        }
    }
}

impl Link {
    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// When the link will come up, if it is about to.
    pub(crate) fn up_at(&self) -> Option<Duration> {
        (self.cable && !self.up).then_some(self.trained_at)
    }

    /// The link goes down, to come up when training is over.
    pub(crate) fn retrain(&mut self, now: Duration) {
        self.up = false;
        self.trained_at = now + TRAINING;
    }
}

impl State {
    /// The cable is plugged or pulled.
    pub(crate) fn plug(&mut self, host: &mut dyn Host, cable: bool) {
        if self.link.cable != cable {
            self.link.cable = cable;
            self.retrain(host);
        }
    }

    /// Brings the link up when training is over.
    pub(crate) fn train_link(&mut self, host: &mut dyn Host) {
        if self.link.up_at().is_some_and(|at| at <= self.now) {
            self.link.up = true;
            self.other_cause(host, CAUSE_LINK);
        }
    }

    /// A write to AUTOC.
    pub(crate) fn link_control(&mut self, host: &mut dyn Host, value: u32) {
        if value & AUTOC_RESTART != 0 {
            self.retrain(host);
        }
    }

    fn retrain(&mut self, host: &mut dyn Host) {
        let was_up = self.link.up;
        self.link.retrain(self.now);
        if was_up {
            self.other_cause(host, CAUSE_LINK);
        }
    }

    pub(crate) fn links(&self) -> u32 {
        if self.link.up { LINKS_UP_10G } else { 0 }
    }

    pub(crate) fn status(&self) -> u32 {
        let master = if self.regs[CTRL] & CTRL_GIO_DIS == 0 {
            STATUS_GIO
        } else {
            0
        };
        let link = if self.link.up { STATUS_LINK_UP } else { 0 };
        master | link
    }

    /// ESDP: the cage says that a module is plugged.
    pub(crate) fn software_pins(&self) -> u32 {
        let pins = self.regs[ESDP];
        match pins & MODULE_PRESENT_IS_OUTPUT {
            0 => pins | MODULE_PRESENT,
            _ => pins,
        }
    }
}
