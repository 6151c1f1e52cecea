//! Ring pages that the driver writes without the device being asked: a front end maps the pages at
//! 0x1000, 0x6000, 0x7000 and 0xD000 into the guest, calls [`crate::Nic::poll_rings`] often and
//! [`crate::Nic::sync_rings`] around every access that it does see.
//!
//! The pages are plain memory to the driver, so some of the hardware's ways are lost: ENABLE reads
//! back before the device has seen it, read-only bits read as written until the next poll, and the
//! statistics there (QPRC, QPTC, ...) stay zero, for a read could not clear them. A ring whose set-up
//! changed between two polls was stopped and started between them, as far as the judge can tell.

use crate::host::Host;
use crate::nic::Nic;
use crate::registers::{QUEUE_ENABLE, RDBAL, Reg, TDBAL, is_receive, queue_of};
use crate::rings::{Queues, Rings, each};
use std::sync::atomic::{AtomicU32, Ordering};

/// Words of the registers of one queue.
const QUEUE_WORDS: usize = 16;
/// Queues in a page.
const QUEUES: usize = 64;

/// A page of ring registers, shared with the driver.
pub type RingPage = [AtomicU32; QUEUES * QUEUE_WORDS];

/// The four pages of ring registers.
pub struct RingPages<'a> {
    /// Receive queues 0 to 63, at 0x1000.
    pub receive_low: &'a RingPage,
    /// Transmit queues 0 to 63, at 0x6000.
    pub transmit_low: &'a RingPage,
    /// Transmit queues 64 to 127, at 0x7000.
    pub transmit_high: &'a RingPage,
    /// Receive queues 64 to 127, at 0xD000.
    pub receive_high: &'a RingPage,
}

/// Words of a ring, as bits: base, length and head; then tail; then control, which starts it.
const SET_UP: u16 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 4;
const CONTROL: u16 = 1 << 10;
const TAIL: u16 = 1 << 6;
/// Words that the driver is shown: no statistics.
const SHOWN: [u16; 2] = [
    SET_UP | CONTROL | TAIL | 1 << 3 | 1 << 5 | 1 << 11,
    SET_UP | CONTROL | TAIL | 1 << 3 | 1 << 14 | 1 << 15,
];

/// What the pages held when the driver and the device last agreed: at first, zeros.
pub(crate) struct Agreed {
    rings: Vec<[u32; QUEUE_WORDS]>,
}

/// Where the ring with a base register is kept: receive queues, then transmit queues.
fn slot(base: u32) -> usize {
    let first = if is_receive(Reg(base)) { 0 } else { 2 * QUEUES };
    first + queue_of(Reg(base))
}

impl Agreed {
    pub(crate) fn new() -> Agreed {
        Agreed {
            rings: vec![[0; QUEUE_WORDS]; 4 * QUEUES],
        }
    }
}

impl Nic {
    /// Takes what the driver wrote to the pages, and shows it what the device did, for the rings
    /// that are enabled: fast, to be called often.
    pub fn poll_rings(&mut self, host: &mut dyn Host, pages: &RingPages<'_>) {
        let Rings {
            receive_enabled,
            transmit_enabled,
            ..
        } = self.state.rings;
        self.exchange(host, pages, receive_enabled, transmit_enabled);
    }

    /// The same for all rings: to be called before and after each access that the front end sees,
    /// for a reset must show at once, and now and then between, to see a ring being enabled.
    pub fn sync_rings(&mut self, host: &mut dyn Host, pages: &RingPages<'_>) {
        self.exchange(host, pages, Queues::MAX, Queues::MAX);
    }

    fn exchange(
        &mut self,
        host: &mut dyn Host,
        pages: &RingPages<'_>,
        receive: Queues,
        transmit: Queues,
    ) {
        if self.is_removed() {
            return;
        }
        let mut agreed = std::mem::take(&mut self.agreed.rings);
        for (queues, low, high, names, shown) in [
            (
                receive,
                pages.receive_low,
                pages.receive_high,
                RDBAL,
                SHOWN[0],
            ),
            (
                transmit,
                pages.transmit_low,
                pages.transmit_high,
                TDBAL,
                SHOWN[1],
            ),
        ] {
            for queue in each(queues) {
                let page = if queue < QUEUES { low } else { high };
                let words = &page.as_chunks().0[queue % QUEUES];
                let base = names.at(queue).0;
                let agreed = &mut agreed[slot(base)];
                self.take_writes(host, base, words, agreed);
                self.show(base, shown, words, agreed);
            }
        }
        self.agreed.rings = agreed;
    }

    /// Carries out what the driver wrote to one ring since the last poll.
    fn take_writes(
        &mut self,
        host: &mut dyn Host,
        base: u32,
        words: &[AtomicU32; QUEUE_WORDS],
        agreed: &mut [u32; QUEUE_WORDS],
    ) {
        let mut changed = 0u16;
        for (n, (word, agreed)) in words.iter().zip(agreed.iter_mut()).enumerate() {
            let value = word.load(Ordering::Acquire);
            if value != *agreed {
                *agreed = value;
                changed |= 1 << n;
            }
        }
        if changed == 0 {
            return;
        }
        let control = base + 4 * CONTROL.trailing_zeros();
        if changed & SET_UP != 0 {
            let stopped = self.state.regs[Reg(control)] & !QUEUE_ENABLE;
            self.write(host, control, stopped);
            changed |= CONTROL;
        }
        for part in [!(CONTROL | TAIL), TAIL, CONTROL] {
            let mut written = changed & part;
            while written != 0 {
                let n = written.trailing_zeros();
                written &= written - 1;
                self.write(host, base + 4 * n, agreed[n as usize]);
            }
        }
    }

    /// Shows the driver what differs from what it wrote. A word that it writes meanwhile stays, and
    /// is taken by the next poll.
    fn show(
        &self,
        base: u32,
        shown: u16,
        words: &[AtomicU32; QUEUE_WORDS],
        agreed: &mut [u32; QUEUE_WORDS],
    ) {
        let mut offset = base;
        for (n, (word, agreed)) in words.iter().zip(agreed).enumerate() {
            let value = self.state.regs[Reg(offset)];
            offset += 4;
            if shown & 1 << n != 0
                && value != *agreed
                && word
                    .compare_exchange(*agreed, value, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            {
                *agreed = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Why;
    use crate::registers::{
        CTRL, CTRL_RST, QPRC, RDH, RDLEN, RDT, RXCTRL, RXCTRL_RXEN, RXDCTL, SRRCTL, TDLEN, TXDCTL,
    };
    use crate::testing::Bench;

    /// A device, and a driver that has its ring pages mapped.
    struct Mapped {
        bench: Bench,
        pages: [Box<RingPage>; 4],
    }

    fn pages(pages: &[Box<RingPage>; 4]) -> RingPages<'_> {
        let [receive_low, transmit_low, transmit_high, receive_high] = pages;
        RingPages {
            receive_low,
            transmit_low,
            transmit_high,
            receive_high,
        }
    }

    impl Mapped {
        fn new() -> Mapped {
            let page = || Box::new([const { AtomicU32::new(0) }; 1024]);
            let mut mapped = Mapped {
                bench: Bench::new(),
                pages: std::array::from_fn(|_| page()),
            };
            mapped.bench.write(RXCTRL, RXCTRL_RXEN);
            mapped.sync();
            mapped
        }

        fn sync(&mut self) {
            let pages = pages(&self.pages);
            self.bench.nic.sync_rings(&mut self.bench.host, &pages);
        }

        fn poll(&mut self) {
            let pages = pages(&self.pages);
            self.bench.nic.poll_rings(&mut self.bench.host, &pages);
        }

        fn word(&self, register: Reg) -> &AtomicU32 {
            let page = match register.0 >> 12 {
                0x1 => 0,
                0x6 => 1,
                0x7 => 2,
                _ => 3,
            };
            &self.pages[page][(register.0 as usize & 0xFFF) / 4]
        }

        fn read(&self, register: Reg) -> u32 {
            self.word(register).load(Ordering::Relaxed)
        }

        fn write(&self, register: Reg, value: u32) {
            self.word(register).store(value, Ordering::Relaxed);
        }

        fn program(&self, queue: usize) {
            self.write(RDLEN.at(queue), 1024);
            self.write(RXDCTL.at(queue), QUEUE_ENABLE);
            self.write(RDT.at(queue), 63);
        }
    }

    #[test]
    fn the_pages_show_reset_values_and_what_a_reset_brings_back() {
        let mut mapped = Mapped::new();
        assert_eq!(mapped.read(SRRCTL.at(0)), 0x402);
        assert_eq!(mapped.read(SRRCTL.at(127)), 0x402);
        mapped.program(100);
        mapped.sync();
        mapped.bench.write(CTRL, CTRL_RST);
        mapped.sync();
        assert_eq!(
            [mapped.read(RXDCTL.at(100)), mapped.read(RDLEN.at(100))],
            [0, 0]
        );
        mapped.bench.assert_clean();
    }

    #[test]
    fn a_ring_that_the_driver_wrote_to_the_pages_runs() {
        let mut mapped = Mapped::new();
        for queue in [0, 63, 64, 127] {
            mapped.program(queue);
            mapped.sync();
            let ring = mapped.bench.state().receive_ring(queue).unwrap();
            assert_eq!((ring.size, ring.tail), (64, 63));
        }
        mapped.bench.assert_clean();
    }

    #[test]
    fn a_poll_looks_at_enabled_rings_and_a_sync_at_all() {
        let mut mapped = Mapped::new();
        mapped.program(64);
        mapped.poll();
        assert!(mapped.bench.state().receive_ring(64).is_none());
        mapped.sync();
        mapped.write(RDT.at(64), 12);
        mapped.poll();
        assert_eq!(mapped.bench.state().receive_ring(64).unwrap().tail, 12);
    }

    #[test]
    fn both_transmit_pages_are_taken() {
        let mut mapped = Mapped::new();
        for queue in [0, 127] {
            mapped.write(TDLEN.at(queue), 128);
            mapped.write(TXDCTL.at(queue), QUEUE_ENABLE);
            mapped.sync();
            assert_eq!(mapped.bench.read(TDLEN.at(queue)), 128);
            assert!(mapped.bench.state().rings.transmit_enabled >> queue & 1 != 0);
        }
        mapped.bench.assert_clean();
    }

    #[test]
    fn a_head_that_the_device_moves_shows() {
        let mut mapped = Mapped::new();
        mapped.program(5);
        mapped.sync();
        mapped.bench.state().regs[RDH.at(5)] = 9;
        mapped.sync();
        assert_eq!(mapped.read(RDH.at(5)), 9);
        assert_eq!(
            mapped.bench.read(RDH.at(5)),
            9,
            "and is not taken for the driver's"
        );
        mapped.bench.assert_clean();
    }

    #[test]
    fn a_ring_programmed_anew_between_two_polls_is_no_violation() {
        let mut mapped = Mapped::new();
        mapped.program(5);
        mapped.sync();
        mapped.write(RXDCTL.at(5), 0);
        mapped.write(RDLEN.at(5), 128);
        mapped.write(RDT.at(5), 7);
        mapped.write(RXDCTL.at(5), QUEUE_ENABLE);
        mapped.sync();
        assert_eq!(mapped.bench.state().receive_ring(5).unwrap().size, 8);
        mapped.bench.assert_clean();
    }

    #[test]
    fn the_judge_sees_what_is_written_to_the_pages() {
        let mut mapped = Mapped::new();
        mapped.program(5);
        mapped.sync();
        mapped.write(RDT.at(5), 64);
        mapped.sync();
        mapped
            .bench
            .assert_violation("RDT[5]", Why::TailOutOfRange(64));
        mapped.sync();
        assert_eq!(mapped.bench.nic.violation_count(), 1, "once");
    }

    #[test]
    fn read_only_bits_are_gone_after_a_poll_and_statistics_stay_zero() {
        let mut mapped = Mapped::new();
        mapped.write(RDBAL.at(1), 0x1234_567F);
        mapped.bench.state().regs[QPRC.at(1)] = 7;
        mapped.sync();
        assert_eq!(mapped.read(RDBAL.at(1)), 0x1234_5600);
        assert_eq!(mapped.read(QPRC.at(1)), 0);
        assert_eq!(mapped.bench.read(QPRC.at(1)), 7);
    }
}
