//! The rings of the 128 queues: the pages at 0x1000, 0x6000, 0x7000 and 0xD000, which a front end
//! may map into the guest (datasheet 8.2.3.8, 8.2.3.9, 8.2.3.11).

use super::row::{Array, Hook, PerQueue, Reg, Row, alias, array};

const RECEIVE: &str = "8.2.3.8";
const TRANSMIT: &str = "8.2.3.9";
const DCA: &str = "8.2.3.11";

pub(crate) const RDBAL: PerQueue = PerQueue::new(0x1000, 0xD000);
pub(crate) const RDBAH: PerQueue = PerQueue::new(0x1004, 0xD004);
pub(crate) const RDLEN: PerQueue = PerQueue::new(0x1008, 0xD008);
pub(crate) const DCA_RXCTRL: PerQueue = PerQueue::new(0x100C, 0xD00C);
pub(crate) const RDH: PerQueue = PerQueue::new(0x1010, 0xD010);
pub(crate) const SRRCTL: PerQueue = PerQueue::new(0x1014, 0xD014);
pub(crate) const RDT: PerQueue = PerQueue::new(0x1018, 0xD018);
pub(crate) const RXDCTL: PerQueue = PerQueue::new(0x1028, 0xD028);
pub(crate) const RSCCTL: PerQueue = PerQueue::new(0x102C, 0xD02C);

pub(crate) const TDBAL: PerQueue = PerQueue::new(0x6000, 0x7000);
pub(crate) const TDBAH: PerQueue = PerQueue::new(0x6004, 0x7004);
pub(crate) const TDLEN: PerQueue = PerQueue::new(0x6008, 0x7008);
pub(crate) const DCA_TXCTRL: PerQueue = PerQueue::new(0x600C, 0x700C);
pub(crate) const TDH: PerQueue = PerQueue::new(0x6010, 0x7010);
pub(crate) const TDT: PerQueue = PerQueue::new(0x6018, 0x7018);
pub(crate) const TXDCTL: PerQueue = PerQueue::new(0x6028, 0x7028);
pub(crate) const TDWBAL: PerQueue = PerQueue::new(0x6038, 0x7038);
pub(crate) const TDWBAH: PerQueue = PerQueue::new(0x603C, 0x703C);

/// RXDCTL.ENABLE, TXDCTL.ENABLE.
pub(crate) const QUEUE_ENABLE: u32 = 1 << 25;

/// Bases are aligned to 128 bytes, lengths are multiples of 128: the low bits read as zero.
const BASE_BITS: u32 = !0x7F;
const LENGTH_BITS: u32 = 0x000F_FF80;
const LENGTH_WRITTEN: u32 = 0x000F_FFFF;
const RXDCTL_BITS: u32 = 0x4600_FFFF;
const TXDCTL_BITS: u32 = 0x027F_7F7F;
const SOFTWARE_FLUSH: u32 = 1 << 26;
const SRRCTL_BITS: u32 = 0x1FC0_3F1F;
const SRRCTL_RESET: u32 = 0x0000_0402;
const RSCCTL_BITS: u32 = 0x0000_000D;
const DCA_BITS: u32 = 0xFF00_FFFF;

/// The two places of a per-queue register.
const fn low(name: &'static str, queues: PerQueue, section: &'static str) -> Row {
    array(name, queues.low, section)
}

const fn high(name: &'static str, queues: PerQueue, section: &'static str) -> Row {
    array(name, queues.high, section).first(64)
}

pub(super) const ROWS: &[Row] = &[
    base(low("RDBAL", RDBAL, RECEIVE)),
    base(high("RDBAL", RDBAL, RECEIVE)),
    low("RDBAH", RDBAH, RECEIVE).rw(!0).hook(Hook::RingBase),
    high("RDBAH", RDBAH, RECEIVE).rw(!0).hook(Hook::RingBase),
    length(low("RDLEN", RDLEN, RECEIVE)),
    length(high("RDLEN", RDLEN, RECEIVE)),
    low("DCA_RXCTRL", DCA_RXCTRL, DCA).rw(DCA_BITS),
    high("DCA_RXCTRL", DCA_RXCTRL, DCA).rw(DCA_BITS),
    alias("DCA_RXCTRL", Array::new(0x02200, 4, 16), DCA_RXCTRL.low),
    low("RDH", RDH, RECEIVE).rw(0xFFFF).hook(Hook::RingHead),
    high("RDH", RDH, RECEIVE).rw(0xFFFF).hook(Hook::RingHead),
    low("SRRCTL", SRRCTL, RECEIVE)
        .reset(SRRCTL_RESET)
        .rw(SRRCTL_BITS),
    high("SRRCTL", SRRCTL, RECEIVE)
        .reset(SRRCTL_RESET)
        .rw(SRRCTL_BITS),
    alias("SRRCTL", Array::new(0x02100, 4, 16), SRRCTL.low),
    low("RDT", RDT, RECEIVE).rw(0xFFFF).hook(Hook::ReceiveTail),
    high("RDT", RDT, RECEIVE).rw(0xFFFF).hook(Hook::ReceiveTail),
    low("RXDCTL", RXDCTL, RECEIVE)
        .rw(RXDCTL_BITS)
        .hook(Hook::ReceiveControl),
    high("RXDCTL", RXDCTL, RECEIVE)
        .rw(RXDCTL_BITS)
        .hook(Hook::ReceiveControl),
    low("RSCCTL", RSCCTL, RECEIVE).rw(RSCCTL_BITS),
    high("RSCCTL", RSCCTL, RECEIVE).rw(RSCCTL_BITS),
    base(low("TDBAL", TDBAL, TRANSMIT)),
    base(high("TDBAL", TDBAL, TRANSMIT)),
    low("TDBAH", TDBAH, TRANSMIT).rw(!0).hook(Hook::RingBase),
    high("TDBAH", TDBAH, TRANSMIT).rw(!0).hook(Hook::RingBase),
    length(low("TDLEN", TDLEN, TRANSMIT)),
    length(high("TDLEN", TDLEN, TRANSMIT)),
    low("DCA_TXCTRL", DCA_TXCTRL, DCA).rw(DCA_BITS),
    high("DCA_TXCTRL", DCA_TXCTRL, DCA).rw(DCA_BITS),
    low("TDH", TDH, TRANSMIT).rw(0xFFFF).hook(Hook::RingHead),
    high("TDH", TDH, TRANSMIT).rw(0xFFFF).hook(Hook::RingHead),
    low("TDT", TDT, TRANSMIT)
        .rw(0xFFFF)
        .hook(Hook::TransmitTail),
    high("TDT", TDT, TRANSMIT)
        .rw(0xFFFF)
        .hook(Hook::TransmitTail),
    transmit_control(low("TXDCTL", TXDCTL, TRANSMIT)),
    transmit_control(high("TXDCTL", TXDCTL, TRANSMIT)),
    low("TDWBAL", TDWBAL, TRANSMIT).rw(!0x2),
    high("TDWBAL", TDWBAL, TRANSMIT).rw(!0x2),
    low("TDWBAH", TDWBAH, TRANSMIT).rw(!0),
    high("TDWBAH", TDWBAH, TRANSMIT).rw(!0),
];

/// A misaligned base is judged when the ring is enabled: Linux's self-test writes any bits.
const fn base(row: Row) -> Row {
    row.rw(BASE_BITS).known(!0).hook(Hook::RingBase)
}

const fn length(row: Row) -> Row {
    row.rw(LENGTH_BITS)
        .known(LENGTH_WRITTEN)
        .hook(Hook::RingLength)
}

const fn transmit_control(row: Row) -> Row {
    row.rw(TXDCTL_BITS)
        .known(SOFTWARE_FLUSH)
        .hook(Hook::TransmitControl)
}

/// The queue of a register in one of the ring pages.
pub(crate) const fn queue_of(register: Reg) -> usize {
    let queue = (register.0 as usize & 0x1FFF) / 0x40;
    match register.0 >> 12 {
        0x1 => queue & 63,
        0xD => 64 + (queue & 63),
        _ => queue & 127,
    }
}

/// Whether a register in one of the ring pages is of a receive ring.
pub(crate) const fn is_receive(register: Reg) -> bool {
    matches!(register.0 >> 12, 0x1 | 0xD)
}
