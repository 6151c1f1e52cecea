//! What Linux's ixgbe does to an 82599 from probe to traffic, written down from the driver's
//! behaviour and played in this process: none of it is a violation. The driver itself runs in
//! tests/vm; this says sooner, and by name, what the model would do to it.

use nic82599::{Memory, Nic, Permission, Settings, Variant, Violation};
use std::time::Duration;

const CTRL: u32 = 0x00000;
const STATUS: u32 = 0x00008;
const CTRL_EXT: u32 = 0x00018;
const ESDP: u32 = 0x00020;
const EICR: u32 = 0x00800;
const EICS: u32 = 0x00808;
const EIMS: u32 = 0x00880;
const EIMC: u32 = 0x00888;
const GPIE: u32 = 0x00898;
const RXCTRL: u32 = 0x03000;
const HLREG0: u32 = 0x04240;
const AUTOC: u32 = 0x042A0;
const LINKS: u32 = 0x042A4;
const DMATXCTL: u32 = 0x04A80;
const FCTRL: u32 = 0x05080;
const QUEUE_ENABLE: u32 = 1 << 25;
const SOFTWARE_FLUSH: u32 = 1 << 26;
const LINK_CHANGE: u32 = 1 << 20;

/// The driver's end of the device.
struct Driver {
    nic: Nic,
    host: Memory,
    now: Duration,
}

impl Driver {
    fn new() -> Driver {
        let settings = Settings {
            mac: [2, 0, 0, 0, 0, 1],
            variant: Variant::I82599,
        };
        Driver {
            nic: Nic::new(settings),
            host: Memory::new(),
            now: Duration::ZERO,
        }
    }

    fn read(&mut self, offset: u32) -> u32 {
        self.nic.read(&mut self.host, offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.nic.write(&mut self.host, offset, value);
    }

    fn modify(&mut self, offset: u32, clear: u32, set: u32) {
        let value = self.read(offset);
        self.write(offset, (value & !clear) | set);
    }

    fn sleep(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.nic.tick(&mut self.host, self.now);
    }

    /// ixgbe_stop_adapter: no receive, no interrupts, queues flushed, bus master off.
    fn stop(&mut self) {
        self.modify(RXCTRL, 1, 0);
        self.write(EIMC, !0);
        self.read(EICR);
        for queue in 0..128 {
            self.write(transmit(queue, 0x28), SOFTWARE_FLUSH);
        }
        for queue in 0..128 {
            self.modify(receive(queue, 0x28), QUEUE_ENABLE, SOFTWARE_FLUSH);
        }
        self.read(STATUS);
        self.modify(CTRL, 0, 1 << 2);
        assert_eq!(self.read(STATUS) & 1 << 19, 0, "the bus master has stopped");
    }

    /// ixgbe_reset_hw and what follows it at every start.
    fn reset(&mut self) {
        self.stop();
        self.modify(CTRL, 0, 1 << 26);
        assert_eq!(self.read(CTRL) & 1 << 26, 0, "the reset is done");
        self.sleep(50);
        let autoc = self.read(AUTOC);
        self.write(AUTOC, autoc | 1 << 12);
        for n in 0..128 {
            self.write(0xA600 + 8 * n, 0);
            self.write(0xA604 + 8 * n, 0);
            self.write(0x5200 + 4 * n, 0);
            self.write(0xA000 + 4 * n, 0);
            self.write(0x4904, n);
            self.write(0x4984, 0);
        }
        for n in 1..128 {
            let (low, high) = if n < 16 {
                (0x5400, 0x5404)
            } else {
                (0xA200, 0xA204)
            };
            self.write(low + 8 * n, 0);
            self.write(high + 8 * n, 0);
        }
        self.modify(CTRL_EXT, 0, 1 << 16);
        self.sleep(50);
    }

    /// ixgbe_configure: buffers, filters, RSS, and four pairs of queues.
    fn configure(&mut self) {
        self.write(0x3C00, 512 << 10);
        self.write(0xCC00, 0xA0 << 10);
        self.write(0x4950, 0x96);
        self.modify(FCTRL, 0, 0x3402);
        self.modify(0x5088, 1 << 30, 1 << 31);
        self.modify(0x8D00, 0, 1 << 1);
        assert_eq!(
            self.read(0x8D04) & 1,
            1,
            "SECRXSTAT: the data path is drained"
        );
        self.modify(0x8D00, 1 << 1, 0);
        self.flow_director();
        self.modify(0x4900, 0, 0x40);
        self.write(0x8120, 0);
        self.modify(0x4900, 0x40, 0);
        self.modify(DMATXCTL, 0, 1);
        for queue in 0..4 {
            self.ring(
                transmit(queue, 0),
                0x28,
                QUEUE_ENABLE | 8 << 16 | 1 << 8 | 32,
            );
        }
        self.modify(RXCTRL, 1, 0);
        self.write(0xEA00, 0xE000_1330);
        self.modify(0x2F00, 0x3E_0000, 0x0600_0002);
        self.modify(0x5008, 0x20, 0xC0);
        self.modify(0x5000, 0, 1 << 13);
        for n in 0..10 {
            self.write(0x5C80 + 4 * n, 0x1234_5678);
        }
        for n in 0..32 {
            self.write(0x5C00 + 4 * n, 0x0302_0100);
        }
        self.write(0x5818, 0x0033_0001);
        self.modify(0x4268, 0xFFFF_0000, 1522 << 16);
        self.modify(HLREG0, 0, 1 << 2);
        for queue in 0..4 {
            self.modify(receive(queue, 0x28), QUEUE_ENABLE, 0);
            self.write(0x2100 + 4 * queue, 0x0200_0402);
            self.ring(receive(queue, 0), 0x28, QUEUE_ENABLE);
            self.write(receive(queue, 0x18), 511);
        }
        self.modify(RXCTRL, 0, 1);
    }

    /// ixgbe_configure_*_ring: the queue is stopped, programmed, started, and says so.
    fn ring(&mut self, base: u32, control: u32, enable: u32) {
        self.write(base + control, 0);
        self.read(STATUS);
        self.write(base, 0x1000_0000 + base * 0x1000);
        self.write(base + 0x04, 1);
        self.write(base + 0x08, 512 * 16);
        self.write(base + 0x10, 0);
        self.write(base + 0x18, 0);
        self.write(base + control, enable);
        assert_ne!(
            self.read(base + control) & QUEUE_ENABLE,
            0,
            "the queue is enabled"
        );
    }

    /// ixgbe_init_fdir_signature.
    fn flow_director(&mut self) {
        self.write(0xEE68, 0x3DAD_14E2);
        self.write(0xEE6C, 0x174D_3614);
        self.write(0xEE00, 6 << 16 | 0xA << 24 | 4 << 28 | 1);
        assert_ne!(self.read(0xEE00) & 1 << 3, 0, "FDIRCTRL.INIT_DONE");
    }

    /// ixgbe_up: MSI-X vectors of the queues and the others, and everything unmasked.
    fn up(&mut self) {
        self.write(GPIE, 0xC000_0036);
        for queue in 0..4 {
            let shift = 16 * (queue & 1);
            self.modify(
                0x900 + 4 * (queue / 2),
                0xFFFF << shift,
                (0x8080 | (queue * 0x101)) << shift,
            );
            self.write(0x820 + 4 * queue, 1 << 31 | 0x80);
        }
        self.modify(0xA00, 0xFF00, 0x8400);
        self.write(0x820 + 16, 0x7A0);
        self.write(0x810, 0x4000_FFFF);
        self.write(0xAD0, !0);
        self.write(0xAD4, !0);
        self.modify(ESDP, 0, 0x80);
        self.read(EICR);
        self.write(EIMS, 0xB1D0_0000);
        self.write(0xAA0, 0xF);
        self.modify(CTRL_EXT, 0, 1 << 28);
    }

    #[track_caller]
    fn assert_clean(&self) {
        let violations: Vec<_> = self
            .nic
            .violations()
            .iter()
            .map(Violation::to_string)
            .collect();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

fn receive(queue: u32, register: u32) -> u32 {
    let base = if queue < 64 { 0x1000 } else { 0xD000 - 0x1000 };
    base + 0x40 * queue + register
}

fn transmit(queue: u32, register: u32) -> u32 {
    0x6000 + 0x40 * queue + register
}

#[test]
fn ixgbe_starts_the_device_twice_without_a_violation() {
    let mut driver = Driver::new();
    for _ in 0..2 {
        driver.reset();
        driver.configure();
        driver.up();
        assert_eq!(driver.read(LINKS), 0x7000_0000);
        driver.assert_clean();
    }
}

#[test]
fn ixgbe_hears_of_the_link_and_clears_the_cause_by_writing() {
    let mut driver = Driver::new();
    driver.reset();
    driver.configure();
    driver.up();
    driver.host.raised.clear();
    driver.nic.set_link(&mut driver.host, false);
    assert_eq!(driver.host.raised, [4]);
    let causes = driver.read(EICS) & 0xFFFF_0000;
    assert_eq!(causes, LINK_CHANGE);
    driver.write(EICR, causes);
    driver.nic.set_link(&mut driver.host, true);
    driver.sleep(5);
    assert_eq!(driver.host.raised, [4, 4]);
    driver.assert_clean();
}

#[test]
fn ixgbe_reads_every_statistic() {
    let mut driver = Driver::new();
    let singles = [
        0x4000, 0x4004, 0x4008, 0x4010, 0x4034, 0x4038, 0x4040, 0x3F60, 0x3F68, 0x41A4, 0x41A8,
        0x4074, 0x4078, 0x407C, 0x4080, 0x4088, 0x408C, 0x4090, 0x4094, 0x40A4, 0x40A8, 0x40AC,
        0x40B0, 0x40B4, 0x40B8, 0xCF90, 0x40C0, 0x40C4, 0x40D0, 0x40D4, 0x40F0, 0x40F4, 0x4120,
        0xEE58, 0xEE5C, 0x5118, 0x241C, 0x2424, 0x2428, 0x242C, 0x8784, 0x8788,
    ];
    let arrays = [
        (0x3FA0, 4, 8),
        (0x3FC0, 4, 8),
        (0x3F00, 4, 8),
        (0x3F20, 4, 8),
        (0x4140, 4, 8),
        (0x4160, 4, 8),
        (0x3240, 4, 8),
        (0x405C, 4, 6),
        (0x40D8, 4, 6),
        (0x1030, 0x40, 16),
        (0x1034, 0x40, 16),
        (0x1038, 0x40, 16),
        (0x1430, 0x40, 16),
        (0x6030, 0x40, 16),
        (0x8700, 4, 32),
    ];
    let offsets = arrays
        .iter()
        .flat_map(|(base, stride, n)| (0..*n).map(move |i| base + stride * i));
    for offset in singles.into_iter().chain(offsets) {
        assert_eq!(driver.read(offset), 0, "{offset:#x}");
    }
    driver.assert_clean();
}

/// `ethtool -t`, the register test: offset, how many at which stride, bits that are read back, and
/// bits that are written.
const PATTERNS: [(u32, u32, u32, u32, u32); 14] = [
    (0x03220, 1, 4, 0x8007_FFF0, 0x8007_FFF0),
    (0x03260, 1, 4, 0x8007_FFF0, 0x8007_FFF0),
    (0x03008, 1, 4, !0, !0),
    (0x05088, 1, 4, 0, 0),
    (0x01000, 4, 0x40, 0xFFFF_FF80, 0xFFFF_FF80),
    (0x01004, 4, 0x40, !0, !0),
    (0x01008, 4, 0x40, 0x000F_FF80, 0x000F_FFFF),
    (0x03200, 1, 4, !0, !0),
    (0x06000, 4, 0x40, 0xFFFF_FF80, !0),
    (0x06004, 4, 0x40, !0, !0),
    (0x06008, 4, 0x40, 0x000F_FF80, 0x000F_FF80),
    (0x05400, 16, 8, !0, !0),
    (0x05404, 16, 8, 0x8001_FFFF, 0x800C_FFFF),
    (0x05200, 128, 4, !0, !0),
];

#[test]
fn the_register_test_of_ethtool_passes_without_a_violation() {
    let mut driver = Driver::new();
    driver.reset();
    let before = driver.read(STATUS);
    driver.write(STATUS, 0x7FFF_F30F);
    assert_eq!(driver.read(STATUS), before, "STATUS is read-only");
    for queue in 0..4 {
        driver.write(receive(queue, 0x28), QUEUE_ENABLE);
    }
    let tails = (0x01018, 4, 0x40, 0xFFFF, 0xFFFF);
    for (base, count, stride, mask, write) in std::iter::once(tails).chain(PATTERNS) {
        if base != tails.0 {
            (0..4).for_each(|queue| driver.write(receive(queue, 0x28), 0));
        }
        for offset in (0..count).map(|n| base + stride * n) {
            let before = driver.read(offset);
            for pattern in [0x5A5A_5A5A, 0xA5A5_A5A5, 0, !0] {
                driver.write(offset, pattern & write);
                let expected = pattern & write & mask;
                assert_eq!(driver.read(offset) & mask, expected, "{offset:#x}");
            }
            driver.write(offset, before);
        }
    }
    driver.write(RXCTRL, 1);
    assert_eq!(driver.read(RXCTRL), 1);
    driver.assert_clean();
}

/// `ethtool -t`, the loopback test: what is sent comes back, though no link is up.
#[test]
fn the_loopback_test_of_ethtool_gets_its_frames_back_without_a_violation() {
    const RECEIVE_RING: u64 = 0x1_1100_0000;
    const TRANSMIT_RING: u64 = 0x1_1600_0000;
    const BUFFERS: u64 = 0x2_0000_0000;
    const SENT: u64 = 0x3_0000_0000;
    let mut driver = Driver::new();
    driver
        .host
        .map(RECEIVE_RING, 512 * 16, Permission::ReadWrite);
    driver
        .host
        .map(TRANSMIT_RING, 512 * 16, Permission::ReadWrite);
    driver.host.map(BUFFERS, 64 * 2048, Permission::ReadWrite);
    driver.host.map(SENT, 1024, Permission::Read);
    driver.reset();
    driver.nic.set_link(&mut driver.host, false);
    driver.modify(DMATXCTL, 0, 1);
    driver.ring(transmit(0, 0), 0x28, QUEUE_ENABLE | 1 << 8 | 32);
    driver.modify(RXCTRL, 1, 0);
    driver.write(0x2100, 0x0200_0402);
    driver.ring(receive(0, 0), 0x28, QUEUE_ENABLE);
    driver.modify(RXCTRL, 0, 1);
    driver.modify(HLREG0, 0, 1 << 15);
    driver.modify(FCTRL, 0, 0x502);
    driver.modify(AUTOC, 0, 1);

    let mut frame = vec![0xFF; 1024];
    frame[512..767].fill(0xAA);
    frame[522] = 0xBE;
    frame[524] = 0xAF;
    driver.host.bytes_mut(SENT).copy_from_slice(&frame);
    for n in 0..64 {
        let buffer = (BUFFERS + 2048 * n).to_le_bytes();
        driver.host.bytes_mut(RECEIVE_RING + 16 * n)[..8].copy_from_slice(&buffer);
        let descriptor = driver.host.bytes_mut(TRANSMIT_RING + 16 * n);
        descriptor[..8].copy_from_slice(&SENT.to_le_bytes());
        descriptor[8..12].copy_from_slice(&(0x2B30_0000u32 | 1024).to_le_bytes());
        descriptor[12..16].copy_from_slice(&(1024u32 << 14).to_le_bytes());
    }
    driver.write(receive(0, 0x18), 64);
    for tail in 1..=64 {
        driver.write(transmit(0, 0x18), tail);
    }
    for n in 0..64 {
        let sent = &driver.host.bytes(TRANSMIT_RING + 16 * n)[12..16];
        assert_eq!(sent, [1, 0, 0, 0], "done");
        let received = &driver.host.bytes(RECEIVE_RING + 16 * n)[8..16];
        assert_eq!(received[0] & 3, 3, "done, and a whole frame");
        assert_eq!(received[4..6], [0x00, 0x04], "its length");
        assert!(driver.host.bytes(BUFFERS + 2048 * n)[..1024] == frame);
    }
    assert!(driver.host.sent.is_empty(), "nothing is on the wire");
    driver.assert_clean();
}
