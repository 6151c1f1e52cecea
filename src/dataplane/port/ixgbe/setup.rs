//! A controller after its reset, programmed: filters, RSS, buffers, the MAC, interrupts (datasheet
//! 4.6.3 steps 6 to 10, 4.6.6, 4.6.7, 4.6.8).

use super::error::CardError;
use super::frame::LINK_HEADER;
use super::registers::general::{CTRL_EXT, CTRL_EXT_DRIVER_LOADED, CTRL_EXT_NO_SNOOP_DISABLE};
use super::registers::interrupt::*;
use super::registers::link::*;
use super::registers::receive::*;
use super::registers::transmit::*;
use super::registers::{Registers, wait};
use crate::shared::mac::MacAddr;

use std::time::Duration;

/// Queues that RSS spreads flows over.
pub(super) const MAX_QUEUES: u32 = 16;

/// How the controller is to be set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Receive queues, 1 to [`MAX_QUEUES`]; vector n is queue n's, the one behind them all others'.
    pub(super) queues: u32,
    pub(super) mtu: u32,
    pub(super) promiscuous: bool,
}

/// Bytes of the frame's end that no descriptor shows.
const FCS: u32 = 4;
/// The longest frame without jumbo frames.
const ORDINARY: u32 = 1518;

/// The key by which both directions of a flow hash alike: period 16, as addresses and ports come in
/// pairs of multiples of 16 bits ("Scalable TCP Session Monitoring with Symmetric Receive-side
/// Scaling", Woo and Park, 2012).
const SYMMETRIC_KEY: u32 = 0x6D5A_6D5A;

/// 16 us between two interrupts of a queue: a worker that was woken polls from then on, so it is only
/// about how often a trickle of packets may wake it.
const QUEUE_THROTTLE: u32 = 8 << EITR_SHIFT;
/// How long packets on their way through the receive path may take.
const DRAIN: Duration = Duration::from_millis(10);

/// Programs a controller that has been reset. Queues can be started afterwards; it receives once
/// [`enable_receive`] says so.
pub(super) fn set_up(registers: &impl Registers, settings: &Settings) {
    registers.modify(
        CTRL_EXT,
        0,
        CTRL_EXT_NO_SNOOP_DISABLE | CTRL_EXT_DRIVER_LOADED,
    );
    set_up_filters(registers, settings);
    set_up_receive(registers);
    spread(registers, settings.queues);
    set_up_mac(registers, settings.mtu);
    set_up_transmit(registers);
    set_up_interrupts(registers, settings.queues);
}

/// All multicast is taken: daemons join their groups (OSPF, neighbour discovery) on the TAP, and the
/// pipeline drops what nobody wants. VLAN tags are not filtered.
fn set_up_filters(registers: &impl Registers, settings: &Settings) {
    for (first, count) in FILTERS {
        (0..count).for_each(|n| registers.write(first.nth(n), 0));
    }
    registers.write(FCTRL, FCTRL_MULTICAST | FCTRL_BROADCAST);
    set_promiscuous(registers, settings.promiscuous);
    registers.modify(VLNCTRL, VLNCTRL_FILTER, 0);
}

/// Has frames for other stations received too.
fn set_promiscuous(registers: &impl Registers, on: bool) {
    let set = if on { FCTRL_UNICAST } else { 0 };
    registers.modify(FCTRL, FCTRL_UNICAST, set);
}

/// The station's address, which frames are filtered by.
pub(super) fn set_mac(registers: &impl Registers, mac: MacAddr) {
    let MacAddr([a, b, c, d, e, f]) = mac;
    registers.write(RAL0, u32::from_le_bytes([a, b, c, d]));
    registers.write(RAH0, u32::from_le_bytes([e, f, 0, 0]) | RAH_VALID);
}

/// One traffic class has the whole packet buffer; a frame's FCS is taken off.
fn set_up_receive(registers: &impl Registers) {
    registers.write(RXPBSIZE, RXPBSIZE_ALL);
    (1..8).for_each(|class| registers.write(RXPBSIZE.nth(class), 0));
    registers.modify(RDRXCTL, RDRXCTL_RSC_SIZE, RDRXCTL_CRC_STRIP | RDRXCTL_MUST);
}

/// RSS over the first `queues` queues.
fn spread(registers: &impl Registers, queues: u32) {
    registers.modify(RXCSUM, 0, RXCSUM_HASH);
    (0..RSSRK_WORDS).for_each(|n| registers.write(RSSRK.nth(n), SYMMETRIC_KEY));
    for word in 0..RETA_WORDS {
        let entry = |n: u32| ((4 * word + n) % queues.clamp(1, MAX_QUEUES)) << (8 * n);
        registers.write(RETA.nth(word), (0..4).map(entry).sum());
    }
    registers.write(MRQC, MRQC_RSS_5_TUPLE);
}

fn set_up_mac(registers: &impl Registers, mtu: u32) {
    let longest = mtu + LINK_HEADER + FCS;
    registers.modify(MAXFRS, 0xFFFF << 16, longest << 16);
    let jumbo = if longest > ORDINARY { HLREG0_JUMBO } else { 0 };
    let both = HLREG0_TX_CRC | HLREG0_RX_CRC_STRIP | HLREG0_TX_PAD;
    registers.modify(HLREG0, HLREG0_JUMBO, both | jumbo);
}

fn set_up_transmit(registers: &impl Registers) {
    registers.write(TXPBSIZE, TXPBSIZE_ALL);
    registers.write(TXPBTHRESH, TXPBTHRESH_ALL);
    for class in 1..8 {
        registers.write(TXPBSIZE.nth(class), 0);
        registers.write(TXPBTHRESH.nth(class), 0);
    }
    registers.modify(RTTDCS, 0, RTTDCS_ARBITER_DISABLE);
    registers.write(MTQC, 0);
    registers.modify(RTTDCS, RTTDCS_ARBITER_DISABLE, 0);
    registers.write(DTXMXSZRQ, DTXMXSZRQ_MOST);
    registers.modify(DMATXCTL, 0, DMATXCTL_ENABLE);
}

/// Receive queue n raises vector n, which clears and masks itself: whoever sleeps on it opens the mask.
/// Transmit queues raise none: nobody sleeps on room. The others are masked until
/// [`listen`].
fn set_up_interrupts(registers: &impl Registers, queues: u32) {
    let mode = GPIE_MULTIPLE_MSIX | GPIE_AUTO_MASK | GPIE_PBA_SUPPORT | GPIE_OTHER_CLEAR_DISABLE;
    registers.write(GPIE, mode | GPIE_MODULE);
    let vectors = !(!0 << queues.min(MAX_QUEUES));
    registers.write(EIAC, vectors);
    registers.write(EIAM_EX, vectors);
    for queue in 0..queues {
        let entry = (IVAR_VALID | queue) << (16 * (queue % 2));
        registers.modify(IVAR.nth(queue / 2), 0xFFFF << (16 * (queue % 2)), entry);
        registers.write(EITR.nth(queue), QUEUE_THROTTLE);
    }
    registers.write(IVAR_MISC, (IVAR_VALID | queues) << 8);
    registers.write(EITR.nth(queues), 0);
}

/// Has link, module and memory errors interrupt.
pub(super) fn listen(registers: &impl Registers) {
    registers.write(EIMS, LINK_CHANGE | MODULE_CHANGE | ECC);
}

/// Lets frames in (4.6.7: while the way through the security engine is closed).
pub(super) fn enable_receive(registers: &impl Registers) -> Result<(), CardError> {
    registers.modify(SECRXCTRL, 0, SECRXCTRL_DISABLE);
    // Nothing flows before this: a queue that never empties is a card's defect that shows elsewhere.
    let _ = wait(
        registers,
        SECRXSTAT,
        SECRXSTAT_READY,
        SECRXSTAT_READY,
        DRAIN,
    );
    registers.modify(RXCTRL, 0, RXCTRL_ENABLE);
    registers.modify(SECRXCTRL, SECRXCTRL_DISABLE, 0);
    match registers.is_gone() {
        true => Err(CardError::Gone),
        false => Ok(()),
    }
}
