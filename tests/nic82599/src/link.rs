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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::{AUTOC, EICR, EIMS, GPIE, GPIE_MULTIPLE_MSIX, IVAR_MISC, LINKS, STATUS};
    use crate::testing::Bench;

    /// Routes the link's interrupt to a vector.
    fn route(bench: &mut Bench, vector: u32) {
        bench.write(GPIE, GPIE_MULTIPLE_MSIX);
        bench.write(IVAR_MISC, (0x80 | vector) << 8);
        bench.write(EIMS, CAUSE_LINK);
    }

    #[test]
    fn the_link_comes_up_when_training_is_over() {
        let mut bench = Bench::new();
        assert_eq!(bench.read(LINKS), 0);
        assert_eq!(bench.pass(Duration::ZERO), Some(TRAINING));
        assert_eq!(bench.pass(TRAINING), None);
        assert_eq!(bench.read(LINKS), LINKS_UP_10G);
        assert_eq!(bench.read(STATUS) & STATUS_LINK_UP, STATUS_LINK_UP);
    }

    #[test]
    fn each_change_of_the_link_is_an_interrupt() {
        let mut bench = Bench::linked();
        bench.read(EICR);
        route(&mut bench, 3);
        assert!(bench.raised().is_empty());
        bench.with(|state, host| state.plug(host, false));
        assert_eq!(bench.raised(), [3]);
        assert_eq!(bench.read(LINKS), 0);
        bench.write(EICR, CAUSE_LINK);
        bench.with(|state, host| state.plug(host, true));
        assert_eq!(bench.read(LINKS), 0, "not before training is over");
        bench.pass(TRAINING);
        assert_eq!(bench.raised(), [3]);
        assert_eq!(bench.read(LINKS), LINKS_UP_10G);
    }

    #[test]
    fn a_link_that_came_up_unseen_interrupts_once_when_unmasked() {
        let mut bench = Bench::linked();
        route(&mut bench, 5);
        assert_eq!(bench.raised(), [5]);
        bench.write(EIMS, CAUSE_LINK);
        assert!(bench.raised().is_empty());
    }

    #[test]
    fn a_restart_of_auto_negotiation_trains_the_link_anew() {
        let mut bench = Bench::linked();
        let value = bench.read(AUTOC);
        bench.write(AUTOC, value | AUTOC_RESTART);
        assert_eq!(bench.read(AUTOC), value, "the restart clears itself");
        assert_eq!(bench.read(LINKS), 0);
        bench.pass(TRAINING);
        assert_eq!(bench.read(LINKS), LINKS_UP_10G);
        bench.assert_clean();
    }

    #[test]
    fn a_pulled_cable_does_not_train() {
        let mut bench = Bench::linked();
        bench.with(|state, host| state.plug(host, false));
        assert_eq!(bench.pass(TRAINING * 100), None);
        assert_eq!(bench.read(LINKS), 0);
    }

    #[test]
    fn the_bus_master_stops_when_told() {
        let mut bench = Bench::new();
        assert_eq!(bench.read(STATUS) & STATUS_GIO, STATUS_GIO);
        bench.write(CTRL, CTRL_GIO_DIS);
        assert_eq!(bench.read(STATUS) & STATUS_GIO, 0);
    }

    #[test]
    fn the_cage_holds_a_module() {
        let mut bench = Bench::new();
        assert_eq!(bench.read(ESDP) & MODULE_PRESENT, MODULE_PRESENT);
        bench.write(ESDP, MODULE_PRESENT_IS_OUTPUT);
        assert_eq!(bench.read(ESDP) & MODULE_PRESENT, 0);
    }
}
