//! Interrupts (datasheet 7.3): causes, masks, the way of a cause to its MSI-X vector, throttling.
//!
//! The causes are one set of 128 bits: the 64 vectors that queues are routed to by IVAR, then the
//! other causes of EICR (bits 31:16). EICR and EICS show the first 16 vectors and the others;
//! EICS_EX, EIMS_EX, EIMC_EX and EIAM_EX show all 64 vectors.

use crate::host::Host;
use crate::registers::{
    EIAC, EITR, EITR_FROM_24, GPIE, GPIE_AUTO_MASK, GPIE_MULTIPLE_MSIX, GPIE_OTHER_CLEAR_DISABLE,
    Hook, IVAR, IVAR_MISC, Reg,
};
use crate::state::State;
use std::time::Duration;

/// MSI-X vectors of the function.
pub const VECTORS: u16 = 64;

/// EICR: frames were missed for want of descriptors or memory.
pub(crate) const CAUSE_RECEIVE_MISS: u32 = 1 << 17;
/// EICR: the link went up or down.
pub(crate) const CAUSE_LINK: u32 = 1 << 20;

const VECTOR_BITS: u128 = (1 << 64) - 1;
/// EICR bit 30, which has a vector of its own.
const TIMER: u32 = 64 + 30;
/// Vectors from 16 have no bit in EIAC: their causes always clear themselves.
const ALWAYS_AUTO_CLEAR: u128 = VECTOR_BITS & !0xFFFF;
/// What a read of EICR clears with GPIE.OCD set.
const OTHER_CLEARED_BY_READ: u32 = 0x3FFF_0000;
/// EITR counts in units of 2.048 microseconds.
const EITR_UNIT: Duration = Duration::from_nanos(2048);
/// IVAR: the entry is valid.
const ROUTED: u32 = 0x80;

/// Causes in EICR's layout, as the 128-bit set.
fn spread(causes: u32) -> u128 {
    u128::from(causes & 0xFFFF) | u128::from(causes & 0xFFFF_0000) << 64
}

/// The 128-bit set in EICR's layout.
fn gather(causes: u128) -> u32 {
    low(causes) & 0xFFFF | low(causes >> 64) & 0xFFFF_0000
}

#[allow(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
fn low(causes: u128) -> u32 {
    causes as u32
}

/// What the two registers of an _EX array name: 32 vectors each.
fn extended(hook: Hook, index: u32, value: u32) -> u128 {
    match hook {
        Hook::CauseSetEx | Hook::MaskSetEx | Hook::MaskClearEx | Hook::AutoMaskEx => {
            u128::from(value) << (32 * index)
        }
        _ => spread(value),
    }
}

fn shown(hook: Hook, index: u32, set: u128) -> u32 {
    match hook {
        Hook::CauseSetEx | Hook::MaskSetEx | Hook::MaskClearEx | Hook::AutoMaskEx => {
            low(set >> (32 * index))
        }
        _ => gather(set),
    }
}

/// What is behind EICR, EIMS and EIAM.
pub(crate) struct Interrupts {
    causes: u128,
    mask: u128,
    auto_mask: u128,
    /// Causes that are still set and whose message has been sent.
    delivered: u128,
    /// When each vector may send again.
    open_at: [Duration; VECTORS as usize],
}

impl Default for Interrupts {
    fn default() -> Interrupts {
        Interrupts {
            causes: 0,
            mask: 0,
            auto_mask: 0,
            delivered: 0,
            open_at: [Duration::ZERO; VECTORS as usize],
        }
    }
}

impl Interrupts {
    pub(crate) fn reset(&mut self) {
        *self = Interrupts::default();
    }

    /// A cause that fell, or was masked, has a new message to send when it rises.
    fn settle(&mut self) {
        self.delivered &= self.causes & self.mask;
    }

    fn waiting(&self) -> u128 {
        self.causes & self.mask & !self.delivered
    }
}

impl State {
    /// Descriptors of a receive queue were written back.
    pub(crate) fn receive_cause(&mut self, host: &mut dyn Host, queue: usize) {
        self.queue_cause(host, queue, 0);
    }

    /// Descriptors of a transmit queue were done.
    pub(crate) fn transmit_cause(&mut self, host: &mut dyn Host, queue: usize) {
        self.queue_cause(host, queue, 8);
    }

    /// IVAR[n] routes receive and transmit of queue 2n, then of queue 2n+1, a byte each.
    fn queue_cause(&mut self, host: &mut dyn Host, queue: usize, shift: u32) {
        let odd = if queue & 1 == 0 { 0 } else { 16 };
        let route = self.regs[IVAR.at(queue / 2)] >> (shift + odd);
        if route & ROUTED != 0 {
            self.interrupts.causes |= 1 << (route & 0x3F);
            self.deliver(host);
        }
    }

    /// One of the causes of EICR's bits 31:16.
    pub(crate) fn other_cause(&mut self, host: &mut dyn Host, causes: u32) {
        self.interrupts.causes |= spread(causes);
        self.deliver(host);
    }

    /// Sends the messages of causes that are set and enabled, as far as EITR lets them.
    pub(crate) fn deliver(&mut self, host: &mut dyn Host) {
        let mut waiting = self.interrupts.waiting();
        let mut fired = 0u64;
        while waiting != 0 {
            let cause = waiting.trailing_zeros();
            waiting &= waiting - 1;
            let Some(vector) = self.vector_of(cause) else {
                continue;
            };
            let open_at = self.interrupts.open_at[usize::from(vector)];
            if fired & 1 << vector == 0 {
                if self.now < open_at {
                    continue;
                }
                fired |= 1 << vector;
                self.interrupts.open_at[usize::from(vector)] = self.now + self.interval(vector);
                host.interrupt(vector);
            }
            self.delivered(1 << cause);
        }
    }

    /// A message was sent for a cause: it clears and masks itself where it was told to.
    fn delivered(&mut self, cause: u128) {
        let multiple = self.regs[GPIE] & GPIE_MULTIPLE_MSIX != 0;
        let auto_clear = spread(self.regs[EIAC]) | ALWAYS_AUTO_CLEAR;
        let interrupts = &mut self.interrupts;
        interrupts.delivered |= cause;
        if multiple {
            interrupts.causes &= !(cause & auto_clear);
        }
        if self.regs[GPIE] & GPIE_AUTO_MASK != 0 {
            interrupts.mask &= !(cause & interrupts.auto_mask);
        }
        interrupts.settle();
    }

    /// The vector of a cause, if it has one: queue causes are numbered by theirs.
    fn vector_of(&self, cause: u32) -> Option<u16> {
        if self.regs[GPIE] & GPIE_MULTIPLE_MSIX == 0 {
            return Some(0);
        }
        let route = match cause {
            0..64 => ROUTED | cause,
            TIMER => self.regs[IVAR_MISC],
            _ => self.regs[IVAR_MISC] >> 8,
        };
        (route & ROUTED != 0).then(|| u16::try_from(route & 0x3F).unwrap_or_default())
    }

    /// When the first throttled message may be sent.
    pub(crate) fn throttled_until(&self) -> Option<Duration> {
        let mut waiting = self.interrupts.waiting();
        let mut first = None;
        while waiting != 0 {
            let vector = self.vector_of(waiting.trailing_zeros());
            waiting &= waiting - 1;
            let open_at = vector.map(|vector| self.interrupts.open_at[usize::from(vector)]);
            first = first.into_iter().chain(open_at).min();
        }
        first
    }

    /// EITR bits 11:3: the least time between two messages of a vector.
    fn interval(&self, vector: u16) -> Duration {
        EITR_UNIT * (self.regs[throttle_of(vector)] >> 3 & 0x1FF)
    }

    /// A write to EITR sets the counter (its high seven bits) too, unless it says to leave it.
    pub(crate) fn throttle(&mut self, host: &mut dyn Host, vector: u32, value: u32) {
        const LEAVE_COUNTER: u32 = 1 << 31;
        if value & LEAVE_COUNTER == 0
            && let Some(open_at) = self.interrupts.open_at.get_mut(vector as usize)
        {
            *open_at = self.now + EITR_UNIT * (value >> 21 & 0x7F) * 4;
            self.deliver(host);
        }
    }

    /// A read of EICR clears it, or with GPIE.OCD bits 29:16 of it.
    pub(crate) fn read_causes(&mut self) -> u32 {
        let cleared = match self.regs[GPIE] & GPIE_OTHER_CLEAR_DISABLE {
            0 => !0,
            _ => OTHER_CLEARED_BY_READ,
        };
        let causes = gather(self.interrupts.causes);
        self.interrupts.causes &= !spread(cleared);
        if self.regs[GPIE] & GPIE_AUTO_MASK == 0 {
            self.interrupts.mask &= !(spread(causes) & self.interrupts.auto_mask);
        }
        self.interrupts.settle();
        causes
    }

    /// EICS shows the causes and clears nothing.
    pub(crate) fn peek_causes(&self, hook: Hook, index: u32) -> u32 {
        shown(hook, index, self.interrupts.causes)
    }

    pub(crate) fn clear_causes(&mut self, value: u32) {
        self.interrupts.causes &= !spread(value);
        self.interrupts.settle();
    }

    pub(crate) fn set_causes(&mut self, host: &mut dyn Host, hook: Hook, index: u32, value: u32) {
        self.interrupts.causes |= extended(hook, index, value);
        self.deliver(host);
    }

    pub(crate) fn read_mask(&self, hook: Hook, index: u32) -> u32 {
        shown(hook, index, self.interrupts.mask)
    }

    pub(crate) fn set_mask(&mut self, host: &mut dyn Host, hook: Hook, index: u32, value: u32) {
        self.interrupts.mask |= extended(hook, index, value);
        self.deliver(host);
    }

    pub(crate) fn clear_mask(&mut self, hook: Hook, index: u32, value: u32) {
        self.interrupts.mask &= !extended(hook, index, value);
        self.interrupts.settle();
    }

    pub(crate) fn read_auto_mask(&self, hook: Hook, index: u32) -> u32 {
        shown(hook, index, self.interrupts.auto_mask)
    }

    pub(crate) fn set_auto_mask(&mut self, hook: Hook, index: u32, value: u32) {
        let named = extended(hook, index, !0);
        let kept = self.interrupts.auto_mask & !named;
        self.interrupts.auto_mask = kept | extended(hook, index, value);
    }
}

fn throttle_of(vector: u16) -> Reg {
    match vector {
        0..24 => EITR.at(usize::from(vector)),
        _ => EITR_FROM_24.at(usize::from(vector) - 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registers::{
        EIAM, EIAM_EX, EICR, EICS, EICS_EX, EIMC, EIMC_EX, EIMS, EIMS_EX, GPIE_AUTO_MASK,
    };
    use crate::testing::Bench;

    const MICROSECOND: Duration = Duration::from_micros(1);

    /// MSI-X with a vector for each queue cause, as Linux has it, and no automatics.
    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.write(GPIE, GPIE_MULTIPLE_MSIX | GPIE_OTHER_CLEAR_DISABLE);
        bench
    }

    fn receive(bench: &mut Bench, queue: usize) {
        bench.with(|state, host| state.receive_cause(host, queue));
    }

    #[test]
    fn ivar_routes_each_queue_s_causes() {
        let mut bench = bench();
        bench.write(IVAR.at(1), 0x8584_8382);
        bench.write(EIMS_EX.at(0), !0);
        bench.with(|state, host| {
            state.receive_cause(host, 2);
            state.transmit_cause(host, 2);
            state.receive_cause(host, 3);
            state.transmit_cause(host, 3);
            state.receive_cause(host, 4);
        });
        assert_eq!(bench.raised(), [2, 3, 4, 5], "and queue 4 goes nowhere");
        assert_eq!(bench.read(EICS), 0b11_1100);
        bench.assert_clean();
    }

    #[test]
    fn a_masked_cause_waits_for_its_mask() {
        let mut bench = bench();
        bench.write(IVAR.at(0), 0x81);
        receive(&mut bench, 0);
        assert!(bench.raised().is_empty());
        assert_eq!(bench.read(EICS), 0b10);
        bench.write(EIMS, 0b10);
        assert_eq!(bench.raised(), [1]);
        assert_eq!(bench.read(EIMS), 0b10);
        bench.write(EIMC, 0b10);
        assert_eq!(bench.read(EIMS), 0);
    }

    #[test]
    fn eics_fires_and_reads_as_eicr_without_clearing() {
        let mut bench = bench();
        bench.write(EIMS, 0b1);
        bench.write(EICS, 0b1);
        assert_eq!(bench.raised(), [0]);
        assert_eq!([bench.read(EICS), bench.read(EICS)], [1, 1]);
        bench.write(EICR, 0b1);
        assert_eq!(bench.read(EICS), 0);
        bench.write(EICS, 0b1);
        assert_eq!(bench.raised(), [0], "a cause that was cleared rises again");
    }

    #[test]
    fn the_ex_registers_reach_all_vectors() {
        let mut bench = bench();
        bench.write(EIMS_EX.at(1), 1 << 31);
        bench.write(EIMS_EX.at(0), 1 << 20 | 1);
        assert_eq!(bench.read(EIMS), 1, "EIMS shows the first 16");
        assert_eq!(bench.read(EIMS_EX.at(0)), 1 << 20 | 1);
        bench.write(EICS_EX.at(1), 1 << 31);
        bench.write(EICS_EX.at(0), 1 << 20);
        assert_eq!(bench.raised(), [63, 20]);
        bench.write(EIMC_EX.at(1), 1 << 31);
        assert_eq!(bench.read(EIMS_EX.at(1)), 0);
        bench.write(EIAM_EX.at(1), 5);
        assert_eq!([bench.read(EIAM_EX.at(1)), bench.read(EIAM)], [5, 0]);
        bench.write(EIAM, 0x0010_0001);
        assert_eq!(
            [bench.read(EIAM), bench.read(EIAM_EX.at(0))],
            [0x0010_0001, 1]
        );
        bench.assert_clean();
    }

    #[test]
    fn eiac_clears_a_cause_as_its_message_is_sent() {
        let mut bench = bench();
        bench.write(EIAC, 0b01);
        bench.write(EIMS, 0b11);
        bench.write(EICS, 0b11);
        assert_eq!(bench.read(EICS), 0b10);
        bench.write(EICS, 0b11);
        assert_eq!(
            bench.raised(),
            [0, 1, 0],
            "only the cleared cause can rise again"
        );
    }

    #[test]
    fn eiam_masks_a_cause_as_its_message_is_sent() {
        let mut bench = bench();
        bench.write(GPIE, GPIE_MULTIPLE_MSIX | GPIE_AUTO_MASK);
        bench.write(EIAC, 0xFFFF);
        bench.write(EIAM_EX.at(0), 0b01);
        bench.write(EIMS, 0b11);
        bench.write(EICS, 0b11);
        assert_eq!(bench.read(EIMS), 0b10);
        bench.write(EICS, 0b11);
        assert_eq!(bench.raised(), [0, 1, 1]);
        bench.write(EIMS, 0b01);
        assert_eq!(bench.raised(), [0], "what came while it was masked");
    }

    #[test]
    fn a_read_clears_eicr_or_with_ocd_the_other_causes_only() {
        let mut bench = bench();
        bench.write(EICS, 0x0010_0003);
        assert_eq!(bench.read(EICR), 0x0010_0003);
        assert_eq!(bench.read(EICR), 0x0000_0003);
        bench.write(GPIE, GPIE_MULTIPLE_MSIX);
        assert_eq!([bench.read(EICR), bench.read(EICR)], [3, 0]);
    }

    #[test]
    fn eitr_holds_messages_back_and_sends_one_when_it_opens() {
        let mut bench = bench();
        bench.write(EIAC, 0xFFFF);
        bench.write(EIMS, 0b10);
        // 10 units of 2.048 microseconds; leave the counter.
        bench.write(EITR.at(1), 1 << 31 | 10 << 3);
        bench.write(EICS, 0b10);
        assert_eq!(bench.raised(), [1], "the first goes at once");
        bench.write(EICS, 0b10);
        bench.write(EICS, 0b10);
        assert!(bench.raised().is_empty());
        let opens = Duration::from_nanos(20480);
        assert_eq!(bench.state().throttled_until(), Some(opens));
        bench.pass(20 * MICROSECOND);
        assert!(bench.raised().is_empty());
        bench.pass(MICROSECOND);
        assert_eq!(bench.raised(), [1]);
        assert_eq!(bench.state().throttled_until(), None);
        bench.assert_clean();
    }

    #[test]
    fn a_write_of_eitr_s_counter_opens_it() {
        let mut bench = bench();
        bench.write(EIAC, 0xFFFF);
        bench.write(EIMS_EX.at(0), 1 << 30);
        bench.write(EITR_FROM_24.at(6), 100 << 3);
        bench.write(EICS_EX.at(0), 1 << 30);
        bench.write(EICS_EX.at(0), 1 << 30);
        assert_eq!(bench.raised(), [30]);
        bench.write(EITR_FROM_24.at(6), 100 << 3);
        assert_eq!(bench.raised(), [30]);
    }

    #[test]
    fn tick_asks_to_be_called_when_a_vector_opens() {
        let mut bench = Bench::linked();
        bench.write(GPIE, GPIE_MULTIPLE_MSIX);
        bench.write(EIAC, 0xFFFF);
        bench.write(EIMS, 1);
        bench.write(EITR.at(0), 1 << 31 | 1 << 3);
        bench.write(EICS, 1);
        bench.write(EICS, 1);
        let next = bench.pass(Duration::ZERO);
        assert_eq!(next, Some(Duration::from_secs(1) + EITR_UNIT));
        assert_eq!(bench.pass(EITR_UNIT), None);
        assert_eq!(bench.raised(), [0, 0]);
    }

    #[test]
    fn without_msi_x_every_cause_has_vector_0() {
        let mut bench = Bench::new();
        bench.write(EIMS, CAUSE_LINK | 1 << 4);
        bench.write(EICS, CAUSE_LINK | 1 << 4);
        assert_eq!(bench.raised(), [0]);
    }

    #[test]
    fn other_causes_without_a_route_raise_nothing() {
        let mut bench = bench();
        bench.write(EIMS, CAUSE_LINK);
        bench.write(EICS, CAUSE_LINK);
        assert!(bench.raised().is_empty());
        bench.write(IVAR_MISC, 0x8900);
        assert_eq!(bench.raised(), [9]);
    }
}
