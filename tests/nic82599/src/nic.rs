//! The device: register accesses, frames from the wire, the clock.
//!
//! A front end calls [`Nic::read`] and [`Nic::write`] for the driver's accesses, [`Nic::receive`]
//! for frames, and [`Nic::tick`] with the time, at the latest when the last tick said. The device
//! knows no other clock: what throttles interrupts is the time of the last tick.
//!
//! A front end may let the driver write the ring pages (0x1000, 0x6000, 0x7000, 0xD000) without
//! being asked: it then calls [`Nic::poll_rings`] with these pages, often, and [`Nic::sync_rings`]
//! before and after every access it does see.

use crate::host::Host;
use crate::registers::{
    self, CTRL, CTRL_LNK_RST, CTRL_RST, FDIRCMD_CMD, FDIRCTRL_INIT_DONE, FDIRCTRL_PBALLOC, HLREG0,
    HLREG0_LPBK, Hook, Reg, Row,
};
use crate::ring_pages::Agreed;
use crate::state::State;
use crate::violation::{Violation, Why};
use crate::{receive, transmit};
use std::time::Duration;

/// What a read of nothing gives, as on the 82599.
const NOTHING: u32 = 0xDEAD_BEEF;

/// Which controller is modelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// 82599ES with an SFP+ cage: PCI device 0x10FB.
    #[default]
    I82599,
}

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The address in the EEPROM.
    pub mac: [u8; 6],
    pub variant: Variant,
}

/// One modelled 82599.
pub struct Nic {
    pub(crate) state: State,
    /// What mapped ring pages held at the last poll.
    pub(crate) agreed: Agreed,
    removed: bool,
}

impl Nic {
    pub fn new(settings: Settings) -> Nic {
        Nic {
            state: State::new(settings),
            agreed: Agreed::new(),
            removed: false,
        }
    }

    /// A read of 32 bits of BAR0. Wider accesses are split by the front end.
    pub fn read(&mut self, _host: &mut dyn Host, offset: u32) -> u32 {
        if self.removed {
            return !0;
        }
        let Some((row, register)) = self.find(offset, NOTHING, Why::UnknownRead) else {
            return NOTHING;
        };
        let value = match row.hook {
            Hook::None => self.state.regs[register],
            hook => self.state.read_hooked(hook, row, register),
        };
        if row.read_clears != 0 {
            self.state.regs[register] &= !row.read_clears;
        }
        value
    }

    /// A write of 32 bits of BAR0.
    pub fn write(&mut self, host: &mut dyn Host, offset: u32, value: u32) {
        if self.removed {
            return;
        }
        let Some((row, register)) = self.find(offset, value, Why::UnknownWrite) else {
            return;
        };
        let state = &mut self.state;
        let old = state.regs[register];
        let reserved = value & row.reserved & !old;
        if reserved != 0 {
            state.violate(register, value, Why::Reserved(reserved));
        }
        let kept = old & !row.writable & !(value & row.one_clears);
        state.regs[register] = kept | value & row.writable;
        if row.hook != Hook::None {
            state.written(host, row, register, old, value);
        }
    }

    /// An access of BAR0 that is not of whole aligned registers: a write, or a read of what is
    /// returned. It does nothing.
    pub fn misaligned(&mut self, offset: u32, written: Option<u32>) -> u32 {
        if self.removed {
            return !0;
        }
        let value = written.unwrap_or(NOTHING);
        self.state.violate(Reg(offset), value, Why::Misaligned);
        NOTHING
    }

    /// The register at an offset; the judge hears of an offset without one.
    fn find(&mut self, offset: u32, value: u32, unknown: Why) -> Option<(&'static Row, Reg)> {
        if !offset.is_multiple_of(4) {
            self.misaligned(offset, Some(value));
            return None;
        }
        let found = registers::decode(offset);
        if found.is_none() {
            self.state.violate(Reg(offset), value, unknown);
        }
        found
    }

    /// A frame from the wire, without its FCS.
    pub fn receive(&mut self, host: &mut dyn Host, frame: &[u8]) {
        let hears = self.state.link.is_up() && self.state.regs[HLREG0] & HLREG0_LPBK == 0;
        if hears && !self.removed {
            receive::receive(&mut self.state, host, frame);
        }
    }

    /// Lets time pass. Says when it wants to be called at the latest, if at all.
    pub fn tick(&mut self, host: &mut dyn Host, now: Duration) -> Option<Duration> {
        if self.removed {
            return None;
        }
        let state = &mut self.state;
        state.now = state.now.max(now);
        state.train_link(host);
        transmit::tick(state, host);
        receive::run(state, host);
        state.deliver(host);
        let unsent = (state.rings.transmit_ready != 0).then_some(state.now);
        [state.throttled_until(), state.link.up_at(), unsent]
            .into_iter()
            .flatten()
            .min()
    }

    /// Plugs the cable, or pulls it.
    pub fn set_link(&mut self, host: &mut dyn Host, up: bool) {
        if !self.removed {
            self.state.plug(host, up);
        }
    }

    /// PCI function reset.
    pub fn reset(&mut self) {
        self.state.reset();
    }

    /// Surprise removal: reads are all ones from now on, nothing else happens.
    pub fn remove(&mut self) {
        self.removed = true;
    }

    /// Another driver's turn: the record of violations begins anew, their count goes on.
    pub fn begin_record(&mut self) {
        self.state.violations.begin();
    }

    /// The first things that the driver did wrong.
    pub fn violations(&self) -> &[Violation] {
        self.state.violations.kept()
    }

    /// Whether further violations are only counted.
    pub fn is_record_full(&self) -> bool {
        self.state.violations.is_full()
    }

    /// How many things drivers did wrong.
    pub fn violation_count(&self) -> u64 {
        self.state.violations.count()
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed
    }
}

impl State {
    /// Reads a register that is more than its bits.
    fn read_hooked(&mut self, hook: Hook, row: &Row, register: Reg) -> u32 {
        let index = || row.index_of(register);
        match hook {
            Hook::Status => self.status(),
            Hook::SoftwarePins => self.software_pins(),
            Hook::I2c => self.read_i2c(),
            Hook::Semaphore => self.take_semaphore(),
            Hook::LinkStatus => self.links(),
            Hook::Cause => self.read_causes(),
            Hook::CauseSet | Hook::CauseSetEx => self.peek_causes(hook, index()),
            Hook::MaskSet | Hook::MaskSetEx => self.read_mask(hook, index()),
            Hook::MaskClear | Hook::MaskClearEx => self.read_mask(hook, index()),
            Hook::AutoMask | Hook::AutoMaskEx => self.read_auto_mask(hook, index()),
            _ => self.regs[register],
        }
    }

    /// Does what a write brings about, after the bits that stay have been stored.
    fn written(&mut self, host: &mut dyn Host, row: &Row, register: Reg, old: u32, value: u32) {
        let index = || row.index_of(register);
        match row.hook {
            Hook::None | Hook::Status | Hook::LinkStatus => {}
            Hook::SoftwarePins | Hook::Semaphore => {}
            Hook::Control if value & (CTRL_RST | CTRL_LNK_RST) != 0 => self.software_reset(),
            Hook::Control => {}
            Hook::I2c => self.write_i2c(value),
            Hook::EepromControl => self.eeprom_control(value),
            Hook::EepromRead => self.read_eeprom(value),
            Hook::EepromWrite => self.write_eeprom(value),
            Hook::SoftwareFirmwareSync => self.judge_sync(old, value),
            Hook::Mdio => self.mdio(value),
            Hook::LinkControl => self.link_control(host, value),
            Hook::Cause => self.clear_causes(value),
            Hook::CauseSet | Hook::CauseSetEx => self.set_causes(host, row.hook, index(), value),
            Hook::MaskSet | Hook::MaskSetEx => self.set_mask(host, row.hook, index(), value),
            Hook::MaskClear | Hook::MaskClearEx => self.clear_mask(row.hook, index(), value),
            Hook::AutoMask | Hook::AutoMaskEx => self.set_auto_mask(row.hook, index(), value),
            Hook::InterruptEnable | Hook::InterruptRoute => self.deliver(host),
            Hook::Throttle => self.throttle(host, index(), value),
            Hook::FlowDirectorControl if value & FDIRCTRL_PBALLOC != 0 => {
                self.regs[register] |= FDIRCTRL_INIT_DONE;
            }
            Hook::FlowDirectorControl => self.regs[register] &= !FDIRCTRL_INIT_DONE,
            Hook::FlowDirectorCommand => self.regs[register] &= !FDIRCMD_CMD,
            Hook::ReceiveEnable => self.receive_enabled(host),
            Hook::TransmitEnable => self.transmit_enabled(host),
            Hook::RingBase => self.ring_base(register, value),
            Hook::RingLength => self.ring_length(register, value),
            Hook::RingHead => self.ring_head(register, value),
            Hook::ReceiveTail => self.receive_tail(host, register, value),
            Hook::TransmitTail => self.transmit_tail(host, register, value),
            Hook::ReceiveControl => self.receive_control(host, register, value),
            Hook::TransmitControl => self.transmit_control(host, register, value),
        }
    }

    /// CTRL.RST or CTRL.LNK_RST, which clear themselves. The semaphores outlive them: they are
    /// between drivers and firmware.
    fn software_reset(&mut self) {
        let semaphores = self.semaphores();
        self.reset();
        self.restore_semaphores(semaphores);
        self.regs[CTRL] = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::{FDIRCMD, FDIRCTRL, LINKS, RAH, RAL};
    use crate::testing::{Bench, MAC};

    #[test]
    fn the_first_address_filter_holds_the_address_of_the_eeprom() {
        let mut bench = Bench::new();
        for _ in 0..2 {
            let low = bench.read(RAL.at(0)).to_le_bytes();
            let high = bench.read(RAH.at(0)).to_le_bytes();
            assert_eq!([&low[..], &high[..2]].concat(), MAC);
            assert_eq!(high[3], 0x80, "valid");
            bench.write(RAL.at(0), 0);
            bench.write(CTRL, CTRL_RST);
        }
    }

    #[test]
    fn a_reset_takes_the_link_down_until_it_is_trained() {
        for bit in [CTRL_RST, CTRL_LNK_RST] {
            let mut bench = Bench::linked();
            bench.write(CTRL, bit);
            assert_eq!(bench.read(CTRL), 0);
            assert_eq!(bench.read(LINKS), 0);
            bench.pass(Duration::from_secs(1));
            assert_ne!(bench.read(LINKS), 0);
        }
    }

    #[test]
    fn flow_director_commands_are_done_at_once() {
        let mut bench = Bench::new();
        bench.write(FDIRCTRL, 0x1);
        assert_eq!(bench.read(FDIRCTRL), 0x1 | FDIRCTRL_INIT_DONE);
        bench.write(FDIRCMD, 0x0000_0101);
        assert_eq!(bench.read(FDIRCMD) & FDIRCMD_CMD, 0);
        bench.assert_clean();
    }

    #[test]
    fn a_removed_device_reads_as_ones_and_does_nothing() {
        let mut bench = Bench::linked();
        bench.nic.remove();
        assert_eq!(bench.read(LINKS), !0);
        bench.write(CTRL, CTRL_RST);
        assert_eq!(bench.pass(Duration::from_secs(1)), None);
        assert!(bench.raised().is_empty());
        bench.assert_clean();
    }

    #[test]
    fn no_accesses_make_the_device_panic() {
        let mut bench = Bench::linked();
        let mut seed = 0x8259_9000_1234_5678u64;
        for _ in 0..100_000 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let [a, b, c, d, low, middle, high, kind] = seed.to_le_bytes();
            let offset = u32::from_le_bytes([low & !3, middle, high & 1, 0]);
            match kind & 3 {
                0 => drop(bench.read(Reg(offset))),
                1 => drop(bench.pass(Duration::from_micros(u64::from(a)))),
                _ => bench.write(Reg(offset), u32::from_le_bytes([a, b, c, d])),
            }
        }
        assert!(bench.nic.violation_count() > 0);
    }

    #[test]
    fn the_record_of_violations_is_bounded_and_their_count_is_not() {
        let mut bench = Bench::new();
        for _ in 0..1000 {
            bench.read(Reg(0x4));
        }
        assert_eq!(bench.nic.violation_count(), 1000);
        assert_eq!(bench.nic.violations().len(), 256);
        let shown = bench.nic.violations()[0].to_string();
        assert_eq!(
            shown,
            "unknown (0x00004, not in the datasheet) = 0xdeadbeef: \
             read of a register that the 82599 does not have"
        );
    }
}
