//! What the unit tests of this crate share: a device, its memory and a clock.

use crate::registers::Reg;
use crate::state::State;
use crate::{Memory, Nic, Settings, Variant, Violation, Why};
use std::time::Duration;

pub(crate) const MAC: [u8; 6] = [0x02, 0x82, 0x59, 0x90, 0x00, 0x01];

/// A device and the machine it is plugged into.
pub(crate) struct Bench {
    pub(crate) nic: Nic,
    pub(crate) host: Memory,
    now: Duration,
}

impl Bench {
    /// A device that was just powered up: the link is down.
    pub(crate) fn new() -> Bench {
        let nic = Nic::new(Settings {
            mac: MAC,
            variant: Variant::default(),
        });
        Bench {
            nic,
            host: Memory::new(),
            now: Duration::ZERO,
        }
    }

    /// A device whose link has come up.
    pub(crate) fn linked() -> Bench {
        let mut bench = Bench::new();
        bench.pass(Duration::from_secs(1));
        assert!(bench.state().link.is_up());
        bench
    }

    pub(crate) fn read(&mut self, register: Reg) -> u32 {
        self.nic.read(&mut self.host, register.0)
    }

    pub(crate) fn write(&mut self, register: Reg, value: u32) {
        self.nic.write(&mut self.host, register.0, value);
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) -> Option<Duration> {
        self.now += time;
        self.nic.tick(&mut self.host, self.now)
    }

    /// The vectors raised since the last call.
    pub(crate) fn raised(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.host.raised)
    }

    pub(crate) fn state(&mut self) -> &mut State {
        &mut self.nic.state
    }

    /// Acts on the device's innards and its host, as the engines do.
    pub(crate) fn with(&mut self, act: impl FnOnce(&mut State, &mut Memory)) {
        act(&mut self.nic.state, &mut self.host);
    }

    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let violations: Vec<_> = self
            .nic
            .violations()
            .iter()
            .map(Violation::to_string)
            .collect();
        assert!(violations.is_empty(), "{violations:#?}");
    }

    /// Exactly one violation since the start, of this register.
    #[track_caller]
    pub(crate) fn assert_violation(&self, register: &str, why: Why) {
        let seen: Vec<_> = self
            .nic
            .violations()
            .iter()
            .map(|seen| (seen.register.as_str(), seen.why))
            .collect();
        assert_eq!(seen, [(register, why)]);
    }
}
